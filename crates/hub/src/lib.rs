//! Models by name: `owner/name` from the Hugging Face hub and its cache, or a folder as it is.
//!
//! [`resolve`] takes what a user gives for a model. A path that exists is that path. A name such as
//! `HuggingFaceTB/SmolLM2-135M-Instruct`, with `@revision` behind it if need be, is looked up in the cache that the
//! Python libraries use too, and downloaded if it is not there. What is cached is used without asking the network, so that
//! a model does not change between two runs.
//!
//! ```no_run
//! use std::path::Path;
//! let folder = hub::resolve(Path::new("HuggingFaceTB/SmolLM2-135M-Instruct"), &mut hub::Silent)?;
//! assert!(folder.join("config.json").exists());
//! # Ok::<(), hub::Error>(())
//! ```
//!
//! Only what a model needs is fetched: `config.json`, `tokenizer.json`, the safetensors files and, where there are,
//! `tokenizer_config.json`, `chat_template.jinja` and `generation_config.json`.

mod cache;
mod download;
mod error;
mod model_id;
mod progress;
mod settings;

pub use error::Error;
pub use model_id::ModelId;
pub use progress::{Progress, Silent};
pub use settings::Settings;

use cache::Snapshot;
use std::path::{Path, PathBuf};

/// The folder of what a user gives for a model, by the settings of the environment; see [`Settings`].
///
/// # Errors
/// Those of [`Settings::resolve`].
pub fn resolve(model: &Path, progress: &mut dyn Progress) -> Result<PathBuf, Error> {
    if model.exists() {
        return Ok(model.to_owned());
    }
    Settings::from_env()?.resolve(model, progress)
}

impl Settings {
    /// The folder of what a user gives for a model: a path that exists, or else the name of a model on the hub.
    ///
    /// # Errors
    /// [`Error::Neither`] if it is no path and cannot be a name, or those of [`Settings::fetch`].
    pub fn resolve(&self, model: &Path, progress: &mut dyn Progress) -> Result<PathBuf, Error> {
        if model.exists() {
            return Ok(model.to_owned());
        }
        self.fetch(&ModelId::from_path(model)?, progress)
    }

    /// The folder of a model in the cache, downloaded if it is not there.
    ///
    /// # Errors
    /// [`Error::Offline`] if the model is not cached and nothing may be downloaded, [`Error::NotFound`],
    /// [`Error::Access`], [`Error::Request`] if the hub does not give it, [`Error::MissingFile`] if it is not of a kind
    /// that can be read, [`Error::Incomplete`] if a file arrived damaged, [`Error::Cache`] if it cannot be kept.
    pub fn fetch(&self, model: &ModelId, progress: &mut dyn Progress) -> Result<PathBuf, Error> {
        let cached = Snapshot::find(&self.cache, model);
        match cached {
            Some(snapshot) if snapshot.is_whole() => Ok(snapshot.folder),
            cached => {
                let usable = cached.filter(Snapshot::is_usable).map(|snapshot| snapshot.folder);
                if self.offline {
                    return usable.ok_or_else(|| self.not_cached(model));
                }
                match (download::download(self, model, progress), usable) {
                    // Another program left it there without what may not even exist.
                    (Err(Error::Request { .. }), Some(folder)) => Ok(folder),
                    (result, _) => result,
                }
            }
        }
    }

    fn not_cached(&self, model: &ModelId) -> Error {
        Error::Offline { model: model.clone(), cache: self.cache.clone() }
    }
}
