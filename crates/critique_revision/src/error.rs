//! What the loop can fail with.

use std::path::PathBuf;

/// Why critiques and revisions could not be drawn.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No principle can be drawn.
    #[error(transparent)]
    Constitution(#[from] constitution::Error),
    /// The model failed.
    #[error(transparent)]
    Model(#[from] language_model::Error),
    /// A sampling setting is out of range.
    #[error("in `{setting}`: {reason}")]
    Sampling {
        /// `reply`, `critique` or `revision`.
        setting: &'static str,
        /// What is wrong with it.
        reason: language_model::Error,
    },
    /// A prompt has nothing to answer.
    #[error(
        "prompt {index} ({id}) does not end in a user turn; cut the dialogue after the turn to answer"
    )]
    Prompt {
        /// The place in the list, counted from 0.
        index: usize,
        /// [`dialogue::Dialogue::id`] of the prompt.
        id: String,
    },
    /// A worked example would break the order of turns.
    #[error(
        "`few_shots[{index}]` must start with a user turn, end in an assistant turn and hold no system turn"
    )]
    FewShot {
        /// The place in the list, counted from 0.
        index: usize,
    },
    /// A worked example cannot be written in another form than that of the chat with critiques.
    #[error(
        "`few_shots[{index}]` must end in six turns, a request, a reply, a critique request, a critique, a revision request and \
         a revision: with `form = \"transcript\"` or `direct = true` it is written anew from them"
    )]
    FewShotTurns {
        /// The place in the list, counted from 0.
        index: usize,
    },
    /// There are not enough worked examples to draw from.
    #[error(
        "`shots` is {shots}, expected a whole number from 1 to the {found} worked examples in `few_shots`; \
         without `shots` all of them are shown"
    )]
    Shots {
        /// Examples to draw for a step.
        shots: usize,
        /// Examples given.
        found: usize,
    },
    /// Nothing may be drawn.
    #[error("`failures.attempts` is 0, expected a whole number of at least 1")]
    Attempts,
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
    /// A file of worked examples cannot be read.
    #[error("cannot read the worked examples {path}; give the path of a file")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file of worked examples has another form than the paper's.
    #[error("{file}: {fault}; the paper's repository shows the form")]
    Paper {
        /// The file.
        file: PathBuf,
        /// The number of the entry, counted from 1, and what is wrong there.
        fault: String,
    },
}
