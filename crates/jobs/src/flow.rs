//! How much is under way at a time.

use crate::Error;
use serde::{Deserialize, Serialize};

/// How much is under way at a time; it decides the speed, not what comes out.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `chunk` | 8 | items that are worked on together: one call of the model holds a question about each, at least 1 |
/// | `in_flight` | 32 | chunks under way, 1 to 1024 |
///
/// All questions of a chunk wait for the slowest of them, those of other chunks do not. A server is busy if `chunk` times
/// `in_flight` is about twice its `concurrency`; a model on this machine wants one chunk of the size of its batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Flow {
    /// Items that are worked on together.
    pub chunk: usize,
    /// Chunks under way.
    pub in_flight: usize,
}

impl Default for Flow {
    fn default() -> Self {
        Self { chunk: 8, in_flight: 32 }
    }
}

impl Flow {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Setting`] names the first one out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let wrong = |setting, found: usize, expected| {
            Err(Error::Setting { setting, found: found.to_string(), expected })
        };
        if self.chunk == 0 {
            return wrong("chunk", self.chunk, "a whole number of at least 1");
        }
        if !(1..=1024).contains(&self.in_flight) {
            return wrong("in_flight", self.in_flight, "a whole number of 1 to 1024");
        }
        Ok(())
    }
}
