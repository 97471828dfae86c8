//! The files of a finished job, item by item.

use crate::before::{Before, Kept, whole_lines};
use crate::count::Count;
use crate::input::Items;
use crate::line::record;
use crate::stage::{Record, Stage};
use crate::{Error, Job, Report};
use serde_json::from_slice;
use std::path::Path;

/// The records and the failures of a finished job, in the order of their items.
struct Finished {
    records: Before,
    failures: Option<Before>,
}

/// What a finished job holds of an item.
enum Found {
    Record(Kept),
    Failure(Kept),
    Nothing,
}

impl Finished {
    fn open(job: &Job) -> Result<Self, Error> {
        let failures = job.failures();
        let failures = failures.exists().then(|| Before::open(&failures)).transpose()?;
        Ok(Self { records: Before::open(&job.out)?, failures })
    }

    /// What there is of the next item.
    fn take(&mut self, id: &str) -> Result<Found, Error> {
        if let Some(kept) = self.records.take(id)? {
            return Ok(Found::Record(kept));
        }
        let Some(failures) = &mut self.failures else { return Ok(Found::Nothing) };
        Ok(failures.take(id)?.map_or(Found::Nothing, Found::Failure))
    }
}

/// Counts the records and the failures of a finished job. Every item must be one of them.
pub(crate) fn recount<S: Stage>(job: &Job, items: Items<'_, S::Item>) -> Result<Report, Error> {
    let mut finished = Finished::open(job)?;
    let mut count = Count::default();
    for item in items {
        let item = item?;
        match finished.take(&item.id)? {
            Found::Record(kept) => {
                let record: S::Record = record(&kept.line, job.shard.is_some())
                    .map_err(|error| damaged(&job.out, kept.number, &error))?;
                count.record(record.tally(S::truth(&item.value)));
            }
            Found::Failure(kept) => {
                let failed: crate::Failed = from_slice(&kept.line)
                    .map_err(|error| damaged(&job.failures(), kept.number, &error))?;
                count.failure(&failed.error);
            }
            Found::Nothing => return Err(lacks(job, item.id)),
        }
    }
    let Finished { mut records, mut failures } = finished;
    let left = records.left().or_else(|| failures.as_mut()?.left());
    left.map_or(Ok(count.report()), Err)
}

/// Sees that a finished job still has all records that its report counts, each in the place of its item.
pub(crate) fn check_records<I>(
    job: &Job,
    items: Items<'_, I>,
    report: &Report,
) -> Result<(), Error> {
    let mut finished = Finished::open(job)?;
    let (mut records, mut lost) = (0, None);
    for item in items {
        let item = item?;
        match finished.take(&item.id)? {
            Found::Record(_) => records += 1,
            Found::Failure(_) => {}
            Found::Nothing => {
                lost.get_or_insert(item.id);
            }
        }
    }
    if let Some(error) = finished.records.left() {
        return Err(error);
    }
    // With all records there, what is found nowhere has failed, and the file of failures is gone: nobody needs it.
    match lost {
        Some(id) if records < report.records => Err(lacks(job, id)),
        _ => Ok(()),
    }
}

/// The number of lines in the file of a finished job that are not blank.
pub(crate) fn count_lines(out: &Path) -> Result<u64, Error> {
    let mut count = 0;
    for line in whole_lines(out)? {
        count += u64::from(!line?.trim_ascii().is_empty());
    }
    Ok(count)
}

fn lacks(job: &Job, id: String) -> Error {
    Error::LacksItem { path: job.out.clone(), id }
}

fn damaged(path: &Path, line: u64, error: &serde_json::Error) -> Error {
    Error::Record { path: path.to_owned(), line, problem: format!("is damaged: {error}") }
}
