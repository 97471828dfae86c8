//! Hugging Face model folders: embedded as bytes, read, and written whole or not at all.

use crate::{
    Error, files,
    weights::{INDEX_FILE, SAVE_AS_SAFETENSORS, WEIGHTS_FILE},
};
use std::{
    borrow::Cow,
    fs::{self, File},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

pub(crate) const CONFIG: &str = "config.json";
pub(crate) const TOKENIZER: &str = "tokenizer.json";
pub(crate) const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
pub(crate) const CHAT_TEMPLATE: &str = "chat_template.jinja";
pub(crate) const GENERATION_CONFIG: &str = "generation_config.json";

type Bytes = Cow<'static, [u8]>;

/// The files of a Hugging Face model folder as bytes, for a model that is embedded in the program: every field is made
/// of `include_bytes!(...).as_slice().into()`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ModelFiles {
    /// Stands before the file names in errors.
    pub name: String,
    /// `config.json`.
    pub config: Bytes,
    /// `model.safetensors`.
    pub weights: Bytes,
    /// `tokenizer.json`.
    pub tokenizer: Bytes,
    /// `tokenizer_config.json`: special tokens, in older folders also the chat template.
    pub tokenizer_config: Option<Bytes>,
    /// `chat_template.jinja`; goes before a template in `tokenizer_config`.
    pub chat_template: Option<Bytes>,
    /// `generation_config.json`: the tokens that end a reply.
    pub generation_config: Option<Bytes>,
}

impl ModelFiles {
    /// Reads all files of a folder but the weights, which may be large or in several files; checks that there are any.
    ///
    /// # Errors
    /// [`Error::MissingFile`] if the folder lacks what every model has, [`Error::Read`] if a file or the folder cannot
    /// be read.
    pub(crate) fn from_folder_without_weights(folder: &Path) -> Result<Self, Error> {
        fs::read_dir(folder).map_err(|source| Error::Read { path: folder.to_owned(), source })?;
        let missing = |file, advice| Error::MissingFile { folder: folder.to_owned(), file, advice };
        let required = |file, advice| match read_if_there(folder, file)? {
            Some(bytes) => Ok(bytes),
            None => Err(missing(file, advice)),
        };
        let files = Self {
            name: folder.display().to_string(),
            config: required(CONFIG, "give the folder of a Hugging Face model")?,
            weights: Bytes::default(),
            tokenizer: required(
                TOKENIZER,
                "save the tokenizer there with `AutoTokenizer.from_pretrained(...).save_pretrained(folder)`",
            )?,
            tokenizer_config: read_if_there(folder, TOKENIZER_CONFIG)?,
            chat_template: read_if_there(folder, CHAT_TEMPLATE)?,
            generation_config: read_if_there(folder, GENERATION_CONFIG)?,
        };
        if ![WEIGHTS_FILE, INDEX_FILE].iter().any(|file| files::there(&folder.join(file))) {
            return Err(missing(WEIGHTS_FILE, SAVE_AS_SAFETENSORS));
        }
        Ok(files)
    }

    /// How errors name one of the files.
    pub(crate) fn path_of(&self, file: &str) -> String {
        Path::new(&self.name).join(file).display().to_string()
    }
}

impl std::fmt::Debug for ModelFiles {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ModelFiles")
            .field("name", &self.name)
            .field("weights", &format_args!("{} bytes", self.weights.len()))
            .finish_non_exhaustive()
    }
}

fn read_if_there(folder: &Path, file: &str) -> Result<Option<Bytes>, Error> {
    Ok(files::read_if_there(&folder.join(file))?.map(Cow::Owned))
}

/// Writes `files`, by name, as the folder at `path`, whose parents are made.
///
/// The folder is written under another name beside `path` (`.NAME.partial`), brought to the disk and then renamed, so
/// that what stands at `path` is always whole. A model folder that stands there is moved aside (`.NAME.replaced`) and
/// removed at the very end. A process that is killed leaves the old folder, the new one, or, between the two renames,
/// none at `path`; the next write cleans up after it.
///
/// # Errors
/// [`Error::Occupied`] if what stands at `path` is not a model folder, [`Error::Write`] if the system refuses.
pub fn write_folder(path: impl AsRef<Path>, files: &[(&str, &[u8])]) -> Result<(), Error> {
    write_folder_of(path, CONFIG, files)
}

/// As [`write_folder`], for folders that are known by the file `mark`.
pub(crate) fn write_folder_of(
    path: impl AsRef<Path>,
    mark: &str,
    files: &[(&str, &[u8])],
) -> Result<(), Error> {
    let path = path.as_ref();
    refuse_if_occupied(path, mark)?;
    replace_folder(path, |partial| {
        for (name, bytes) in files {
            let file = partial.join(name);
            write_to_disk(&file, bytes).map_err(|source| write_error(&file, source))?;
        }
        Ok(())
    })
}

/// Puts a folder that `fill` writes in the place of whatever stands at `path`, as [`write_folder`] does; whether that may go
/// is for the caller to see before.
///
/// `fill` is given an empty folder beside `path`, and brings its files to the disk. If it fails, `path` stays as it was.
///
/// # Errors
/// Those of `fill`, [`Error::Write`] if the system refuses.
pub fn replace_folder<E: From<Error>>(
    path: impl AsRef<Path>,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let path = path.as_ref();
    let (partial, replaced) = (beside(path, "partial")?, beside(path, "replaced")?);
    remove(&partial)?;
    fs::create_dir_all(&partial).map_err(|source| write_error(&partial, source))?;
    fill(&partial)?;
    sync_folder(&partial)?;
    remove(&replaced)?;
    Ok(put_in_place(&partial, path, &replaced)?)
}

