//! The rows of Parquet files.

use crate::file::open_file;
use crate::source::Found;
use crate::{Error, Place};
use arrow_array::RecordBatch;
use arrow_json::LineDelimitedWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use serde_json::Value;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Rows that are decoded together.
const BATCH: usize = 256;

/// The rows of a file, of which a batch is in memory. A null is a field that is missing.
pub(crate) struct ParquetRows {
    path: PathBuf,
    /// None behind damage.
    batches: Option<ParquetRecordBatchReader>,
    /// Rows that are decoded and not yet asked for.
    rows: std::vec::IntoIter<Value>,
    /// Rows asked for.
    count: usize,
}

impl ParquetRows {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let file = open_file(path)?;
        let open = || {
            let builder = ParquetRecordBatchReaderBuilder::try_new(file)?;
            Ok(builder.with_batch_size(BATCH).build()?)
        };
        let batches = reading(open).map_err(|error| read_error(path, 1, error))?;
        let (path, batches) = (path.to_owned(), Some(batches));
        Ok(Self { path, batches, rows: Vec::new().into_iter(), count: 0 })
    }
}

fn read_error(path: &Path, row: usize, source: Failure) -> Error {
    Error::ReadParquet { path: path.to_owned(), row, source }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What is read. The library takes some kinds of damage, such as an offset below 0, for a mistake of its caller and panics.
fn reading<T>(read: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err("the file is damaged".into()))
}

/// The rows of a batch.
fn values(batch: &RecordBatch) -> Result<Vec<Value>, Failure> {
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer.write(batch)?;
    writer.finish()?;
    let lines = writer.into_inner();
    Ok(serde_json::Deserializer::from_slice(&lines).into_iter().collect::<Result<_, _>>()?)
}

impl Iterator for ParquetRows {
    type Item = Result<Found, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(value) = self.rows.next() {
                self.count += 1;
                return Some(Ok(Found { place: Place::Row(self.count), content: Ok(value) }));
            }
            let batches = self.batches.as_mut()?;
            let read = || batches.next().map(|batch| values(&batch?)).transpose();
            match reading(read) {
                Ok(rows) => self.rows = rows?.into_iter(),
                Err(error) => {
                    self.batches = None;
                    return Some(Err(read_error(&self.path, self.count + 1, error)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{read_prompts, write_rows};
    use proptest::prelude::*;
    use serde_json::json;

    fn file(folder: &Path, prompts: [&str; 3]) -> PathBuf {
        let path = folder.join("rows.parquet");
        let rows = prompts.map(|prompt| Ok(json!({"prompt": prompt, "n": 1})));
        write_rows(&path, rows).unwrap();
        path
    }

    #[test]
    fn a_bad_row_is_named_by_file_row_and_field() {
        let folder = tempfile::tempdir().unwrap();
        let message = read_prompts(file(folder.path(), ["a", "b", " "])).unwrap_err().to_string();
        assert!(message.contains("rows.parquet, row 3: `prompt` is blank"), "{message}");
    }

    #[test]
    fn another_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.parquet");
        std::fs::write(&path, "{\"prompt\": \"a\"}\n").unwrap();
        let message = read_prompts(&path).unwrap_err().to_string();
        assert!(message.contains("cannot read") && message.contains("rows.parquet"), "{message}");
        assert!(matches!(read_prompts(folder.path().join("x.parquet")), Err(Error::Open { .. })));
    }

    #[test]
    fn damage_that_the_library_panics_at_is_an_error() {
        let panics = || -> Result<(), Failure> { panic!("an offset below 0") };
        assert_eq!(reading(panics).unwrap_err().to_string(), "the file is damaged");
    }

    proptest! {
        #[test]
        fn damage_is_an_error_or_unseen(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let folder = tempfile::tempdir().unwrap();
            let path = file(folder.path(), ["a", "b", "c"]);
            prop_assert_eq!(read_prompts(&path).unwrap().dialogues.len(), 3);
            let mut bytes = std::fs::read(&path).unwrap();
            let at = at.index(bytes.len());
            std::fs::write(&path, &bytes[..at]).unwrap();
            prop_assert!(read_prompts(&path).is_err());
            bytes[at] = byte;
            std::fs::write(&path, &bytes).unwrap();
            let _ = read_prompts(&path);
        }
    }
}
