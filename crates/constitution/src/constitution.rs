//! The two lists of principles.

use crate::{ComparisonPrinciple, RevisionPrinciple};
use serde::{Deserialize, Serialize};

/// The principles that stand in for human labels of harm.
///
/// Either list may be empty if it is not drawn from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constitution {
    /// The name that runs and reports use.
    pub name: String,
    /// The principles to criticise and revise by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub critique_revision: Vec<RevisionPrinciple>,
    /// The principles to compare two replies by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub comparison: Vec<ComparisonPrinciple>,
}
