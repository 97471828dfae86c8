//! What reading and writing data can fail with.

use crate::Difference;
use std::path::PathBuf;

/// Why data cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be opened.
    #[error("cannot open {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file cannot be read on.
    #[error("cannot read {path} at line {line}; the file is damaged or cut off")]
    Read {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file cannot be written; what stood there before still does.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A record has no JSON form.
    #[error("cannot write {path}: a record has no JSON form: {reason}")]
    Encode {
        /// The file.
        path: PathBuf,
        /// What serde says.
        reason: serde_json::Error,
    },
    /// A line is not JSON, or not of the type expected.
    #[error("{path}, line {line}: {reason}")]
    Json {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What serde says.
        reason: serde_json::Error,
    },
    /// A line is JSON, but not one of the rows accepted.
    #[error("{path}, line {line}: {field} {problem}; accepted rows are {accepted}")]
    Row {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The field in backquotes, or `the row`.
        field: &'static str,
        /// What was found there and what was expected.
        problem: String,
        /// The shapes that would do.
        accepted: &'static str,
    },
    /// A file holds no row.
    #[error("{path} holds no row; accepted rows are {accepted}")]
    Empty {
        /// The file.
        path: PathBuf,
        /// The shapes that would do.
        accepted: &'static str,
    },
    /// A journal belongs to a run with other settings.
    #[error(
        "{path} was written with other settings: {}; use another folder, or delete the file to start over",
        list(differences)
    )]
    Header {
        /// The journal.
        path: PathBuf,
        /// Every setting that differs.
        differences: Vec<Difference>,
    },
    /// A line inside a journal is not a record.
    #[error("{path}, line {line} is damaged: {reason}; delete that line to do its item again")]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What serde says.
        reason: serde_json::Error,
    },
    /// A file that is not a journal stands in its place.
    #[error("{path} is not a journal: its first line does not begin with {{\"journal\":")]
    NotAJournal {
        /// The file.
        path: PathBuf,
    },
    /// Another process is writing the journal.
    #[error("{path} is in use by another process; wait for it or stop it")]
    Busy {
        /// The journal.
        path: PathBuf,
    },
    /// An item occurs twice where each may occur once.
    #[error("item {id} occurs twice in {path}")]
    Repeated {
        /// The journal.
        path: PathBuf,
        /// The item.
        id: String,
    },
    /// Items are not done yet.
    #[error("{path} lacks {count} of the items asked for, the first is {first}")]
    Missing {
        /// The journal.
        path: PathBuf,
        /// How many are missing.
        count: usize,
        /// The first of them.
        first: String,
    },
}

fn list(differences: &[Difference]) -> String {
    differences.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
