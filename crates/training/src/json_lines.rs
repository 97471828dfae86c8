//! Metrics as one JSON object a step.

use crate::{Error, Observe, durable};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Error as IoError, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Writes `{"step":1,"loss":2.5,…}` lines, one a step, each complete in the file before [`Observe::record`] returns.
///
/// The file is for one stage: a stage that begins empties it, one that goes on keeps the lines of the steps that are
/// done and cuts off what follows them. A step that is recorded before any stage has begun is an error.
///
/// A value that is not finite is written as `null`, since JSON has no word for it.
#[derive(Debug)]
pub struct JsonLines {
    path: PathBuf,
    file: Option<File>,
}

impl JsonLines {
    /// Will write to `path`, which is not touched before a stage begins.
    ///
    /// # Errors
    /// [`Error::Write`] if the folder of `path` does not exist.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref().to_owned();
        if durable::folder_of(&path).is_dir() {
            return Ok(Self { path, file: None });
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
    fn go_on(&self, done: u64) -> Result<File, Error> {
        let open = OpenOptions::new().read(true).write(true).open(&self.path);
        let mut file = match open {
            Err(source) if source.kind() == ErrorKind::NotFound => {
                return Err(self.record_error(1, "the file is missing"));
            }
            opened => opened.map_err(|source| self.read_error(source))?,
        };
        let length = self.length(&file, done)?;
        file.set_len(length)
            .and_then(|()| file.seek(SeekFrom::Start(length)))
            .map_err(|source| self.write_error(source))?;
        Ok(file)
    }

    /// The bytes of the lines of steps 1 to `done`.
    fn length(&self, file: &File, done: u64) -> Result<u64, Error> {
        let mut lines = BufReader::new(file);
        let (mut line, mut length) = (Vec::new(), 0);
        for step in 1..=done {
            line.clear();
            length += lines
                .read_until(b'\n', &mut line)
                .map_err(|source| self.read_error(source))? as u64;
            if let Some(problem) = problem(&line, step) {
                return Err(self.record_error(step, problem));
            }
        }
        Ok(length)
    }

    fn read_error(&self, source: IoError) -> Error {
        Error::Read { path: self.path.clone(), source }
    }

    fn write_error(&self, source: IoError) -> Error {
        Error::Write { path: self.path.clone(), source }
    }

    fn record_error(&self, line: u64, problem: impl Into<String>) -> Error {
        Error::Record { path: self.path.clone(), line, problem: problem.into() }
    }
}

/// What is wrong with a line that should be the record of `step`.
fn problem(line: &[u8], step: u64) -> Option<String> {
    /// The part of a record that all stages share.
    #[derive(Deserialize)]
    struct Record {
        step: u64,
    }

    if line.is_empty() {
        return Some("the file ends".to_owned());
    }
    if !line.ends_with(b"\n") {
        return Some("there is half a line".to_owned());
    }
    match serde_json::from_slice::<Record>(line) {
        Ok(record) if record.step == step => None,
        Ok(record) => Some(format!("there is a record of step {}", record.step)),
        Err(reason) => Some(format!("there is no record of a step ({reason})")),
    }
}

impl Observe for JsonLines {
    fn start(&mut self, _stage: &str, _steps: u64, done: u64) -> Result<(), Error> {
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
    use std::fs;

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
            assert_eq!(fs::read_to_string(&path).unwrap(), done);
            lines.record(3, &[("loss", 1.0)]).unwrap();
            lines.sync().unwrap();
            let expected = format!("{done}{{\"step\":3,\"loss\":1.0}}\n");
            assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        }
    }

    #[test]
    fn names_the_line_of_a_step_that_is_not_there() {
        let cases = [
            ("", 1, "the file ends"),
            ("{\"step\":1}\n", 2, "the file ends"),
            ("{\"step\":1}\n{\"step\":2}", 2, "half a line"),
            ("{\"step\":1}\n{\"step\":3}\n", 2, "a record of step 3"),
            ("{\"step\":1}\nstep 2\n", 2, "no record of a step"),
            ("{\"step\":1}\n{\"loss\":2.0}\n", 2, "missing field `step`"),
            ("\n{\"step\":1}\n", 1, "no record of a step"),
        ];
        for (text, line, expected) in cases {
            let (_folder, path, lines) = resumed(text, 2);
            let message = lines.unwrap_err().to_string();
            let named = format!("{}, line {line}: ", path.display());
            assert!(message.starts_with(&named), "{message}");
            assert!(message.contains(expected), "{message}");
            assert!(message.contains("remove the states"), "{message}");
            // Nothing is lost: it may be another file by mistake.
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn a_missing_file_cannot_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let mut lines = JsonLines::create(folder.path().join("metrics.jsonl")).unwrap();
        let message = lines.start("sft", 2, 1).unwrap_err().to_string();
        assert!(message.contains("line 1: the file is missing"), "{message}");
    }
}
