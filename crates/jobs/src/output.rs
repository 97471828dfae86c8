//! The file of records that a job writes, and goes on with.

use crate::header::{Header, beside};
use crate::input::{Item, Items};
use crate::{Error, Shard};
use dataset::AppendOnly;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// `OUT.part` while a job is under way, `OUT` once it is finished.
#[derive(Debug)]
pub(crate) struct Output {
    out: PathBuf,
    part: AppendOnly,
    sharded: bool,
    /// `OUT.job`; its lock keeps other processes away.
    _job: File,
}

/// A file of records as it was found.
#[derive(Debug)]
pub(crate) enum Opened {
    /// All records are there.
    Finished,
    /// Some are missing.
    UnderWay(Output),
}

/// A record in the file of a shard: with its place, so that shards can be put in order again.
#[derive(Serialize, Deserialize)]
pub(crate) struct Placed<T> {
    /// The place of the item among those of the whole input, counted from 0.
    pub(crate) index: u64,
    pub(crate) record: T,
}

/// What every record has.
#[derive(Deserialize)]
pub(crate) struct Named {
    pub(crate) id: String,
}

impl Output {
    /// Opens the file of a job, or begins one.
    pub(crate) fn open(out: &Path, header: &Header) -> Result<Opened, Error> {
        if out.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz")) {
            return Err(Error::Compressed { path: out.to_owned() });
        }
        let path = beside(out, "job");
        let failed = |source| dataset::Error::Open { path: path.clone(), source };
        let there = std::fs::read_to_string(&path).ok();
        if there.as_ref().is_none_or(String::is_empty) && out.exists() {
            return Err(Error::Exists { path: out.to_owned() });
        }
        let mut job = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        lock(&path, &job)?;
        let mut text = String::new();
        job.read_to_string(&mut text).map_err(failed)?;
        let part = beside(out, "part");
        let begun = out.exists() || std::fs::metadata(&part).is_ok_and(|part| part.len() > 0);
        match Header::read(&path, &text) {
            Ok(found) => {
                let differences = found.differences(header);
                if !differences.is_empty() {
                    return Err(Error::OtherSettings { path: out.to_owned(), differences });
                }
            }
            // A process was killed before it had written the header, and so before any record.
            Err(_) if !begun => write(&mut job, &header.text(&path)?)
                .map_err(|source| dataset::Error::Write { path, source })?,
            Err(error) => return Err(error),
        }
        if out.exists() {
            return Ok(Opened::Finished);
        }
        let part = AppendOnly::open(part)?;
        part.sync_name()?;
        let sharded = header.shard.is_some();
        Ok(Opened::UnderWay(Self { out: out.to_owned(), part, sharded, _job: job }))
    }

    pub(crate) fn path(&self) -> &Path {
        self.part.path()
    }

    /// Takes the items whose records are there from `items`, and gives their number. Every record must be that of its
    /// item; a half-written one at the end is cut off.
    pub(crate) fn resume<I>(&mut self, items: &mut Items<'_, I>) -> Result<u64, Error> {
        self.part.cut()?;
        let mut done = 0;
        for line in self.part.lines()? {
            let line = line?;
            let wrong = |problem| Error::Record {
                path: self.part.path().to_owned(),
                line: done + 1,
                problem,
            };
            let Some(item) = items.next().transpose()? else {
                return Err(wrong("the input has no item for this record".to_owned()));
            };
            let (index, id) =
                self.name(&line).map_err(|error| wrong(format!("is damaged: {error}")))?;
            if id != item.id || index.is_some_and(|index| index != item.index) {
                return Err(wrong(format!("is the record of {id}, expected that of {}", item.id)));
            }
            done += 1;
        }
        Ok(done)
    }

    /// The id in a line and, in a shard, the place.
    fn name(&self, line: &[u8]) -> Result<(Option<u64>, String), serde_json::Error> {
        if self.sharded {
            let Placed { index, record } = serde_json::from_slice::<Placed<Named>>(line)?;
            return Ok((Some(index), record.id));
        }
        Ok((None, serde_json::from_slice::<Named>(line)?.id))
    }

    /// Appends lines; they outlive this process.
    pub(crate) fn append(&mut self, lines: &[u8]) -> Result<(), Error> {
        Ok(self.part.append(lines)?)
    }

    /// Brings what was appended to the disk.
    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        Ok(self.part.sync()?)
    }

    /// Gives the file its final name.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        self.sync()?;
        std::fs::rename(self.part.path(), &self.out)
            .map_err(|source| dataset::Error::Write { path: self.out.clone(), source })?;
        Ok(self.part.sync_name()?)
    }
}

/// Appends the record of an item as a line.
pub(crate) fn encode<I, T: Serialize>(
    out: &Path,
    shard: Option<Shard>,
    item: &Item<I>,
    record: &T,
    into: &mut Vec<u8>,
) -> Result<(), Error> {
    let written = match shard {
        Some(_) => serde_json::to_writer(&mut *into, &Placed { index: item.index, record }),
        None => serde_json::to_writer(&mut *into, record),
    };
    written.map_err(|reason| dataset::Error::Encode { path: out.to_owned(), reason })?;
    into.push(b'\n');
    Ok(())
}

fn lock(path: &Path, file: &File) -> Result<(), Error> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(dataset::Error::Busy { path: path.to_owned() }.into()),
        // Some network file systems cannot lock; a job there is better than none.
        Err(TryLockError::Error(source)) if source.kind() == ErrorKind::Unsupported => Ok(()),
        Err(TryLockError::Error(source)) => {
            Err(dataset::Error::Open { path: path.to_owned(), source }.into())
        }
    }
}

/// Replaces what stands in an open file, and brings it to the disk.
fn write(file: &mut File, text: &str) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
