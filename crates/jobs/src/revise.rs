//! Critique and revision of many prompts.

use crate::input::Kind;
use crate::job::Work;
use crate::{Done, Error, Job, Model};
use constitution::Constitution;
use critique_revision::{CritiqueRevisionConfig, critique_and_revise};
use dataset::Rows;
use dialogue::Dialogue;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::Path;
use training::Observe;

/// Draws, criticises and revises a reply to every prompt of a file, as [`critique_and_revise`] does; a record is a
/// [`critique_revision::Trace`].
///
/// # Errors
/// If the prompts, the constitution or the settings cannot be used, the file of records belongs to something else, the
/// model fails, or a record cannot be written. What is done is kept.
pub fn revise(
    job: &Job,
    model: &dyn Model,
    constitution: &Constitution,
    config: &CritiqueRevisionConfig,
    observe: &mut dyn Observe,
) -> Result<Done, Error> {
    config.validate()?;
    if config.revisions > 0 {
        constitution.revisions(&config.principles)?;
    }
    let work = Work {
        name: "revise",
        settings: json!({ "constitution": about(constitution)?, "critique_revision": config }),
        kind: Kind { open, id: Dialogue::id },
        records: &|model, prompts| {
            Ok(critique_and_revise(model, constitution, prompts, config, job.seed)?)
        },
    };
    work.run(job, model, observe)
}

fn open(path: &Path) -> Result<Rows<Dialogue>, dataset::Error> {
    dataset::prompts(path)
}

/// The name of a constitution and a hash of its content.
pub(crate) fn about(constitution: &Constitution) -> Result<Value, Error> {
    let digest = Sha256::digest(constitution.to_toml()?);
    let first = u128::from_be_bytes(std::array::from_fn(|index| digest[index]));
    Ok(json!({ "name": constitution.name, "sha256": format!("{first:032x}") }))
}
