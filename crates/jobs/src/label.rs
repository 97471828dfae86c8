//! Labels of many pairs.

use crate::input::Kind;
use crate::job::Work;
use crate::revise::about;
use crate::{Done, Error, Job, Model};
use ai_feedback::{FeedbackConfig, pair_id};
use constitution::Constitution;
use dataset::Rows;
use dialogue::Comparison;
use serde_json::json;
use std::path::Path;
use training::Observe;

/// Labels every pair of a file by the principles of a constitution, as [`ai_feedback::label()`] does; a record is an
/// [`ai_feedback::Label`]. The rows are those of [`dataset::comparisons`]. Nothing is probed.
///
/// # Errors
/// If the pairs, the constitution or the settings cannot be used, the file of records belongs to something else, the
/// judge fails, or a record cannot be written. What is done is kept.
pub fn label(
    job: &Job,
    judge: &dyn Model,
    constitution: &Constitution,
    config: &FeedbackConfig,
    observe: &mut dyn Observe,
) -> Result<Done, Error> {
    config.validate()?;
    constitution.comparisons(&config.principles)?;
    // What is asked for a report alone decides no record.
    let config = &FeedbackConfig { probe: 0, ..config.clone() };
    let work = Work {
        name: "label",
        settings: json!({ "constitution": about(constitution)?, "ai_feedback": config }),
        kind: Kind { open, id: pair_id },
        records: &|judge, pairs| {
            Ok(ai_feedback::label(judge, constitution, pairs, config, job.seed)?)
        },
    };
    work.run(job, judge, observe)
}

fn open(path: &Path) -> Result<Rows<Comparison>, dataset::Error> {
    dataset::comparisons(path)
}
