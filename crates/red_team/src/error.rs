//! What generation can fail with.

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
        found: usize,
        /// The values allowed.
        expected: &'static str,
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
        "the model gave {found} completions for {expected} prompts; `Generate` must give one each"
    )]
    Count {
        /// Prompts asked.
        expected: usize,
        /// Completions given.
        found: usize,
    },
}
