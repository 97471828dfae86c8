//! Lines that a stage keeps beside its metrics.

use crate::line_file::LineFile;
use crate::recorded::Lines;
use crate::{Error, Observe};
use std::path::PathBuf;

/// Watches over a file of JSON lines that somebody else writes beside the metrics of a stage, such as samples: any number of
/// lines a step, of some steps none.
///
/// A stage that begins empties the file, one that goes on keeps the lines of the steps that are done, as
/// [`JsonLines`](crate::JsonLines) does with metrics, and as there no damage stops a stage: a line that is none of a step that is
/// done is left out, the file as it was is kept beside it with `.damaged-1` behind its name, and [`Observe::notes`] names it. A file
/// that is missing is begun, with a note.
#[derive(Debug)]
pub struct LinesBeside {
    stage: String,
    file: LineFile,
}

impl LinesBeside {
    /// Of the file at `path`, which is not touched before `stage` begins; `step_of` tells which step a line belongs to, counted
    /// from 1, or why it is none. Other stages do not touch it.
    pub fn new(
        stage: impl Into<String>,
        path: impl Into<PathBuf>,
        step_of: fn(&[u8]) -> Result<u64, serde_json::Error>,
    ) -> Self {
        Self { stage: stage.into(), file: LineFile::new(path.into(), Lines::Beside(step_of)) }
    }
}

impl Observe for LinesBeside {
    fn start(&mut self, stage: &str, _steps: u64, done: u64) -> Result<(), Error> {
        if stage == self.stage { self.file.start(done).map(drop) } else { Ok(()) }
    }

    fn record(&mut self, _step: u64, _metrics: &[(&str, f64)]) -> Result<(), Error> {
        Ok(())
    }

    fn notes(&mut self) -> Vec<String> {
        self.file.notes()
    }

    fn finish(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::fs;

    #[derive(Deserialize)]
    struct Line {
        round: u64,
    }

    fn round_of(line: &[u8]) -> Result<u64, serde_json::Error> {
        Ok(serde_json::from_slice::<Line>(line)?.round)
    }

    /// What a stage that goes on after round 4 makes of a file, what it tells, and whether the file as it was is kept.
    fn resumed(text: Option<&str>) -> (String, Vec<String>, bool) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("samples.jsonl");
        if let Some(text) = text {
            fs::write(&path, text).unwrap();
        }
        let mut lines = LinesBeside::new("ppo", &path, round_of);
        lines.start("ppo_best_of_n", 9, 0).unwrap();
        assert_eq!(fs::read_to_string(&path).ok().as_deref(), text, "that is another stage");
        lines.start("ppo", 9, 4).unwrap();
        let notes = lines.notes();
        assert!(lines.notes().is_empty(), "told once");
        let kept = path.with_extension("jsonl.damaged-1");
        let is_kept = fs::read_to_string(kept).ok().as_deref() == text;
        let found = fs::read_to_string(&path).unwrap();
        lines.start("ppo", 9, 0).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "", "a stage that begins empties it");
        (found, notes, is_kept)
    }

    fn line(round: u64) -> String {
        format!("{{\"round\":{round},\"reply\":\"a\"}}\n")
    }

    #[test]
    fn lines_of_steps_that_are_done_stay_and_those_of_later_ones_go() {
        let done = [1, 1, 4].map(line).concat();
        for later in [String::new(), line(5), line(5) + &line(6)] {
            let (found, notes, _) = resumed(Some(&(done.clone() + &later)));
            assert_eq!((found, notes), (done.clone(), vec![]));
        }
        let (found, notes, _) = resumed(Some(""));
        assert_eq!((found.as_str(), notes), ("", vec![]));
    }

    #[test]
    fn damage_is_named_and_left_out() {
        for (damage, expected) in [
            ("garbage\n", "no record of a step (expected value"),
            ("{\"step\":2}\n", "missing field `round`"),
            ("{\"round\":0}\n", "a record of step 0 after that of step 1"),
        ] {
            let text = format!("{}{damage}{}", line(1), line(4));
            let (found, notes, is_kept) = resumed(Some(&text));
            assert_eq!(found, line(1) + &line(4));
            let [note] = &notes[..] else { panic!("{notes:?}") };
            assert!(note.contains("samples.jsonl, line 2: ") && note.contains(expected), "{note}");
            assert!(note.contains("samples.jsonl.damaged-1") && is_kept, "{note}");
        }
        let (found, notes, is_kept) = resumed(Some("garbage"));
        assert_eq!((found.as_str(), notes.len(), is_kept), ("", 1, true), "{notes:?}");
        assert!(notes[0].contains("half a line"), "{notes:?}");
    }

    #[test]
    fn a_missing_file_is_begun_with_a_note() {
        let (found, notes, _) = resumed(None);
        assert_eq!((found.as_str(), notes.len()), ("", 1), "{notes:?}");
        assert!(notes[0].contains("samples.jsonl is missing: "), "{notes:?}");
    }
}
