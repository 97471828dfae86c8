//! Rows into a file of the format that its name stands for.

use crate::Error;
use crate::jsonl::write_lines;
use crate::source::FileFormat;
use serde::Serialize;
use std::path::Path;

/// Replaces `path` by rows, at once as [`crate::write_atomic`] does, and says how many they are.
///
/// A name that ends in `.parquet` stands for Apache Parquet, any other but `.csv` for JSON lines, compressed if it ends in
/// `.gz`. Rows are written as they come, a few in memory; one that is an error leaves the old file.
///
/// In Parquet a row is an object, and the columns are those of all rows together: a field that some rows lack is null
/// there. A [`dialogue::Preference`] becomes the conversational preference columns of TRL, `prompt`, `chosen` and `rejected` as
/// lists of `role` and `content`, with `probability` beside them.
///
/// # Errors
/// That of a row, [`Error::Write`], [`Error::Encode`], [`Error::NotWritten`]; for Parquet [`Error::Schema`] if a field is of
/// two types, [`Error::NoColumns`] if there is no row, [`Error::WriteParquet`] or [`Error::NoParquet`].
pub fn write_rows<T: Serialize>(
    path: impl AsRef<Path>,
    rows: impl IntoIterator<Item = Result<T, Error>>,
) -> Result<usize, Error> {
    let path = path.as_ref();
    match FileFormat::of(path) {
        FileFormat::Json => write_lines(path, rows),
        FileFormat::Csv => Err(Error::NotWritten { path: path.to_owned() }),
        FileFormat::Parquet => write_parquet(path, rows),
    }
}

#[cfg(feature = "parquet")]
use crate::parquet_file::write_parquet;

#[cfg(not(feature = "parquet"))]
fn write_parquet<T: Serialize>(
    path: &Path,
    _rows: impl IntoIterator<Item = Result<T, Error>>,
) -> Result<usize, Error> {
    Err(Error::NoParquet { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Reading, read_preferences};
    use dialogue::{Dialogue, Preference};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const NAMES: &[&str] = if cfg!(feature = "parquet") {
        &["rows.jsonl", "rows.jsonl.gz", "rows.parquet"]
    } else {
        &["rows.jsonl", "rows.jsonl.gz"]
    };

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn preferences_survive_every_format(
            rows in prop::collection::vec(("[a-zé\n\"]{1,9}", "\\PC{0,9}", "\\PC{0,9}", 0.5..=1.0_f64), 1..6)
        ) {
            let folder = tempfile::tempdir().unwrap();
            let rows: Vec<Preference> = rows
                .into_iter()
                .map(|(asked, chosen, rejected, probability)| Preference {
                    prompt: Dialogue::from_user(format!("x{asked}")),
                    chosen,
                    rejected,
                    probability,
                })
                .collect();
            for name in NAMES {
                let path = folder.path().join(name);
                let written = write_rows(&path, rows.iter().map(Ok)).unwrap();
                prop_assert_eq!(written, rows.len());
                prop_assert_eq!(&read_preferences(&path).unwrap(), &rows, "{}", name);
            }
        }
    }

    #[test]
    fn any_rows_survive_every_format() {
        let folder = tempfile::tempdir().unwrap();
        let rows = [
            json!({"a": 1, "deep": {"list": [[1.5], []], "flag": true}, "tags": ["x"]}),
            json!({"a": -2, "deep": {"list": []}, "tags": [], "late": "\u{0}é"}),
        ];
        for name in NAMES {
            let path = folder.path().join(name);
            write_rows(&path, rows.iter().map(Ok)).unwrap();
            let read: Result<Vec<Value>, Error> =
                Reading::default().values(&path).unwrap().collect();
            assert_eq!(read.unwrap(), rows, "{name}");
        }
    }

    #[test]
    fn a_row_that_fails_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        for name in NAMES {
            let path = folder.path().join(name);
            write_rows(&path, [Ok(json!({"a": 1}))]).unwrap();
            let before = std::fs::read(&path).unwrap();
            let failing = [Ok(json!({"a": 2})), Err(Error::Column { setting: "text" })];
            assert!(matches!(write_rows(&path, failing), Err(Error::Column { .. })));
            assert_eq!(std::fs::read(&path).unwrap(), before);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), NAMES.len());
        let csv = write_rows(folder.path().join("rows.csv"), [Ok(1)]);
        assert!(csv.unwrap_err().to_string().contains("CSV is only read"));
    }
}
