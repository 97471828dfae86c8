//! The records and failures of parts, put in order.

use crate::count::Count;
use crate::header::{Header, beside};
use crate::output::remove;
use crate::part::{Entry, Part, Refused, Stored};
use crate::stage::Record;
use crate::{Error, Report, Shard};
use dataset::{replace, write_atomic};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Parts that fit together.
pub(crate) struct Joining<'a> {
    pub(crate) parts: &'a [PathBuf],
    /// The shard of each part.
    pub(crate) shards: &'a [Shard],
    pub(crate) out: &'a Path,
    /// What the parts are parts of.
    pub(crate) whole: &'a Header,
}

impl Joining<'_> {
    /// Writes all files of the job in one.
    pub(crate) fn join<R: Record>(&self) -> Result<Report, Error> {
        let mut count = Count::default();
        replace(self.out, |file| {
            self.write_records::<R>(file, &mut count)?;
            // Before the file has its name: it never stands there without all that belongs to it.
            self.write_failures(count.failed)?;
            let [report, job] = ["report.json", "job"].map(|end| beside(self.out, end));
            write_atomic(&report, count.report().text(&report)?.as_bytes())?;
            Ok::<_, Error>(write_atomic(&job, self.whole.text(&job)?.as_bytes())?)
        })?;
        Ok(count.report())
    }

    /// Writes the records of all parts, and counts what became of every item.
    fn write_records<R: Record>(
        &self,
        file: &mut dyn Write,
        count: &mut Count<R::Tally>,
    ) -> Result<(), Error> {
        let mut records = self.open::<Stored<R>>(|part| Some(part.to_owned()))?;
        let mut failures = self.open::<Refused>(failures_of)?;
        for index in 0..self.whole.items {
            if let Some(stored) = take(&mut records, index)? {
                count.record(stored.record.tally(stored.truth));
                write_line(self.out, file, &stored)?;
            } else if let Some(refused) = take(&mut failures, index)? {
                count.failure(&refused.failed.error);
            } else {
                return Err(Error::Lacks { index });
            }
        }
        records.iter().try_for_each(|part| part.check_end(self.whole.items))?;
        failures.iter().try_for_each(|part| part.check_end(self.whole.items))
    }

    /// Writes the failures of all parts, `count` of them, in order.
    fn write_failures(&self, count: u64) -> Result<(), Error> {
        let path = beside(self.out, "failures.jsonl");
        if count == 0 {
            return remove(&path);
        }
        let mut failures = self.open::<Refused>(failures_of)?;
        replace(&path, |file| {
            while let Some(index) = failures.iter().filter_map(Part::next_index).min() {
                if let Some(refused) = take(&mut failures, index)? {
                    write_line(&path, file, &refused)?;
                }
            }
            Ok(())
        })
    }

    /// A file of each part, if it has one.
    fn open<E: Entry>(
        &self,
        file: impl Fn(&Path) -> Option<PathBuf>,
    ) -> Result<Vec<Part<E>>, Error> {
        let parts = self.parts.iter().zip(self.shards);
        let files = parts.filter_map(|(part, shard)| Some((file(part)?, *shard)));
        files.map(|(path, shard)| Part::open(&path, shard)).collect()
    }
}

/// The failures of a part.
fn failures_of(part: &Path) -> Option<PathBuf> {
    Some(beside(part, "failures.jsonl")).filter(|failures| failures.exists())
}

/// The entry of an item, if one of the files has it next.
fn take<E: Entry>(parts: &mut [Part<E>], index: u64) -> Result<Option<E>, Error> {
    match parts.iter_mut().find(|part| part.next_index() == Some(index)) {
        Some(part) => part.take(),
        None => Ok(None),
    }
}

fn write_line(path: &Path, file: &mut dyn Write, entry: &impl Entry) -> Result<(), Error> {
    let written = file.write_all(entry.text().as_bytes()).and_then(|()| file.write_all(b"\n"));
    Ok(written.map_err(|source| dataset::Error::Write { path: path.to_owned(), source })?)
}
