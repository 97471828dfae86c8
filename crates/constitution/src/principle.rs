//! The two kinds of principle.

use serde::{Deserialize, Serialize};

/// A pair of requests that a model criticises and mends its own reply by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevisionPrinciple {
    /// The name that traces and statistics use.
    pub id: String,
    /// Asks for a critique of the last reply.
    pub critique_request: String,
    /// Asks for a better reply after the critique.
    pub revision_request: String,
    /// Words to select or count by; they do not reach a model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

/// A sentence that a judge compares two replies by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComparisonPrinciple {
    /// The name that labels and statistics use.
    pub id: String,
    /// Says which of two replies is the better one.
    pub text: String,
    /// Words to select or count by; they do not reach a model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}
