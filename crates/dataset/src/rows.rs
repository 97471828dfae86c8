//! The rows of a file, one at a time.

use crate::conversation::Problem;
use crate::rejects::RejectFile;
use crate::source::{Found, Source, Unreadable, open};
use crate::{Error, Place, Rejected, Rejects};
use serde_json::Value;
use std::fmt;
use std::path::{Path, PathBuf};

type Read<T> = Box<dyn Fn(&Value) -> Result<T, Problem> + Send>;

/// The rows of a file, read as they are asked for: however long the file, a few rows are in memory.
///
/// A file that holds no row gives [`Error::Empty`]. Without [`Rejects`] the first bad row is an error; with them bad rows
/// go to their file, and whether they were too many is told at the end. An error ends the rows.
pub struct Rows<T> {
    path: PathBuf,
    source: Source,
    accepted: &'static str,
    read: Read<T>,
    bad: Bad,
    /// Rows so far, good and bad.
    seen: usize,
    ended: bool,
}

/// What becomes of bad rows.
enum Bad {
    /// The first is an error.
    Fails,
    Goes(RejectFile),
    /// They are counted alone.
    IsLeftOut(usize),
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
        read: impl Fn(&Value) -> Result<T, Problem> + Send + 'static,
    ) -> Result<Self, Error> {
        let (path, source, read) = (path.to_owned(), open(path)?, Box::new(read));
        Ok(Self { path, source, accepted, read, bad: Bad::Fails, seen: 0, ended: false })
    }

    /// Sends bad rows to a file.
    pub(crate) fn with_rejects(mut self, rejects: Option<&Rejects>) -> Result<Self, Error> {
        if let Some(rejects) = rejects {
            self.bad = Bad::Goes(RejectFile::new(rejects)?);
        }
        Ok(self)
    }

    /// Makes rows bad that `check` finds something wrong with: what it says stands behind `the row`, such as `has no reply`.
    #[must_use]
    pub fn checked(mut self, check: impl Fn(&T) -> Result<(), String> + Send + 'static) -> Self
    where
        T: 'static,
    {
        let read = self.read;
        self.read = Box::new(move |value: &Value| {
            let row = read(value)?;
            check(&row).map_err(|problem| Problem::new("the row", problem))?;
            Ok(row)
        });
        self
    }

    /// Leaves bad rows out and writes them nowhere, however many they are: for a file that was read before, with
    /// [`Rejects`].
    #[must_use]
    pub fn without_bad(mut self) -> Self {
        self.bad = Bad::IsLeftOut(0);
        self
    }

    /// How many rows were read so far, good and bad.
    pub fn seen(&self) -> usize {
        self.seen
    }

    /// How many of them were bad and left out.
    pub fn rejected(&self) -> usize {
        match &self.bad {
            Bad::Fails => 0,
            Bad::Goes(file) => file.count(),
            Bad::IsLeftOut(count) => *count,
        }
    }

    /// A row, or `None` if it was bad and may be left out.
    fn row(&mut self, Found { place, content }: Found) -> Result<Option<T>, Error> {
        let (problem, row) = match content {
            Ok(value) => match (self.read)(&value) {
                Ok(row) => return Ok(Some(row)),
                Err(problem) => (problem, value),
            },
            Err(Unreadable { field, problem, text }) => {
                (Problem { field, text: problem }, text.into())
            }
        };
        let error = self.error(place, &problem);
        let Problem { field, text: problem } = problem;
        match &mut self.bad {
            Bad::Fails => return Err(error),
            Bad::Goes(file) => {
                file.take(
                    &Rejected { file: self.path.clone(), place, field, problem, row },
                    error,
                )?;
            }
            Bad::IsLeftOut(count) => *count += 1,
        }
        Ok(None)
    }

    fn error(&self, place: Place, problem: &Problem) -> Error {
        let Problem { field, text: problem } = problem.clone();
        Error::Row { path: self.path.clone(), place, field, problem, accepted: self.accepted }
    }

    /// What is to be said after the last row.
    fn end(&mut self) -> Result<(), Error> {
        if self.seen == 0 {
            return Err(Error::Empty { path: self.path.clone(), accepted: self.accepted });
        }
        match &mut self.bad {
            Bad::Goes(file) => file.finish(&self.path, self.seen),
            Bad::Fails | Bad::IsLeftOut(_) => Ok(()),
        }
    }
}

impl<T> Iterator for Rows<T> {
    type Item = Result<T, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            let row = if let Some(found) = self.source.next() {
                self.seen += 1;
                found.and_then(|found| self.row(found))
            } else {
                self.ended = true;
                self.end().map(|()| None)
            };
            match row {
                Ok(Some(row)) => return Some(Ok(row)),
                Ok(None) => {}
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::kind;
    use crate::read_jsonl;
    use proptest::prelude::*;
    use serde_json::json;

    fn number(value: &Value) -> Result<u64, Problem> {
        value.as_u64().ok_or_else(|| Problem::new("the row", format!("is {}", kind(value))))
    }

    struct Try {
        folder: tempfile::TempDir,
    }

    impl Try {
        fn new(text: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("rows.jsonl"), text).unwrap();
            Self { folder }
        }

        fn rejects(&self) -> PathBuf {
            self.folder.path().join("made/rejects.jsonl")
        }

        fn read(&self, share: Option<f64>) -> Result<Vec<u64>, Error> {
            let rejects = share.map(|share| Rejects::new(self.rejects(), share));
            let path = self.folder.path().join("rows.jsonl");
            Rows::open(&path, "numbers", number)?.with_rejects(rejects.as_ref())?.collect()
        }
    }

