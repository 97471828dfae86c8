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

/// How replies are drawn.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `temperature` | 1.0 | divides the logits; 0 takes the most likely token |
/// | `top_k` | none | keeps the `k` most likely tokens |
/// | `top_p` | none | keeps the smallest set of tokens with at least this probability |
/// | `max_tokens` | 128 | longest reply, in tokens |
/// | `stop` | none | strings that end a reply and are not part of it |
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
    /// Longest reply, in tokens.
    pub max_tokens: usize,
    /// Strings that end a reply and are not part of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 1.0, top_k: None, top_p: None, max_tokens: 128, stop: Vec::new() }
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
    /// An end-of-turn token or a stop string.
    Stop,
    /// The longest length allowed.
    Length,
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
        let cases: [(&str, Sampling); 4] = [
            ("temperature", Sampling::default().with_temperature(f32::NAN)),
            ("top_k", Sampling { top_k: Some(0), ..Sampling::default() }),
            ("top_p", Sampling { top_p: Some(0.0), ..Sampling::default() }),
            ("max_tokens", Sampling::default().with_max_tokens(0)),
        ];
        for (name, sampling) in cases {
            let error = sampling.validate().unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        assert!(Sampling::default().validate().is_ok());
    }
}
