//! Changes to files and folders, one by one, that are on the disk when they return.

use std::fs::{self, File};
use std::io::{Result, Write};
use std::path::Path;

/// Creates a folder and those above it that are missing.
pub(crate) fn create_folders(path: &Path) -> Result<()> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    if path.is_dir() {
        return Ok(());
    }
    create_folders(folder_of(path))?;
    change()?;
    match fs::create_dir(path) {
        // A folder that another process has just created serves as well.
        Err(error) if path.is_dir() => drop(error),
        result => result?,
    }
    sync_folder(folder_of(path))
}

/// Creates a folder that does not exist.
pub(crate) fn create_folder(path: &Path) -> Result<()> {
    change()?;
    fs::create_dir(path)
}

/// Creates a file that does not exist.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    change()?;
    let mut file = File::create_new(path)?;
    #[cfg(test)]
    if let Err(killed) = change() {
        file.write_all(&bytes[..bytes.len() / 2])?;
        return Err(killed);
    }
    file.write_all(bytes)?;
    file.sync_all()
}

/// Gives a folder, or what stands in its place, another name that is free.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    change()?;
    fs::rename(from, to)
}

/// Removes a folder and what is in it, or a link or a file alone.
pub(crate) fn remove(path: &Path) -> Result<()> {
    change()?;
    let kind = fs::symlink_metadata(path)?.file_type();
    if !kind.is_dir() && !kind.is_symlink() {
        return fs::remove_file(path);
    }
    #[cfg(test)]
    if kind.is_dir()
        && let Err(killed) = change()
    {
        let first = fs::read_dir(path)?.next().transpose()?;
        first.map_or(Ok(()), |file| fs::remove_file(file.path()))?;
        return Err(killed);
    }
    // Of a link to a folder this removes the link.
    fs::remove_dir_all(path)
}

/// Makes the names in a folder as durable as the files.
pub(crate) fn sync_folder(path: &Path) -> Result<()> {
    change()?;
    // Only Unix lets a folder be opened and synchronised; elsewhere a name is as durable as it gets.
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

/// The folder that a file or folder is in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Comes before every change; in tests it may be where the process is killed.
#[cfg_attr(not(test), expect(clippy::unnecessary_wraps, reason = "it fails in tests"))]
fn change() -> Result<()> {
    #[cfg(test)]
    kill::change()?;
    Ok(())
}

/// A process that is killed between two changes, or amid one.
#[cfg(test)]
pub(crate) mod kill {
    use std::cell::Cell;
    use std::io::{Error, Result};

    thread_local! {
        static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
    }

    pub(super) fn change() -> Result<()> {
        match LEFT.get() {
            Some(0) => Err(Error::other("killed")),
            left => {
                LEFT.set(left.map(|left| left - 1));
                Ok(())
            }
        }
    }

    /// What `work` gives if nothing can be changed on the disk after so many changes.
    pub(crate) fn after<T>(changes: usize, work: impl FnOnce() -> T) -> T {
        LEFT.set(Some(changes));
        let result = work();
        LEFT.set(None);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn creates_every_missing_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a").join("b");
        create_folders(&path).unwrap();
        create_folders(&path).unwrap();
        assert!(path.is_dir());
        fs::write(path.join("file"), "").unwrap();
        assert!(create_folders(&path.join("file").join("c")).is_err());
    }

    #[test]
    fn a_bare_name_stands_in_the_current_folder() {
        assert_eq!(folder_of(Path::new("states")), Path::new("."));
        assert_eq!(folder_of(Path::new("a/states")), Path::new("a"));
        create_folders(Path::new("")).unwrap();
    }

    #[test]
    fn a_killed_process_changes_nothing_more() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("first"), folder.path().join("second"));
        // A new file is two changes: that it is there, and what is in it.
        kill::after(3, || {
            write_new(&first, b"whole").unwrap();
            assert!(write_new(&second, b"whole").is_err());
            assert!(create_folder(&folder.path().join("third")).is_err());
        });
        assert_eq!(fs::read(&first).unwrap(), b"whole");
        assert_eq!(fs::read(&second).unwrap(), b"wh");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
