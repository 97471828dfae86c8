//! The parts of a run folder that the page shows.

use crate::{
    Error,
    metrics::{Row, Series, series},
    results::Results,
    transcript::Transcript,
};
use ai_feedback::Label;
use constitution::Constitution;
use critique_revision::{RevisionSummary, Trace};
use indexmap::IndexMap;
use red_team::Figures;
use serde::de::DeserializeOwned;
use std::io::ErrorKind;
use std::path::Path;

/// The stages that write `metrics.jsonl`, in the order in which they run.
pub(crate) const TRAINED: [&str; 3] = ["sft", "preference_model", "ppo"];

/// What a run has written so far; a part that is missing is empty.
pub(crate) struct RunFolder {
    /// The name of the folder.
    pub(crate) name: String,
    pub(crate) settings: Option<String>,
    pub(crate) constitution: Option<Constitution>,
    pub(crate) results: Option<Results>,
    pub(crate) transcripts: Vec<Transcript>,
    pub(crate) traces: Vec<Trace>,
    pub(crate) revision_summary: Option<RevisionSummary>,
    /// By the kind of request.
    pub(crate) request_figures: IndexMap<String, Figures>,
    pub(crate) labels: Vec<Label>,
    /// The numbers of each stage in [`TRAINED`].
    pub(crate) metrics: [Vec<Series>; 3],
}

impl RunFolder {
    pub(crate) fn read(folder: &Path) -> Result<Self, Error> {
        let settings = text(&folder.join("run.toml"))?;
        let results = json(&folder.join("evals/results.json"))?;
        if settings.is_none() && results.is_none() {
            return Err(Error::NoRun { folder: folder.to_owned() });
        }
        let metrics = |stage: &str| -> Result<Vec<Series>, Error> {
            Ok(series(&rows::<Row>(&folder.join(stage).join("metrics.jsonl"))?))
        };
        let [sft, preference_model, ppo] = TRAINED.map(metrics);
        Ok(Self {
            name: name(folder),
            settings,
            constitution: constitution(&folder.join("constitution.toml"))?,
            results,
            transcripts: rows(&folder.join("evals/transcripts.jsonl"))?,
            traces: rows(&folder.join("critique_revision/revisions.jsonl"))?,
            revision_summary: json(&folder.join("critique_revision/summary.json"))?,
            request_figures: json(&folder.join("red_team/figures.json"))?.unwrap_or_default(),
            labels: rows(&folder.join("ai_feedback/labels.jsonl"))?,
            metrics: [sft?, preference_model?, ppo?],
        })
    }
}

/// The last part of the path, also of `.` and `..`.
fn name(folder: &Path) -> String {
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    whole.file_name().map_or_else(|| "run".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn constitution(path: &Path) -> Result<Option<Constitution>, Error> {
    match Constitution::from_file(path) {
        Ok(constitution) => Ok(Some(constitution)),
        Err(constitution::Error::Read { source, .. }) if source.kind() == ErrorKind::NotFound => {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// The text of a file, or `None` if there is no such file.
fn text(path: &Path) -> Result<Option<String>, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Read { path: path.to_owned(), source }),
    }
}

fn json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    let Some(text) = text(path)? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|error| malformed(path, error.line(), &error))
}

/// The rows of a file of JSON lines; none if there is no such file.
///
/// The first line of a [`dataset::Journal`] holds its settings and is no row. A last line that breaks off without a
/// line end is still being written, or a killed process left it.
fn rows<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, Error> {
    let Some(text) = text(path)? else { return Ok(Vec::new()) };
    let mut rows = Vec::new();
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if line.trim().is_empty() || (index == 0 && line.starts_with("{\"journal\":")) {
            continue;
        }
        match serde_json::from_str(line) {
            Ok(row) => rows.push(row),
            Err(error) if error.is_eof() && !line.ends_with('\n') => {}
            Err(error) => return Err(malformed(path, index + 1, &error)),
        }
    }
    Ok(rows)
}

fn malformed(path: &Path, line: usize, error: &serde_json::Error) -> Error {
    let message = error.to_string();
    // The line is named already, and within JSON lines serde counts from each anew.
    let message = message.split(" at line ").next().unwrap_or_default().to_owned();
    Error::Malformed { path: path.to_owned(), line, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<u8>, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        std::fs::write(&path, text).unwrap();
        rows(&path)
    }

    #[test]
    fn reads_journals_and_what_was_cut_off() {
        assert_eq!(read("{\"journal\":{}}\n1\n\n2\n").unwrap(), [1, 2]);
        assert_eq!(read("1\n2").unwrap(), [1, 2]);
        let folder = tempfile::tempdir().unwrap();
        assert!(rows::<u8>(&folder.path().join("none.jsonl")).unwrap().is_empty());
        let path = folder.path().join("cut.jsonl");
        std::fs::write(&path, "[1]\n[2").unwrap();
        assert_eq!(rows::<Vec<u8>>(&path).unwrap(), [[1]]);
    }

    #[test]
    fn names_the_line_that_is_no_row() {
        for (text, line) in [("1\n\n[2\n3\n", "line 3"), ("1\nx", "line 2"), ("1\n-1\n", "line 2")]
        {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains("rows.jsonl") && message.contains(line), "{message}");
        }
    }
}
