//! The report of a finished job, made of its files.

use crate::before::Before;
use crate::count::Count;
use crate::input::Items;
use crate::line::record;
use crate::stage::{Record, Stage};
use crate::{Error, Job, Report};
use serde_json::from_slice;
use std::path::Path;

/// Counts the records and the failures of a finished job. Every item must be one of them.
pub(crate) fn recount<S: Stage>(job: &Job, items: Items<'_, S::Item>) -> Result<Report, Error> {
    let failures = job.failures();
    let mut records = Before::open(&job.out)?;
    let mut failed = failures.exists().then(|| Before::open(&failures)).transpose()?;
    let mut count = Count::default();
    for item in items {
        let item = item?;
        if let Some(kept) = records.take(&item.id)? {
            let record: S::Record = record(&kept.line, job.shard.is_some())
                .map_err(|error| damaged(&job.out, kept.number, &error))?;
            count.record(record.tally(S::truth(&item.value)));
        } else if let Some(kept) =
            failed.as_mut().map(|failed| failed.take(&item.id)).transpose()?.flatten()
        {
            let failed: crate::Failed =
                from_slice(&kept.line).map_err(|error| damaged(&failures, kept.number, &error))?;
            count.failure(&failed.error);
        } else {
            return Err(Error::LacksItem { path: job.out.clone(), id: item.id });
        }
    }
    let left = records.left().or_else(|| failed.as_mut()?.left());
    left.map_or(Ok(count.report()), Err)
}

fn damaged(path: &Path, line: u64, error: &serde_json::Error) -> Error {
    Error::Record { path: path.to_owned(), line, problem: format!("is damaged: {error}") }
}
