//! What training can fail with, whatever the stage.

use std::path::{Path, PathBuf};

/// Why a stage cannot start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A number that must be finite is not, or a weight is too large to be one of a model.
    #[error(
        "{name} is {value:.2e} at step {step} of {stage}: training has diverged; begin the stage anew with a lower learning \
         rate or `clip_norm`, or a longer warm-up"
    )]
    Diverged {
        /// The stage that was training.
        stage: String,
        /// Its step, counted from 1.
        step: u64,
        /// The metric, or the weight.
        name: String,
        /// Its value: infinite, not a number, or too large.
        value: f64,
    },
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
    /// A setting of the optimiser or the schedule of a stage is out of range.
    #[error("`{table}.{setting}` is {found}, expected {expected}")]
    TableSetting {
        /// The table among the settings of the stage.
        table: &'static str,
        /// The name of the setting in it.
        setting: &'static str,
        /// The value found.
        found: String,
        /// The values allowed.
        expected: &'static str,
    },
    /// A group of an optimiser has no parameter, so that its settings would do nothing.
    #[error(
        "`{table}.groups`: no parameter that learns belongs to the group with `names` = {names:?}; a name is part of a path, \
         and a parameter belongs to the first group that names a part of its own; some that learn: {}",
        paths.join(", ")
    )]
    EmptyGroup {
        /// The table of the optimiser among the settings of the stage.
        table: &'static str,
        /// The names of the group.
        names: Vec<String>,
        /// The paths of some parameters that learn.
        paths: Vec<String>,
    },
    /// A state that was kept lacks a part.
    #[error(
        "the state kept after step {step} lacks `{what}`, or cannot be read; it was written by another version: remove {} \
         to begin anew",
        all_states(folder.as_deref())
    )]
    StateLacks {
        /// The folder of all states; none if they are in none.
        folder: Option<PathBuf>,
        /// The step.
        step: u64,
        /// The part.
        what: String,
    },
    /// A file of a state has a name that is not plain.
    #[error(
        "`{name}` cannot name a file of a state: expected letters, digits, `_`, `-` and `.`, not `.` first, once each"
    )]
    FileName {
        /// The name.
        name: String,
    },
    /// A folder of states belongs to something else.
    #[error(
        "{path} belongs to another run of `{found}`, not to this run of `{expected}`: its settings, data, seed or initial \
         weights are others (which of them is not recorded); give another folder, or remove this one to begin anew"
    )]
    OtherRun {
        /// The folder of the state.
        path: PathBuf,
        /// The stage it belongs to.
        found: String,
        /// The stage that was begun.
        expected: String,
    },
    /// A step was recorded before its stage began.
    #[error("nothing can be recorded in {path} before a stage begins: call `Observe::start` first")]
    NotStarted {
        /// The file or folder.
        path: PathBuf,
    },
    /// A file or folder cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file or folder cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A state that is no longer needed cannot be removed.
    #[error("cannot remove {path}")]
    Remove {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

impl Error {
    /// Says which table among the settings of a stage a setting that is out of range stands in.
    #[must_use]
    pub fn in_table(self, table: &'static str) -> Self {
        match self {
            Self::Setting { setting, found, expected } => {
                Self::TableSetting { table, setting, found, expected }
            }
            other => other,
        }
    }
}

/// What to remove so that no state is left.
fn all_states(folder: Option<&Path>) -> String {
    folder.map_or_else(|| "all states".to_owned(), |folder| folder.display().to_string())
}
