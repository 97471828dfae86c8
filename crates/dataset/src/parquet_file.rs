//! Parquet files out of JSON rows.

use crate::Error;
use crate::atomic::{replace, temporary_beside, write_error};
use crate::jsonl::write_to;
use crate::lines::Lines;
use crate::parquet_columns::ColumnType;
use arrow_array::RecordBatch;
use arrow_json::ReaderBuilder;
use arrow_json::reader::Decoder;
use arrow_schema::{ArrowError, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde::Serialize;
use serde_json::Value;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

/// Rows that are encoded together.
const BATCH: usize = 256;

/// The most rows and bytes of a row group, which is held in memory until it is whole.
const GROUP_ROWS: usize = 16_384;
const GROUP_BYTES: usize = 32 << 20;

/// Replaces `path` by rows.
///
/// The columns are known only after the last row, so the rows first go to a temporary file beside it.
pub(crate) fn write_parquet<T: Serialize>(
    path: &Path,
    rows: impl IntoIterator<Item = Result<T, Error>>,
) -> Result<usize, Error> {
    let failed = |source| write_error(path, source);
    let mut temporary = temporary_beside(&path.with_extension("rows")).map_err(failed)?;
    let mut columns = ColumnType::default();
    let mut out = BufWriter::new(temporary.as_file_mut());
    let values = (1..).zip(rows).map(|(row, value)| {
        let value = serde_json::to_value(value?)
            .map_err(|reason| Error::Encode { path: path.to_owned(), reason })?;
        if !value.is_object() {
            return Err(schema_error(path, row, "it is no object".to_owned()));
        }
        columns.widen("", &value).map_err(|problem| schema_error(path, row, problem))?;
        Ok(value)
    });
    let count = write_to(path, values, &mut out)?;
    out.flush().map_err(failed)?;
    drop(out);
    if count == 0 {
        return Err(Error::NoColumns { path: path.to_owned() });
    }
    let schema = columns.schema().map_err(|problem| schema_error(path, count, problem))?;
    let lines =
        Lines::from_bytes(path, Box::new(BufReader::new(temporary.reopen().map_err(failed)?)), 0);
    replace(path, |out| encode(path, lines, Arc::new(schema), out))?;
    Ok(count)
}

fn schema_error(path: &Path, row: usize, problem: String) -> Error {
    Error::Schema { path: path.to_owned(), row, problem }
}

fn encode(
    path: &Path,
    lines: Lines,
    schema: Arc<Schema>,
    out: &mut (dyn Write + Send),
) -> Result<(), Error> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::WriteParquet {
        path: path.to_owned(),
        source,
    };
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_max_row_group_bytes(Some(GROUP_BYTES))
        .build();
    let mut writer = ArrowWriter::try_new(out, schema.clone(), Some(properties))
        .map_err(|error| failed(error.into()))?;
    let mut decoder = ReaderBuilder::new(schema)
        .with_batch_size(BATCH)
        .build_decoder()
        .map_err(|error| failed(error.into()))?;
    let mut rows: Vec<Value> = Vec::new();
    for line in lines {
        let line = line?;
        let row = serde_json::from_slice(&line.bytes);
        rows.push(row.map_err(|reason| Error::Encode { path: path.to_owned(), reason })?);
        if rows.len() == BATCH {
            let batch = batch(&mut decoder, &mut rows).map_err(|error| failed(error.into()))?;
            writer.write(&batch).map_err(|error| failed(error.into()))?;
        }
    }
    if !rows.is_empty() {
        let batch = batch(&mut decoder, &mut rows).map_err(|error| failed(error.into()))?;
        writer.write(&batch).map_err(|error| failed(error.into()))?;
    }
    writer.close().map(drop).map_err(|error| failed(error.into()))
}

fn batch(decoder: &mut Decoder, rows: &mut Vec<Value>) -> Result<RecordBatch, ArrowError> {
    decoder.serialize(rows.as_slice())?;
    rows.clear();
    let nothing = || ArrowError::JsonError("no row was decoded".to_owned());
    decoder.flush()?.ok_or_else(nothing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reading;
    use parquet::file::metadata::RowGroupMetaData;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use serde_json::json;
    use std::fs::File;

    #[test]
    fn long_files_are_written_in_groups() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.parquet");
        let rows = GROUP_ROWS + BATCH + 1;
        let row = |index: usize| Ok(json!({"index": index, "text": format!("row {index}")}));
        assert_eq!(write_parquet(&path, (0..rows).map(row)).unwrap(), rows);
        let reader = SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
        let groups: Vec<i64> =
            reader.metadata().row_groups().iter().map(RowGroupMetaData::num_rows).collect();
        assert_eq!(groups, [16_384, 257]);
        let read = Reading::default().values(&path).unwrap();
        for (index, value) in read.enumerate() {
            assert_eq!(value.unwrap(), row(index).unwrap());
        }
    }

    #[test]
    fn rows_that_share_no_columns_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.parquet");
        let write = |rows: &[Value]| write_parquet(&path, rows.iter().map(Ok)).unwrap_err();
        let message = write(&[json!({"a": 1}), json!({"a": "x"})]).to_string();
        assert!(message.contains("rows.parquet") && message.contains("row 2: `a` is"), "{message}");
        assert!(write(&[json!({"a": 1}), json!("x")]).to_string().contains("row 2: it is no"));
        assert!(matches!(write(&[]), Error::NoColumns { .. }));
        assert!(!path.exists());
    }
}
