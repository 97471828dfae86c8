//! What fine-tuning can fail with.

/// Why a model could not be fitted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is out of range, training diverged, or metrics could not be written.
    #[error(transparent)]
    Training(#[from] training::Error),
    /// A dialogue could not be turned into tokens.
    #[error(transparent)]
    LanguageModel(#[from] language_model::Error),
    /// A dialogue teaches nothing.
    #[error("dialogue {id} has no assistant turn to learn from; add a reply or leave it out")]
    NoReply {
        /// [`dialogue::Dialogue::id`] of the dialogue.
        id: String,
    },
    /// An example contradicts itself or the model.
    #[error("example {index}: {what} is {found}, expected {expected}")]
    Example {
        /// Its place in the list, counted from 0.
        index: usize,
        /// What is wrong.
        what: &'static str,
        /// The value found.
        found: String,
        /// The values allowed.
        expected: String,
    },
    /// An example does not fit the context, and the settings want to know.
    #[error(
        "example {index} has {tokens} tokens, but the context holds {context}; shorten it or set `overlong = \"drop\"`"
    )]
    Overlong {
        /// Its place in the list, counted from 0.
        index: usize,
        /// Its tokens.
        tokens: usize,
        /// Tokens that the model can hold.
        context: usize,
    },
    /// Nothing is left to learn from.
    #[error(
        "no examples to learn from ({overlong} were dropped because they are longer than the context)"
    )]
    NoExamples {
        /// Examples dropped as longer than the context.
        overlong: usize,
    },
}
