//! Files that are replaced at once.

use crate::Error;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufWriter, ErrorKind, Result as IoResult, Write};
use std::path::Path;
use tempfile::{Builder, NamedTempFile};

/// Replaces the content of `path`, or leaves it as it was.
///
/// The bytes go to a temporary file `.NAME.partial` in the same folder, which is synchronised with the disk and then renamed;
/// last the folder is synchronised. After a crash `path` holds the old content or the new, never a part; what a killed
/// process left of the temporary file is gone when the same file is written again.
///
/// # Errors
/// [`Error::Write`].
pub fn write_atomic(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), Error> {
    let path = path.as_ref();
    replace(path, |out| out.write_all(bytes).map_err(|source| write_error(path, source)))
}

/// Replaces the content of `path` by what `write` writes, or leaves it as it was; see [`write_atomic`].
///
/// # Errors
/// Those of `write`, and [`Error::Write`].
pub fn replace<E: From<Error>>(
    path: &Path,
    write: impl FnOnce(&mut (dyn Write + Send)) -> Result<(), E>,
) -> Result<(), E> {
    let failed = |source| write_error(path, source);
    let mut temporary = temporary_beside(path).map_err(failed)?;
    let mut out = BufWriter::new(temporary.as_file_mut());
    write(&mut out)?;
    out.flush().map_err(failed)?;
    drop(out);
    temporary.as_file().sync_all().map_err(failed)?;
    temporary.persist(path).map_err(|error| failed(error.error))?;
    Ok(sync_folder_of(path).map_err(failed)?)
}

pub(crate) fn write_error(path: &Path, source: std::io::Error) -> Error {
    Error::Write { path: path.to_owned(), source }
}

/// Makes the name of a new file as durable as its content.
pub(crate) fn sync_folder_of(path: &Path) -> IoResult<()> {
    // Only Unix lets a folder be opened and synchronised; elsewhere a rename is as durable as it gets.
    if cfg!(unix) { File::open(folder_of(path))?.sync_all() } else { Ok(()) }
}

/// A temporary file on the same file system, readable by whom any new file is readable by. It takes the place of one that a
/// killed process has left.
pub(crate) fn temporary_beside(path: &Path) -> IoResult<NamedTempFile> {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".partial");
    match fs::remove_file(folder_of(path).join(&name)) {
        Err(source) if source.kind() != ErrorKind::NotFound => return Err(source),
        _ => {}
    }
    let mut builder = Builder::new();
    builder.prefix(&name).rand_bytes(0);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder_of(path))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_and_leaves_nothing_beside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.json");
        write_atomic(&path, b"old, and longer").unwrap();
        write_atomic(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_process_left_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.json");
        let killed = temporary_beside(&path).unwrap();
        std::mem::forget(killed);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        write_atomic(&path, b"new").unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_failure_leaves_the_old_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.json");
        write_atomic(&path, b"old").unwrap();
        let result = replace(&path, |out| {
            out.write_all(b"half").unwrap();
            Err(write_error(&path, std::io::Error::other("disk full")))
        });
        assert!(result.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn names_the_file_whose_folder_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing").join("results.json");
        let message = write_atomic(&path, b"").unwrap_err().to_string();
        assert!(message.contains(&path.display().to_string()), "{message}");
    }

    #[test]
    fn a_bare_name_stands_in_the_current_folder() {
        assert_eq!(folder_of(Path::new("results.json")), Path::new("."));
        assert_eq!(folder_of(Path::new("a/results.json")), Path::new("a"));
    }
}
