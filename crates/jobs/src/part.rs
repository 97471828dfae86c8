//! The files of a part that is to be joined, read line by line.

use crate::line::Placed;
use crate::shard::key;
use crate::stage::Record;
use crate::{Error, Failed, Shard};
use serde_json::value::RawValue;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// What a line of a part holds.
pub(crate) trait Entry: Sized {
    fn read(line: &[u8]) -> Result<Self, serde_json::Error>;

    /// The place of its item.
    fn index(&self) -> u64;

    /// The name of its item.
    fn id(&self) -> &str;

    /// How it stands in the joined file.
    fn text(&self) -> &str;
}

/// A record.
pub(crate) struct Stored<R> {
    index: u64,
    pub(crate) truth: Option<f64>,
    pub(crate) record: R,
    text: Box<RawValue>,
}

impl<R: Record> Entry for Stored<R> {
    fn read(line: &[u8]) -> Result<Self, serde_json::Error> {
        let Placed { index, truth, record: text } =
            serde_json::from_slice::<Placed<Box<RawValue>>>(line)?;
        Ok(Self { index, truth, record: serde_json::from_str(text.get())?, text })
    }

    fn index(&self) -> u64 {
        self.index
    }

    fn id(&self) -> &str {
        self.record.id()
    }

    fn text(&self) -> &str {
        self.text.get()
    }
}

/// An item that has failed.
pub(crate) struct Refused {
    pub(crate) failed: Failed,
    text: Box<RawValue>,
}

impl Entry for Refused {
    fn read(line: &[u8]) -> Result<Self, serde_json::Error> {
        let text: Box<RawValue> = serde_json::from_slice(line)?;
        Ok(Self { failed: serde_json::from_str(text.get())?, text })
    }

    fn index(&self) -> u64 {
        self.failed.index
    }

    fn id(&self) -> &str {
        &self.failed.id
    }

    fn text(&self) -> &str {
        self.text.get()
    }
}

/// A file of a part.
pub(crate) struct Part<E> {
    path: PathBuf,
    shard: Shard,
    reader: BufReader<File>,
    line: u64,
    next: Option<E>,
}

impl<E: Entry> Part<E> {
    pub(crate) fn open(path: &Path, shard: Shard) -> Result<Self, Error> {
        let file = File::open(path)
            .map_err(|source| dataset::Error::Open { path: path.to_owned(), source })?;
        let reader = BufReader::new(file);
        let mut part = Self { path: path.to_owned(), shard, reader, line: 0, next: None };
        part.read()?;
        Ok(part)
    }

    pub(crate) fn next_index(&self) -> Option<u64> {
        self.next.as_ref().map(Entry::index)
    }

    /// Gives the next entry and reads the one behind it.
    pub(crate) fn take(&mut self) -> Result<Option<E>, Error> {
        let next = self.next.take();
        self.read()?;
        Ok(next)
    }

    fn read(&mut self) -> Result<(), Error> {
        let mut line = Vec::new();
        self.line += 1;
        let number = usize::try_from(self.line).unwrap_or(usize::MAX);
        self.reader.read_until(b'\n', &mut line).map_err(|source| dataset::Error::Read {
            path: self.path.clone(),
            line: number,
            source,
        })?;
        if line.is_empty() {
            return Ok(());
        }
        let entry = E::read(&line).map_err(|reason| self.wrong(format!("is damaged: {reason}")))?;
        if !line.ends_with(b"\n") {
            return Err(self.wrong("has no end".to_owned()));
        }
        if !self.shard.holds(key(entry.id())) {
            return Err(
                self.wrong(format!("the record of {} belongs to another shard", entry.id()))
            );
        }
        self.next = Some(entry);
        Ok(())
    }

    fn wrong(&self, problem: String) -> Error {
        Error::DamagedPart { path: self.path.clone(), line: self.line, problem }
    }

    /// Nothing is left once all items are written.
    pub(crate) fn check_end(&self, items: u64) -> Result<(), Error> {
        match self.next_index() {
            None => Ok(()),
            Some(index) => Err(self.wrong(format!(
                "item {index} comes twice, or is none of the {items} that there are"
            ))),
        }
    }
}
