//! JSON lines of any type.

use crate::Error;
use crate::atomic::{replace, write_error};
use crate::lines::{Lines, is_gz};
use flate2::{Compression, write::GzEncoder};
use serde::{Serialize, de::DeserializeOwned};
use std::io::Write;
use std::path::Path;

/// Every row of a JSONL or `.jsonl.gz` file; a file without rows gives none.
///
/// # Errors
/// [`Error::Open`], [`Error::Folder`], [`Error::Read`], or [`Error::Json`] for the first line that is not a `T`.
pub fn read_jsonl<T: DeserializeOwned>(path: impl AsRef<Path>) -> Result<Vec<T>, Error> {
    jsonl_rows::<T>(path)?.collect()
}

/// The rows of a JSONL or `.jsonl.gz` file, one of which is in memory at a time.
///
/// # Errors
/// [`Error::Open`], [`Error::Folder`], or [`Error::Read`]; an item is [`Error::Read`], or [`Error::Json`] for a line that is not a `T`.
pub fn jsonl_rows<T: DeserializeOwned>(
    path: impl AsRef<Path>,
) -> Result<impl Iterator<Item = Result<T, Error>>, Error> {
    let path = path.as_ref().to_owned();
    let lines = Lines::open(&path)?;
    Ok(lines.map(move |line| {
        let line = line?;
        serde_json::from_slice(&line.bytes).map_err(|reason| Error::Json {
            path: path.clone(),
            line: line.number,
            reason,
        })
    }))
}

/// Replaces `path` by one line a row, at once as [`crate::write_atomic`] does; compressed if the name ends in `.gz`.
///
/// # Errors
/// [`Error::Write`], or [`Error::Encode`] for a row that has no JSON form.
pub fn write_jsonl<T: Serialize>(
    path: impl AsRef<Path>,
    rows: impl IntoIterator<Item = T>,
) -> Result<(), Error> {
    write_lines(path.as_ref(), rows.into_iter().map(Ok)).map(drop)
}

/// Writes rows that may fail to come, and says how many they were.
pub(crate) fn write_lines<T: Serialize>(
    path: &Path,
    rows: impl IntoIterator<Item = Result<T, Error>>,
) -> Result<usize, Error> {
    let mut count = 0;
    replace(path, |out| {
        if is_gz(path) {
            let mut encoder = GzEncoder::new(out, Compression::default());
            count = write_to(path, rows, &mut encoder)?;
            encoder.finish().map(drop).map_err(|source| write_error(path, source))
        } else {
            count = write_to(path, rows, out)?;
            Ok(())
        }
    })?;
    Ok(count)
}

/// Writes rows to what will become `path`.
pub(crate) fn write_to<T: Serialize>(
    path: &Path,
    rows: impl IntoIterator<Item = Result<T, Error>>,
    out: &mut dyn Write,
) -> Result<usize, Error> {
    let mut count = 0;
    for row in rows {
        let line = encode(path, &row?)?;
        out.write_all(line.as_bytes()).map_err(|source| write_error(path, source))?;
        count += 1;
    }
    Ok(count)
}

/// One row as a line with its end.
pub(crate) fn encode(path: &Path, row: &impl Serialize) -> Result<String, Error> {
    let line = serde_json::to_string(row)
        .map_err(|reason| Error::Encode { path: path.to_owned(), reason })?;
    Ok(line + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn reads_what_it_writes(rows in prop::collection::vec(("\\PC{0,20}", any::<i32>()), 0..10)) {
            let folder = tempfile::tempdir().unwrap();
            for name in ["rows.jsonl", "rows.jsonl.gz"] {
                let path = folder.path().join(name);
                write_jsonl(&path, &rows).unwrap();
                prop_assert_eq!(&read_jsonl::<(String, i32)>(&path).unwrap(), &rows);
            }
        }
    }

    #[test]
    fn compresses_only_what_is_named_so() {
        let folder = tempfile::tempdir().unwrap();
        let (plain, packed) = (folder.path().join("a.jsonl"), folder.path().join("a.jsonl.gz"));
        write_jsonl(&plain, ["x\ny"]).unwrap();
        write_jsonl(&packed, ["x\ny"]).unwrap();
        assert_eq!(std::fs::read(plain).unwrap(), b"\"x\\ny\"\n");
        assert_eq!(std::fs::read(packed).unwrap()[..2], [0x1f, 0x8b]);
    }

    #[test]
    fn names_line_and_reason_of_a_bad_row() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        std::fs::write(&path, "1\n\n\"two\"\n").unwrap();
        let message = read_jsonl::<u8>(&path).unwrap_err().to_string();
        assert!(message.contains("rows.jsonl, line 3: invalid type: string"), "{message}");
    }

    #[test]
    fn a_row_without_a_json_form_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        write_jsonl(&path, [1]).unwrap();
        let unwritable = HashMap::from([((1, 2), 3)]);
        assert!(matches!(write_jsonl(&path, [unwritable]), Err(Error::Encode { .. })));
        assert_eq!(read_jsonl::<u8>(&path).unwrap(), [1]);
    }
}
