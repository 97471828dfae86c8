//! How a checkpoint came to be.

use crate::{Error, Gates, PretrainConfig};
use serde::{Deserialize, Serialize};
use std::path::Path;
use transformer::{ModelFiles, write_folder};

/// The file that stands beside the weights.
const FILE: &str = "pretraining.json";

/// Settings and figures of a pretraining run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The settings.
    pub config: PretrainConfig,
    /// Tokens read.
    pub tokens: u64,
    /// Wall-clock seconds of training.
    pub seconds: f64,
    /// What the checkpoint can do.
    pub gates: Gates,
}

impl Record {
    /// Writes the folder of the model with this record in it, at once or not at all.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn write(&self, folder: &Path, files: &ModelFiles) -> Result<(), Error> {
        let record = serde_json::to_vec_pretty(self).map_err(Error::Record)?;
        let mut entries: Vec<(&str, &[u8])> = vec![
            ("config.json", &files.config),
            ("model.safetensors", &files.weights),
            ("tokenizer.json", &files.tokenizer),
            (FILE, &record),
        ];
        let optional = [
            ("tokenizer_config.json", &files.tokenizer_config),
            ("chat_template.jinja", &files.chat_template),
            ("generation_config.json", &files.generation_config),
        ];
        entries.extend(optional.iter().filter_map(|(name, file)| Some((*name, file.as_deref()?))));
        Ok(write_folder(folder, &entries)?)
    }
}