/// Renames `partial` to `path`; what stands there is moved to `replaced` and then removed.
fn put_in_place(partial: &Path, path: &Path, replaced: &Path) -> Result<(), Error> {
    if path.exists() {
        fs::rename(path, replaced).map_err(|source| write_error(path, source))?;
    }
    if let Err(source) = fs::rename(partial, path) {
        // The old folder is worth more than a tidy failure.
        let _ = fs::rename(replaced, path);
        return Err(write_error(path, source));
    }
    if let Some(parent) = partial.parent() {
        sync_folder(parent)?;
    }
    remove(replaced)
}

/// Only what this crate may have written, or nothing, gives way to a new folder.
fn refuse_if_occupied(path: &Path, mark: &str) -> Result<(), Error> {
    let occupied =
        |reason: &str| Err(Error::Occupied { path: path.to_owned(), reason: reason.to_owned() });
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            return occupied("it is a file");
        }
        Err(source) => return Err(write_error(path, source)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| write_error(path, source))?;
        let kind = entry.file_type().map_err(|source| write_error(path, source))?;
        if kind.is_dir() {
            return occupied("it holds folders");
        }
        names.push(entry.file_name());
    }
    if names.is_empty() || names.iter().any(|name| name == mark) {
        Ok(())
    } else {
        occupied(&format!("it holds files but no {mark}"))
    }
}

fn beside(path: &Path, suffix: &str) -> Result<PathBuf, Error> {
    let Some(name) = path.file_name() else {
        let source = io::Error::new(ErrorKind::InvalidInput, "the path does not end in a name");
        return Err(write_error(path, source));
    };
    Ok(path.with_file_name(format!(".{}.{suffix}", name.to_string_lossy())))
}

fn write_to_disk(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Brings the names in a folder to the disk, where the system can.
fn sync_folder(path: &Path) -> Result<(), Error> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    if cfg!(unix) {
        let synced = File::open(path).and_then(|folder| folder.sync_all());
        synced.map_err(|source| write_error(path, source))?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(write_error(path, error)),
        _ => Ok(()),
    }
}

fn write_error(path: &Path, source: io::Error) -> Error {
    Error::Write { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: [(&str, &[u8]); 2] = [("config.json", b"{}"), ("model.safetensors", b"w")];

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn writes_every_file_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("deep/model");
        write_folder(&path, &FILES).unwrap();
        assert_eq!(names(&path), ["config.json", "model.safetensors"]);
        assert_eq!(fs::read(path.join("model.safetensors")).unwrap(), b"w");
        assert_eq!(names(&root.path().join("deep")), ["model"]);
    }

    #[test]
    fn replaces_a_model_and_cleans_up_after_a_killed_write() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("model");
        write_folder(&path, &FILES).unwrap();
        fs::write(path.join("README.md"), "old").unwrap();
        for stale in [".model.partial", ".model.replaced"] {
            fs::create_dir(root.path().join(stale)).unwrap();
            fs::write(root.path().join(stale).join("half"), "").unwrap();
        }
        write_folder(&path, &[("config.json", b"new")]).unwrap();
        assert_eq!(fs::read(path.join("config.json")).unwrap(), b"new");
        assert_eq!(names(&path), ["config.json"]);
        assert_eq!(names(root.path()), ["model"]);
    }

    #[test]
    fn a_folder_that_cannot_be_filled_leaves_the_old_one() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("model");
        write_folder(&path, &FILES).unwrap();
        let fill = |folder: &Path| {
            fs::create_dir(folder.join("member")).unwrap();
            assert_eq!(names(&path), ["config.json", "model.safetensors"]);
            Err(write_error(folder, ErrorKind::StorageFull.into()))
        };
        let error = replace_folder(&path, fill).unwrap_err();
        assert!(matches!(error, Error::Write { .. }), "{error}");
        assert_eq!(names(&path), ["config.json", "model.safetensors"]);
        let fill = |folder: &Path| {
            fs::create_dir(folder.join("other")).unwrap();
            Ok::<(), Error>(())
        };
        replace_folder(&path, fill).unwrap();
        assert_eq!(names(&path), ["other"]);
        assert_eq!(names(root.path()), ["model"]);
    }

    #[test]
    fn does_not_replace_what_is_no_model() {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().join("home");
        fs::create_dir_all(home.join("letters")).unwrap();
        let papers = root.path().join("papers");
        fs::create_dir(&papers).unwrap();
        fs::write(papers.join("thesis.txt"), "all of it").unwrap();
        let file = root.path().join("file");
        fs::write(&file, "text").unwrap();
        for path in [&home, &papers, &file] {
            let error = write_folder(path, &FILES).unwrap_err();
            assert!(matches!(error, Error::Occupied { .. }), "{error}");
            assert!(error.to_string().contains(&path.display().to_string()));
        }
        assert!(papers.join("thesis.txt").exists());
        let empty = root.path().join("empty");
        fs::create_dir(&empty).unwrap();
        write_folder(&empty, &FILES).unwrap();
        assert!(write_folder("/", &FILES).is_err());
    }

    #[test]
    fn names_what_is_missing_and_what_to_do() {
        let root = tempfile::tempdir().unwrap();
        let read = ModelFiles::from_folder_without_weights;
        let error = read(&root.path().join("nowhere")).unwrap_err();
        assert!(error.to_string().contains("nowhere"), "{error}");
        for file in ["config.json", "tokenizer.json", "model.safetensors"] {
            let error = read(root.path()).unwrap_err().to_string();
            assert!(error.contains(&format!("holds no {file}; ")), "{error}");
            assert!(error.contains(&root.path().display().to_string()), "{error}");
            fs::write(root.path().join(file), "{}").unwrap();
        }
        assert!(read(root.path()).is_ok());
    }
}
