//! The shards of a job, joined.

use crate::header::{Header, beside};
use crate::output::{Named, Placed};
use crate::shard::key;
use crate::{Error, Shard};
use dataset::{replace, write_atomic};
use serde_json::value::RawValue;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

/// What was joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merged {
    /// Records of the joined file.
    pub records: u64,
    /// Parts that it was joined from.
    pub parts: usize,
}

/// Joins the files of all shards of a job into the file that the job would have written in one, byte for byte.
///
/// `OUT.job` must stand beside each part. One record of each part is in memory at a time.
///
/// # Errors
/// If a part is not finished or belongs to another job, a shard is missing or given twice, a record is missing, given twice or
/// damaged, or `out` exists and is another job's. Then nothing is written.
pub fn merge(parts: &[PathBuf], out: &Path) -> Result<Merged, Error> {
    if out.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz")) {
        return Err(Error::Compressed { path: out.to_owned() });
    }
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
    let job = check_free(out, &whole)?;
    let mut readers = parts
        .iter()
        .zip(&headers)
        .map(|(path, (_, shard))| Part::open(path, *shard))
        .collect::<Result<Vec<_>, _>>()?;
    replace(out, |file| {
        for index in 0..whole.items {
            let next = readers.iter_mut().find(|part| part.next_index() == Some(index));
            let part = next.ok_or(Error::Lacks { index })?;
            let written = part.write_next(file)?;
            written.map_err(|source| dataset::Error::Write { path: out.to_owned(), source })?;
        }
        readers.iter().try_for_each(|part| part.check_end(whole.items))?;
        // Before the file has its name: it never stands there without saying what it is.
        Ok::<_, Error>(write_atomic(&job, whole.text(&job)?.as_bytes())?)
    })?;
    Ok(Merged { records: whole.items, parts: parts.len() })
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

/// Nothing else stands where the joined file will; gives the place of its header.
fn check_free(out: &Path, whole: &Header) -> Result<PathBuf, Error> {
    let job = beside(out, "job");
    match std::fs::read_to_string(&job) {
        Ok(text) => {
            let differences = Header::read(&job, &text)?.differences(whole);
            if !differences.is_empty() {
                return Err(Error::OtherSettings { path: out.to_owned(), differences });
            }
        }
        Err(_) if out.exists() => return Err(Error::Exists { path: out.to_owned() }),
        Err(_) => {}
    }
    Ok(job)
}

/// A part that is read line by line.
struct Part {
    path: PathBuf,
    shard: Shard,
    reader: BufReader<File>,
    line: u64,
    next: Option<(u64, Box<RawValue>)>,
}

impl Part {
    fn open(path: &Path, shard: Shard) -> Result<Self, Error> {
        let file = File::open(path)
            .map_err(|source| dataset::Error::Open { path: path.to_owned(), source })?;
        let reader = BufReader::new(file);
        let mut part = Self { path: path.to_owned(), shard, reader, line: 0, next: None };
        part.read()?;
        Ok(part)
    }

    fn next_index(&self) -> Option<u64> {
        self.next.as_ref().map(|(index, _)| *index)
    }

    /// Writes the next record as a line and reads the one behind it. What the outer result tells is about this part, what
    /// the inner tells about the file that is written.
    fn write_next(&mut self, out: &mut dyn Write) -> Result<std::io::Result<()>, Error> {
        let Some((_, record)) = self.next.take() else { return Ok(Ok(())) };
        let written = out.write_all(record.get().as_bytes()).and_then(|()| out.write_all(b"\n"));
        self.read()?;
        Ok(written)
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
        let damaged = |reason: serde_json::Error| self.wrong(format!("is damaged: {reason}"));
        let Placed { index, record } =
            serde_json::from_slice::<Placed<Box<RawValue>>>(&line).map_err(damaged)?;
        let Named { id } = serde_json::from_str(record.get()).map_err(damaged)?;
        if !line.ends_with(b"\n") {
            return Err(self.wrong("has no end".to_owned()));
        }
        if !self.shard.holds(key(&id)) {
            return Err(self.wrong(format!("the record of {id} belongs to another shard")));
        }
        self.next = Some((index, record));
        Ok(())
    }

    fn wrong(&self, problem: String) -> Error {
        Error::DamagedPart { path: self.path.clone(), line: self.line, problem }
    }

    /// Nothing is left once all items are written.
    fn check_end(&self, items: u64) -> Result<(), Error> {
        match self.next {
            None => Ok(()),
            Some((index, _)) => Err(self.wrong(format!(
                "item {index} comes twice, or is none of the {items} that there are"
            ))),
        }
    }
}
