//! What is done to which file, and what came of it.

use crate::header::beside;
use crate::{Error, Flow, Report, Shard};
use dataset::{ColumnMapping, Reading, Rejects};
use std::fs;
use std::path::{Path, PathBuf};

/// What is done to which file, and where the records go.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// A file of any format that `dataset` reads; a row that occurs twice is one item. It is read twice, so it must be a file.
    pub input: PathBuf,
    /// Which of its columns hold what.
    pub columns: ColumnMapping,
    /// Highest share of bad rows, in \[0, 1), that are left out and written to [`Job::rejects`]; at 0 the first is an error.
    pub rejected_share: f64,
    /// The file of records. While the job is under way `OUT.part` holds them; `OUT.job` says what they belong to.
    pub out: PathBuf,
    /// The part of the items that is worked on; all without it.
    pub shard: Option<Shard>,
    /// Of every random stream.
    pub seed: u64,
    /// How much is under way at a time.
    pub flow: Flow,
    /// Highest share of items, in \[0, 1), that the model may refuse for good and that go to [`Job::failures`]; at 0 the
    /// first ends the job.
    pub failed_share: f64,
    /// Asks once more for items that have failed, of a job that is under way or finished, and of a finished one also for those
    /// whose records were lost.
    pub retry_failed: bool,
}

impl Job {
    /// A job over all items with seed 1, the usual columns, the default flow, no bad row and at most a tenth of failures.
    pub fn new(input: impl Into<PathBuf>, out: impl Into<PathBuf>) -> Self {
        Self {
            input: input.into(),
            columns: ColumnMapping::default(),
            rejected_share: 0.0,
            out: out.into(),
            shard: None,
            seed: 1,
            flow: Flow::default(),
            failed_share: Self::FAILED_SHARE,
            retry_failed: false,
        }
    }

    /// The default of [`Job::failed_share`].
    pub const FAILED_SHARE: f64 = 0.1;

    /// Where the answers of the model are kept while the job is under way.
    pub fn answers(&self) -> PathBuf {
        beside(&self.out, "answers")
    }

    /// Where bad rows of the input go: those of the whole input, whatever the shard, since a row that cannot be read
    /// belongs to none.
    pub fn rejects(&self) -> PathBuf {
        beside(&self.out, "rejects.jsonl")
    }

    /// Where items that have failed go, with what the model said: rows that the job reads again, without
    /// a mapping of columns.
    pub fn failures(&self) -> PathBuf {
        beside(&self.out, "failures.jsonl")
    }

    /// Where the [`Report`] goes.
    pub fn report(&self) -> PathBuf {
        beside(&self.out, "report.json")
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Setting`] names the first one out of range.
    pub fn validate(&self) -> Result<(), Error> {
        self.flow.validate()?;
        self.columns.validate()?;
        for (setting, share) in
            [("rejected_share", self.rejected_share), ("failed_share", self.failed_share)]
        {
            if !(0.0..1.0).contains(&share) {
                let expected = "a number of at least 0 and below 1";
                return Err(Error::Setting { setting, found: share.to_string(), expected });
            }
        }
        Ok(())
    }

    /// Sees that the input can be read more than once.
    ///
    /// # Errors
    /// [`Error::InputNoFile`]. What is not there or cannot be looked at shows when it is read.
    pub(crate) fn check_input(&self) -> Result<(), Error> {
        let found = match fs::metadata(&self.input) {
            Ok(input) if input.is_dir() => "a folder",
            Ok(input) if !input.is_file() => "a pipe or a device",
            _ => return Ok(()),
        };
        Err(Error::InputNoFile { path: self.input.clone(), found })
    }

    /// How its input is read; bad rows go to `rejects`.
    pub(crate) fn reading(&self, rejects: &Path) -> Reading {
        let share = self.rejected_share;
        let rejects = (share > 0.0).then(|| Rejects::new(rejects, share));
        Reading { columns: self.columns.clone(), rejects }
    }
}

/// A job that is finished.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// What the records say about the model.
    pub report: Report,
    /// Items that were done before.
    pub before: u64,
    /// Rows of the input that were left out because their item had come before.
    pub duplicates: u64,
    /// Rows of the input that were left out because they are bad.
    pub rejected: u64,
    /// Rows of the input that were left out because both replies are the same.
    pub equal: u64,
    /// Calls of the model by this process, one for each prompt; answers that were kept are not among them.
    pub calls: u64,
    /// Tokens that were drawn for them, as far as the model tells.
    pub tokens: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_out_of_range_is_named() {
        for share in [-0.1, 1.0, f64::NAN] {
            let job = Job { rejected_share: share, ..Job::new("in", "out") };
            assert!(job.validate().unwrap_err().to_string().contains("`rejected_share`"));
            let job = Job { failed_share: share, ..Job::new("in", "out") };
            assert!(job.validate().unwrap_err().to_string().contains("`failed_share`"));
        }
        assert_eq!(Job::new("in", "a/out").failures(), PathBuf::from("a/out.failures.jsonl"));
    }
}
