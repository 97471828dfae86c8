//! Metrics as one JSON object a step.

use crate::recorded::{Damaged, Recorded};
use crate::{Error, Observe, durable};
use serde_json::{Map, Value};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Error as IoError, ErrorKind, Seek, SeekFrom, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::slice;

/// Damaged lines that are named one by one.
const NAMED: usize = 5;

/// Writes `{"step":1,"loss":2.5,…}` lines, one a step, each complete in the file before [`Observe::record`] returns.
///
/// The file is for one stage: a stage that begins empties it, one that goes on keeps the lines of the steps that are
/// done and cuts off what follows them. A step that is recorded before any stage has begun is an error.
///
/// Numbers of the past decide nothing, so a damaged file stops no stage. A line that is no record of a step that is done
/// is left out, the file as it was is kept beside it with `.damaged-1` behind its name, or the first number that is free, and
/// [`Observe::notes`] names the line and the steps whose numbers are lost.
///
/// A value that is not finite is written as `null`, since JSON has no word for it.
#[derive(Debug)]
pub struct JsonLines {
    path: PathBuf,
    file: Option<File>,
    notes: Vec<String>,
}

impl JsonLines {
    /// Will write to `path`, which is not touched before a stage begins.
    ///
    /// # Errors
    /// [`Error::Write`] if the folder of `path` does not exist.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref().to_owned();
        if durable::folder_of(&path).is_dir() {
            return Ok(Self { path, file: None, notes: Vec::new() });
        }
        let source = IoError::new(ErrorKind::NotFound, "its folder does not exist");
        Err(Error::Write { path, source })
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
                let (path, lost) = (self.path.display(), lost(slice::from_ref(&(1..=done))));
                self.notes.push(format!("{path} is missing: {lost}"));
                return self.begin();
            }
            opened => opened.map_err(|source| self.read_error(source))?,
        };
        let recorded = Recorded::read(&mut BufReader::new(&file), done)
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

    fn write_error(&self, source: IoError) -> Error {
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

impl Observe for JsonLines {
    fn start(&mut self, _stage: &str, _steps: u64, done: u64) -> Result<(), Error> {
        self.notes.clear();
        let file = if done == 0 { self.begin() } else { self.go_on(done) };
        self.file = Some(file?);
        Ok(())
    }

    fn record(&mut self, step: u64, metrics: &[(&str, f64)]) -> Result<(), Error> {
        let mut object = Map::with_capacity(metrics.len() + 1);
        object.insert("step".to_owned(), step.into());
        for &(name, value) in metrics {
            object.insert(name.to_owned(), value.into());
        }
        let line = format!("{}\n", Value::Object(object));
        // One write a line and no buffer: whoever reads along never sees half a step.
        let Some(file) = &mut self.file else {
            return Err(Error::NotStarted { path: self.path.clone() });
        };
        file.write_all(line.as_bytes()).map_err(|source| self.write_error(source))
    }

    fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    fn sync(&mut self) -> Result<(), Error> {
        let synced = self.file.as_ref().map_or(Ok(()), File::sync_data);
        synced.map_err(|source| self.write_error(source))
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that holds this, and a writer that goes on after `done` steps.
    fn resumed(text: &str, done: u64) -> (tempfile::TempDir, PathBuf, Result<JsonLines, Error>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        fs::write(&path, text).unwrap();
        let mut lines = JsonLines::create(&path).unwrap();
        let started = lines.start("sft", 10, done);
        (folder, path, started.map(|()| lines))
    }

    #[test]
    fn writes_one_object_a_step_in_the_order_given() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut lines = JsonLines::create(&path).unwrap();
        lines.start("sft", 2, 0).unwrap();
        lines.record(1, &[("loss", 2.5), ("accuracy", 0.0)]).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "{\"step\":1,\"loss\":2.5,\"accuracy\":0.0}\n"
        );
        lines.record(2, &[("loss", f64::NAN)]).unwrap();
        lines.finish().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().nth(1), Some("{\"step\":2,\"loss\":null}"));
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn names_the_file_that_cannot_be_created() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing").join("metrics.jsonl");
        let message = JsonLines::create(&path).unwrap_err().to_string();
        assert!(message.contains(&path.display().to_string()), "{message}");
        let mut lines = JsonLines::create(folder.path()).unwrap();
        let message = lines.start("sft", 2, 0).unwrap_err().to_string();
        assert!(message.contains(&folder.path().display().to_string()), "{message}");
    }

    #[test]
    fn is_not_touched_before_a_stage_begins() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        fs::write(&path, "{\"step\":1}\n").unwrap();
        let mut lines = JsonLines::create(&path).unwrap();
        let error = lines.record(2, &[]).unwrap_err();
        assert!(matches!(&error, Error::NotStarted { path: named } if *named == path), "{error}");
        lines.sync().unwrap();
        lines.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"step\":1}\n");
        lines.start("sft", 2, 0).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
    }

    #[test]
    fn keeps_the_steps_that_are_done_and_cuts_off_the_rest() {
        let done = "{\"step\":1,\"loss\":null}\n{\"loss\":2.0,\"step\":2}\n";
        for rest in ["", "{\"step\":3}\n{\"step\":4}\n", "{\"step\":3}\n{\"st", "\0\0\0"] {
            let (_folder, path, lines) = resumed(&format!("{done}{rest}"), 2);
            let mut lines = lines.unwrap();
            assert!(lines.notes().is_empty(), "what is taken again is no loss");
            assert_eq!(fs::read_to_string(&path).unwrap(), done);
            lines.record(3, &[("loss", 1.0)]).unwrap();
            lines.sync().unwrap();
            let expected = format!("{done}{{\"step\":3,\"loss\":1.0}}\n");
            assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        }
    }

    #[test]
    fn a_damaged_line_is_named_and_left_out_and_the_stage_goes_on() {
        let (first, rest) = ("{\"step\":1}\n", "{\"step\":3}\n{\"step\":4}\n");
        let cases = [
            ("{\"step\":2,\"lo\n", "there is no record of a step"),
            ("\0\0\0\0\n", "there is no record of a step"),
            ("{\"loss\":2.0}\n", "missing field `step`"),
        ];
        for (damage, expected) in cases {
            let text = format!("{first}{damage}{rest}");
            let (_folder, path, lines) = resumed(&text, 3);
            let mut lines = lines.unwrap();
            let beside = path.with_extension("jsonl.damaged-1");
            assert_eq!(fs::read_to_string(&path).unwrap(), "{\"step\":1}\n{\"step\":3}\n");
            assert_eq!(fs::read_to_string(&beside).unwrap(), text);
            assert!(!path.with_file_name(".metrics.jsonl.partial").exists());
            let notes = lines.notes();
            let [line, lost] = &notes[..] else { panic!("{notes:?}") };
            assert!(line.starts_with(&format!("{}, line 2: ", path.display())), "{line}");
            for part in [expected, &*beside.display().to_string()] {
                assert!(line.contains(part), "{line}");
            }
            assert!(lost.contains("no record of steps 2;"), "{lost}");
            assert!(lines.notes().is_empty(), "told once");
            lines.record(4, &[("loss", 1.0)]).unwrap();
            lines.finish().unwrap();
            let expected = "{\"step\":1}\n{\"step\":3}\n{\"step\":4,\"loss\":1.0}\n";
            assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        }
    }

    #[test]
    fn later_damage_leaves_the_copies_of_earlier_damage() {
        let texts = ["{\"step\":1}\n{\"st\n{\"step\":3}\n", "{\"step\":\n{\"step\":3}\n"];
        let (_folder, path, lines) = resumed(texts[0], 3);
        drop(lines);
        fs::write(&path, texts[1]).unwrap();
        let mut lines = JsonLines::create(&path).unwrap();
        lines.start("sft", 10, 3).unwrap();
        let notes = lines.notes();
        assert!(notes[0].contains("metrics.jsonl.damaged-2 keeps the file"), "{notes:?}");
        for (number, text) in (1..).zip(texts) {
            let copy = path.with_extension(format!("jsonl.damaged-{number}"));
            assert_eq!(fs::read_to_string(copy).unwrap(), text);
        }
        assert!(!path.with_extension("jsonl.damaged-3").exists());
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"step\":3}\n");
    }

    #[test]
    fn a_file_that_ends_early_is_gone_on_with() {
        for (text, kept) in [
            ("", ""),
            ("{\"step\":1}\n", "{\"step\":1}\n"),
            ("{\"step\":1}\n{\"step\":2}", "{\"step\":1}\n"),
        ] {
            let (_folder, path, lines) = resumed(text, 4);
            let mut lines = lines.unwrap();
            let notes = lines.notes();
            assert!(notes.last().is_some_and(|note| note.contains("to 4;")), "{notes:?}");
            lines.record(5, &[]).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{kept}{{\"step\":5}}\n"));
        }
    }

    #[test]
    fn another_file_by_mistake_stays_beside_and_is_not_told_line_by_line() {
        let text = "a line\n".repeat(40);
        let (_folder, path, lines) = resumed(&text, 2);
        let notes = lines.unwrap().notes();
        assert_eq!(notes.len(), NAMED + 2);
        assert!(notes[NAMED].contains("35 more lines"), "{notes:?}");
        assert_eq!(fs::read_to_string(path.with_extension("jsonl.damaged-1")).unwrap(), text);
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
    }

    #[test]
    fn a_missing_file_is_begun_with_a_note() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut lines = JsonLines::create(&path).unwrap();
        lines.start("sft", 2, 1).unwrap();
        let notes = lines.notes();
        assert!(notes[0].contains("metrics.jsonl is missing: "), "{notes:?}");
        lines.record(2, &[]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"step\":2}\n");
    }
}
