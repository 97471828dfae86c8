//! A file that grows by whole lines.

use crate::Error;
use crate::atomic::{sync_folder_of, temporary_beside, write_error};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, ErrorKind, Read, Result as IoResult, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A file of lines that one process appends to.
///
/// A line counts from its end on: a call of [`AppendOnly::append`] leaves all of its lines or, if it fails, none; what a
/// killed process left of one is cut off by [`AppendOnly::cut`]. Lines that were appended outlive the process at once,
/// and the machine from the next [`AppendOnly::sync`] on. The file stays locked against other processes while open.
#[derive(Debug)]
pub struct AppendOnly {
    path: PathBuf,
    file: File,
    /// Bytes of the whole lines.
    length: u64,
}

impl AppendOnly {
    /// Opens a file, or begins an empty one. What follows its last whole line is neither read nor removed.
    ///
    /// # Errors
    /// [`Error::Busy`] if another process has it open, or [`Error::Open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref().to_owned();
        let failed = |source| Error::Open { path: path.clone(), source };
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).open(&path).map_err(failed)?;
        lock(&path, &file)?;
        let length = whole_lines(&mut file).map_err(failed)?;
        Ok(Self { path, file, length })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it holds no whole line.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Bytes of its whole lines.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Reads the file from its beginning, up to `limit` bytes.
    ///
    /// # Errors
    /// [`Error::Open`].
    pub(crate) fn reader(&self, limit: u64) -> Result<impl BufRead + use<>, Error> {
        let file = File::open(&self.path)
            .map_err(|source| Error::Open { path: self.path.clone(), source })?;
        Ok(BufReader::new(file.take(limit)))
    }

    /// Its whole lines, one at a time, with their ends.
    ///
    /// # Errors
    /// [`Error::Open`]; an item is [`Error::Read`] if the file cannot be read on.
    pub fn lines(&self) -> Result<impl Iterator<Item = Result<Vec<u8>, Error>> + use<>, Error> {
        let mut reader = self.reader(self.length)?;
        let path = self.path.clone();
        let mut number = 0;
        Ok(std::iter::from_fn(move || {
            number += 1;
            let mut line = Vec::new();
            match reader.read_until(b'\n', &mut line) {
                Ok(0) => None,
                Ok(_) => Some(Ok(line)),
                Err(source) => Some(Err(Error::Read { path: path.clone(), line: number, source })),
            }
        }))
    }

    /// Cuts off what follows the last whole line.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn cut(&mut self) -> Result<(), Error> {
        let there = self.file.metadata().map_err(|source| write_error(&self.path, source))?.len();
        if there == self.length {
            return Ok(());
        }
        self.file.set_len(self.length).map_err(|source| write_error(&self.path, source))
    }

    /// Appends whole lines, or leaves the file as it was.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn append(&mut self, lines: &[u8]) -> Result<(), Error> {
        if let Err(source) = self.file.write_all(lines) {
            // Should this fail too, the next process cuts the half-written line off.
            let _ = self.file.set_len(self.length);
            return Err(write_error(&self.path, source));
        }
        self.length += lines.len() as u64;
        Ok(())
    }

    /// Appends whole lines that are on the disk when this returns, or leaves the file as it was.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn append_durably(&mut self, lines: &[u8]) -> Result<(), Error> {
        let before = self.length;
        self.append(lines)?;
        self.sync().inspect_err(|_| {
            self.length = before;
            let _ = self.file.set_len(before);
        })
    }

    /// Brings what was appended to the disk.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn sync(&mut self) -> Result<(), Error> {
        self.file.sync_data().map_err(|source| write_error(&self.path, source))
    }

    /// Brings the name of a new file to the disk.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn sync_name(&self) -> Result<(), Error> {
        sync_folder_of(&self.path).map_err(|source| write_error(&self.path, source))
    }

    /// Replaces all lines at once; at any moment the file holds the old ones or the new.
    ///
    /// # Errors
    /// [`Error::Write`] or [`Error::Busy`]; then the old lines stay.
    pub fn replace(&mut self, lines: &[u8]) -> Result<(), Error> {
        let failed = |source| write_error(&self.path, source);
        let mut temporary = temporary_beside(&self.path).map_err(failed)?;
        temporary.write_all(lines).map_err(failed)?;
        temporary.as_file().sync_data().map_err(failed)?;
        let (_, temporary) = temporary.into_parts();
        let file = OpenOptions::new().read(true).append(true).open(&temporary).map_err(failed)?;
        // Locked before it has the name, so that no other process finds it free.
        lock(&self.path, &file)?;
        temporary.persist(&self.path).map_err(|error| failed(error.error))?;
        (self.file, self.length) = (file, lines.len() as u64);
        self.sync_name()
    }
}

/// Keeps other processes away from an open file.
fn lock(path: &Path, file: &File) -> Result<(), Error> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(Error::Busy { path: path.to_owned() }),
        // Some network file systems cannot lock; a file there is better than none.
        Err(TryLockError::Error(source)) if source.kind() == ErrorKind::Unsupported => Ok(()),
        Err(TryLockError::Error(source)) => Err(Error::Open { path: path.to_owned(), source }),
    }
}

/// The length of a file up to the end of its last whole line.
fn whole_lines(file: &mut File) -> IoResult<u64> {
    const BLOCK: u64 = 1 << 16;
    let mut end = file.metadata()?.len();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(start))?;
        let mut block = Vec::new();
        Read::by_ref(file).take(end - start).read_to_end(&mut block)?;
        if let Some(last) = block.iter().rposition(|&byte| byte == b'\n') {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(file: &AppendOnly) -> Vec<Vec<u8>> {
        file.lines().unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn grows_by_whole_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let mut file = AppendOnly::open(&path).unwrap();
        assert!(file.is_empty() && lines(&file).is_empty());
        file.append(b"a\nbb\n").unwrap();
        file.append_durably(b"c\n").unwrap();
        file.sync_name().unwrap();
        assert_eq!(lines(&file), [&b"a\n"[..], b"bb\n", b"c\n"]);
        assert!(matches!(AppendOnly::open(&path), Err(Error::Busy { .. })));
        drop(file);
        let mut file = AppendOnly::open(&path).unwrap();
        assert_eq!((file.length(), file.path()), (7, path.as_path()));
        file.replace(b"d\n").unwrap();
        assert!(matches!(AppendOnly::open(&path), Err(Error::Busy { .. })));
        file.append(b"e\n").unwrap();
        drop(file);
        assert_eq!(std::fs::read(&path).unwrap(), b"d\ne\n");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_full_disk_is_an_error_and_changes_nothing() {
        let full = Path::new("/dev/full");
        if !full.exists() {
            return;
        }
        let mut file = AppendOnly::open(full).unwrap();
        let error = file.append(b"a\n").unwrap_err();
        assert!(error.to_string().contains("cannot write /dev/full"), "{error}");
        assert!(file.is_empty());
    }

    proptest! {
        #[test]
        fn counts_up_to_the_last_line_end(length in 0_usize..200_000, end in 0_usize..200_000, half in 0_usize..100_000) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("lines");
            let mut bytes = vec![b'x'; length];
            if let Some(byte) = bytes.get_mut(end) {
                *byte = b'\n';
            }
            bytes.extend(vec![b'y'; half]);
            std::fs::write(&path, &bytes).unwrap();
            let mut file = AppendOnly::open(&path).unwrap();
            let whole = if end < length { end + 1 } else { 0 };
            prop_assert_eq!(file.length(), whole as u64);
            file.cut().unwrap();
            prop_assert_eq!(std::fs::read(&path).unwrap(), &bytes[..whole]);
        }
    }
}
