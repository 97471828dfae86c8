//! What labelling can fail with.

use std::path::PathBuf;

/// Why pairs could not be labelled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No principle can be drawn.
    #[error(transparent)]
    Constitution(#[from] constitution::Error),
    /// The judge failed.
    #[error(transparent)]
    Judge(#[from] language_model::Error),
    /// A number of things to ask for is 0.
    #[error("`{setting}` is 0, expected a whole number of at least 1")]
    AtLeastOne {
        /// The setting.
        setting: &'static str,
    },
    /// The settings of the rationale are out of range.
    #[error("in `chain_of_thought.sampling`: {reason}")]
    Sampling {
        /// What is wrong with them.
        reason: language_model::Error,
    },
    /// The bounds of a label are out of range.
    #[error(
        "`chain_of_thought.clamp` is [{low}, {high}], expected two bounds from 0 to 1 that are as far below 0.5 as above \
         it, such as [0.4, 0.6]"
    )]
    Clamp {
        /// The lower bound.
        low: f64,
        /// The upper bound.
        high: f64,
    },
    /// A worked example shows no reasoning where reasoning is asked for.
    #[error(
        "`few_shots[{index}]` has no `rationale`, which `chain_of_thought` needs in every example; \
         write one or leave the example out"
    )]
    NoRationale {
        /// The place in the list, counted from 0.
        index: usize,
    },
    /// The settings ask for a chain of thought, but the judge only chooses.
    #[error(
        "`chain_of_thought` is set, but this judge only chooses; remove the setting or call `label` with a judge that \
         generates too"
    )]
    CannotReason,
    /// The judge broke its contract.
    #[error("the judge gave {found} answers to {expected} questions; it must give one each")]
    Count {
        /// Questions asked.
        expected: usize,
        /// Answers given.
        found: usize,
    },
    /// The judge's answer is no pair of probabilities.
    #[error(
        "the judge weighed (A) and (B) of pair {id} as {found:?}, expected two finite numbers of at least 0 that are \
         not both 0"
    )]
    Probabilities {
        /// The id of the label.
        id: String,
        /// The judge's answer.
        found: Vec<f64>,
    },
    /// The highest score is out of range.
    #[error("`highest` is {found}, expected a whole number from 2 to 10")]
    Highest {
        /// The setting's value.
        found: u8,
    },
    /// The judge's scores are no probabilities.
    #[error(
        "the judge weighed the scores of dialogue {id} as {found:?}, expected {expected} finite numbers of at least 0 that \
         are not all 0"
    )]
    Scores {
        /// [`dialogue::Dialogue::id`] of the dialogue.
        id: String,
        /// Scores that there are.
        expected: usize,
        /// The judge's answer.
        found: Vec<f64>,
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
