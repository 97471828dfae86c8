//! The rows of a file, one at a time.

use crate::Error;
use crate::conversation::Problem;
use crate::lines::{Line, Lines};
use serde_json::Value;
use std::fmt;
use std::path::{Path, PathBuf};

/// The rows of a file, read as they are asked for: however long the file, one row is in memory.
///
/// A file that holds no row gives [`Error::Empty`].
pub struct Rows<T> {
    path: PathBuf,
    lines: Lines,
    accepted: &'static str,
    read: fn(&Value) -> Result<T, Problem>,
    any: bool,
}

impl<T> fmt::Debug for Rows<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("path", &self.path).finish_non_exhaustive()
    }
}

impl<T> Rows<T> {
    pub(crate) fn open(
        path: &Path,
        accepted: &'static str,
        read: fn(&Value) -> Result<T, Problem>,
    ) -> Result<Self, Error> {
        Ok(Self { path: path.to_owned(), lines: Lines::open(path)?, accepted, read, any: false })
    }

    fn row(&self, line: Line) -> Result<T, Error> {
        let Line { number: line, text } = line;
        let value = serde_json::from_str(&text).map_err(|reason| Error::Json {
            path: self.path.clone(),
            line,
            reason,
        })?;
        (self.read)(&value).map_err(|Problem { field, text: problem }| Error::Row {
            path: self.path.clone(),
            line,
            field,
            problem,
            accepted: self.accepted,
        })
    }
}

impl<T> Iterator for Rows<T> {
    type Item = Result<T, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.lines.next() {
            Some(line) => {
                self.any = true;
                Some(line.and_then(|line| self.row(line)))
            }
            None if self.any => None,
            None => {
                self.any = true;
                Some(Err(Error::Empty { path: self.path.clone(), accepted: self.accepted }))
            }
        }
    }
}
