//! The settings of generation.

use crate::harm_type::MOST;
use crate::language::languages;
use crate::{Error, error::number};
use language_model::Sampling;
use serde::{Deserialize, Serialize};

/// How requests are generated.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `shots` | 10 | seeds that a prompt shows |
/// | `requests` | 100 | new requests to find |
/// | `batch` | 32 | prompts in one call of the model |
/// | `max_calls` | 100 | calls after which to be content with what was found |
/// | `min_characters` | 4 | shortest request |
/// | `max_characters` | 400 | longest request |
/// | `min_words` | 1 | fewest words of a request |
/// | `max_words` | 100 | most words of a request |
/// | `languages` | all | ISO 639-3 codes such as `"eng"`; requests that are surely in another language are left out |
/// | `shingle_words` | 2 | words in a run by which texts are compared, at least 1 |
/// | `similarity` | 0.7 | share of common runs from which two texts are near, from 0.1 to 1 |
/// | `drop_near_duplicates` | true | leaves out requests that are near a seed or an earlier request |
/// | `harm_types` | none | types by which red-team requests are tagged, 2 to 26 of them; see [`crate::HARM_TYPES`] |
/// | `sampling` | [`Sampling::default`] | how continuations are drawn |
///
/// The paper does not print its prompt or its number of shots; its predecessor (arXiv 2204.05862) shows about ten.
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
    /// Fewest words of a request.
    pub min_words: usize,
    /// Most words of a request.
    pub max_words: usize,
    /// Languages of requests, as ISO 639-3 codes; all of them if there are none.
    pub languages: Vec<String>,
    /// Words in a run by which texts are compared.
    pub shingle_words: usize,
    /// Share of common runs (their Jaccard similarity) from which two texts are near.
    pub similarity: f64,
    /// Leaves out requests that are near a seed or an earlier request.
    pub drop_near_duplicates: bool,
    /// Types by which red-team requests are tagged, if there are any.
    pub harm_types: Vec<String>,
    /// How continuations are drawn.
    pub sampling: Sampling,
}

impl Default for GenerationConfig {
    fn default() -> Self {
        Self {
            shots: 10,
            requests: 100,
            batch: 32,
            max_calls: 100,
            min_characters: 4,
            max_characters: 400,
            min_words: 1,
            max_words: 100,
            languages: Vec::new(),
            shingle_words: 2,
            similarity: 0.7,
            drop_near_duplicates: true,
            harm_types: Vec::new(),
            sampling: Sampling::default(),
        }
    }
}

impl GenerationConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Setting`], [`Error::Language`], [`Error::HarmTypes`] or [`Error::Sampling`] names the first setting out of
    /// range.
    pub fn validate(&self) -> Result<(), Error> {
        let counts = [
            ("shots", self.shots),
            ("batch", self.batch),
            ("max_calls", self.max_calls),
            ("shingle_words", self.shingle_words),
        ];
        for (setting, count) in counts {
            number(setting, count, count > 0, "a whole number of at least 1")?;
        }
        let characters = self.max_characters >= self.min_characters.max(1);
        let expected = "at least 1 and at least `min_characters`";
        number("max_characters", self.max_characters, characters, expected)?;
        let words = self.max_words >= self.min_words.max(1);
        number("max_words", self.max_words, words, "at least 1 and at least `min_words`")?;
        let near = (0.1..=1.0).contains(&self.similarity);
        number("similarity", self.similarity, near, "a number from 0.1 to 1")?;
        languages(&self.languages)?;
        let types = self.harm_types.len();
        if types != 0 && !(2..=MOST).contains(&types) {
            return Err(Error::HarmTypes { found: types });
        }
        self.sampling.validate().map_err(|reason| Error::Sampling { reason })
    }

    /// Whether a text is longer than a request may be.
    pub fn is_too_long(&self, text: &str) -> bool {
        let (characters, words) = size(text);
        characters > self.max_characters || words > self.max_words
    }

    /// Whether a text is shorter than a request may be.
    pub(crate) fn is_too_short(&self, text: &str) -> bool {
        let (characters, words) = size(text);
        characters < self.min_characters || words < self.min_words
    }
}

/// Characters and words of a text as it stands in a list, with one blank between two words.
fn size(text: &str) -> (usize, usize) {
    let (mut letters, mut words) = (0_usize, 0_usize);
    for word in text.split_whitespace() {
        letters += word.chars().count();
        words += 1;
    }
    (letters + words.saturating_sub(1), words)
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
            ("`max_words`", GenerationConfig { min_words: 5, max_words: 4, ..default() }),
            ("`shingle_words`", GenerationConfig { shingle_words: 0, ..default() }),
            ("`similarity`", GenerationConfig { similarity: 0.0, ..default() }),
            ("`similarity`", GenerationConfig { similarity: f64::NAN, ..default() }),
            ("`languages`", GenerationConfig { languages: vec!["xx".to_owned()], ..default() }),
            ("`harm_types`", GenerationConfig { harm_types: vec!["x".to_owned()], ..default() }),
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
    fn a_text_is_as_long_as_it_stands_in_a_list() {
        let config = |max_characters, max_words| GenerationConfig {
            max_characters,
            max_words,
            ..GenerationConfig::default()
        };
        let text = " Wäre  das\n\nlang? ";
        assert!(!config(14, 3).is_too_long(text));
        assert!(config(13, 3).is_too_long(text) && config(14, 2).is_too_long(text));
        let short = GenerationConfig { min_characters: 14, min_words: 3, ..config(20, 9) };
        assert!(!short.is_too_short(text) && short.is_too_short("Wäre das lang"));
        assert!(short.is_too_short("Wäreabcdefghijklmnop lang") && short.is_too_short(""));
    }

    #[test]
    fn reads_settings_and_refuses_unknown_ones() {
        let config: GenerationConfig =
            serde_json::from_str(r#"{"requests":7,"sampling":{"max_tokens":60}}"#).unwrap();
        assert_eq!((config.requests, config.sampling.max_tokens, config.shots), (7, 60, 10));
        assert!(serde_json::from_str::<GenerationConfig>(r#"{"request":7}"#).is_err());
    }
}
