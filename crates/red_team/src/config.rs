//! The settings of generation.

use crate::Error;
use language_model::Sampling;
use serde::{Deserialize, Serialize};

/// How requests are generated.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `shots` | 4 | seeds that a prompt shows |
/// | `requests` | 100 | new requests to find |
/// | `batch` | 32 | prompts in one call of the model |
/// | `max_calls` | 100 | calls after which to be content with what was found |
/// | `min_characters` | 4 | shortest request |
/// | `max_characters` | 400 | longest request |
/// | `sampling` | [`Sampling::default`] | how continuations are drawn |
///
/// The paper does not print its prompt or its number of shots.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GenerationConfig {
    /// Seeds that a prompt shows.
    pub shots: usize,
    /// New requests to find.
    pub requests: usize,
    /// Prompts in one call of the model.
    pub batch: usize,
    /// Calls after which to be content with what was found.
    pub max_calls: usize,
    /// Shortest request, in characters.
    pub min_characters: usize,
    /// Longest request, in characters.
    pub max_characters: usize,
    /// How continuations are drawn.
    pub sampling: Sampling,
}

impl Default for GenerationConfig {
    fn default() -> Self {
        Self {
            shots: 4,
            requests: 100,
            batch: 32,
            max_calls: 100,
            min_characters: 4,
            max_characters: 400,
            sampling: Sampling::default(),
        }
    }
}

impl GenerationConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Setting`] or [`Error::Sampling`] names the first setting out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let counts = [("shots", self.shots), ("batch", self.batch), ("max_calls", self.max_calls)];
        if let Some(&(setting, found)) = counts.iter().find(|(_, count)| *count == 0) {
            return Err(Error::Setting {
                setting,
                found,
                expected: "a whole number of at least 1",
            });
        }
        if self.max_characters < self.min_characters.max(1) {
            return Err(Error::Setting {
                setting: "max_characters",
                found: self.max_characters,
                expected: "at least 1 and at least `min_characters`",
            });
        }
        self.sampling.validate().map_err(|reason| Error::Sampling { reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_setting_out_of_range() {
        let default = GenerationConfig::default;
        let cases = [
            ("`shots`", GenerationConfig { shots: 0, ..default() }),
            ("`batch`", GenerationConfig { batch: 0, ..default() }),
            ("`max_calls`", GenerationConfig { max_calls: 0, ..default() }),
            ("`max_characters`", GenerationConfig { max_characters: 3, ..default() }),
            (
                "`max_characters`",
                GenerationConfig { min_characters: 0, max_characters: 0, ..default() },
            ),
            (
                "`sampling`",
                GenerationConfig { sampling: Sampling::default().with_max_tokens(0), ..default() },
            ),
        ];
        for (name, config) in cases {
            let message = config.validate().unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
        }
        GenerationConfig { requests: 0, ..default() }.validate().unwrap();
    }

    #[test]
    fn reads_settings_and_refuses_unknown_ones() {
        let config: GenerationConfig =
            serde_json::from_str(r#"{"requests":7,"sampling":{"max_tokens":60}}"#).unwrap();
        assert_eq!((config.requests, config.sampling.max_tokens, config.shots), (7, 60, 4));
        assert!(serde_json::from_str::<GenerationConfig>(r#"{"request":7}"#).is_err());
    }
}
