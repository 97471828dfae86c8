//! The folder of a run.

use super::inputs::fingerprints;
use super::json_file::read_json;
use super::judge::{is_server, is_transport};
use super::{Error, Settings, Stage};
use dataset::write_atomic;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// The recorded settings of a run.
const SETTINGS: &str = "run.toml";

/// Keys of `run.toml` that are not settings.
const ABOUT: [&str; 3] = ["version", "device", "inputs"];

/// A folder that one run writes to, and one process at a time.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// Held as long as the folder is open.
    _lock: File,
}

/// The training stage whose settings a key of `run.toml` is among; none if other stages heed it too that make nothing of what
/// that stage writes.
fn stage_of(key: &str) -> Option<Stage> {
    match key {
        // Prompts leave room for the longest reply of any stage.
        "ppo.max_tokens" => None,
        "inputs.pretraining" => Some(Stage::PreferenceModel),
        _ => {
            let (table, _) = key.split_once('.')?;
            let stages = [Stage::Sft, Stage::PreferenceModel, Stage::Ppo];
            stages.into_iter().find(|stage| stage.name() == table)
        }
    }
}

/// Whether a setting may change while a run is under way: it decides how fast results come and how much work a kill costs, but
/// not which results, up to rounding. That is what `engine` does change: how many replies are drawn at once decides the last
/// bits of their log-probs, so that a token whose draw falls just between two may be another.
fn may_change(key: &str, there: &str, now: &str) -> bool {
    is_transport(key)
        || key.starts_with("engine.")
        || key.starts_with("checkpoints.")
        || (key == "judge" && is_server(there) && is_server(now))
}

impl RunFolder {
    /// The settings recorded in a folder; `None` if there is no run in it yet.
    ///
    /// # Errors
    /// If there is a `run.toml` that cannot be read, or [`Error::NoRecordedSettings`] if there is none beside a finished
    /// stage.
    pub fn recorded(path: &Path) -> Result<Option<Table>, Error> {
        Ok(recorded_all(path)?.map(Self::without_about))
    }

    /// The settings alone, without what `run.toml` says about the run beside them.
    pub(super) fn without_about(mut table: Table) -> Table {
        for key in ABOUT {
            table.remove(key);
        }
        table
    }

