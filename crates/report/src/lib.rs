//! The report of a run: one self-contained HTML page; and tables and pictures of experiments.
//!
//! [`write()`] reads a run folder and writes `report.html` into it: the results of the three models with their
//! intervals, harmlessness against helpfulness (figure 2 of Constitutional AI, arXiv 2212.08073), harmlessness by
//! number of revisions (figure 5), the calibration of labels and preference model (figure 9), the curves of every
//! stage, score against KL along PPO (arXiv 2204.05862, section 4.3), transcripts, the constitution and the settings. A
//! part that is missing is left out with a word about it.
//!
//! | file | holds | shown as |
//! |---|---|---|
//! | `run.toml` | settings, versions, seed, device | text |
//! | `constitution.toml` | a [`constitution::Constitution`] | tables of both lists |
//! | `critique_revision/revisions.jsonl` | one [`critique_revision::Trace`] a line | two whole traces |
//! | `critique_revision/summary.json` | a [`critique_revision::RevisionSummary`] | counts of what was wrong |
//! | `red_team/figures.json` | a [`red_team::Figures`] for each kind of request | shares of valid and of new requests |
//! | `ai_feedback/labels.jsonl` | one [`ai_feedback::Label`] a line | histogram, one question |
//! | `sft`, `preference_model`, `ppo`: `metrics.jsonl` | `{"step": 1, "loss": 2.5, …}` | one curve a number |
//! | `evals/results.json` | [`Results`] | table, summary, pictures, times |
//! | `evals/transcripts.jsonl` | one [`Transcript`] a line | replies side by side |
//!
//! Of these `run.toml` or `evals/results.json` must be there. A file of JSON lines may be a [`dataset::Journal`].
//! [`table`] is the table alone, as text for the end of a run.
//!
//! An [`Experiment`] holds what was measured of several runs and their means over seeds; [`ByCategory`] and [`Ways`] draw them
//! as files of their own.

mod difference;
mod error;
mod experiment;
mod facts;
mod format;
mod metrics;
mod names;
mod page;
mod palette;
mod plots;
mod results;
mod run_folder;
mod summary;
mod table;
mod text;
mod transcript;

pub use error::Error;
pub use evals::Bin;
pub use experiment::{Aggregate, Experiment, Observation, aggregate};
pub use names::measure_title;
pub use plots::{ByCategory, Series, Way, Ways};
pub use results::{
    Checkpoint, LabelQuality, Measure, MeasureKind, Measures, PreferenceModelQuality, Results,
};
pub use table::table;
pub use transcript::{PromptKind, Reply, Transcript};

use run_folder::RunFolder;
use std::path::{Path, PathBuf};

/// Reads a run folder and writes `report.html` into it, at once or not at all; returns the path of the page.
///
/// # Errors
/// If the folder holds no run, a file in it cannot be read or is malformed, or the page cannot be written.
pub fn write(run_folder: &Path) -> Result<PathBuf, Error> {
    let page = page::render(&RunFolder::read(run_folder)?)?;
    let path = run_folder.join("report.html");
    dataset::write_atomic(&path, page.as_bytes())?;
    Ok(path)
}
