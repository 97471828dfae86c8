//! A state as a folder: its files, and `state.json`, which says what it belongs to and what the files are.
//!
//! ```text
//! { "version": 1,
//!   "sha256": of "state", written without spaces,
//!   "state": { "stage": …, "fingerprint": …, "step": …, "values": {…},
//!              "files": [{ "name": …, "bytes": …, "sha256": … }, …] } }
//! ```

use crate::{Error, Owner, State, durable};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::fs;
use std::io::{Error as IoError, ErrorKind};
use std::path::Path;

/// The file that lists the others.
const CONTENTS: &str = "state.json";
/// The format that is written, the only one that is read.
const VERSION: u64 = 1;

/// Why a state cannot be used.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// It is not as it was written; this is how.
    Damaged(String),
    /// It may be whole, but this process cannot read it.
    Unreadable(Error),
}

/// `state.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    version: u64,
    sha256: String,
    state: Contents,
}

/// What a state belongs to and holds, its files by name.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contents {
    stage: String,
    fingerprint: String,
    step: u64,
    values: Map<String, Value>,
    files: Vec<Listed>,
}

/// A file of a state.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    name: String,
    bytes: u64,
    sha256: String,
}

/// Writes a state into a folder that does not exist. Whoever is killed meanwhile leaves one without `state.json`.
///
/// # Errors
/// [`Error::FileName`], [`Error::Write`].
pub(crate) fn write(folder: &Path, owner: &Owner, state: &State) -> Result<(), Error> {
    let names = state.files.iter().map(|(name, _)| name.as_str());
    if let Some(name) = first_bad_name(names) {
        return Err(Error::FileName { name: name.to_owned() });
    }
    let at = |path: &Path, result: Result<(), IoError>| {
        result.map_err(|source| Error::Write { path: path.to_owned(), source })
    };
    at(folder, durable::create_folder(folder))?;
    let write_new = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        at(&path, durable::write_new(&path, bytes))
    };
    for (name, bytes) in &state.files {
        write_new(name, bytes)?;
    }
    let sealed = Contents::of(owner, state).seal();
    let sealed = sealed
        .map_err(|reason| Error::Write { path: folder.join(CONTENTS), source: reason.into() })?;
    write_new(CONTENTS, &sealed)?;
    at(folder, durable::sync_folder(folder))
}

impl Contents {
    fn of(owner: &Owner, state: &State) -> Self {
        let listed = |(name, bytes): &(String, Vec<u8>)| Listed {
            name: name.clone(),
            bytes: bytes.len() as u64,
            sha256: sha256(bytes),
        };
        Self {
            stage: owner.stage.clone(),
            fingerprint: owner.fingerprint.clone(),
            step: state.step,
            values: state.values.clone(),
            files: state.files.iter().map(listed).collect(),
        }
    }

    /// The bytes of `state.json`.
    pub(crate) fn seal(self) -> Result<Vec<u8>, serde_json::Error> {
        let sha256 = sha256(&serde_json::to_vec(&self)?);
        serde_json::to_vec_pretty(&Sealed { version: VERSION, sha256, state: self })
    }

    /// Reads what the state after `step` in `folder` is said to hold, none of its files.
    pub(crate) fn read(folder: &Path, step: u64) -> Result<Self, Unusable> {
        let bytes = read_file(folder, CONTENTS, None)?;
        let contents = unseal(&bytes).map_err(|what| damaged(CONTENTS, what))?;
        if contents.step != step {
            return Err(damaged(CONTENTS, format!("is of step {}, not {step}", contents.step)));
        }
        let names = contents.files.iter().map(|file| file.name.as_str());
        match first_bad_name(names) {
            Some(name) => Err(damaged(CONTENTS, format!("lists {name:?}, which is no file of it"))),
            None => Ok(contents),
        }
    }

    /// What the state belongs to.
    pub(crate) fn owner(&self) -> Owner {
        Owner { stage: self.stage.clone(), fingerprint: self.fingerprint.clone() }
    }

    /// Reads the files.
    pub(crate) fn load(self, folder: &Path) -> Result<State, Unusable> {
        let load = |file: Listed| {
            let bytes = read_file(folder, &file.name, Some(file.bytes))?;
            if sha256(&bytes) == file.sha256 {
                Ok((file.name, bytes))
            } else {
                Err(damaged(&file.name, "has another SHA-256 than when it was written"))
            }
        };
        let files = self.files.into_iter().map(load).collect::<Result<_, _>>()?;
        Ok(State { step: self.step, values: self.values, files, folder: None })
    }
}

