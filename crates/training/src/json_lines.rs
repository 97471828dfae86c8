//! Metrics as one JSON object a step.

use crate::line_file::LineFile;
use crate::recorded::Lines;
use crate::{Error, Observe, durable};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{Error as IoError, ErrorKind, Write};
use std::path::Path;

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
    lines: LineFile,
    /// Open since a stage has begun.
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
            return Ok(Self { lines: LineFile::new(path, Lines::Records), file: None });
        }
        let source = IoError::new(ErrorKind::NotFound, "its folder does not exist");
        Err(Error::Write { path, source })
    }
}

impl Observe for JsonLines {
    fn start(&mut self, _stage: &str, _steps: u64, done: u64) -> Result<(), Error> {
        self.file = Some(self.lines.start(done)?);
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
            return Err(Error::NotStarted { path: self.lines.path().to_owned() });
        };
        file.write_all(line.as_bytes()).map_err(|source| self.lines.write_error(source))
    }

    fn notes(&mut self) -> Vec<String> {
        self.lines.notes()
    }

    fn sync(&mut self) -> Result<(), Error> {
        let synced = self.file.as_ref().map_or(Ok(()), File::sync_data);
        synced.map_err(|source| self.lines.write_error(source))
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line_file::NAMED;
    use std::fs;
    use std::path::PathBuf;

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
