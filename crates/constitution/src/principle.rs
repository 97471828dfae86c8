//! The two kinds of principle.

use serde::{Deserialize, Serialize};

/// A pair of requests that a model criticises and mends its own reply by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevisionPrinciple {
    /// The name that traces and statistics use.
    pub id: String,
    /// Asks for a critique of the last reply.
    pub critique_request: String,
    /// Asks for a better reply after the critique.
    pub revision_request: String,
    /// The document or body that it derives from; it does not reach a model.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Words to select or count by; they do not reach a model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// How often it is drawn, in proportion to the others, where draws are weighted.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub weight: f64,
}

/// A sentence that a judge compares two replies by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComparisonPrinciple {
    /// The name that labels and statistics use.
    pub id: String,
    /// Says which of two replies is the better one.
    pub text: String,
    /// The document or body that it derives from; it does not reach a model.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Words to select or count by; they do not reach a model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// How often it is drawn, in proportion to the others, where draws are weighted.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub weight: f64,
}

fn one() -> f64 {
    1.0
}

#[allow(clippy::float_cmp, clippy::trivially_copy_pass_by_ref, reason = "as serde asks for it")]
fn is_one(weight: &f64) -> bool {
    *weight == 1.0
}

/// What both kinds have.
pub trait Principle {
    /// The list of the constitution that holds this kind.
    const LIST: &'static str;

    /// The name that statistics use, unique in its list.
    fn id(&self) -> &str;

    /// The texts that models read, with the names of their keys.
    fn texts(&self) -> Vec<(&'static str, &str)>;

    /// The document or body that it derives from.
    fn source(&self) -> &str;

    /// Words to select or count by.
    fn tags(&self) -> &[String];

    /// How often it is drawn, in proportion to the others, where draws are weighted.
    fn weight(&self) -> f64;
}

impl Principle for RevisionPrinciple {
    const LIST: &'static str = "critique_revision";

    fn id(&self) -> &str {
        &self.id
    }

    fn texts(&self) -> Vec<(&'static str, &str)> {
        vec![
            ("critique_request", self.critique_request.as_str()),
            ("revision_request", self.revision_request.as_str()),
        ]
    }

    fn source(&self) -> &str {
        &self.source
    }

    fn tags(&self) -> &[String] {
        &self.tags
    }

    fn weight(&self) -> f64 {
        self.weight
    }
}

impl Principle for ComparisonPrinciple {
    const LIST: &'static str = "comparison";

    fn id(&self) -> &str {
        &self.id
    }

    fn texts(&self) -> Vec<(&'static str, &str)> {
        vec![("text", self.text.as_str())]
    }

    fn source(&self) -> &str {
        &self.source
    }

    fn tags(&self) -> &[String] {
        &self.tags
    }

    fn weight(&self) -> f64 {
        self.weight
    }
}
