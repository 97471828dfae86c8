//! What a constitution is to a job.

use crate::Error;
use constitution::Constitution;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The name of a constitution and a hash of its content.
pub(crate) fn about(constitution: &Constitution) -> Result<Value, Error> {
    let digest = Sha256::digest(constitution.to_toml()?);
    Ok(json!({ "name": constitution.name, "sha256": format!("{digest:.32x}") }))
}
