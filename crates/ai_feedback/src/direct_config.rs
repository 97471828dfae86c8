//! The settings of direct scores.

use crate::Error;
use constitution::Drawing;
use serde::{Deserialize, Serialize};

/// How a judge scores replies directly.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `highest` | 10 | the best score, from 2 to 10; the worst is 1. Up to 9 the judge answers with one digit, see [`crate::DirectReward`] |
/// | `principles` | [`Drawing::default`] | how the principles of a prompt are drawn |
/// | `principles_per_reply` | 1 | principles that a reply is scored by, one question each, whose scores are averaged; at least 1 |
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DirectRewardConfig {
    /// The best score.
    pub highest: u8,
    /// How the principles of a prompt are drawn.
    pub principles: Drawing,
    /// Principles that a reply is scored by.
    pub principles_per_reply: usize,
}

impl Default for DirectRewardConfig {
    fn default() -> Self {
        Self { highest: 10, principles: Drawing::default(), principles_per_reply: 1 }
    }
}

impl DirectRewardConfig {
    /// Whether the first token of an answer always tells the score. Of "1" and "10" it does not where a tokenizer writes ten
    /// as two tokens.
    pub fn tells_by_first_token(&self) -> bool {
        self.highest <= 9
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Highest`] or [`Error::AtLeastOne`] names the setting out of range.
    pub fn validate(&self) -> Result<(), Error> {
        if !(2..=10).contains(&self.highest) {
            return Err(Error::Highest { found: self.highest });
        }
        if self.principles_per_reply == 0 {
            return Err(Error::AtLeastOne { setting: "principles_per_reply" });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_setting_out_of_range() {
        for (text, setting) in [
            (r#"{"highest": 1}"#, "`highest`"),
            (r#"{"highest": 11}"#, "`highest`"),
            (r#"{"principles_per_reply": 0}"#, "`principles_per_reply`"),
        ] {
            let config: DirectRewardConfig = serde_json::from_str(text).unwrap();
            let message = config.validate().unwrap_err().to_string();
            assert!(message.contains(setting), "{message}");
        }
        DirectRewardConfig::default().validate().unwrap();
        assert!(serde_json::from_str::<DirectRewardConfig>(r#"{"lowest": 0}"#).is_err());
    }
}
