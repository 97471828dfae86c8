//! `model.safetensors.index.json`: which file of a folder holds which tensor.

use crate::{Error, files};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Component, Path};

/// The file of every tensor, by the tensor's name.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) weight_map: BTreeMap<String, String>,
}

impl Index {
    /// Reads an index and checks that the files it names are safetensors files inside its folder.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Json`], [`Error::ShardName`].
    pub(crate) fn from_file(path: &Path) -> Result<Self, Error> {
        let file = path.display().to_string();
        let bytes = files::read(path)?;
        let Written { weight_map: Map(weight_map) } = serde_json::from_slice(&bytes)
            .map_err(|source| Error::Json { file: file.clone(), source })?;
        for (tensor, shard) in &weight_map {
            if let Some(reason) = refused(shard) {
                let (name, shard) = (tensor.clone(), shard.clone());
                return Err(Error::ShardName { file, name, shard, reason });
            }
        }
        Ok(Self { weight_map })
    }

    /// The files named, each once.
    pub(crate) fn shards(&self) -> BTreeSet<&str> {
        self.weight_map.values().map(String::as_str).collect()
    }
}

/// Why no tensors are read from a file of this name.
fn refused(shard: &str) -> Option<&'static str> {
    let path = Path::new(shard);
    let inside = path.components().all(|part| matches!(part, Component::Normal(_)));
    // A backslash is a letter here and a separator elsewhere; a folder must mean the same everywhere.
    if shard.is_empty() || !inside || shard.contains(['\\', '\0']) {
        Some("which is not a file inside the folder")
    } else if path.extension().is_some_and(|end| end == "json") {
        Some("which is no weights file; an index cannot name an index")
    } else if path.extension().is_none_or(|end| end != "safetensors") {
        Some(
            "which is no safetensors file; save the weights as safetensors with `model.save_pretrained(folder)`",
        )
    } else {
        None
    }
}

#[derive(Deserialize)]
struct Written {
    weight_map: Map,
}

/// A table in which no name stands twice.
struct Map(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Map {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;

        impl<'de> Visitor<'de> for Names {
            type Value = Map;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a table from tensors to files")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Map, A::Error> {
                let mut files = BTreeMap::new();
                while let Some((name, file)) = map.next_entry::<String, String>()? {
                    if files.insert(name.clone(), file).is_some() {
                        let message = format_args!("tensor `{name}` stands there twice");
                        return Err(de::Error::custom(message));
                    }
                }
                Ok(Map(files))
            }
        }

        deserializer.deserialize_map(Names)
    }
}
