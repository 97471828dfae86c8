//! What comes back for one prompt.

use crate::Completion;
use serde::{Deserialize, Serialize};

/// What comes back for one prompt, as it is kept on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// A reply, of [`crate::Generate`].
    Completion(Completion),
    /// The probability of each option, of [`crate::Choose`].
    Probabilities(Vec<f64>),
}
