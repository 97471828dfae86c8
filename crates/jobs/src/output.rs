//! The file of records that a job writes, and goes on with.

use crate::before::{Todos, fold};
use crate::count::Count;
use crate::header::{Header, beside};
use crate::line::{Line, failure, record};
use crate::recount::count_lines;
use crate::stage::{Record, Stage, TallyOf};
use crate::{Error, Job, Report};
use dataset::AppendOnly;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufWriter, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// Names of files that `dataset` reads otherwise than as plain JSON lines.
const OTHER_FORMATS: [&str; 3] = ["gz", "parquet", "csv"];

/// Refuses a place in which no job can write its records.
pub(crate) fn check_place(out: &Path) -> Result<(), Error> {
    let ends_in =
        |extension: &str| out.extension().is_some_and(|it| it.eq_ignore_ascii_case(extension));
    if let Some(extension) = OTHER_FORMATS.into_iter().find(|extension| ends_in(extension)) {
        return Err(Error::Format { path: out.to_owned(), extension });
    }
    let begun = std::fs::metadata(beside(out, "job")).is_ok_and(|job| job.len() > 0);
    if out.exists() && !begun {
        return Err(Error::Exists { path: out.to_owned() });
    }
    Ok(())
}

/// `OUT.part` while a job is under way, `OUT` once it is finished.
#[derive(Debug)]
pub(crate) struct Output {
    out: PathBuf,
    part: AppendOnly,
    sharded: bool,
    /// The records of an earlier round, whose failures are asked for again.
    before: Option<PathBuf>,
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

impl Output {
    /// Opens the file of a job, or begins one.
    pub(crate) fn open(job: &Job, header: &Header) -> Result<Opened, Error> {
        let out = &job.out;
        check_place(out)?;
        let job_file = claim(out, header)?;
        let [part, before] = ["part", "before"].map(|extension| beside(out, extension));
        if out.exists() {
            // A process was killed after it had finished.
            [&part, &before].into_iter().try_for_each(|path| remove(path))?;
        }
        if job.retry_failed && before.exists() {
            fold(&part, &before)?;
        } else if job.retry_failed {
            begin_again(job, &part, &before)?;
        }
        if out.exists() {
            return Ok(Opened::Finished);
        }
        let part = AppendOnly::open(part)?;
        part.sync_name()?;
        let sharded = header.shard.is_some();
        let before = before.exists().then_some(before);
        Ok(Opened::UnderWay(Self { out: out.clone(), part, sharded, before, _job: job_file }))
    }

    /// The file of an earlier round.
    pub(crate) fn before(&self) -> Option<&Path> {
        self.before.as_deref()
    }

    pub(crate) fn path(&self) -> &Path {
        self.part.path()
    }

    /// Takes the items that are done from `todos`, and counts them. Every line must be that of its item; a half-written
    /// one at the end is cut off.
    pub(crate) fn resume<S: Stage>(
        &mut self,
        todos: &mut Todos<'_, S::Item>,
    ) -> Result<Count<TallyOf<S>>, Error> {
        self.part.cut()?;
        let mut count = Count::default();
        for line in self.part.lines()? {
            let line = line?;
            let number = count.items() + 1;
            let wrong = |problem| self.wrong(number, problem);
            let damaged = |error| wrong(format!("is damaged: {error}"));
            let Some(todo) = todos.next().transpose()? else {
                return Err(wrong("the input has no item for this record".to_owned()));
            };
            let item = todo.item;
            let (index, id) = match Line::read(&line).map_err(damaged)? {
                Line::Record { index, id } => {
                    let record: S::Record = record(&line, self.sharded).map_err(damaged)?;
                    count.record(record.tally(S::truth(&item.value)));
                    (index, id)
                }
                Line::Failed(failed) => {
                    count.failure(&failed.error);
                    (Some(failed.index), failed.id)
                }
            };
            if id != item.id || index.is_some_and(|index| index != item.index) {
                return Err(wrong(format!("is the record of {id}, expected that of {}", item.id)));
            }
        }
        Ok(count)
    }

    fn wrong(&self, line: u64, problem: String) -> Error {
        Error::Record { path: self.part.path().to_owned(), line, problem }
    }

    /// Appends lines; they outlive this process.
    pub(crate) fn append(&mut self, lines: &[u8]) -> Result<(), Error> {
        Ok(self.part.append(lines)?)
    }

    /// Brings what was appended to the disk.
    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        Ok(self.part.sync()?)
    }

