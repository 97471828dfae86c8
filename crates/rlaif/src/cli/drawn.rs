//! How often each principle of a constitution was drawn.

mod sources;

use super::Failure;
use serde::Deserialize;
use serde::de::IgnoredAny;
use sources::{OF_A_RUN, is_under_way, sources};
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader};
use std::path::Path;

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
    /// Of the item.
    id: Option<String>,
    /// Of a trace.
    steps: Option<Vec<Step>>,
    /// Of a label.
    principles: Option<Vec<Judged>>,
    /// The record itself, in the file of a shard.
    record: Option<Box<Self>>,
    /// An item that has failed, in the file of a job that is under way.
    failed: Option<IgnoredAny>,
    /// The settings that a journal begins with.
    journal: Option<IgnoredAny>,
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

impl Drawn {
    /// The draws in a run, as far as it has come, in the file of a job, or in all jobs of a folder.
    pub(super) fn of(path: &Path) -> Result<Self, Failure> {
        let sources = sources(path)?;
        if sources.is_empty() {
            return Err(format!(
                "{}: there are neither {} nor {} of a run in it, nor is it the file or the folder of a job; give the folder of \
                 a run that has begun one of these stages, or what `rlaif revise` or `rlaif label` has written",
                path.display(),
                OF_A_RUN[0],
                OF_A_RUN[1]
            )
            .into());
        }
        let mut drawn = Self::default();
        for files in sources {
            let mut seen = HashSet::new();
            files.iter().try_for_each(|file| drawn.count(file, &mut seen))?;
        }
        Ok(drawn)
    }

    /// Counts the draws in a file of records, one of which is in memory at a time, but for those of items in `seen`, hashes of
    /// the ids that were counted before.
    fn count(&mut self, path: &Path, seen: &mut HashSet<u64>) -> Result<(), Failure> {
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
            if !self.take(row, seen) {
                return Err(wrong(
                    "is neither a trace (`steps`) nor a label (`principles`)".into(),
                )
                .into());
            }
        }
        Ok(())
    }

    /// Counts the draws of a record; false if it is none.
    fn take(&mut self, row: Row, seen: &mut HashSet<u64>) -> bool {
        let Row { id, steps, principles, record, failed, journal } = row;
        if let Some(record) = record {
            return self.take(*record, seen);
        }
        let is_draw = steps.is_some() || principles.is_some();
        if !is_draw || id.is_some_and(|id| !seen.insert(hash(&id))) {
            return is_draw || failed.is_some() || journal.is_some();
        }
        for step in steps.into_iter().flatten() {
            *self.revisions.entry(step.principle).or_default() += 1;
        }
        for judged in principles.into_iter().flatten().filter(|judged| !judged.probe) {
            *self.comparisons.entry(judged.id).or_default() += 1;
        }
        true
    }
}

fn hash(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
