//! What can go wrong with the embedded model.

/// Why the embedded model could not be trained, loaded or measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The tokenizer could not be trained.
    #[error("the tokenizer could not be trained: {0}")]
    Tokenizer(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The tokenizer is not that of the world.
    #[error("the tokenizer has no token `{0}`; train it with `rlaif organism pretrain`")]
    SpecialToken(&'static str),
    /// The constitution is not that of the world.
    #[error(transparent)]
    Constitution(#[from] constitution::Error),
    /// The model could not be built, read or written.
    #[error(transparent)]
    Transformer(#[from] transformer::Error),
    /// The model failed.
    #[error(transparent)]
    LanguageModel(#[from] language_model::Error),
    /// Training failed.
    #[error(transparent)]
    Sft(#[from] sft::Error),
    /// The record of a pretraining run has no JSON form.
    #[error("the record of pretraining cannot be written: {0}")]
    Record(#[source] serde_json::Error),
    /// Requests could not be generated.
    #[error(transparent)]
    RedTeam(#[from] red_team::Error),
}
