//! The rows of a file of any format, as JSON values.

use crate::json_rows::open_json;
use crate::lines::is_gz;
use crate::{Error, Place, csv_rows::CsvRows};
use serde_json::Value;
use std::ffi::OsStr;
use std::path::Path;

/// A row as it stands in a file.
pub(crate) struct Found {
    pub(crate) place: Place,
    pub(crate) content: Result<Value, Unreadable>,
}

/// A row that has no JSON value, though those behind it may have one.
pub(crate) struct Unreadable {
    /// The field in backquotes, or `the row`.
    pub(crate) field: String,
    pub(crate) problem: String,
    /// What stands there, as far as it is text.
    pub(crate) text: String,
}

/// Rows as they are found; an error is the end of them.
pub(crate) type Source = Box<dyn Iterator<Item = Result<Found, Error>> + Send>;

/// How a file holds its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileFormat {
    /// JSON, one value a line, or one list of all.
    Json,
    /// Comma-separated values below a line of names.
    Csv,
    /// Apache Parquet.
    Parquet,
}

impl FileFormat {
    /// The format that a name stands for: JSON lines unless it says otherwise.
    pub(crate) fn of(path: &Path) -> Self {
        let name = if is_gz(path) { path.with_extension("") } else { path.to_owned() };
        match name.extension().map(OsStr::to_ascii_lowercase) {
            Some(extension) if extension == "csv" => Self::Csv,
            Some(extension) if extension == "parquet" && !is_gz(path) => Self::Parquet,
            _ => Self::Json,
        }
    }
}

/// Opens a file by the format that its name stands for.
pub(crate) fn open(path: &Path) -> Result<Source, Error> {
    match FileFormat::of(path) {
        FileFormat::Json => open_json(path),
        FileFormat::Csv => Ok(Box::new(CsvRows::open(path)?)),
        FileFormat::Parquet => open_parquet(path),
    }
}

#[cfg(feature = "parquet")]
fn open_parquet(path: &Path) -> Result<Source, Error> {
    Ok(Box::new(crate::parquet_rows::ParquetRows::open(path)?))
}

#[cfg(not(feature = "parquet"))]
fn open_parquet(path: &Path) -> Result<Source, Error> {
    Err(Error::NoParquet { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_the_format() {
        for (name, format) in [
            ("a.jsonl", FileFormat::Json),
            ("a.jsonl.gz", FileFormat::Json),
            ("a.json", FileFormat::Json),
            ("a", FileFormat::Json),
            ("a.csv", FileFormat::Csv),
            ("a.CSV.gz", FileFormat::Csv),
            ("a.parquet", FileFormat::Parquet),
        ] {
            assert_eq!(FileFormat::of(Path::new(name)), format, "{name}");
        }
    }
}