    #[test]
    fn bad_rows_go_to_a_file_with_place_reason_and_row() {
        let files = Try::new("1\n{\"a\": 2}\n\n3 x\n4\n");
        assert_eq!(files.read(Some(0.5)).unwrap(), [1, 4]);
        let rejected: Vec<Rejected> = read_jsonl(files.rejects()).unwrap();
        assert_eq!(rejected[0].place, Place::Line(2));
        assert_eq!((&*rejected[0].field, &*rejected[0].problem), ("the row", "is an object"));
        assert_eq!(rejected[0].row, json!({"a": 2}));
        assert_eq!((rejected[1].place, &rejected[1].row), (Place::Line(4), &json!("3 x")));
        assert!(rejected[1].problem.contains("not JSON"), "{rejected:?}");
        let text = std::fs::read_to_string(files.rejects()).unwrap();
        assert!(text.contains("\"line\":2"), "{text}");
    }

    #[test]
    fn too_many_bad_rows_are_an_error_that_names_the_first() {
        let files = Try::new("1\nnull\n2\nnull\n");
        assert!(files.read(Some(0.5)).is_ok());
        let message = files.read(Some(0.49)).unwrap_err().to_string();
        for part in ["2 of 4 rows", "0.49", "line 2: the row is null", "made/rejects.jsonl"] {
            assert!(message.contains(part), "{message} lacks {part}");
        }
        assert_eq!(read_jsonl::<Rejected>(files.rejects()).unwrap().len(), 2);
        // Without a place for bad rows the first one is the error.
        let message = files.read(None).unwrap_err().to_string();
        assert!(message.contains("rows.jsonl, line 2: the row is null"), "{message}");
    }

    #[test]
    fn what_a_check_says_is_told_like_any_bad_row() {
        let files = Try::new("1\n\n3\n4\n");
        let path = files.folder.path().join("rows.jsonl");
        let rows = || {
            let odd = |number: &u64| {
                let is_odd = !number.is_multiple_of(2);
                is_odd.then_some(()).ok_or_else(|| format!("is {number}, expected an odd number"))
            };
            Rows::open(&path, "numbers", number).unwrap().checked(odd)
        };
        let message = rows().collect::<Result<Vec<u64>, _>>().unwrap_err().to_string();
        let expected =
            "rows.jsonl, line 4: the row is 4, expected an odd number; accepted rows are numbers";
        assert!(message.contains(expected), "{message}");
        let good = rows().with_rejects(Some(&Rejects::new(files.rejects(), 0.5))).unwrap();
        assert_eq!(good.collect::<Result<Vec<u64>, _>>().unwrap(), [1, 3]);
    }

    #[test]
    fn no_bad_row_leaves_no_file() {
        let files = Try::new("1\n");
        std::fs::create_dir(files.folder.path().join("made")).unwrap();
        std::fs::write(files.rejects(), "of another reading").unwrap();
        assert_eq!(files.read(Some(0.0)).unwrap(), [1]);
        assert!(!files.rejects().exists());
        for share in [-0.1, 1.0, f64::NAN] {
            assert!(matches!(files.read(Some(share)), Err(Error::RejectedShare { .. })));
        }
        assert!(matches!(Try::new("\n").read(Some(0.5)), Err(Error::Empty { .. })));
    }

    #[test]
    fn a_second_reading_leaves_bad_rows_out_without_a_file() {
        let files = Try::new("1\nx\n2\n\"y\"\n");
        let path = files.folder.path().join("rows.jsonl");
        let mut rows = Rows::open(&path, "numbers", number).unwrap().without_bad();
        assert_eq!(rows.by_ref().collect::<Result<Vec<u64>, _>>().unwrap(), [1, 2]);
        assert_eq!((rows.rejected(), rows.seen()), (2, 4));
        assert!(!files.rejects().exists());
    }

    proptest! {
        #[test]
        fn every_row_is_read_or_rejected(rows in prop::collection::vec(any::<Option<u64>>(), 1..20)) {
            let text: Vec<String> = rows.iter().map(|row| json!(row).to_string()).collect();
            let good: Vec<u64> = rows.iter().copied().flatten().collect();
            let files = Try::new(&text.join("\n"));
            match files.read(Some(0.25)) {
                Ok(read) => {
                    prop_assert_eq!(&read, &good);
                    prop_assert!((rows.len() - good.len()) * 4 <= rows.len());
                }
                Err(Error::TooManyRejected { rejected, .. }) => {
                    prop_assert_eq!(rejected, rows.len() - good.len());
                    prop_assert!(rejected * 4 > rows.len());
                }
                Err(error) => return Err(TestCaseError::fail(error.to_string())),
            }
        }
    }
}
