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
/// | `chain_of_thought` | none | lets the judge think aloud before it chooses |
/// | `few_shots` | none | worked examples that stand in front of every question, each with a principle of its own |
///
/// The paper asks in one order; both orders cancel the judge's habit of preferring a letter (arXiv 2309.00267).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FeedbackConfig {
    /// Asks twice, with the replies exchanged, and takes the mean.
    pub both_orders: bool,
    /// How the principles of a pair, and of the worked examples before it, are drawn.
    pub principles: Drawing,
    /// Lets the judge think aloud before it chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain_of_thought: Option<ChainOfThought>,
    /// Worked examples that stand in front of every question.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub few_shots: Vec<FewShot>,
}

impl Default for FeedbackConfig {
    fn default() -> Self {
        Self {
            both_orders: true,
            principles: Drawing::default(),
            chain_of_thought: None,
            few_shots: Vec::new(),
        }
    }
}

/// How a judge thinks aloud.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `clamp` | \[0.4, 0.6\] | bounds of the final label; `[0, 1]` leaves it as it is |
/// | `sampling` | [`Sampling::default`], 256 tokens | how rationales are drawn; the words that open the answer end one |
///
/// After reasoning a judge is nearly always sure of itself, and such labels make the policy extreme, which is why the
/// paper keeps them between 0.4 and 0.6 (section 4.1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChainOfThought {
    /// The lowest and the highest final label.
    pub clamp: [f64; 2],
    /// How rationales are drawn.
    pub sampling: Sampling,
}

impl Default for ChainOfThought {
    fn default() -> Self {
        Self { clamp: [0.4, 0.6], sampling: Sampling::default().with_max_tokens(256) }
    }
}

impl FeedbackConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Clamp`], [`Error::Sampling`] or [`Error::NoRationale`] names the first setting out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let Some(ChainOfThought { clamp: [low, high], sampling }) = &self.chain_of_thought else {
            return Ok(());
        };
        if !((0.0..=0.5).contains(low) && (0.5..=1.0).contains(high)) {
            return Err(Error::Clamp { low: *low, high: *high });
        }
        sampling.validate().map_err(|reason| Error::Sampling { reason })?;
        match self.few_shots.iter().position(|shot| shot.rationale.is_none()) {
            Some(index) => Err(Error::NoRationale { index }),
            None => Ok(()),
        }
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
        for clamp in [[0.6, 0.4], [-0.1, 0.5], [0.4, 1.1], [f64::NAN, 0.6], [0.4, f64::NAN]] {
            let config = reasoning(ChainOfThought { clamp, ..Default::default() });
            let message = config.validate().unwrap_err().to_string();
            assert!(message.contains("chain_of_thought.clamp"), "{message}");
        }
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
