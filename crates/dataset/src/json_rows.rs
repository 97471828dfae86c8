//! Rows in JSON: one a line, or all in one list.

use crate::lines::{Bytes, Line, Lines, open, skip_white_space};
use crate::source::{Found, Source, Unreadable};
use crate::{Error, Place};
use std::io::{BufRead, Error as IoError, ErrorKind};
use std::path::{Path, PathBuf};

/// Opens a file of JSON lines, or one whose first character begins a list of rows.
///
/// Some published files are one list although their name says JSON lines.
pub(crate) fn open_json(path: &Path) -> Result<Source, Error> {
    let mut bytes = open(path)?;
    let (first, skipped) = skip_white_space(&mut *bytes).map_err(|source| Error::Read {
        path: path.to_owned(),
        line: 1,
        source,
    })?;
    if first == Some(b'[') {
        bytes.consume(1);
        let path = path.to_owned();
        return Ok(Box::new(ListRows { path, bytes, line: skipped + 1, ended: false }));
    }
    Ok(Box::new(Lines::from_bytes(path, bytes, skipped).map(|line| Ok(found(line?)))))
}

fn found(Line { number, bytes }: Line) -> Found {
    let content = serde_json::from_slice(&bytes).map_err(|reason| Unreadable {
        field: "the row".to_owned(),
        problem: format!("is not JSON: {reason}"),
        text: String::from_utf8_lossy(bytes.trim_ascii()).into_owned(),
    });
    Found { place: Place::Line(number), content }
}

/// The elements of a list, each parsed alone, so that neither a long list nor one bad element is in the way.
struct ListRows {
    path: PathBuf,
    bytes: Bytes,
    /// The line that is being read.
    line: usize,
    ended: bool,
}

impl ListRows {
    fn failed(&self, kind: ErrorKind, problem: &'static str) -> Error {
        let source = IoError::new(kind, problem);
        Error::Read { path: self.path.clone(), line: self.line, source }
    }

    /// Skips white space and gives the byte behind it.
    fn skip(&mut self) -> Result<Option<u8>, Error> {
        let skipped = skip_white_space(&mut *self.bytes);
        let (next, ends) = skipped.map_err(|source| Error::Read {
            path: self.path.clone(),
            line: self.line,
            source,
        })?;
        self.line += ends;
        Ok(next)
    }

    fn byte(&mut self) -> Result<u8, Error> {
        let first = self.bytes.fill_buf().map(|bytes| bytes.first().copied());
        match first {
            Ok(Some(byte)) => {
                self.bytes.consume(1);
                self.line += usize::from(byte == b'\n');
                Ok(byte)
            }
            Ok(None) => Err(self.failed(ErrorKind::UnexpectedEof, "the list of rows has no end")),
            Err(source) => Err(Error::Read { path: self.path.clone(), line: self.line, source }),
        }
    }

    /// The bytes of the next element; `None` at the end of the list.
    fn element(&mut self) -> Result<Option<Line>, Error> {
        let next = self.skip()?;
        let number = self.line;
        if next == Some(b']') {
            self.byte()?;
            self.end()?;
            return Ok(None);
        }
        let (mut bytes, mut depth, mut in_text, mut escaped) = (Vec::new(), 0_usize, false, false);
        loop {
            let byte = self.byte()?;
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_text => escaped = true,
                b'"' => in_text = !in_text,
                _ if in_text => {}
                b'{' | b'[' => depth += 1,
                b',' if depth == 0 => return Ok(Some(Line { number, bytes })),
                b']' if depth == 0 => {
                    self.end()?;
                    return Ok(Some(Line { number, bytes }));
                }
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            bytes.push(byte);
        }
    }

    /// Makes sure that nothing follows the list.
    fn end(&mut self) -> Result<(), Error> {
        self.ended = true;
        match self.skip()? {
            None => Ok(()),
            Some(_) => Err(self.failed(
                ErrorKind::InvalidData,
                "text follows the list of rows; a file is one list, or one row a line",
            )),
        }
    }
}

impl Iterator for ListRows {
    type Item = Result<Found, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.element() {
            Ok(element) => element.map(|line| Ok(found(line))),
            Err(error) => {
                self.ended = true;
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    type Read = Result<Vec<(Place, Option<Value>)>, Error>;

    fn read(text: &str) -> Read {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.json");
        std::fs::write(&path, text).unwrap();
        open_json(&path)?.map(|found| found.map(|row| (row.place, row.content.ok()))).collect()
    }

    #[test]
    fn a_list_and_lines_give_the_same_rows() {
        let lines = read("\n{\"a\": \"[}\\\"\"}\n\n{\"b\": [1, {}]}\n").unwrap();
        let list = read("[\n{\"a\": \"[}\\\"\"},\n\n{\"b\":\n [1, {}]}\n ] \n").unwrap();
        assert_eq!(lines, list);
        assert_eq!(lines[1], (Place::Line(4), Some(json!({"b": [1, {}]}))));
        assert_eq!(read(" [ ] ").unwrap(), []);
    }

    #[test]
    fn a_bad_element_is_alone_in_being_bad() {
        let rows = read("[1,\n{\"a\" 2},\nnull\n]").unwrap();
        let found: Vec<Option<Value>> = rows.iter().map(|(_, value)| value.clone()).collect();
        assert_eq!(found, [Some(json!(1)), None, Some(json!(null))]);
        assert_eq!(rows[1].0, Place::Line(2));
    }

    #[test]
    fn a_list_without_an_end_and_one_too_many_are_refused() {
        for (text, expected) in
            [("[\n1,\n2", "line 3"), ("[{\"a\": \"]", "line 1"), ("[1]\n[2]", "line 2")]
        {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains("rows.json") && message.contains(expected), "{message}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[\\[\\]{}\",\\\\a1\n ]{0,30}") {
            let _ = read(&text);
            let _ = read(&format!("[{text}"));
        }
    }
}
