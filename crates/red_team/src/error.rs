//! What generation can fail with.

use std::fmt::Display;

/// Why requests could not be generated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model failed.
    #[error(transparent)]
    Model(#[from] language_model::Error),
    /// A setting is out of range.
    #[error("`{setting}` is {found}, expected {expected}")]
    Setting {
        /// The name of the setting.
        setting: &'static str,
        /// The value found.
        found: String,
        /// The values allowed.
        expected: &'static str,
    },
    /// A language is unknown.
    #[error("`languages` holds {code:?}, expected ISO 639-3 codes among {known}")]
    Language {
        /// The code found.
        code: String,
        /// The codes known.
        known: String,
    },
    /// There are too few or too many types of harm to choose from.
    #[error("`harm_types` holds {found} types, expected 2 to 26, one a letter, or none")]
    HarmTypes {
        /// Types given.
        found: usize,
    },
    /// The sampling settings are out of range.
    #[error("in `sampling`: {reason}")]
    Sampling {
        /// What is wrong with them.
        reason: language_model::Error,
    },
    /// There are not enough seeds to draw examples from.
    #[error("{found} seed requests are too few for {shots} shots; add seeds or lower `shots`")]
    TooFewSeeds {
        /// Seeds given.
        found: usize,
        /// Examples a prompt.
        shots: usize,
    },
    /// A seed holds no word.
    #[error("seed request {index} holds no letter or digit; remove it")]
    EmptySeed {
        /// The place in the list, counted from 0.
        index: usize,
    },
    /// The model broke its contract.
    #[error(
        "the model gave {found} answers for {expected} prompts; `Generate` and `Choose` must give one each"
    )]
    Count {
        /// Prompts asked.
        expected: usize,
        /// Answers given.
        found: usize,
    },
}

/// An error if a setting is not what it must be.
pub(crate) fn number(
    setting: &'static str,
    found: impl Display,
    allowed: bool,
    expected: &'static str,
) -> Result<(), Error> {
    if allowed {
        Ok(())
    } else {
        Err(Error::Setting { setting, found: found.to_string(), expected })
    }
}
