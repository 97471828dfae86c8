//! The settings of labelling.

use crate::{Error, FewShot};
use constitution::Drawing;
use language_model::Sampling;
use serde::{Deserialize, Serialize};

/// How pairs are labelled.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `both_orders` | true | asks twice, with the replies exchanged, and takes the mean |
/// | `principles` | [`Drawing::default`] | how the principles of a pair, and of the worked examples before it, are drawn |
/// | `principles_per_comparison` | 1 | principles that a pair is judged by, one question each, whose answers are averaged; at least 1 |
/// | `chain_of_thought` | none | lets the judge think aloud before it chooses |
/// | `few_shots` | none | worked examples that stand in front of every question, each with a principle of its own |
/// | `probe` | 32 | pairs that [`crate::probe`] asks about once more, so that the judge's habits are known where the labels do not show them; of [`crate::probe_beside`] about so many; 0 asks about none |
///
/// The paper asks in one order; both orders cancel the judge's habit of preferring a letter (arXiv 2309.00267). It draws
/// one principle for every comparison, and calls the mixture of all labels an ensemble; several principles a comparison
/// are an ensemble within the label. With `principles.replacement = false` they are different ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FeedbackConfig {
    /// Asks twice, with the replies exchanged, and takes the mean.
    pub both_orders: bool,
    /// How the principles of a pair, and of the worked examples before it, are drawn.
    pub principles: Drawing,
    /// Principles that a pair is judged by.
    pub principles_per_comparison: usize,
    /// Lets the judge think aloud before it chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain_of_thought: Option<ChainOfThought>,
    /// Worked examples that stand in front of every question.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub few_shots: Vec<FewShot>,
    /// Pairs that are asked about once more to learn the judge's habits.
    pub probe: usize,
}

impl Default for FeedbackConfig {
    fn default() -> Self {
        Self {
            both_orders: true,
            principles: Drawing::default(),
            principles_per_comparison: 1,
            chain_of_thought: None,
            few_shots: Vec::new(),
            probe: 32,
        }
    }
}

/// How a judge thinks aloud.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `samples` | 1 | rationales that are drawn for every question, whose answers are averaged; at least 1 |
/// | `clamp` | \[0.4, 0.6\] | bounds of the final label, as far below 0.5 as above it; `[0, 1]` leaves it as it is |
/// | `sampling` | [`Sampling::default`], 256 tokens | how rationales are drawn; the words that open the answer end one |
///
/// After reasoning a judge is nearly always sure of itself, and such labels make the policy extreme, which is why the
/// paper keeps them between 0.4 and 0.6 (section 4.1). It averages over rationales only where it evaluates (five of them,
/// on the HHH questions), and there it does not clamp. Here the mean over rationales, orders and principles is clamped once,
/// so that the bounds are those of the label; the answers behind it are kept as they were.
///
/// Bounds that are not symmetric would make a label depend on which reply is called (A), so they are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChainOfThought {
    /// Rationales that are drawn for every question.
    pub samples: usize,
    /// The lowest and the highest final label.
    pub clamp: [f64; 2],
    /// How rationales are drawn.
    pub sampling: Sampling,
}

impl Default for ChainOfThought {
    fn default() -> Self {
        Self { samples: 1, clamp: [0.4, 0.6], sampling: Sampling::default().with_max_tokens(256) }
    }
}

/// How far the bounds of a clamp may be from symmetric, for the rounding of decimal numbers.
const ROUNDING: f64 = 1e-9;

impl FeedbackConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::AtLeastOne`], [`Error::Clamp`], [`Error::Sampling`] or [`Error::NoRationale`] names the first setting out of
    /// range.
    pub fn validate(&self) -> Result<(), Error> {
        if self.principles_per_comparison == 0 {
            return Err(Error::AtLeastOne { setting: "principles_per_comparison" });
        }
        let Some(chain_of_thought) = &self.chain_of_thought else {
            return Ok(());
        };
        chain_of_thought.validate()?;
        match self.few_shots.iter().position(|shot| shot.rationale.is_none()) {
            Some(index) => Err(Error::NoRationale { index }),
            None => Ok(()),
        }
    }
}

impl ChainOfThought {
    fn validate(&self) -> Result<(), Error> {
        if self.samples == 0 {
            return Err(Error::AtLeastOne { setting: "chain_of_thought.samples" });
        }
        let [low, high] = self.clamp;
        // Written so that a bound that is no number is refused, too.
        if !(low >= 0.0 && low < high && (low + high - 1.0).abs() <= ROUNDING) {
            return Err(Error::Clamp { low, high });
        }
        self.sampling.validate().map_err(|reason| Error::Sampling { reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Answer;
    use dialogue::{Comparison, Dialogue};

    fn reasoning(chain_of_thought: ChainOfThought) -> FeedbackConfig {
        FeedbackConfig { chain_of_thought: Some(chain_of_thought), ..Default::default() }
    }

    #[test]
    fn names_the_setting_out_of_range() {
        for clamp in
            [[0.6, 0.4], [-0.1, 1.1], [0.5, 0.5], [0.4, 0.7], [f64::NAN, 0.6], [0.4, f64::NAN]]
        {
            let config = reasoning(ChainOfThought { clamp, ..Default::default() });
            let message = config.validate().unwrap_err().to_string();
            assert!(message.contains("chain_of_thought.clamp"), "{message}");
        }
        reasoning(ChainOfThought { clamp: [0.3, 0.7], ..Default::default() }).validate().unwrap();
        reasoning(ChainOfThought { clamp: [0.0, 1.0], ..Default::default() }).validate().unwrap();
        let none = FeedbackConfig { principles_per_comparison: 0, ..Default::default() };
        let message = none.validate().unwrap_err().to_string();
        assert!(message.contains("`principles_per_comparison`"), "{message}");
        let none = reasoning(ChainOfThought { samples: 0, ..Default::default() });
        let message = none.validate().unwrap_err().to_string();
        assert!(message.contains("`chain_of_thought.samples`"), "{message}");

        let sampling = Sampling::default().with_max_tokens(0);
        let config = reasoning(ChainOfThought { sampling, ..Default::default() });
        let message = config.validate().unwrap_err().to_string();
        assert!(message.contains("chain_of_thought.sampling") && message.contains("max_tokens"));

        let pair = Comparison { prompt: Dialogue::from_user("q"), replies: Default::default() };
        let few_shots = vec![FewShot { pair, answer: Answer::A, rationale: None }];
        let direct = FeedbackConfig { few_shots, ..Default::default() };
        direct.validate().unwrap();
        let config = FeedbackConfig { chain_of_thought: Some(ChainOfThought::default()), ..direct };
        let message = config.validate().unwrap_err().to_string();
        assert!(message.contains("few_shots[0]"), "{message}");
    }

    #[test]
    fn reads_settings_and_refuses_unknown_ones() {
        let text = r#"{"both_orders":false,"chain_of_thought":{"clamp":[0.2,0.8]},
            "few_shots":[{"pair":{"prompt":[],"replies":["a","b"]},"answer":"B"}]}"#;
        let config: FeedbackConfig = serde_json::from_str(text).unwrap();
        let chain_of_thought = config.chain_of_thought.as_ref().unwrap();
        assert_eq!((config.both_orders, chain_of_thought.sampling.max_tokens), (false, 256));
        assert_eq!(config.few_shots[0].answer, Answer::B);
        let again = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<FeedbackConfig>(&again).unwrap(), config);
        assert!(serde_json::from_str::<FeedbackConfig>(r#"{"orders":2}"#).is_err());
    }
}
