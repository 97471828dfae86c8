//! What fine-tuning can fail with.

/// Why a model could not be fitted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is out of range, training diverged, or metrics could not be written.
    #[error(transparent)]
    Training(#[from] training::Error),
    /// The model cannot take an adapter, or a state does not fit it.
    #[error(transparent)]
    Model(#[from] transformer::Error),
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
    #[error("{which}: {what} is {found}, expected {expected}")]
    Example {
        /// Its name, which says where it stands.
        which: String,
        /// What is wrong.
        what: &'static str,
        /// The value found.
        found: String,
        /// The values allowed.
        expected: String,
    },
    /// An example does not fit the context, and the settings want to know.
    #[error(
        "{which} has {tokens} tokens, but the context holds {context}; shorten it, or set `overlong` to \"drop\" or \
         \"oldest_turns\""
    )]
    Overlong {
        /// Its name, which says where it stands.
        which: String,
        /// Its tokens.
        tokens: usize,
        /// Tokens that the model can hold.
        context: usize,
    },
    /// The settings ask for an adapter, and the model has one.
    #[error(
        "the model has an adapter, which goes on learning; leave out `lora`, or merge the adapter before a fresh one is \
         added"
    )]
    HasAdapter,
    /// The settings weigh a source that there is not.
    #[error("`weights` names `{name}`, but the sources are `{sources}`")]
    UnknownSource {
        /// The name in the settings.
        name: String,
        /// The names of the sources.
        sources: String,
    },
    /// The name of a source cannot be part of the name of a metric, or is that of two sources.
    #[error(
        "the name of source {index} is {name:?}, expected lower-case words joined by underscores, each once"
    )]
    SourceName {
        /// Its place in the list, counted from 0.
        index: usize,
        /// Its name.
        name: String,
    },
    /// The settings hold out a share of the prompts, but there are too few.
    #[error(
        "`held_out` is {share}, but of {prompts} prompt(s) none can be held out; set it to 0 or give more prompts"
    )]
    NothingHeldOut {
        /// The share asked for.
        share: f64,
        /// Different prompts.
        prompts: usize,
    },
    /// A stream of examples is not that of the run that was interrupted.
    #[error(
        "the stream gives other examples for step {step} than before the interruption; what it gives must depend on the \
         step alone"
    )]
    Stream {
        /// The step, counted from 0 as the stream counts.
        step: u64,
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
