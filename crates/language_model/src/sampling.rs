//! What is asked of a model and what comes back.

use crate::Error;
use dialogue::Dialogue;
use serde::{Deserialize, Serialize};

/// A dialogue to continue, with the seed of its own random stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Ends in a user turn, which is answered, or in an unfinished assistant turn, which is continued.
    pub dialogue: Dialogue,
    /// Seed of the stream that this reply is drawn from; see [`crate::item_seed`].
    pub seed: u64,
}

/// How replies are drawn. The settings act in the order of the table.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `repetition_penalty` | none | divides the positive logits of tokens that prompt or reply hold already, multiplies the negative ones |
/// | `temperature` | 1.0 | divides the logits; 0 takes the most likely token |
/// | `top_k` | none | keeps the `k` most likely tokens |
/// | `top_p` | none | keeps the smallest set of tokens with at least this probability |
/// | `min_p` | none | keeps the tokens with at least this share of the probability of the most likely one |
/// | `max_tokens` | 128 | longest reply, in tokens |
/// | `stop` | none | strings that end a reply and are not part of it |
/// | `stop_tokens` | none | tokens that end a reply besides the model's own |
///
/// The paper samples at temperature 1 throughout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sampling {
    /// Divides the logits; 0 takes the most likely token.
    pub temperature: f32,
    /// Keeps the `k` most likely tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<usize>,
    /// Keeps the smallest set of tokens whose probability is at least this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f32>,
    /// Keeps the tokens whose probability is at least this share of that of the most likely one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_p: Option<f32>,
    /// Makes tokens that prompt or reply hold already less likely, if above 1: their logits are divided by it where
    /// they are positive and multiplied by it where they are negative.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repetition_penalty: Option<f32>,
    /// Longest reply, in tokens.
    pub max_tokens: usize,
    /// Strings that end a reply and are not part of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// Tokens that end a reply and are not part of its text, besides those at which the model ends of its own accord.
    /// They are numbers in the vocabulary of one model, so they mean nothing to a model that is asked over a network.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop_tokens: Vec<u32>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: None,
            top_p: None,
            min_p: None,
            repetition_penalty: None,
            max_tokens: 128,
            stop: Vec::new(),
            stop_tokens: Vec::new(),
        }
    }
}

impl Sampling {
    /// The default with another length.
    #[must_use]
    pub fn with_max_tokens(mut self, max_tokens: usize) -> Self {
        self.max_tokens = max_tokens;
        self
    }

    /// The default with another temperature.
    #[must_use]
    pub fn with_temperature(mut self, temperature: f32) -> Self {
        self.temperature = temperature;
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Sampling`] names the first setting out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let wrong =
            |setting, found: String, expected| Err(Error::Sampling { setting, found, expected });
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            return wrong("temperature", self.temperature.to_string(), "a number of at least 0");
        }
        if self.top_k == Some(0) {
            return wrong("top_k", "0".to_owned(), "a whole number of at least 1");
        }
        if let Some(top_p) = self.top_p
            && !(top_p > 0.0 && top_p <= 1.0)
        {
            return wrong("top_p", top_p.to_string(), "a number above 0 and at most 1");
        }
        if let Some(min_p) = self.min_p
            && !(0.0..=1.0).contains(&min_p)
        {
            return wrong("min_p", min_p.to_string(), "a number from 0 to 1");
        }
        if let Some(penalty) = self.repetition_penalty
            && !(penalty.is_finite() && penalty > 0.0)
        {
            let expected = "a number above 0; 1 changes nothing";
            return wrong("repetition_penalty", penalty.to_string(), expected);
        }
        if self.max_tokens == 0 {
            return wrong("max_tokens", "0".to_owned(), "a whole number of at least 1");
        }
        if self.stop.iter().any(String::is_empty) {
            return wrong(
                "stop",
                "an empty string".to_owned(),
                "strings of at least one character",
            );
        }
        Ok(())
    }
}

/// Why a reply ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StopReason {
    /// An end-of-turn token, a stop token or a stop string.
    Stop,
    /// The longest length allowed, or the end of the context.
    Length,
    /// Whoever asked for it wanted no more; only a reply that is streamed ends like this.
    Cancelled,
    /// A filter of the server, which does not let the rest of it through.
    Filtered,
}

/// A drawn reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    /// The new text alone, without the end-of-turn token or the stop string.
    pub text: String,
    /// Tokens drawn, the end-of-turn token included.
    pub tokens: usize,
    /// Why it ended.
    pub stopped: StopReason,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_setting_out_of_range() {
        let with = |change: &dyn Fn(&mut Sampling)| {
            let mut sampling = Sampling::default();
            change(&mut sampling);
            sampling
        };
        let cases = [
            ("temperature", Sampling::default().with_temperature(f32::NAN)),
            ("top_k", Sampling { top_k: Some(0), ..Sampling::default() }),
            ("top_p", Sampling { top_p: Some(0.0), ..Sampling::default() }),
            ("min_p", with(&|sampling| sampling.min_p = Some(1.5))),
            ("min_p", with(&|sampling| sampling.min_p = Some(f32::NAN))),
            ("repetition_penalty", with(&|sampling| sampling.repetition_penalty = Some(0.0))),
            (
                "repetition_penalty",
                with(&|sampling| sampling.repetition_penalty = Some(f32::INFINITY)),
            ),
            ("stop", with(&|sampling| sampling.stop = vec![String::new()])),
            ("max_tokens", Sampling::default().with_max_tokens(0)),
        ];
        for (name, sampling) in cases {
            let error = sampling.validate().unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        assert!(Sampling::default().validate().is_ok());
        let all = with(&|sampling| {
            (sampling.min_p, sampling.repetition_penalty) = (Some(0.0), Some(0.5));
        });
        assert!(all.validate().is_ok());
    }

    #[test]
    fn settings_that_are_not_made_are_not_written() {
        let written = serde_json::to_value(Sampling::default()).unwrap();
        assert_eq!(written, serde_json::json!({"temperature": 1.0, "max_tokens": 128}));
        let text = r#"{"min_p": 0.5, "repetition_penalty": 2.0, "stop_tokens": [3]}"#;
        let sampling: Sampling = serde_json::from_str(text).unwrap();
        assert_eq!(sampling.stop_tokens, [3]);
        let again = serde_json::to_value(&sampling).unwrap();
        assert_eq!(serde_json::from_value::<Sampling>(again).unwrap(), sampling);
        assert_eq!(serde_json::to_value(StopReason::Cancelled).unwrap(), "cancelled");
        assert_eq!(serde_json::to_value(StopReason::Filtered).unwrap(), "filtered");
    }
}
