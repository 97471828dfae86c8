//! How rows of files are read.

use crate::conversation::Problem;
use crate::{ColumnMapping, Error, Pair, RedTeamAttempt, Rejects, Replies, Rows, Samples};
use crate::{dialogues, pairs, preferences, prompts, records, red_team_attempts, replies, samples};
use dialogue::{Dialogue, Preference};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::Path;

/// How rows of files are read: which columns hold what, and what becomes of bad rows.
///
/// Files are JSON lines or one JSON list, comma-separated values (`.csv`) or Apache Parquet (`.parquet`); the first two may be
/// compressed (`.gz`). Whatever the format, rows are read one at a time.
///
/// ```
/// # fn main() -> Result<(), dataset::Error> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("questions.csv");
/// use dataset::{ColumnMapping, Reading, Rejects};
///
/// std::fs::write(&path, "question,answer\nHow do I kill weeds?,Pull them out.\n,Nothing was asked.\n").unwrap();
/// let reading = Reading {
///     columns: ColumnMapping { prompt: Some("question".to_owned()), ..ColumnMapping::default() },
///     rejects: Some(Rejects::new(folder.path().join("bad.jsonl"), 0.5)),
/// };
/// let mut prompts = reading.prompts(&path)?;
/// assert_eq!(prompts.next().unwrap()?.last_request(), Some("How do I kill weeds?"));
/// assert!(prompts.next().is_none());
/// assert_eq!(prompts.rejected(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// Which columns hold what.
    pub columns: ColumnMapping,
    /// What becomes of bad rows; without it the first is an error.
    pub rejects: Option<Rejects>,
}

