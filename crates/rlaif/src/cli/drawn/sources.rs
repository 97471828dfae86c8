//! Which files hold the records of a run, of a job, or of all jobs in a folder.

use crate::cli::Failure;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where a run keeps records that name principles.
pub(super) const OF_A_RUN: [&str; 2] =
    ["critique_revision/revisions.jsonl", "ai_feedback/labels.jsonl"];

/// The jobs whose records name principles.
const JOBS: [&str; 2] = ["revise", "label"];

/// What a job says it is.
#[derive(Deserialize)]
struct Header {
    job: String,
    /// The part that the file holds; all parts are of one job.
    #[serde(rename = "shard")]
    _shard: Option<IgnoredAny>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// The files that a path stands for. Those that are listed together are of one job and may hold the same record twice.
pub(super) fn sources(path: &Path) -> Result<Vec<Vec<PathBuf>>, Failure> {
    if !path.is_dir() {
        return Ok([so_far(path)].into_iter().filter(|files| !files.is_empty()).collect());
    }
    let of_a_run = OF_A_RUN.iter().filter_map(|name| of_a_stage(path.join(name)));
    let of_a_run: Vec<Vec<PathBuf>> = of_a_run.map(|file| vec![file]).collect();
    if of_a_run.is_empty() { jobs_in(path) } else { Ok(of_a_run) }
}

/// Whether a process may still be writing to a file, or was killed while it did.
pub(super) fn is_under_way(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("part" | "before" | "journal"))
}

/// The records of a stage of a run, which are in a journal until all are there.
fn of_a_stage(finished: PathBuf) -> Option<PathBuf> {
    let journal = finished.with_extension("journal");
    [finished, journal].into_iter().find(|file| file.is_file())
}

/// The records of a job. Until all are there they are under another name; while failed items are asked for again, those of
/// the earlier round are under a third.
fn so_far(out: &Path) -> Vec<PathBuf> {
    if out.is_file() {
        return vec![out.to_owned()];
    }
    let beside = ["part", "before"].map(|end| {
        let mut name = out.as_os_str().to_owned();
        name.push(".");
        name.push(end);
        PathBuf::from(name)
    });
    beside.into_iter().filter(|file| file.is_file()).collect()
}

/// The records of the jobs in a folder that draw principles, shards beside the file that they were merged into.
fn jobs_in(folder: &Path) -> Result<Vec<Vec<PathBuf>>, Failure> {
    let unreadable = |error| format!("{}: {error}", folder.display());
    let mut jobs: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for entry in folder.read_dir().map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_none_or(|extension| extension != "job") {
            continue;
        }
        let failed = |error: String| format!("{}: {error}", path.display());
        let text = std::fs::read(&path).map_err(|error| failed(error.to_string()))?;
        if text.is_empty() {
            // A process was killed before it had begun.
            continue;
        }
        let Header { job, rest, .. } =
            serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))?;
        if JOBS.contains(&job.as_str()) {
            let one = format!("{job} {}", Value::Object(rest));
            jobs.entry(one).or_default().extend(so_far(&path.with_extension("")));
        }
    }
    Ok(jobs.into_values().filter(|files| !files.is_empty()).collect())
}
