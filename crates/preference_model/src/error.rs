//! What a preference model can fail with.

use std::path::PathBuf;

/// Why a preference model could not be fitted, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is out of range, training diverged, or metrics could not be written.
    #[error(transparent)]
    Training(#[from] training::Error),
    /// A dialogue could not be turned into tokens or scored.
    #[error(transparent)]
    LanguageModel(#[from] language_model::Error),
    /// A model folder could not be read or written.
    #[error(transparent)]
    Transformer(#[from] transformer::Error),
    /// A score or a label cannot be evaluated.
    #[error(transparent)]
    Evals(#[from] evals::Error),
    /// A set of preferences has a weight or margins that it cannot have.
    #[error("source `{name}`: `{key}` is {found}, expected {expected}")]
    Source {
        /// The name of the set.
        name: String,
        /// What is wrong.
        key: &'static str,
        /// The value found.
        found: String,
        /// The values allowed.
        expected: &'static str,
    },
    /// The settings weigh a set that there is not.
    #[error("`weights` names `{name}`, but the sources are `{sources}`")]
    UnknownSource {
        /// The name in the settings.
        name: String,
        /// The names of the sets.
        sources: String,
    },
    /// A soft label is not a probability.
    #[error(
        "preference {index} of `{set}`: `probability` is {found}, expected a number from 0 to 1"
    )]
    Probability {
        /// The name of the set.
        set: String,
        /// Its place in the list, counted from 0.
        index: usize,
        /// The value found.
        found: f64,
    },
    /// A dialogue of a preference has nothing to read.
    #[error(
        "preference {index} of `{set}` has a dialogue without tokens, expected at least one; leave it out, or look at the \
         chat template"
    )]
    NoTokens {
        /// The name of the set.
        set: String,
        /// The place of the preference in the list, counted from 0.
        index: usize,
    },
    /// A dialogue of a preference holds a token that the model does not know.
    #[error(
        "preference {index} of `{set}` holds token {token}, but the vocabulary has {vocabulary} tokens; give the model the \
         tokenizer that it was trained with"
    )]
    UnknownToken {
        /// The name of the set.
        set: String,
        /// The place of the preference in the list, counted from 0.
        index: usize,
        /// The token.
        token: u32,
        /// Size of the vocabulary.
        vocabulary: usize,
    },
    /// A dialogue does not fit the context, and the settings want to know.
    #[error(
        "preference {index} of `{set}` has a dialogue of {tokens} tokens, but the context holds {context}; shorten it, or \
         set `overlong` to \"drop\" or \"oldest_turns\""
    )]
    Overlong {
        /// The name of the set.
        set: String,
        /// The place of the preference in the list, counted from 0.
        index: usize,
        /// Tokens of the longer dialogue.
        tokens: usize,
        /// Tokens that the model can hold.
        context: usize,
    },
    /// Nothing is left to learn from.
    #[error(
        "no preferences to learn from ({overlong} were dropped because they are longer than the context, {identical} \
         because both replies are the same)"
    )]
    NoPreferences {
        /// Pairs dropped as longer than the context.
        overlong: usize,
        /// Pairs dropped because both replies are the same.
        identical: usize,
    },
    /// No rated dialogue is left to learn from.
    #[error(
        "no rated dialogues to learn from ({overlong} were dropped because they are longer than the context)"
    )]
    NoRatings {
        /// Dialogues dropped as longer than the context.
        overlong: usize,
    },
    /// A rating is not a number to fit to.
    #[error("rated dialogue {index}: `rating` is {found}, expected a finite number")]
    Rating {
        /// Its place in the list, counted from 0.
        index: usize,
        /// The value found.
        found: f64,
    },
    /// A rated dialogue does not fit the context, and the settings want to know.
    #[error(
        "rated dialogue {index} has {tokens} tokens, but the context holds {context}; shorten it, or set `overlong` to \
         \"drop\" or \"oldest_turns\""
    )]
    OverlongRated {
        /// Its place in the list, counted from 0.
        index: usize,
        /// Its tokens.
        tokens: usize,
        /// Tokens that the model can hold.
        context: usize,
    },
    /// The settings hold out a share, but there is too little of it.
    #[error(
        "`held_out` is {share}, but of {all} {what} none can be held out; set it to 0 or give more {what}s"
    )]
    NothingHeldOut {
        /// The share asked for.
        share: f64,
        /// How many different ones there are.
        all: usize,
        /// What is held out: prompts of pairs, or rated dialogues.
        what: &'static str,
    },
    /// There is but one prompt to learn from, which makes no halves.
    #[error(
        "`robustness` fits models to two halves of the prompts, but there is one alone beside those held out; set it \
         to false or give more prompts"
    )]
    NoHalves,
    /// The weights leave no pair to draw.
    #[error(
        "the weights draw none of the {pairs} preferences to learn from; raise `weights`, `epochs`, or the weight of a source"
    )]
    NothingDrawn {
        /// Pairs that could have been drawn.
        pairs: usize,
    },
    /// There are several scores where one is asked for.
    #[error(
        "`ensemble` asks for {scores} scores, which are no single preference model; fit them with `fit_ensemble`, or set \
         `members` and `heads` to 1"
    )]
    SeveralScores {
        /// Members times heads.
        scores: usize,
    },
    /// A folder cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Something other than an ensemble stands where one is to be written.
    #[error("{path} is there and is no ensemble; give another folder, or remove it")]
    Occupied {
        /// The folder.
        path: PathBuf,
    },
    /// A model folder is not that of a preference model.
    #[error(
        "{file}: `{key}` is {found}, expected {expected}; only folders that a preference model was saved to can be read"
    )]
    NotPreferenceModel {
        /// The file.
        file: String,
        /// The setting.
        key: &'static str,
        /// The value found.
        found: String,
        /// The values allowed.
        expected: &'static str,
    },
}
