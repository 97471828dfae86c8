//! The shards of a job, joined.

use crate::header::{Header, beside};
use crate::join::Joining;
use crate::label::Labelling;
use crate::output::{self, check_place};
use crate::reply_pairs::{Drawing, ReplyPair};
use crate::revise::Revision;
use crate::stage::Stage;
use crate::{Error, Report, Shard};
use ai_feedback::Label;
use critique_revision::Trace;
use std::path::{Path, PathBuf};

/// What was joined.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    /// What the records of all parts say.
    pub report: Report,
    /// Parts that it was joined from.
    pub parts: usize,
}

/// Joins the files of all shards of a job into the files that the job would have written in one, byte for byte: records,
/// failures, report and `.job`.
///
/// `OUT.job` must stand beside each part, and so must `OUT.failures.jsonl` if there is one. One record of each part is in
/// memory at a time.
///
/// # Errors
/// If a part is not finished or belongs to another job, a shard is missing or given twice, an item is neither a record nor a
/// failure, is given twice or damaged, or `out` exists and is another job's. Then no file of records is written.
pub fn merge(parts: &[PathBuf], out: &Path) -> Result<Merged, Error> {
    check_place(out)?;
    let headers = parts.iter().map(|path| header(path)).collect::<Result<Vec<_>, _>>()?;
    let Some((first, _)) = headers.first() else {
        return Err(Error::NotAPart {
            path: out.to_owned(),
            problem: "no part is given".to_owned(),
        });
    };
    let whole = first.whole();
    check_same(parts, &headers, &whole)?;
    check_all(parts, &headers)?;
    check_free(out, &whole)?;
    let shards: Vec<Shard> = headers.iter().map(|(_, shard)| *shard).collect();
    let joining = Joining { parts, shards: &shards, out, whole: &whole };
    let report = match whole.job.as_str() {
        Revision::NAME => joining.join::<Trace>(),
        Drawing::NAME => joining.join::<ReplyPair>(),
        Labelling::NAME => joining.join::<Label>(),
        other => Err(Error::NotAPart {
            path: parts[0].clone(),
            problem: format!("this program knows no job {other:?}"),
        }),
    }?;
    Ok(Merged { report, parts: parts.len() })
}

/// What a part says it is.
fn header(path: &Path) -> Result<(Header, Shard), Error> {
    let no_part = |problem: String| Error::NotAPart { path: path.to_owned(), problem };
    let job = beside(path, "job");
    let text = match std::fs::read_to_string(&job) {
        Ok(text) => text,
        Err(_) if path.extension().is_some_and(|extension| extension == "part") => {
            return Err(no_part("its job is still under way; finish it first".to_owned()));
        }
        Err(error) => {
            return Err(no_part(format!(
                "{} cannot be read ({error}); it is written beside the part and belongs with it",
                job.display()
            )));
        }
    };
    let header = Header::read(&job, &text)?;
    if !path.exists() {
        return Err(no_part(if beside(path, "part").exists() {
            "its job is still under way; finish it first".to_owned()
        } else {
            "it is not there, although its .job is".to_owned()
        }));
    }
    match header.shard {
        Some(shard) => Ok((header, shard)),
        None => Err(no_part("it was written without a shard, so it is whole already".to_owned())),
    }
}

/// All parts are of one job.
fn check_same(parts: &[PathBuf], headers: &[(Header, Shard)], whole: &Header) -> Result<(), Error> {
    let count = headers.first().map(|(_, shard)| shard.count());
    for (path, (header, shard)) in parts.iter().zip(headers).skip(1) {
        let mut differences = whole.differences(&header.whole());
        if Some(shard.count()) != count {
            let shards = |count: u32| Some(format!("one of {count}").into());
            differences.push(dataset::Difference {
                key: "shard".to_owned(),
                journal: count.and_then(shards),
                run: shards(shard.count()),
            });
        }
        if !differences.is_empty() {
            let (path, other) = (parts[0].clone(), path.clone());
            return Err(Error::OtherJob { path, other, differences });
        }
    }
    Ok(())
}

/// Every shard is there once.
fn check_all(parts: &[PathBuf], headers: &[(Header, Shard)]) -> Result<(), Error> {
    let count = headers.first().map_or(0, |(_, shard)| shard.count());
    let holder = |index: u32| headers.iter().position(|(_, shard)| shard.index() == index);
    for (place, (_, shard)) in headers.iter().enumerate() {
        if let Some(first) = holder(shard.index()).filter(|&first| first != place) {
            let (path, other) = (parts[first].clone(), parts[place].clone());
            return Err(Error::Twice { path, other, shard: *shard });
        }
    }
    let missing: Vec<u32> = (1..=count).filter(|&index| holder(index).is_none()).collect();
    if missing.is_empty() { Ok(()) } else { Err(Error::Missing { missing, count }) }
}

/// No other job has its records where the joined ones will be.
fn check_free(out: &Path, whole: &Header) -> Result<(), Error> {
    let job = beside(out, "job");
    let Ok(text) = std::fs::read_to_string(&job) else { return Ok(()) };
    output::check_same(out, &Header::read(&job, &text)?, whole)
}
