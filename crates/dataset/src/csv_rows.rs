//! Rows of comma-separated values.

use crate::lines::open;
use crate::numbered::Numbered;
use crate::source::{Found, Unreadable};
use crate::{Error, Place};
use csv::{ByteRecord, ReaderBuilder};
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::io::{Error as IoError, ErrorKind};
use std::path::{Path, PathBuf};

/// The records below the header of a file.
///
/// A cell is a text, but for one that is a JSON list or object, such as a list of messages; an empty cell is a field
/// that is missing.
pub(crate) struct CsvRows {
    path: PathBuf,
    reader: csv::Reader<Numbered>,
    names: Vec<String>,
    record: ByteRecord,
}

impl CsvRows {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let mut reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(Numbered::new(open(path)?));
        let mut header = ByteRecord::new();
        reader.read_byte_record(&mut header).map_err(|error| read_error(path, 1, error))?;
        let refused = |problem: String| Error::CsvHeader { path: path.to_owned(), problem };
        let (mut names, mut seen) = (Vec::new(), HashSet::new());
        for cell in &header {
            let name = String::from_utf8(cell.to_vec())
                .map_err(|_| refused("holds a name that is not UTF-8".to_owned()))?;
            if !seen.insert(name.clone()) {
                return Err(refused(format!("names the column `{name}` twice")));
            }
            names.push(name);
        }
        Ok(Self { path: path.to_owned(), reader, names, record: ByteRecord::new() })
    }

    fn content(&self) -> Result<Value, Unreadable> {
        let unreadable = |field: String, problem: String| {
            let cells: Vec<_> =
                self.record.iter().map(|cell| String::from_utf8_lossy(cell)).collect();
            Unreadable { field, problem, text: cells.join(",") }
        };
        let (cells, names) = (self.record.len(), self.names.len());
        if cells != names {
            let problem = format!("has {cells} cells below a header of {names}");
            return Err(unreadable("the row".to_owned(), problem));
        }
        let mut fields = Map::new();
        for (name, cell) in self.names.iter().zip(&self.record) {
            let text = std::str::from_utf8(cell)
                .map_err(|_| unreadable(format!("`{name}`"), "is not UTF-8".to_owned()))?;
            if !text.is_empty() {
                fields.insert(name.clone(), value(text));
            }
        }
        Ok(Value::Object(fields))
    }
}

/// What a cell says.
fn value(text: &str) -> Value {
    let nested = text.trim_start().starts_with(['[', '{']);
    nested.then(|| serde_json::from_str(text).ok()).flatten().unwrap_or_else(|| text.into())
}

fn read_error(path: &Path, line: usize, error: csv::Error) -> Error {
    let source = match error.into_kind() {
        csv::ErrorKind::Io(source) => source,
        other => IoError::new(ErrorKind::InvalidData, format!("{other:?}")),
    };
    Error::Read { path: path.to_owned(), line, source }
}

impl Iterator for CsvRows {
    type Item = Result<Found, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let offset = self.reader.position().byte();
        let read = self.reader.read_byte_record(&mut self.record);
        let line = self.reader.get_mut().line_from(offset);
        match read {
            Ok(false) => None,
            Ok(true) => Some(Ok(Found { place: Place::Line(line), content: self.content() })),
            Err(error) => Some(Err(read_error(&self.path, line, error))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    type Row = (Place, Result<Value, String>);

    fn read(bytes: &[u8]) -> Result<Vec<Row>, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        std::fs::write(&path, bytes).unwrap();
        let row = |found: Found| {
            let content = found.content.map_err(|bad| format!("{} {}", bad.field, bad.problem));
            (found.place, content)
        };
        CsvRows::open(&path)?.map(|found| found.map(row)).collect()
    }

    #[test]
    fn cells_are_texts_or_json_and_empty_ones_missing() {
        let text = concat!(
            "\u{feff}prompt,n\r\n",
            "\"two\nlines, \"\"quoted\"\"\",3\r\n",
            "\"[{\"\"role\"\": \"\"user\"\"}]\",\r\n",
            "\r\n",
            "[not json,x\n",
            "\n",
            "a,b",
        );
        let expected = [
            (Place::Line(2), Ok(json!({"prompt": "two\nlines, \"quoted\"", "n": "3"}))),
            (Place::Line(4), Ok(json!({"prompt": [{"role": "user"}]}))),
            (Place::Line(6), Ok(json!({"prompt": "[not json", "n": "x"}))),
            (Place::Line(8), Ok(json!({"prompt": "a", "n": "b"}))),
        ];
        assert_eq!(read(text.as_bytes()).unwrap(), expected);
        assert_eq!(read(b"").unwrap(), []);
        assert_eq!(read(b"prompt\n").unwrap(), []);
    }

    #[test]
    fn a_bad_record_is_named_by_line_and_column() {
        let rows = read(b"a,b\n1,2\n3\n\xff,4\n5,6\n").unwrap();
        let bad = |problem: &str| Err(problem.to_owned());
        assert_eq!(rows[1], (Place::Line(3), bad("the row has 1 cells below a header of 2")));
        assert_eq!(rows[2], (Place::Line(4), bad("`a` is not UTF-8")));
        assert_eq!(rows[3], (Place::Line(5), Ok(json!({"a": "5", "b": "6"}))));
        let message = read(b"a,a\n1,2\n").unwrap_err().to_string();
        assert!(message.contains("rows.csv") && message.contains("`a` twice"), "{message}");
    }

    proptest! {
        #[test]
        fn reads_what_the_csv_writer_writes(cells in prop::collection::vec(["[a-z\",\n ]{1,9}", "[a-z,é]{0,9}"], 1..6)) {
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.write_record(["x", "y"]).unwrap();
            for row in &cells {
                writer.write_record(row).unwrap();
            }
            let rows = read(&writer.into_inner().unwrap()).unwrap();
            let expected = cells.iter().map(|[x, y]| match y.as_str() {
                "" => json!({"x": x}),
                y => json!({"x": x, "y": y}),
            });
            let found: Vec<Value> = rows.into_iter().map(|(_, row)| row.unwrap()).collect();
            prop_assert_eq!(found, expected.collect::<Vec<_>>());
        }
    }
}
