//! A judged pair with everything that led to the judgement.

use crate::row::Row;
use dialogue::{Comparison, Dialogue, Preference};
use serde::{Deserialize, Serialize};

/// The judgement of a pair.
///
/// On disk it is the conversational preference row that TRL reads, with the soft label and all that led to it beside it:
///
/// | column | holds |
/// |---|---|
/// | `id` | [`pair_id`] of the pair |
/// | `prompt`, `chosen`, `rejected` | lists of messages |
/// | `probability` | that `chosen` is better, in \[0.5, 1\] |
/// | `probability_a` | that reply (A) is better, in \[0, 1\] |
/// | `chosen_as` | `"A"` or `"B"`: what the judge knew the chosen reply as |
/// | `principles` | list of [`PrincipleLabel`] |
///
/// Every row has every column and every field, empty ones as `null`, so that one schema can be inferred from any part of a
/// file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Row", into = "Row")]
pub struct Label {
    /// [`pair_id`] of the pair.
    pub id: String,
    /// What was judged.
    pub pair: Comparison,
    /// The soft label: the probability in \[0, 1\] that reply (A) is better, averaged and clamped.
    pub probability_a: f64,
    /// The judgements, one a principle: first those that it is the mean of ([`Label::judgements`]), at least one, then
    /// probes.
    pub principles: Vec<PrincipleLabel>,
}

/// The judgement by one principle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrincipleLabel {
    /// The id of the principle.
    pub id: String,
    /// The sentence that the judge read.
    pub text: String,
    /// The probability in \[0, 1\] that reply (A) is better, averaged over both orders, not clamped.
    pub probability_a: f64,
    /// Whether it was asked for only to learn the judge's habits, so that it is no part of the label; see
    /// [`crate::probe_beside`].
    #[serde(default)]
    pub probe: bool,
    /// The answers behind it: replies as they are, then, if both orders are asked, exchanged.
    pub orders: Vec<OrderLabel>,
}

/// The judgement in one order of the replies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderLabel {
    /// Probability in \[0, 1\] of the reply that the question shows first, averaged over the answers.
    pub probability_of_first: f64,
    /// The answers behind it: one, or one a rationale.
    pub answers: Vec<AnswerLabel>,
}

/// The judge's answer to one question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerLabel {
    /// Probability in \[0, 1\] of the reply that the question shows first.
    pub probability_of_first: f64,
    /// What the judge thought aloud, if it was asked to.
    pub rationale: Option<String>,
    /// The question as the judge read it, with its worked examples and its rationale.
    pub question: Dialogue,
}

impl Label {
    /// The label as a preference to train on.
    pub fn preference(&self) -> Preference {
        Preference::from_comparison(self.pair.clone(), self.probability_a)
    }

    /// The judgements that it is the mean of: those that are no probe.
    pub fn judgements(&self) -> impl Iterator<Item = &PrincipleLabel> {
        self.principles.iter().filter(|judged| !judged.probe)
    }

    /// The mean of [`PrincipleLabel::probability_a`] over [`Label::judgements`]: the label as it was before it was clamped.
    pub fn unclamped(&self) -> f64 {
        let judged: Vec<f64> = self.judgements().map(|judged| judged.probability_a).collect();
        judged.iter().sum::<f64>() / judged.len() as f64
    }
}

/// A name made of the prompt and both replies, in their order; see [`Dialogue::id`].
pub fn pair_id(pair: &Comparison) -> String {
    pair.dialogue(0).with_assistant(pair.replies[1].clone()).id()
}