    /// Opens a folder for settings, or begins one.
    ///
    /// Settings of a training stage may differ from those of a run that is already there as long as neither it nor a stage that
    /// makes something of its files has begun, that is, has a folder with anything in it.
    ///
    /// # Errors
    /// [`Error::OtherSettings`] names every key in which a run that is already there differs, [`Error::Busy`] if another
    /// process works in it, [`Error::Io`] if it cannot be written to.
    pub fn open(path: &Path, settings: &Settings, device: &str) -> Result<Self, Error> {
        let mut table = settings.to_table()?;
        table.insert("version".to_owned(), env!("CARGO_PKG_VERSION").into());
        table.insert("device".to_owned(), device.into());
        table.insert("inputs".to_owned(), Value::Table(fingerprints(settings)?));
        let io = |action| move |source| Error::Io { action, path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(io("create"))?;
        let lock = File::create(path.join(".lock")).map_err(io("write to"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Busy { folder: path.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(io("lock")(source)),
        }
        let recorded = recorded_all(path)?;
        if let Some(recorded) = &recorded {
            check_same(path, recorded, &table)?;
        }
        for stage in Stage::ALL {
            remove_discarded(&path.join(stage.name()))?;
        }
        // What may change is recorded as it is now.
        if recorded.as_ref() != Some(&table) {
            let text = toml::to_string_pretty(&table)
                .map_err(|error| settings_error(SETTINGS, error.to_string()))?;
            write_atomic(path.join(SETTINGS), text.as_bytes())?;
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Whether a stage is finished in a folder that need not be open.
    pub fn is_finished(path: &Path, stage: Stage) -> bool {
        path.join(stage.name()).join(DONE).exists()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file of a stage, whose folder is made if need be.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be made.
    pub fn file(&self, stage: Stage, name: &str) -> Result<PathBuf, Error> {
        let folder = self.path.join(stage.name());
        fs::create_dir_all(&folder).map_err(|source| Error::Io {
            action: "create",
            path: folder.clone(),
            source,
        })?;
        Ok(folder.join(name))
    }

    /// The seconds that a finished stage took; `None` if it is not finished.
    ///
    /// # Errors
    /// If its mark cannot be read.
    pub fn seconds(&self, stage: Stage) -> Result<Option<f64>, Error> {
        let path = self.path.join(stage.name()).join(DONE);
        match read_json::<Done>(&path) {
            Ok(done) => Ok(Some(done.seconds)),
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Discards what a stage has written, and what other stages have made of it.
    ///
    /// # Errors
    /// [`Error::Io`] if a folder cannot be removed.
    pub fn discard(&self, stage: Stage) -> Result<(), Error> {
        // From the last on: wherever it is cut off, what is left is a run that has come less far.
        for stage in stage.dependents().into_iter().rev() {
            discard_folder(&self.path.join(stage.name()))?;
        }
        // Every stage leads to the page.
        remove(&self.path.join(PAGE), fs::remove_file)
    }

    /// Marks a stage as finished.
    ///
    /// # Errors
    /// If the mark cannot be written.
    pub fn finish(&self, stage: Stage, seconds: f64) -> Result<(), Error> {
        let done = serde_json::json!({ "seconds": (seconds * 1000.0).round() / 1000.0 });
        Ok(write_atomic(self.file(stage, DONE)?, done.to_string().as_bytes())?)
    }
}

/// The page.
const PAGE: &str = "report.html";

/// Removes a folder at once: it is renamed before, so that a process that is killed meanwhile leaves the whole of it or none
/// under its name.
pub(super) fn discard_folder(path: &Path) -> Result<(), Error> {
    remove_discarded(path)?;
    let aside = discarded(path);
    match fs::rename(path, &aside) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            Err(Error::Io { action: "rename", path: path.to_owned(), source })
        }
        _ => remove(&aside, fs::remove_dir_all),
    }
}

/// Removes what a process that was killed has left of a folder that it discarded.
fn remove_discarded(path: &Path) -> Result<(), Error> {
    remove(&discarded(path), fs::remove_dir_all)
}

/// Where a folder is while it is being removed.
fn discarded(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.discarded"))
}

/// Removes what may not be there.
fn remove(path: &Path, remove: fn(PathBuf) -> std::io::Result<()>) -> Result<(), Error> {
    match remove(path.to_owned()) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            Err(Error::Io { action: "remove", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// The mark of a finished stage.
const DONE: &str = "done.json";

#[derive(serde::Deserialize)]
struct Done {
    seconds: f64,
}

fn settings_error(source_name: &str, message: String) -> Error {
    Error::Settings { source_name: source_name.to_owned(), message }
}

fn recorded_all(folder: &Path) -> Result<Option<Table>, Error> {
    let path = folder.join(SETTINGS);
    match fs::read_to_string(&path) {
        Ok(text) => match text.parse() {
            Ok(table) => Ok(Some(table)),
            Err(error) => Err(settings_error(&path.display().to_string(), error.to_string())),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let finished = |&stage: &Stage| RunFolder::is_finished(folder, stage);
            match Stage::ALL.into_iter().find(finished) {
                Some(stage) => Err(Error::NoRecordedSettings { folder: folder.to_owned(), stage }),
                None => Ok(None),
            }
        }
        Err(source) => Err(Error::Io { action: "read", path, source }),
    }
}

/// Refuses settings that would mix two runs in a folder.
fn check_same(folder: &Path, recorded: &Table, asked: &Table) -> Result<(), Error> {
    let is_made = |stage| !made(folder, &[stage]).is_empty();
    let refused: Vec<Difference> = differences(recorded, asked)
        .into_iter()
        .filter(|difference| difference.stage.is_none_or(is_made))
        .collect();
    if refused.is_empty() {
        return Ok(());
    }
    // None if one of them belongs to no stage alone.
    let stages: Option<Vec<Stage>> = refused.iter().map(|difference| difference.stage).collect();
    let made = made(folder, &stages.unwrap_or_default());
    let lines: Vec<String> = refused.into_iter().map(|difference| difference.line).collect();
    Err(Error::OtherSettings { folder: folder.to_owned(), differences: lines.join("\n"), made })
}

/// The folders of stages and of those that make something of their files, as far as there is anything in them.
fn made(folder: &Path, stages: &[Stage]) -> Vec<PathBuf> {
    let follows = |later: &Stage| stages.iter().any(|stage| stage.dependents().contains(later));
    let folders = Stage::ALL.into_iter().filter(follows).map(|stage| folder.join(stage.name()));
    folders.filter(|folder| has_files(folder)).collect()
}

/// Whether there is anything in a folder, or it cannot be seen that there is not.
fn has_files(folder: &Path) -> bool {
    match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) => error.kind() != ErrorKind::NotFound,
    }
}

/// A key in which two sets of settings differ.
struct Difference {
    /// See [`stage_of`].
    stage: Option<Stage>,
    /// The key and both values.
    line: String,
}

/// Every key in which two sets of settings differ, but for those that may change at any time.
fn differences(recorded: &Table, asked: &Table) -> Vec<Difference> {
    let (recorded, asked) = (flat(recorded), flat(asked));
    let show = |value: Option<&Value>| value.map_or("unset".to_owned(), ToString::to_string);
    let keys: std::collections::BTreeSet<&String> = recorded.keys().chain(asked.keys()).collect();
    keys.into_iter()
        .filter(|key| recorded.get(*key) != asked.get(*key))
        .filter(|key| {
            let text = |table: &std::collections::BTreeMap<String, Value>| {
                table.get(*key).and_then(Value::as_str).unwrap_or_default().to_owned()
            };
            !may_change(key, &text(&recorded), &text(&asked))
        })
        .map(|key| {
            let (there, now) = (show(recorded.get(key)), show(asked.get(key)));
            let line = format!("  {key}: {there} there, {now} asked for");
            Difference { stage: stage_of(key), line }
        })
        .collect()
}

/// Every value under its dotted key.
fn flat(table: &Table) -> std::collections::BTreeMap<String, Value> {
    let mut values = std::collections::BTreeMap::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) => values.extend(
                flat(inner).into_iter().map(|(rest, value)| (format!("{key}.{rest}"), value)),
            ),
            value => drop(values.insert(key.clone(), value.clone())),
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Leaves what a stage writes first.
    fn begin(run: &Path, stage: Stage) {
        let folder = run.join(stage.name());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("metrics.jsonl"), "").unwrap();
    }

    #[test]
    fn settings_of_a_training_stage_may_change_until_it_begins() {
        let parent = tempfile::tempdir().unwrap();
        let run = parent.path();
        let open = |text: &str| {
            let recorded = RunFolder::recorded(run).unwrap();
            let layers = recorded.into_iter().chain([text.parse().unwrap()]);
            let layers: Vec<(String, Table)> =
                layers.map(|layer| ("t".to_owned(), layer)).collect();
            RunFolder::open(run, &Settings::resolve(&layers).unwrap(), "flex").map(drop)
        };
        open("").unwrap();
        begin(run, Stage::Sft);
        fs::create_dir(run.join("ppo")).unwrap();
        open("ppo.optimizer.learning_rate = 0.5\npreference_model.epochs = 2").unwrap();
        let recorded = RunFolder::recorded(run).unwrap().unwrap();
        assert_eq!(recorded["ppo"]["optimizer"]["learning_rate"].as_float(), Some(0.5));

        begin(run, Stage::Ppo);
        let refused = |text: &str, expected: &[Stage]| {
            let error = open(text).unwrap_err();
            let message = error.to_string();
            let Error::OtherSettings { made, .. } = error else { panic!("{message}") };
            let expected: Vec<PathBuf> =
                expected.iter().map(|stage| run.join(stage.name())).collect();
            assert_eq!(made, expected, "{text}");
            for folder in made {
                assert!(message.contains(&folder.display().to_string()), "{message}");
            }
        };
        refused("ppo.optimizer.learning_rate = 0.25", &[Stage::Ppo]);
        // What is made of its files would no longer fit either.
        refused("preference_model.epochs = 3", &[Stage::Ppo]);
        refused("sft.epochs = 9\nppo.kl_coefficient = 0.5", &[Stage::Sft, Stage::Ppo]);
        refused("ppo.kl_coefficient = 0.5\nseed = 3", &[]);
        fs::remove_dir_all(run.join("ppo")).unwrap();
        open("ppo.optimizer.learning_rate = 0.25").unwrap();
        // The room for prompts depends on it.
        refused("ppo.max_tokens = 32", &[]);
    }

    #[test]
    fn finished_stages_without_their_settings_are_told() {
        let parent = tempfile::tempdir().unwrap();
        let open = || RunFolder::open(parent.path(), &Settings::embedded(), "flex");
        open().unwrap().finish(Stage::Sft, 1.0).unwrap();
        fs::remove_file(parent.path().join(SETTINGS)).unwrap();
        for error in [open().unwrap_err(), RunFolder::recorded(parent.path()).unwrap_err()] {
            let message = error.to_string();
            assert!(message.contains("no run.toml") && message.contains("`sft`"), "{message}");
        }
    }

    #[test]
    fn refuses_other_settings_and_names_the_keys() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("run");
        let settings = Settings::embedded();
        begin(&path, Stage::Ppo);
        drop(RunFolder::open(&path, &settings, "flex").unwrap());
        let recorded = RunFolder::recorded(&path).unwrap().unwrap();
        assert_eq!(recorded, settings.to_table().unwrap());
        drop(RunFolder::open(&path, &settings, "flex").unwrap());

        let mut other = settings.clone();
        other.seed = 2;
        other.ppo.iterations += 1;
        let message = RunFolder::open(&path, &other, "wgpu").unwrap_err().to_string();
        for key in ["seed: 1 there, 2 asked for", "ppo.iterations", "device"] {
            assert!(message.contains(key), "{message}");
        }
        assert!(!message.contains("sft"), "{message}");
    }

    #[test]
    fn refuses_another_preset_with_all_that_it_changes() {
        let parent = tempfile::tempdir().unwrap();
        let open = |preset: &str| {
            let recorded = RunFolder::recorded(parent.path()).unwrap();
            let asked = format!("ppo.preset = '{preset}'\nppo.iterations = 3");
            let layers = recorded.into_iter().chain([asked.parse().unwrap()]);
            let layers: Vec<(String, Table)> =
                layers.map(|layer| ("t".to_owned(), layer)).collect();
            RunFolder::open(parent.path(), &Settings::resolve(&layers).unwrap(), "flex").map(drop)
        };
        open("verl").unwrap();
        begin(parent.path(), Stage::Ppo);
        open("verl").unwrap();
        let message = open("trl").unwrap_err().to_string();
        for difference in [
            "ppo.temperature: 1.0 there, 0.7 asked for",
            "ppo.kl_coefficient: 0.0 there, 0.05 asked for",
            "ppo.score_place: \"last\" there, \"after_last\" asked for",
            "ppo.dual_clip: 3.0 there, unset asked for",
        ] {
            assert!(message.contains(difference), "{message}");
        }
        assert!(!message.contains("iterations"), "{message}");
    }

    #[test]
    fn a_served_judge_may_move_but_not_change() {
        let parent = tempfile::tempdir().unwrap();
        let open = |text: &str| {
            let settings = Settings::resolve(&[("t".to_owned(), text.parse().unwrap())]).unwrap();
            RunFolder::open(parent.path(), &settings, "flex").map(drop)
        };
        open("judge = 'http://one/v1'\njudge_model = 'm'").unwrap();
        open("judge = 'https://two/v1'\njudge_model = 'm'\njudge_server.attempts = 3").unwrap();
        let recorded = RunFolder::recorded(parent.path()).unwrap().unwrap();
        assert_eq!(recorded["judge"].as_str(), Some("https://two/v1"));
        assert_eq!(recorded["judge_server"]["attempts"].as_integer(), Some(3));
        for (other, key) in [
            ("judge = 'https://two/v1'\njudge_model = 'n'", "judge_model"),
            (
                "judge = 'https://two/v1'\njudge_model = 'm'\njudge_server.api = 'completions'",
                "judge_server.api",
            ),
            ("seed = 1", "judge:"),
        ] {
            let message = open(other).unwrap_err().to_string();
            assert!(message.contains(key), "{message}");
        }
    }

    #[test]
    fn belongs_to_one_process_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let open = || RunFolder::open(parent.path(), &Settings::embedded(), "flex");
        let first = open().unwrap();
        assert!(matches!(open(), Err(Error::Busy { .. })));
        drop(first);
        open().unwrap();
    }

    #[test]
    fn remembers_finished_stages() {
        let parent = tempfile::tempdir().unwrap();
        let folder = RunFolder::open(parent.path(), &Settings::embedded(), "flex").unwrap();
        assert_eq!(folder.seconds(Stage::Sft).unwrap(), None);
        folder.finish(Stage::Sft, 1.25).unwrap();
        assert_eq!(folder.seconds(Stage::Sft).unwrap(), Some(1.25));
        folder.finish(Stage::RedTeam, 1.0).unwrap();
        folder.finish(Stage::Ppo, 1.0).unwrap();
        folder.discard(Stage::Sft).unwrap();
        let left = Stage::ALL.map(|stage| folder.seconds(stage).unwrap().is_some());
        assert_eq!(left, Stage::ALL.map(|stage| stage == Stage::RedTeam));
        fs::write(folder.file(Stage::Sft, DONE).unwrap(), "{").unwrap();
        assert!(folder.seconds(Stage::Sft).unwrap_err().to_string().contains("done.json"));
    }

    #[test]
    fn what_is_discarded_is_gone_at_once_or_not_at_all() {
        let parent = tempfile::tempdir().unwrap();
        let open = || RunFolder::open(parent.path(), &Settings::embedded(), "flex").unwrap();
        let folder = open();
        let aside = parent.path().join(".sft.discarded");
        let half = || fs::create_dir_all(aside.join("model")).unwrap();
        // A process that was killed amid the removal has left the half of an older folder.
        half();
        fs::write(folder.file(Stage::Sft, "metrics.jsonl").unwrap(), "").unwrap();
        for stage in [Stage::Sft, Stage::Ppo, Stage::RedTeam] {
            folder.finish(stage, 1.0).unwrap();
        }
        folder.discard(Stage::Sft).unwrap();
        for gone in ["sft", "ppo", ".sft.discarded", ".ppo.discarded"] {
            assert!(!parent.path().join(gone).exists(), "{gone}");
        }
        assert!(parent.path().join("red_team").exists());
        // Whoever goes on with the run tidies up.
        half();
        drop(folder);
        drop(open());
        assert!(!aside.exists());
    }
}
