//! What becomes of bad rows.

use crate::atomic::{sync_folder_of, temporary_beside, write_error};
use crate::jsonl::encode;
use crate::{Error, Place};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Where bad rows go, and how many there may be.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejects {
    /// A file of JSON lines, one [`Rejected`] a bad row; it is not there if no row is bad.
    pub file: PathBuf,
    /// The highest share of rows that may be bad, in \[0, 1).
    pub share: f64,
}

impl Rejects {
    /// Bad rows go to `file`, and a share of at most `share` of all rows may be bad.
    pub fn new(file: impl Into<PathBuf>, share: f64) -> Self {
        Self { file: file.into(), share }
    }

    /// Checks the share.
    ///
    /// # Errors
    /// [`Error::RejectedShare`] if it is not in \[0, 1).
    pub fn validate(&self) -> Result<(), Error> {
        let in_range = (0.0..1.0).contains(&self.share);
        in_range.then_some(()).ok_or(Error::RejectedShare { found: self.share })
    }
}

/// A bad row, as it stands in a file of [`Rejects`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rejected {
    /// The file that it was read from.
    pub file: PathBuf,
    /// Where it stands there: `"line"` or `"row"`.
    #[serde(flatten)]
    pub place: Place,
    /// The field in backquotes, or `the row`.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
    /// The row itself; a text if it is not JSON.
    pub row: Value,
}

/// A file of bad rows that is being written.
#[derive(Debug)]
pub(crate) struct RejectFile {
    rejects: Rejects,
    /// Begun with the first bad row.
    out: Option<BufWriter<NamedTempFile>>,
    /// How many rows are bad, and what is wrong with the first.
    count: usize,
    first: Option<Box<Error>>,
}

impl RejectFile {
    pub(crate) fn new(rejects: &Rejects) -> Result<Self, Error> {
        rejects.validate()?;
        Ok(Self { rejects: rejects.clone(), out: None, count: 0, first: None })
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Writes a row that `error` says is bad.
    pub(crate) fn take(&mut self, rejected: &Rejected, error: Error) -> Result<(), Error> {
        let path = &self.rejects.file;
        let line = encode(path, rejected)?;
        let out = match &mut self.out {
            Some(out) => out,
            none => none.insert(begin(path).map_err(|source| write_error(path, source))?),
        };
        out.write_all(line.as_bytes()).map_err(|source| write_error(path, source))?;
        self.count += 1;
        self.first.get_or_insert(Box::new(error));
        Ok(())
    }

    /// Puts the file into its place, and says whether too many of `rows` are in it.
    pub(crate) fn finish(&mut self, input: &Path, rows: usize) -> Result<(), Error> {
        let Rejects { file, share } = &self.rejects;
        let failed = |source| write_error(file, source);
        let Some(out) = self.out.take() else { return remove(file).map_err(failed) };
        let out = out.into_inner().map_err(|error| failed(error.into_error()))?;
        out.as_file().sync_all().map_err(failed)?;
        out.persist(file).map_err(|error| failed(error.error))?;
        sync_folder_of(file).map_err(failed)?;
        match self.first.take() {
            Some(first) if self.count as f64 > share * rows as f64 => Err(Error::TooManyRejected {
                path: input.to_owned(),
                rejected: self.count,
                rows,
                most: *share,
                rejects: file.clone(),
                first,
            }),
            _ => Ok(()),
        }
    }
}

fn begin(path: &Path) -> std::io::Result<BufWriter<NamedTempFile>> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    Ok(BufWriter::new(temporary_beside(path)?))
}

/// Removes what an earlier reading rejected.
fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
