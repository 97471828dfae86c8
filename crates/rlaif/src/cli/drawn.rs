//! How often each principle of a constitution was drawn.

use super::Failure;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// Where a run keeps records that name principles.
const OF_A_RUN: [&str; 2] = ["critique_revision/revisions.jsonl", "ai_feedback/labels.jsonl"];

/// The jobs whose records name principles.
const JOBS: [&str; 2] = ["revise", "label"];

/// Draws of each principle, by its id.
#[derive(Debug, Default)]
pub(super) struct Drawn {
    /// To critique and revise by.
    pub(super) revisions: BTreeMap<String, usize>,
    /// To compare by. Probes, which are no part of a label, are not counted.
    pub(super) comparisons: BTreeMap<String, usize>,
}

/// What of a record names principles.
#[derive(Deserialize)]
struct Row {
    /// Of a trace.
    steps: Option<Vec<Step>>,
    /// Of a label.
    principles: Option<Vec<Judged>>,
    /// The record itself, in the file of a shard.
    record: Option<Box<Self>>,
    /// An item that has failed, in the file of a job that is under way.
    failed: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Step {
    principle: String,
}

#[derive(Deserialize)]
struct Judged {
    id: String,
    #[serde(default)]
    probe: bool,
}

/// What a job says it is.
#[derive(Deserialize)]
struct Header {
    job: String,
}

impl Drawn {
    /// The draws in a run, as far as it has come, in the file of a job, or in all jobs of a folder.
    pub(super) fn of(path: &Path) -> Result<Self, Failure> {
        let files = files_of(path)?;
        if files.is_empty() {
            return Err(format!(
                "{}: there are neither {} nor {} of a run in it, nor is it the file or the folder of a job; give the folder of \
                 a run that has finished one of these stages, or what `rlaif revise` or `rlaif label` has written",
                path.display(),
                OF_A_RUN[0],
                OF_A_RUN[1]
            )
            .into());
        }
        let mut drawn = Self::default();
        files.iter().try_for_each(|file| drawn.count(file))?;
        Ok(drawn)
    }

    /// Counts the draws in a file of records, one of which is in memory at a time.
    fn count(&mut self, path: &Path) -> Result<(), Failure> {
        let failed = |error| format!("{}: {error}", path.display());
        let mut lines = BufReader::new(File::open(path).map_err(failed)?);
        let mut line = Vec::new();
        for number in 1_u64.. {
            line.clear();
            if lines.read_until(b'\n', &mut line).map_err(failed)? == 0 {
                break;
            }
            // A line without an end is one that a process which is killed, or at work, has not finished.
            let is_half = !line.ends_with(b"\n") && is_under_way(path);
            if is_half || line.trim_ascii().is_empty() {
                continue;
            }
            let wrong = |problem: String| format!("{}, line {number}: {problem}", path.display());
            let row = serde_json::from_slice(&line).map_err(|error| wrong(error.to_string()))?;
            if !self.take(row) {
                return Err(wrong(
                    "is neither a trace (`steps`) nor a label (`principles`)".into(),
                )
                .into());
            }
        }
        Ok(())
    }

    /// Counts the draws of a record; false if it is none.
    fn take(&mut self, row: Row) -> bool {
        let Row { steps, principles, record, failed } = row;
        if let Some(record) = record {
            return self.take(*record);
        }
        let is_record = steps.is_some() || principles.is_some() || failed.is_some();
        for step in steps.into_iter().flatten() {
            *self.revisions.entry(step.principle).or_default() += 1;
        }
        for judged in principles.into_iter().flatten().filter(|judged| !judged.probe) {
            *self.comparisons.entry(judged.id).or_default() += 1;
        }
        is_record
    }
}

/// The files of records that a path stands for.
fn files_of(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(so_far(path).into_iter().collect());
    }
    let of_a_run = OF_A_RUN.map(|name| path.join(name));
    let of_a_run: Vec<PathBuf> = of_a_run.into_iter().filter(|file| file.exists()).collect();
    if of_a_run.is_empty() { jobs_in(path) } else { Ok(of_a_run) }
}

/// The records of a job, which are under another name until all are there.
fn so_far(out: &Path) -> Option<PathBuf> {
    let mut part = out.as_os_str().to_owned();
    part.push(".part");
    [out.to_owned(), part.into()].into_iter().find(|file| file.is_file())
}

fn is_under_way(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "part")
}

/// The records of the jobs in a folder that draw principles.
fn jobs_in(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let unreadable = |error| format!("{}: {error}", folder.display());
    let mut files = Vec::new();
    for entry in folder.read_dir().map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_none_or(|extension| extension != "job") {
            continue;
        }
        let failed = |error: String| format!("{}: {error}", path.display());
        let text = std::fs::read(&path).map_err(|error| failed(error.to_string()))?;
        let Header { job } =
            serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))?;
        if JOBS.contains(&job.as_str()) {
            files.extend(so_far(&path.with_extension("")));
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn counts(drawn: &Drawn) -> [Vec<(&str, usize)>; 2] {
        [&drawn.revisions, &drawn.comparisons]
            .map(|counts| counts.iter().map(|(id, count)| (id.as_str(), *count)).collect())
    }

    #[test]
    fn records_of_jobs_are_counted_as_far_as_they_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
        let label = r#"{"id": "1", "principles": [{"id": "law"}, {"id": "truth", "probe": true}]}"#;
        let trace = r#"{"id": "2", "steps": [{"principle": "kind"}, {"principle": "kind"}]}"#;
        write("labels", &format!("{label}\n{label}\n"));
        write("labels.job", r#"{"job": "label", "seed": 1}"#);
        // One of a shard that was killed on the way.
        let failed = r#"{"failed": {"index": 1, "id": "3"}}"#;
        write("traces.part", &format!("{{\"index\": 0, \"record\": {trace}}}\n{failed}\n{{\"ind"));
        write("traces.job", r#"{"job": "revise"}"#);
        write("pairs", "{\"id\": \"4\"}\n");
        write("pairs.job", r#"{"job": "reply-pairs"}"#);

        let both = Drawn::of(folder).unwrap();
        assert_eq!(counts(&both), [vec![("kind", 2)], vec![("law", 2)]]);
        let labels = Drawn::of(&folder.join("labels")).unwrap();
        assert_eq!(counts(&labels), [vec![], vec![("law", 2)]]);
        let traces = Drawn::of(&folder.join("traces")).unwrap();
        assert_eq!(counts(&traces), [vec![("kind", 2)], vec![]]);

        let error = Drawn::of(&folder.join("pairs")).unwrap_err().to_string();
        assert!(error.contains("pairs, line 1") && error.contains("`principles`"), "{error}");
        write("labels", &format!("{label}\n{{\"prin"));
        let error = Drawn::of(&folder.join("labels")).unwrap_err().to_string();
        assert!(error.contains("labels, line 2"), "{error}");
        let error = Drawn::of(&folder.join("none")).unwrap_err().to_string();
        assert!(error.contains("none: there are neither"), "{error}");
    }
}