    /// Writes the report, puts failed items into a file of their own, and gives the records their final name.
    ///
    /// Until they have it, all is in `OUT.part`, and what a killed process left of the other files is written over.
    pub(crate) fn finish(mut self, job: &Job, report: &Report) -> Result<(), Error> {
        self.sync()?;
        let (path, text) = (job.report(), report.text(&job.report())?);
        create(&path, |file| Ok(file.write_all(text.as_bytes()).map_err(write_error(&path))?))?;
        if report.failed == 0 {
            remove(&job.failures())?;
            rename(self.part.path(), &self.out)?;
        } else {
            let whole = beside(&self.out, "whole");
            self.split(&job.failures(), true)?;
            self.split(&whole, false)?;
            rename(&whole, &self.out)?;
            remove(self.part.path())?;
        }
        self.before.iter().try_for_each(|before| remove(before))?;
        Ok(self.part.sync_name()?)
    }

    /// Copies the failed items, or all records, to a file.
    fn split(&self, path: &Path, failed: bool) -> Result<(), Error> {
        create(path, |file| {
            for (number, line) in (1..).zip(self.part.lines()?) {
                let line = line?;
                let item = failure(&line)
                    .map_err(|error| self.wrong(number, format!("is damaged: {error}")))?;
                match item {
                    Some(item) if failed => writeln!(file, "{}", item.get()),
                    None if !failed => file.write_all(&line),
                    _ => Ok(()),
                }
                .map_err(write_error(path))?;
            }
            Ok(())
        })
    }
}

/// Writes a file and brings it to the disk.
fn create(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&File>) -> Result<(), Error>,
) -> Result<(), Error> {
    let file = File::create(path)
        .map_err(|source| dataset::Error::Open { path: path.to_owned(), source })?;
    let mut out = BufWriter::new(&file);
    write(&mut out)?;
    out.flush().map_err(write_error(path))?;
    drop(out);
    Ok(file.sync_all().map_err(write_error(path))?)
}

fn write_error(path: &Path) -> impl Fn(std::io::Error) -> dataset::Error {
    move |source| dataset::Error::Write { path: path.to_owned(), source }
}

/// Gives a file another name.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    Ok(std::fs::rename(from, to).map_err(write_error(to))?)
}

/// Opens `OUT.job`, or writes it, and keeps other processes away.
pub(crate) fn claim(out: &Path, header: &Header) -> Result<File, Error> {
    let path = beside(out, "job");
    let failed = |source| dataset::Error::Open { path: path.clone(), source };
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
    match Header::read(&path, &text) {
        Ok(found) => check_same(out, &found, header)?,
        // A process was killed before it had written the header, and so before any record.
        Err(_) if !begun(out) => {
            write(&mut job, &header.text(&path)?).map_err(write_error(&path))?;
        }
        Err(error) => return Err(error),
    }
    Ok(job)
}

/// What the files say that are there, if a job has begun in this place.
pub(crate) fn found(out: &Path) -> Result<Option<Header>, Error> {
    let path = beside(out, "job");
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text.map_err(|source| dataset::Error::Open { path: path.clone(), source })?,
    };
    match Header::read(&path, &text) {
        Ok(header) => Ok(Some(header)),
        Err(_) if !begun(out) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Refuses the files of a job with other settings.
pub(crate) fn check_same(out: &Path, found: &Header, here: &Header) -> Result<(), Error> {
    let differences = found.differences(here);
    if differences.is_empty() {
        return Ok(());
    }
    Err(Error::OtherSettings { path: out.to_owned(), differences })
}

/// Whether there are records of a job.
fn begun(out: &Path) -> bool {
    let part = std::fs::metadata(beside(out, "part"));
    out.exists() || beside(out, "before").exists() || part.is_ok_and(|part| part.len() > 0)
}

/// Puts the records of a job aside, so that those of items that failed, and those that were lost, are made beside them.
fn begin_again(job: &Job, part: &Path, before: &Path) -> Result<(), Error> {
    let from = match job.out.exists() {
        true if !job.failures().exists() && has_all(job)? => return Ok(()),
        true => &job.out,
        false if !part.exists() => return Ok(()),
        false => part,
    };
    rename(from, before)
}

/// Whether the file of a finished job has as many records as its report counts.
fn has_all(job: &Job) -> Result<bool, Error> {
    let path = job.report();
    Ok(path.exists() && count_lines(&job.out)? >= Report::read(&path)?.records)
}

/// Removes a file, if it is there.
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            Err(write_error(path)(source).into())
        }
        _ => Ok(()),
    }
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
