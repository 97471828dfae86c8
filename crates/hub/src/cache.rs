//! The cache in its layout of folders, `models--owner--name/snapshots/COMMIT`, shared with other programs.

use crate::ModelId;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

pub(crate) const CONFIG: &str = "config.json";
pub(crate) const TOKENIZER: &str = "tokenizer.json";
pub(crate) const WEIGHTS: &str = "model.safetensors";
pub(crate) const INDEX: &str = "model.safetensors.index.json";
/// What a model may have or lack.
pub(crate) const OPTIONAL: [&str; 3] =
    ["tokenizer_config.json", "chat_template.jinja", "generation_config.json"];

/// The files of one commit, some of them perhaps not there yet.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) folder: PathBuf,
    /// Holds empty files named for what the commit is known to lack.
    lacks: PathBuf,
}

impl Snapshot {
    /// The commit that the cache holds for a model.
    pub(crate) fn find(cache: &Path, model: &ModelId) -> Option<Self> {
        let revision = model.revision();
        let commit = if is_commit(revision) {
            revision.to_owned()
        } else {
            fs::read_to_string(model_folder(cache, model).join("refs").join(revision)).ok()?
        };
        let commit = commit.trim();
        let snapshot = Self::of(cache, model, commit);
        (is_commit(commit) && snapshot.folder.is_dir()).then_some(snapshot)
    }

    /// The place of a commit.
    pub(crate) fn of(cache: &Path, model: &ModelId, commit: &str) -> Self {
        let model = model_folder(cache, model);
        Self {
            folder: model.join("snapshots").join(commit),
            lacks: model.join(".no_exist").join(commit),
        }
    }

    /// Everything that a model needs is there.
    pub(crate) fn is_usable(&self) -> bool {
        self.holds(CONFIG) && self.holds(TOKENIZER) && self.holds_weights()
    }

    /// It is usable, and of what a model may have nothing can be missing.
    pub(crate) fn is_whole(&self) -> bool {
        let known = |file| self.holds(file) || self.lacks.join(file).exists();
        self.is_usable() && OPTIONAL.into_iter().all(known)
    }

    /// Notes that the commit has no such file.
    pub(crate) fn note_lack(&self, file: &str) -> std::io::Result<()> {
        fs::create_dir_all(&self.lacks)?;
        fs::write(self.lacks.join(file), "")
    }

    pub(crate) fn holds(&self, file: &str) -> bool {
        self.folder.join(file).is_file()
    }

    fn holds_weights(&self) -> bool {
        if self.holds(WEIGHTS) {
            return true;
        }
        let shards = fs::read(self.folder.join(INDEX)).ok().and_then(|index| shards(&index).ok());
        shards.is_some_and(|shards| shards.iter().all(|shard| self.holds(shard)))
    }
}

/// Where the cache keeps a model.
fn model_folder(cache: &Path, model: &ModelId) -> PathBuf {
    cache.join(format!("models--{}", model.name().replace('/', "--")))
}

/// Whether this is the full name of a commit.
pub(crate) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|letter| letter.is_ascii_hexdigit())
}

/// The files that an index names, each once. The error says what is wrong with it.
pub(crate) fn shards(index: &[u8]) -> Result<BTreeSet<String>, String> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: std::collections::BTreeMap<String, String>,
    }
    let index: Index = serde_json::from_slice(index).map_err(|error| error.to_string())?;
    let shards: BTreeSet<String> = index.weight_map.into_values().collect();
    match shards.iter().find(|shard| !is_inside(shard)) {
        Some(shard) => Err(format!("it names {shard:?}, which is no safetensors file inside")),
        None if shards.is_empty() => Err("it names no file".to_owned()),
        None => Ok(shards),
    }
}

fn is_inside(file: &str) -> bool {
    let path = Path::new(file);
    path.components().all(|part| matches!(part, Component::Normal(_)))
        && path.extension().is_some_and(|end| end == "safetensors")
        && !file.contains(['\\', '\0', '?', '#', '%'])
}
