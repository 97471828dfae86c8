//! Models that many chunks ask at a time.

use crate::Error;
use ai_feedback::Judge;
use language_model::Meter;
use serde_json::Value;
use std::path::Path;

/// A model that a job asks.
pub trait Model: Sync {
    /// What decides its answers, and nothing about how it is reached: a job does not go on with another.
    fn about(&self) -> Value;

    /// Keeps answers in a file until they are settled. Called once, before the model is lent.
    ///
    /// # Errors
    /// If the file cannot be opened, or is in use by another process.
    fn keep_answers(&self, path: &Path) -> Result<(), Error>;

    /// Lends the model to one chunk. What it is asked counts in `meter`, but for answers that are kept.
    fn lend<'a>(&'a self, meter: &'a Meter) -> Box<dyn Lent + 'a>;
}

/// A model that is lent to one chunk.
pub trait Lent: Judge + Send {
    /// The records of the chunk are durable, so the answers to it are no longer needed.
    ///
    /// # Errors
    /// If answers are kept in a file that cannot be written.
    fn settle(self: Box<Self>) -> Result<(), Error>;
}
