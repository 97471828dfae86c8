//! Metrics for `TensorBoard`.

use crate::events::Event;
use crate::{Error, Observe, durable};
use std::fs::{self, File};
use std::io::{Error as IoError, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// What the names of event files begin with; seconds since 1970 follow.
const PREFIX: &str = "events.out.tfevents.";

/// Writes event files that `tensorboard --logdir FOLDER` shows.
///
/// ```text
/// FOLDER/sft/events.out.tfevents.1767225600.training    scalars such as sft/loss, texts such as sft/sample
/// ```
///
/// Every stage has a folder of its own, hence is a run of its own to `TensorBoard`, and every process adds a file. The
/// first event of a file after its version says at which step it begins: `TensorBoard` forgets that step and those after
/// it, as far as earlier files of the stage have them. So a stage that goes on leaves no trace of the steps that were
/// taken twice, and one that begins anew none of the last time.
///
/// Values are rounded to 32 bits, times are those of writing. Texts are shown as Markdown. An event is complete in the
/// file before [`Observe::record`] returns; a step that is recorded before any stage has begun is an error.
#[derive(Debug)]
pub struct TensorBoard {
    folder: PathBuf,
    open: Option<Open>,
}

/// The file of a stage.
#[derive(Debug)]
struct Open {
    stage: String,
    path: PathBuf,
    file: File,
}

impl TensorBoard {
    /// Will write to `folder`, which is not touched before a stage begins.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), open: None }
    }

    fn write(&mut self, event: impl FnOnce(&str) -> Event) -> Result<(), Error> {
        match &mut self.open {
            Some(open) => open.write(&event(&open.stage)),
            None => Err(Error::NotStarted { path: self.folder.clone() }),
        }
    }
}

impl Open {
    fn new(stage: &str, folder: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Write { path: folder.to_owned(), source };
        durable::create_folders(folder).map_err(failed)?;
        let (path, file) = create(folder).map_err(failed)?;
        durable::sync_folder(folder).map_err(failed)?;
        Ok(Self { stage: stage.to_owned(), path, file })
    }

    fn write(&mut self, event: &Event) -> Result<(), Error> {
        // One write an event and no buffer: whoever reads along never sees half an event.
        self.file.write_all(&event.frame()).map_err(|source| self.failed(source))
    }

    fn sync(&self) -> Result<(), Error> {
        self.file.sync_data().map_err(|source| self.failed(source))
    }

    fn failed(&self, source: IoError) -> Error {
        Error::Write { path: self.path.clone(), source }
    }
}

/// Creates a file whose name comes after those of all event files in the folder: `TensorBoard` reads them in the order of
/// their names, and a later one says what of the earlier ones is void.
fn create(folder: &Path) -> Result<(PathBuf, File), IoError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut seconds = now.as_secs();
    for entry in fs::read_dir(folder)? {
        let newest = entry?.file_name().to_str().and_then(seconds_of);
        seconds = seconds.max(newest.map_or(0, |newest| newest.saturating_add(1)));
    }
    loop {
        let path = folder.join(format!("{PREFIX}{seconds:010}.training"));
        match File::create_new(&path) {
            // Another process was quicker.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => seconds += 1,
            created => return created.map(|file| (path, file)),
        }
    }
}

/// The seconds in the name of an event file, whoever wrote it.
fn seconds_of(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.split('.').next()?.parse().ok()
}

/// The name of a stage as that of a folder.
fn folder_name(stage: &str) -> String {
    let plain = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '-';
    stage.chars().map(|letter| if plain(letter) { letter } else { '_' }).collect()
}

impl Observe for TensorBoard {
    fn start(&mut self, stage: &str, _steps: u64, done: u64) -> Result<(), Error> {
        let mut open = Open::new(stage, &self.folder.join(folder_name(stage)))?;
        open.write(&Event::version())?;
        open.write(&Event::start(done + 1))?;
        self.open = Some(open);
        Ok(())
    }

    fn record(&mut self, step: u64, metrics: &[(&str, f64)]) -> Result<(), Error> {
        self.write(|stage| {
            let scalars = metrics.iter().map(|(name, value)| (format!("{stage}/{name}"), *value));
            Event::scalars(step, scalars)
        })
    }

