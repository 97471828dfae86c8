//! What does not fit.

use serde::{Deserialize, Serialize};

/// What becomes of an item that is longer than the model's context.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Overlong {
    /// It is left out and counted.
    #[default]
    Drop,
    /// It is an error.
    Error,
}
