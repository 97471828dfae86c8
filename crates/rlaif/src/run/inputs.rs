//! What a run reads from elsewhere, so that a change of it between two starts is noticed.

use super::models::find_model;
use super::{Error, JudgeSource, Settings, built_in_constitution};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use toml::Table;

/// The SHA-256 of every file that the settings name, and of those of a model's folder, under the name of the setting.
///
/// # Errors
/// [`Error::Io`] if a file cannot be read.
pub(super) fn fingerprints(settings: &Settings) -> Result<Table, Error> {
    let mut table = Table::new();
    let constitution = match &settings.constitution {
        Some(which) if built_in_constitution(which)?.is_none() => Some(which.clone()),
        _ => None,
    };
    let judge = settings.judge.as_ref().and_then(JudgeSource::folder).map(Path::to_owned);
    let pretraining = settings.preference_model.pretraining.as_ref();
    let pretraining = pretraining.map(|pretraining| pretraining.file.clone());
    let named = [
        ("constitution", &constitution),
        ("helpful_prompts", &settings.prompts.helpful),
        ("judge", &judge),
        ("model", &settings.model),
        ("pretraining", &pretraining),
        ("red_team_prompts", &settings.prompts.red_team),
    ];
    for (name, path) in named {
        let Some(path) = path else { continue };
        let found = if matches!(name, "judge" | "model") { &find_model(path)? } else { path };
        table.insert(name.to_owned(), fingerprint(found)?.into());
    }
    Ok(table)
}

/// The hash of a file, or of the names and the content of all files right in a folder: its first 128 bits.
///
/// # Errors
/// [`Error::Io`] if a file cannot be read.
pub fn fingerprint(path: &Path) -> Result<String, Error> {
    let failed = |path: &Path, source| Error::Io { action: "read", path: path.to_owned(), source };
    let mut hash = Sha256::new();
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        let entries = fs::read_dir(path).map_err(|source| failed(path, source))?;
        let entries: io::Result<Vec<PathBuf>> =
            entries.map(|entry| entry.map(|entry| entry.path())).collect();
        files = entries.map_err(|source| failed(path, source))?;
        files.retain(|file| file.is_file());
        files.sort();
    }
    for file in files {
        hash.update(file.file_name().unwrap_or_default().as_encoded_bytes());
        let mut content = File::open(&file).map_err(|source| failed(&file, source))?;
        io::copy(&mut content, &mut hash).map_err(|source| failed(&file, source))?;
    }
    Ok(format!("{:.32x}", hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constitution_that_is_built_in_is_no_file() {
        let named = |which: &str| {
            let constitution = Some(PathBuf::from(which));
            fingerprints(&Settings { constitution, ..Settings::embedded() })
        };
        assert!(named("general").unwrap().is_empty());
        assert!(named("./general").is_err());
    }

    #[test]
    fn a_changed_file_has_another_fingerprint() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prompts.jsonl");
        fs::write(&path, "a").unwrap();
        let (file, whole) = (fingerprint(&path).unwrap(), fingerprint(folder.path()).unwrap());
        assert_eq!(file, fingerprint(&path).unwrap());
        fs::write(&path, "b").unwrap();
        assert_ne!(file, fingerprint(&path).unwrap());
        assert_ne!(whole, fingerprint(folder.path()).unwrap());
        assert!(fingerprint(&folder.path().join("none")).is_err());
    }
}
