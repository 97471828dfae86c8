//! What the evaluations of a run found.

use super::json_file::read_json;
use super::{Error, Stage};
use report::Results;
use std::path::{Path, PathBuf};

/// The file.
pub(super) const RESULTS: &str = "results.json";

/// Where the results of a run are.
pub fn results_path(folder: &Path) -> PathBuf {
    folder.join(Stage::Evals.name()).join(RESULTS)
}

/// Reads the results of a run.
///
/// # Errors
/// [`Error::Io`] if there are none yet, [`Error::Settings`] if the file holds something else.
pub fn read_results(folder: &Path) -> Result<Results, Error> {
    read_json(&results_path(folder))
}