    fn text(&mut self, step: u64, name: &str, text: &str) -> Result<(), Error> {
        self.write(|stage| Event::text(step, format!("{stage}/{name}"), text))
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.open.as_ref().map_or(Ok(()), Open::sync)
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::parse;

    /// The files of a stage by name, and their events.
    fn files(folder: &Path) -> Vec<(String, Vec<Event>)> {
        let mut files: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                (name, parse(&fs::read(path).unwrap()))
            })
            .collect();
        files.sort_by(|(first, _), (second, _)| first.cmp(second));
        files
    }

    #[test]
    fn writes_the_version_the_beginning_scalars_and_texts() {
        let folder = tempfile::tempdir().unwrap();
        let mut board = TensorBoard::new(folder.path().join("board"));
        board.start("sft", 2, 0).unwrap();
        board.record(1, &[("loss", 2.5), ("accuracy", 0.0)]).unwrap();
        board.text(1, "sample", "Good *day*.").unwrap();
        board.sync().unwrap();
        board.record(2, &[("loss", f64::INFINITY)]).unwrap();
        board.finish().unwrap();

        let files = files(&folder.path().join("board/sft"));
        let [(name, events)] = &files[..] else { panic!("{files:?}") };
        let seconds = seconds_of(name).unwrap();
        // From 2020 to 2100, and no letter before the last point.
        assert!((1_577_836_800..4_102_444_800).contains(&seconds), "{name}");
        let [version, start, first, text, second] = &events[..] else { panic!("{events:?}") };
        assert_eq!(version.file_version.as_deref(), Some("brain.Event:2"));
        assert_eq!((start.step, start.session_log.as_ref().unwrap().status), (1, 1));
        assert_eq!((first.step, text.step, second.step), (1, 1, 2));
        let scalars = |event: &Event| {
            let values = event.summary.as_ref().unwrap().value.iter();
            values.map(|value| (value.tag.clone(), value.scalar.unwrap())).collect::<Vec<_>>()
        };
        let expected = [("sft/loss".to_owned(), 2.5), ("sft/accuracy".to_owned(), 0.0)];
        assert_eq!(scalars(first), expected);
        assert_eq!(scalars(second), [("sft/loss".to_owned(), f32::INFINITY)]);
        let value = &text.summary.as_ref().unwrap().value[0];
        assert_eq!(value.tag, "sft/sample");
        let plugin = value.metadata.as_ref().unwrap().plugin_data.as_ref().unwrap();
        assert_eq!(plugin.plugin_name, "text");
        let tensor = value.tensor.as_ref().unwrap();
        assert_eq!((tensor.dtype, &tensor.string_val[..]), (7, &[b"Good *day*.".to_vec()][..]));
        assert!(events.is_sorted_by_key(|event| event.wall_time));
        assert!(events[0].wall_time - seconds as f64 >= 0.0);
    }

    #[test]
    fn a_stage_that_goes_on_adds_a_file_that_comes_after_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let stage = folder.path().join("ppo");
        fs::create_dir(&stage).unwrap();
        // Written by a machine whose clock is ahead.
        let ahead = stage.join(format!("{PREFIX}4102444800.host.7.0"));
        fs::write(&ahead, Event::version().frame()).unwrap();
        for done in [0, 3, 4] {
            let mut board = TensorBoard::new(folder.path());
            board.start("ppo", 5, done).unwrap();
            board.record(done + 1, &[("reward", 1.0)]).unwrap();
        }
        let files = files(&stage);
        let names = files.iter().map(|(name, _)| seconds_of(name).unwrap());
        let first = 4_102_444_800;
        assert_eq!(names.collect::<Vec<_>>(), [first, first + 1, first + 2, first + 3]);
        let starts = files[1..].iter().map(|(_, events)| {
            assert!(events[1].session_log.is_some());
            events[1].step
        });
        assert_eq!(starts.collect::<Vec<_>>(), [1, 4, 5]);
    }

    #[test]
    fn stages_have_folders_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let mut board = TensorBoard::new(folder.path());
        for stage in ["sft", "../ppo", "value head"] {
            board.start(stage, 1, 0).unwrap();
            board.record(1, &[("loss", 1.0)]).unwrap();
            board.finish().unwrap();
        }
        for name in ["sft", "___ppo", "value_head"] {
            assert_eq!(files(&folder.path().join(name)).len(), 1);
        }
        let (_, events) = &files(&folder.path().join("___ppo"))[0];
        assert_eq!(events[2].summary.as_ref().unwrap().value[0].tag, "../ppo/loss");
    }

    #[test]
    fn nothing_is_touched_before_a_stage_begins() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("board");
        let mut board = TensorBoard::new(&path);
        for error in [board.record(1, &[]), board.text(1, "sample", "")] {
            assert!(matches!(error, Err(Error::NotStarted { .. })));
        }
        board.sync().unwrap();
        board.finish().unwrap();
        assert!(!path.exists());
        fs::write(&path, "").unwrap();
        let message = board.start("sft", 1, 0).unwrap_err().to_string();
        assert!(message.contains(&path.display().to_string()), "{message}");
    }
}
