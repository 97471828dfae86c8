//! What the evaluations of a run found.

use super::{Error, Stage};
use report::Results;
use std::path::{Path, PathBuf};

/// Where the results of a run are.
pub fn results_path(folder: &Path) -> PathBuf {
    folder.join(Stage::Evals.name()).join("results.json")
}

/// Reads the results of a run.
///
/// # Errors
/// [`Error::Io`] if there are none yet, [`Error::Settings`] if the file holds something else.
pub fn read_results(folder: &Path) -> Result<Results, Error> {
    let path = results_path(folder);
    let text = std::fs::read_to_string(&path).map_err(|source| Error::Io {
        action: "read",
        path: path.clone(),
        source,
    })?;
    serde_json::from_str(&text).map_err(|error| Error::Settings {
        source_name: path.display().to_string(),
        message: error.to_string(),
    })
}
