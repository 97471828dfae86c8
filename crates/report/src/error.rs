//! What writing a report can fail with.

use std::path::PathBuf;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The folder holds nothing that a run writes.
    #[error(
        "{folder} holds no part of a run; expected `run.toml` or `evals/results.json`, name the folder of a run"
    )]
    NoRun {
        /// The folder named.
        folder: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file holds something else than a run writes there.
    #[error(
        "{path}, line {line}: {message}; restore the file, or delete it to leave its section out"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What was expected and what was found.
        message: String,
    },
    /// The constitution cannot be read.
    #[error(transparent)]
    Constitution(#[from] constitution::Error),
    /// The page cannot be written.
    #[error(transparent)]
    Write(#[from] dataset::Error),
    /// A picture cannot be drawn.
    #[error("cannot draw {plot}: {message}")]
    Plot {
        /// What it shows.
        plot: String,
        /// What the plotting library says.
        message: String,
    },
    /// The template of the page does not render.
    #[error("cannot lay out the page")]
    Template(#[from] minijinja::Error),
}
