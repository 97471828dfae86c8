//! What training can fail with, whatever the stage.

use std::path::PathBuf;

/// Why a stage cannot start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A number that must be finite is not.
    #[error(
        "{name} is {value} at step {step} of {stage}: training has diverged; lower the learning rate or `clip_norm`, \
         or lengthen the warm-up"
    )]
    Diverged {
        /// The stage that was training.
        stage: String,
        /// Its step, counted from 1.
        step: u64,
        /// The metric.
        name: String,
        /// Its value: infinite or not a number.
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
    /// A state that was kept lacks a part.
    #[error(
        "the state kept after step {step} lacks `{what}`, or cannot be read; it was written by another version: remove it to \
         begin anew"
    )]
    StateLacks {
        /// The step.
        step: u64,
        /// The part.
        what: String,
    },
    /// A metrics file cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}