/// Opens `state.json`, or says what is wrong with it.
fn unseal(bytes: &[u8]) -> Result<Contents, String> {
    /// Says which format the rest has.
    #[derive(Deserialize)]
    struct Format {
        version: u64,
    }

    let not_json = |reason: serde_json::Error| format!("cannot be understood: {reason}");
    let Format { version } = serde_json::from_slice(bytes).map_err(not_json)?;
    if version != VERSION {
        return Err(format!("has version {version}, expected {VERSION}"));
    }
    let sealed: Sealed = serde_json::from_slice(bytes).map_err(not_json)?;
    // Numbers are read back as they were written, and so is their order.
    let state = serde_json::to_vec(&sealed.state).map_err(not_json)?;
    if sha256(&state) != sealed.sha256 {
        return Err("has another SHA-256 than when it was written".to_owned());
    }
    Ok(sealed.state)
}

/// Reads a file of a state: a plain one, and as long as it should be, so that no more memory is asked for than it has
/// bytes.
fn read_file(folder: &Path, name: &str, expected: Option<u64>) -> Result<Vec<u8>, Unusable> {
    let path = folder.join(name);
    let failed = |source: IoError| match source.kind() {
        ErrorKind::NotFound => damaged(name, "is missing"),
        // Nothing is wrong with the file itself.
        ErrorKind::PermissionDenied | ErrorKind::OutOfMemory => {
            Unusable::Unreadable(Error::Read { path: path.clone(), source })
        }
        _ => damaged(name, format!("cannot be read: {source}")),
    };
    // A link could lead out of the folder, and a pipe would never end.
    let about = fs::symlink_metadata(&path).map_err(failed)?;
    if !about.is_file() {
        return Err(damaged(name, "is no file"));
    }
    if let Some(expected) = expected.filter(|&expected| expected != about.len()) {
        return Err(damaged(name, format!("has {} bytes, expected {expected}", about.len())));
    }
    fs::read(&path).map_err(failed)
}

fn damaged(name: &str, what: impl AsRef<str>) -> Unusable {
    Unusable::Damaged(format!("{name} {}", what.as_ref()))
}

/// The first name that could lead out of a folder, mean something to a system, hide, or stand for two files.
fn first_bad_name<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let mut seen = HashSet::from([CONTENTS.to_owned()]);
    let mut names = names;
    names.find(|name| {
        // Some systems tell no small letter from a capital one.
        let new = seen.insert(name.to_ascii_lowercase());
        !new || name.is_empty() || name.starts_with('.') || !name.bytes().all(plain)
    })
}

fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_the_documentation_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let owner = Owner { stage: "sft".to_owned(), fingerprint: "00ff".to_owned() };
        let state = State {
            step: 3,
            values: [("best".to_owned(), 0.5.into())].into_iter().collect(),
            files: vec![("policy".to_owned(), b"abc".to_vec())],
            folder: None,
        };
        write(&path, &owner, &state).unwrap();
        let text = fs::read_to_string(path.join(CONTENTS)).unwrap();
        // The SHA-256 of "abc" is the first example of FIPS 180-2.
        let contents = r#"{"stage":"sft","fingerprint":"00ff","step":3,"values":{"best":0.5},"files":[{"name":"policy","bytes":3,"sha256":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}]}"#;
        let sealed = sha256(contents.as_bytes());
        let expected = format!(r#"{{"version":1,"sha256":"{sealed}","state":{contents}}}"#);
        let compact = |text: &str| serde_json::from_str::<Value>(text).unwrap().to_string();
        assert_eq!(compact(&text), expected);
        let contents = Contents::read(&path, 3).unwrap();
        assert_eq!(contents.owner(), owner);
        assert_eq!(contents.load(&path).unwrap(), state);
    }

    #[test]
    fn refuses_names_that_are_not_plain() {
        let bad = |names: &[&'static str]| first_bad_name(names.iter().copied());
        assert_eq!(bad(&["policy.safetensors", "moments-1", "A_b"]), None);
        for name in [
            "",
            ".",
            "..",
            "../policy",
            "/etc/passwd",
            "a/b",
            "a\\b",
            "c:policy",
            ".hidden",
            "state.json",
            "State.json",
            "nul\0",
            "ü",
        ] {
            assert_eq!(bad(&["policy", name]), Some(name));
        }
        assert_eq!(bad(&["policy", "Policy"]), Some("Policy"));
    }

    #[test]
    fn writes_nothing_under_a_bad_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let owner = Owner { stage: "sft".to_owned(), fingerprint: String::new() };
        let state = State { files: vec![("../policy".to_owned(), Vec::new())], ..State::default() };
        let message = write(&path, &owner, &state).unwrap_err().to_string();
        assert!(message.contains("`../policy`"), "{message}");
        assert!(!path.exists());
    }
}
