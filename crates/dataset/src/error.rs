//! What reading and writing data can fail with.

use crate::{Difference, Place};
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
    /// A folder stands where a file of rows is expected.
    #[error("{path} is a folder, expected a file; name one of the files in it")]
    Folder {
        /// The folder.
        path: PathBuf,
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
    /// A row is not one of the rows accepted.
    #[error("{path}, {place}: {field} {problem}; accepted rows are {accepted}")]
    Row {
        /// The file.
        path: PathBuf,
        /// The line or row.
        place: Place,
        /// The field in backquotes, or `the row`.
        field: String,
        /// What was found there and what was expected.
        problem: String,
        /// The shapes that would do.
        accepted: &'static str,
    },
    /// More rows are bad than may be left out.
    #[error(
        "{path}: {rejected} of {rows} rows are bad and at most a share of {most} may be; all stand in {rejects}, the \
         first is {first}"
    )]
    TooManyRejected {
        /// The file.
        path: PathBuf,
        /// Bad rows.
        rejected: usize,
        /// All rows.
        rows: usize,
        /// The highest share of bad rows.
        most: f64,
        /// Where the bad rows are written.
        rejects: PathBuf,
        /// What is wrong with the first.
        first: Box<Self>,
    },
    /// A setting of what becomes of bad rows.
    #[error("the share of bad rows is {found}, expected a number of at least 0 and below 1")]
    RejectedShare {
        /// What was found.
        found: f64,
    },
    /// A setting of columns.
    #[error(
        "the name of the column for `{setting}` is empty; name a column, or leave the setting out"
    )]
    Column {
        /// The setting.
        setting: &'static str,
    },
    /// A column is named that is not read here.
    #[error(
        "a column is named for `{setting}`, which is read of preferences alone; leave the setting out"
    )]
    UnreadColumn {
        /// The setting.
        setting: &'static str,
    },
    /// The first line of a CSV file cannot be one of names.
    #[error("{path}, line 1: the header {problem}; every column needs a name of its own")]
    CsvHeader {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A Parquet file cannot be read.
    #[error(
        "cannot read {path} at row {row}; the file is damaged or holds what cannot be a JSON row"
    )]
    ReadParquet {
        /// The file.
        path: PathBuf,
        /// The row, counted from 1.
        row: usize,
        /// What the decoder says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A Parquet file cannot be written; what stood there before still does.
    #[error("cannot write {path} as Parquet")]
    WriteParquet {
        /// The file.
        path: PathBuf,
        /// What the encoder says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Rows have no common columns.
    #[error("cannot write {path} as Parquet: row {row}: {problem}; JSON lines hold any row")]
    Schema {
        /// The file.
        path: PathBuf,
        /// The row, counted from 1.
        row: usize,
        /// What does not fit.
        problem: String,
    },
    /// A Parquet file would have no columns.
    #[error("cannot write {path}: a Parquet file has the columns of its rows, and there is no row")]
    NoColumns {
        /// The file.
        path: PathBuf,
    },
    /// The library was built without Parquet.
    #[error(
        "{path}: Parquet is not built in; build with the feature `parquet`, or convert the file to JSON lines"
    )]
    NoParquet {
        /// The file.
        path: PathBuf,
    },
    /// Rows are not written in the format that a name stands for.
    #[error(
        "cannot write {path}: CSV is only read; choose a name that ends in .jsonl, .jsonl.gz or .parquet"
    )]
    NotWritten {
        /// The file.
        path: PathBuf,
    },
    /// The splits do not divide the rows.
    #[error("splits: {problem}")]
    Splits {
        /// What is wrong with them.
        problem: String,
    },
    /// A mixture cannot be made.
    #[error("mixture: {problem}")]
    Mixture {
        /// What is wrong with it.
        problem: String,
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
