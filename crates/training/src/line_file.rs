//! A file of lines that belong to steps, and what becomes of it when a stage begins or goes on.

use crate::recorded::{Damaged, Lines, Recorded};
use crate::{Error, durable};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Error as IoError, ErrorKind, Seek, SeekFrom};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::slice;

/// Damaged lines that are named one by one.
pub(crate) const NAMED: usize = 5;

/// A file of lines that decide nothing, so that no damage to it stops a stage.
#[derive(Debug)]
pub(crate) struct LineFile {
    path: PathBuf,
    lines: Lines,
    /// What is to be told.
    notes: Vec<String>,
}

impl LineFile {
    /// Touches nothing.
    pub(crate) fn new(path: PathBuf, lines: Lines) -> Self {
        Self { path, lines, notes: Vec::new() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What the last start has to tell, each thing once.
    pub(crate) fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// Keeps the lines of the steps that are done, and opens the file behind them.
    pub(crate) fn start(&mut self, done: u64) -> Result<File, Error> {
        self.notes.clear();
        if done == 0 { self.begin() } else { self.go_on(done) }
    }

    /// Empties the file.
    fn begin(&self) -> Result<File, Error> {
        let create = || {
            let file = File::create(&self.path)?;
            durable::sync_folder(durable::folder_of(&self.path))?;
            Ok(file)
        };
        create().map_err(|source| self.write_error(source))
    }

    /// Keeps the lines of the steps that are done.
    fn go_on(&mut self, done: u64) -> Result<File, Error> {
        let open = OpenOptions::new().read(true).write(true).open(&self.path);
        let mut file = match open {
            Err(source) if source.kind() == ErrorKind::NotFound => {
                let (path, lost) = (self.path.display(), self.lost_with_all(done));
                self.notes.push(format!("{path} is missing: {lost}"));
                return self.begin();
            }
            opened => opened.map_err(|source| self.read_error(source))?,
        };
        let recorded = Recorded::read(&mut BufReader::new(&file), done, self.lines)
            .map_err(|source| self.read_error(source))?;
        let copy = self.free_copy();
        self.tell(&recorded, &copy);
        let Some(length) = recorded.whole_until() else {
            return self.replace(&recorded, &copy).map_err(|source| self.write_error(source));
        };
        file.set_len(length)
            .and_then(|()| file.seek(SeekFrom::Start(length)))
            .map_err(|source| self.write_error(source))?;
        Ok(file)
    }

    /// Says what is damaged, which file holds it from now on, and what is lost with it.
    fn tell(&mut self, recorded: &Recorded, copy: &Path) {
        let path = self.path.display();
        let kept = format!("{} keeps the file as it was", copy.display());
        let named = recorded.damaged.iter().take(NAMED).map(|Damaged { line, problem }| {
            format!("{path}, line {line}: {problem}; the line is left out, {kept}")
        });
        let mut notes: Vec<String> = named.collect();
        let more = recorded.damaged.len().saturating_sub(NAMED);
        if more > 0 {
            notes.push(format!("{path}: {more} more lines are left out for such reasons, {kept}"));
        }
        if !recorded.missing.is_empty() {
            notes.push(format!("{path}: {}", lost(&recorded.missing)));
        }
        self.notes.extend(notes);
    }

    /// What is lost with the whole file.
    fn lost_with_all(&self, done: u64) -> String {
        match self.lines {
            Lines::Records => lost(slice::from_ref(&(1..=done))),
            Lines::Beside(_) => {
                format!("what it held of steps 1 to {done} is lost, training itself loses nothing")
            }
        }
    }

    /// Puts the lines to keep in the place of a file that holds others among them, which stays as a copy.
    fn replace(&self, recorded: &Recorded, copy: &Path) -> io::Result<File> {
        let partial = self.beside(".", "partial");
        let mut old = File::open(&self.path)?;
        let mut copy = File::create_new(copy)?;
        io::copy(&mut old, &mut copy)?;
        copy.sync_all()?;
        let mut new = File::create(&partial)?;
        recorded.copy(&mut old, &mut new)?;
        new.sync_all()?;
        // A file that is open cannot be renamed everywhere.
        drop((old, new));
        fs::rename(&partial, &self.path)?;
        durable::sync_folder(durable::folder_of(&self.path))?;
        OpenOptions::new().append(true).open(&self.path)
    }

    /// Where a copy of the file finds room beside those of earlier damage.
    fn free_copy(&self) -> PathBuf {
        let mut number = 1_u64;
        loop {
            let copy = self.beside("", &format!("damaged-{number}"));
            if copy.symlink_metadata().is_err() {
                return copy;
            }
            number += 1;
        }
    }

    /// The path with something before and behind its name.
    fn beside(&self, before: &str, end: &str) -> PathBuf {
        let mut name = OsString::from(before);
        name.push(self.path.file_name().unwrap_or_default());
        name.push(format!(".{end}"));
        self.path.with_file_name(name)
    }

    fn read_error(&self, source: IoError) -> Error {
        Error::Read { path: self.path.clone(), source }
    }

    pub(crate) fn write_error(&self, source: IoError) -> Error {
        Error::Write { path: self.path.clone(), source }
    }
}

/// What it means that steps have no record.
fn lost(steps: &[RangeInclusive<u64>]) -> String {
    let name = |steps: &RangeInclusive<u64>| match (steps.start(), steps.end()) {
        (start, end) if start == end => start.to_string(),
        (start, end) => format!("{start} to {end}"),
    };
    let mut named: Vec<String> = steps.iter().take(NAMED).map(name).collect();
    if steps.len() > NAMED {
        named.push("others".to_owned());
    }
    let named = named.join(", ");
    format!(
        "there is no record of steps {named}; curves have a gap there, training itself loses nothing"
    )
}
