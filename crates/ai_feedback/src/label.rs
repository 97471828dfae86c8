//! A judged pair with everything that led to the judgement.

use dialogue::{Comparison, Dialogue, Preference};
use serde::{Deserialize, Serialize};

/// The judgement of a pair by one principle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Label {
    /// [`pair_id`] of the pair.
    pub id: String,
    /// What was judged.
    pub pair: Comparison,
    /// The id of the principle.
    pub principle: String,
    /// The sentence that the judge read.
    pub principle_text: String,
    /// The soft label: the probability in \[0, 1\] that reply (A) is better, averaged and clamped.
    pub probability_a: f64,
    /// The answers behind it: replies as they are, then, if both orders are asked, exchanged.
    pub orders: Vec<OrderLabel>,
}

/// The judge's answer to one question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OrderLabel {
    /// Probability in \[0, 1\] of the reply that the question shows first, before averaging and clamping.
    pub probability_of_first: f64,
    /// What the judge thought aloud, if it was asked to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rationale: Option<String>,
    /// The question as the judge read it, with its worked examples and its rationale.
    pub question: Dialogue,
}

impl Label {
    /// The label as a preference to train on.
    pub fn preference(&self) -> Preference {
        Preference::from_comparison(self.pair.clone(), self.probability_a)
    }
}

/// A name made of the prompt and both replies, in their order; see [`Dialogue::id`].
pub fn pair_id(pair: &Comparison) -> String {
    pair.dialogue(0).with_assistant(pair.replies[1].clone()).id()
}
