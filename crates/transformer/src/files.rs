//! Files read with the path in the error, and written whole or not at all.

use crate::Error;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use tempfile::NamedTempFile;

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    read_whole(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

/// Reads a file if there is one.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match read_whole(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Read { path: path.to_owned(), source }),
    }
}

fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = open(path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a file for reading. Devices and pipes are refused: they may never end, or never begin.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let kind = fs::metadata(path)?.file_type();
    if kind.is_file() {
        File::open(path)
    } else if kind.is_dir() {
        Err(ErrorKind::IsADirectory.into())
    } else {
        Err(io::Error::new(ErrorKind::InvalidInput, "it is a device or a pipe, expected a file"))
    }
}

/// Whether something stands at `path`, be it a link to nothing.
pub(crate) fn there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Replaces `path` by `bytes`; whoever opens it, even after a crash, finds the old contents or the new.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |source| Error::Write { path: path.to_owned(), source };
    write_with(path, |unfinished| fs::write(unfinished, bytes).map_err(failed))
}

/// Replaces `path` by what `fill` writes into the file whose path it is given, as [`write`] does.
pub(crate) fn write_with(
    path: &Path,
    fill: impl FnOnce(&Path) -> Result<(), Error>,
) -> Result<(), Error> {
    let failed = |source| Error::Write { path: path.to_owned(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    let file = fs::create_dir_all(folder).and_then(|()| NamedTempFile::new_in(folder));
    let file = file.map_err(failed)?;
    fill(file.path())?;
    put_in_place(file, folder, path).map_err(failed)
}

fn put_in_place(file: NamedTempFile, folder: &Path, path: &Path) -> io::Result<()> {
    readable_by_others(file.as_file())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    // The new name itself is only durable once the folder is; not every system lets a folder be opened.
    if let Ok(folder) = File::open(folder) {
        folder.sync_all().ok();
    }
    Ok(())
}

/// Temporary files are private; what replaces a shared file is not.
#[cfg(unix)]
fn readable_by_others(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable_by_others(_: &File) -> io::Result<()> {
    Ok(())
}