impl Reading {
    /// The prompts of a file, each as often as it occurs; what is a row is told at [`crate::read_prompts`].
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::Folder`], [`Error::Read`], [`Error::CsvHeader`], [`Error::ReadParquet`] or
    /// [`Error::RejectedShare`]; [`Error::Column`] or [`Error::UnreadColumn`] if the columns cannot be used; an item is an error of [`crate::read_prompts`] or
    /// [`Error::TooManyRejected`].
    pub fn prompts(&self, path: impl AsRef<Path>) -> Result<Rows<Dialogue>, Error> {
        self.rows(path.as_ref(), prompts::ACCEPTED, prompts::read)
    }

    /// The preferences of a file; what is a row is told at [`crate::read_preferences`].
    ///
    /// # Errors
    /// As for [`Reading::prompts`].
    pub fn preferences(&self, path: impl AsRef<Path>) -> Result<Rows<Preference>, Error> {
        self.rows(path.as_ref(), preferences::ACCEPTED, preferences::read)
    }

    /// The preferences of a file, each with the number of its column `margin`: the margin by which the better reply should
    /// win, at least 0, as in TRL. None where a row has no such column and none is named for it, or an empty cell.
    ///
    /// # Errors
    /// As for [`Reading::prompts`].
    pub fn preferences_with_margins(
        &self,
        path: impl AsRef<Path>,
    ) -> Result<Rows<(Preference, Option<f64>)>, Error> {
        self.open(path.as_ref(), preferences::ACCEPTED_WITH_MARGIN, preferences::read_with_margin)
    }

    /// The pairs of replies of a file, to be judged; what is a row is told at [`Pair`].
    ///
    /// # Errors
    /// As for [`Reading::prompts`].
    pub fn pairs(&self, path: impl AsRef<Path>) -> Result<Rows<Pair>, Error> {
        self.rows(path.as_ref(), pairs::ACCEPTED, pairs::read)
    }

    /// The whole dialogues of a file, to be learnt from as they are.
    ///
    /// | row | dialogue |
    /// |---|---|
    /// | `{"prompt": …, "completion": …}` | the prompt and the completion, each a text or messages |
    /// | `{"messages": …}` | the messages, or the transcript |
    /// | `{"prompt": …, "chosen": …, "rejected": …}` or hh-rlhf | the one that ends in the chosen reply |
    /// | `{"transcript": …}` | a red-team attempt |
    /// | `{"rl_prompt": …}` with `sampled_answers` or `cst` | the prompt with the reply in the middle of the order, or the last revision |
    /// | `{"prompt": …}` or `{"text": …}` | the prompt alone |
    ///
    /// # Errors
    /// As for [`Reading::prompts`].
    pub fn dialogues(&self, path: impl AsRef<Path>) -> Result<Rows<Dialogue>, Error> {
        self.rows(path.as_ref(), dialogues::ACCEPTED, dialogues::read)
    }

    /// The attempts of a red-team file (arXiv 2209.07858).
    ///
    /// # Errors
    /// As for [`Reading::prompts`].
    pub fn red_team_attempts(&self, path: impl AsRef<Path>) -> Result<Rows<RedTeamAttempt>, Error> {
        self.rows(path.as_ref(), red_team_attempts::ACCEPTED, red_team_attempts::read)
    }

    /// The sampled replies of a file like those published with the paper (arXiv 2212.08073).
    ///
    /// # Errors
    /// As for [`Reading::prompts`].
    pub fn samples(&self, path: impl AsRef<Path>) -> Result<Rows<Samples>, Error> {
        self.rows(path.as_ref(), samples::ACCEPTED, samples::read)
    }

    /// The replies of a file: the paper's samples, of a chain of critiques the last revision; `replies`, a list of texts; or
    /// `reply`, a text. The last two may have a `prompt` beside them; other fields are ignored. Where [`ColumnMapping::replies`]
    /// is named, that column is the list. Where a prompt was refused a null stands in the place of its replies.
    ///
    /// # Errors
    /// As for [`Reading::prompts`].
    pub fn replies(&self, path: impl AsRef<Path>) -> Result<Rows<Replies>, Error> {
        self.rows(path.as_ref(), replies::ACCEPTED, replies::read)
    }

    /// The rows of a file as records of a type of one's own; `accepted` says in errors what they are.
    ///
    /// Columns that are named are read under their usual names. A number may be written as a text, as in CSV; a record of a
    /// job over several machines may stand beside its place.
    ///
    /// # Errors
    /// As for [`Reading::prompts`].
    pub fn records<T: DeserializeOwned + 'static>(
        &self,
        path: impl AsRef<Path>,
        accepted: &'static str,
    ) -> Result<Rows<T>, Error> {
        self.rows(path.as_ref(), accepted, records::read::<T>)
    }

    /// The rows of a file as they are.
    ///
    /// # Errors
    /// As for [`Reading::prompts`].
    pub fn values(&self, path: impl AsRef<Path>) -> Result<Rows<Value>, Error> {
        self.rows(path.as_ref(), "JSON values", |_, row| Ok(row.clone()))
    }

    /// Rows of which nothing reads a margin.
    fn rows<T: 'static>(
        &self,
        path: &Path,
        accepted: &'static str,
        read: fn(&ColumnMapping, &Value) -> Result<T, Problem>,
    ) -> Result<Rows<T>, Error> {
        if self.columns.margin.is_some() {
            return Err(Error::UnreadColumn { setting: "margin" });
        }
        self.open(path, accepted, read)
    }

    fn open<T: 'static>(
        &self,
        path: &Path,
        accepted: &'static str,
        read: fn(&ColumnMapping, &Value) -> Result<T, Problem>,
    ) -> Result<Rows<T>, Error> {
        self.columns.validate()?;
        let columns = self.columns.clone();
        let rows = Rows::open(path, accepted, move |row| read(&columns, row))?;
        rows.with_rejects(self.rejects.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_margin_that_nothing_reads_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        let row = r#"{"prompt": "q", "chosen": "yes", "rejected": "no", "gap": 1}"#;
        std::fs::write(&path, row).unwrap();
        let columns = ColumnMapping { margin: Some("gap".to_owned()), ..ColumnMapping::default() };
        let reading = Reading { columns, rejects: None };
        let refused = |error: Option<Error>| {
            let message = error.unwrap().to_string();
            assert!(message.contains("`margin`"), "{message}");
        };
        refused(reading.prompts(&path).err());
        refused(reading.pairs(&path).err());
        refused(reading.preferences(&path).err());
        refused(reading.values(&path).err());
        let mut rows = reading.preferences_with_margins(&path).unwrap();
        assert_eq!(rows.next().unwrap().unwrap().1, Some(1.0));
    }
}
