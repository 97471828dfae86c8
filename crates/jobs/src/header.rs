//! What a file of records belongs to.

use crate::{Error, Shard};
use dataset::Difference;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What stands in `OUT.job`: all that decides the records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    /// What is done with the items.
    pub(crate) job: String,
    /// The version of this program.
    pub(crate) version: String,
    pub(crate) seed: u64,
    pub(crate) model: Value,
    pub(crate) settings: Value,
    /// Distinct items of the whole input.
    pub(crate) items: u64,
    /// A hash of their ids, in order.
    pub(crate) input: String,
    /// The part of the job that the file holds; none if it holds all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) shard: Option<Shard>,
}

impl Header {
    /// The header as it stands in its file.
    pub(crate) fn text(&self, path: &Path) -> Result<String, Error> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|reason| dataset::Error::Encode { path: path.to_owned(), reason })?;
        Ok(text + "\n")
    }

    /// Reads a header; `path` is the file that `text` comes from.
    pub(crate) fn read(path: &Path, text: &str) -> Result<Self, Error> {
        serde_json::from_str(text).map_err(|reason| Error::Header { path: path.to_owned(), reason })
    }

    /// Where two headers differ, `self` being the one that is there.
    pub(crate) fn differences(&self, other: &Self) -> Vec<Difference> {
        Difference::all(&on_disk(self), &on_disk(other))
    }

    /// The same job in one file.
    pub(crate) fn whole(&self) -> Self {
        Self { shard: None, ..self.clone() }
    }
}

/// A header as it is read back: an `f32`, for one, is another number in memory than on disk.
fn on_disk(header: &Header) -> Value {
    let text = serde_json::to_string(header).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// The file that stands beside `out`: `OUT.part`, `OUT.job` or `OUT.answers`.
pub(crate) fn beside(out: &Path, extension: &str) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}
