//! What a job and a merge refuse, and that nothing is lost by it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use constitution::Constitution;
use critique_revision::CritiqueRevisionConfig;
use dialogue::Dialogue;
use jobs::{Alone, Done, Error, Flow, Job, Shard, merge};
use language_model::{Choose, Completion, Generate, Prompt, Sampling, StopReason};
use red_team::GenerationConfig;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use training::Silent;

/// Repeats what it was asked and its seed; so many times, then it fails.
struct Parrot {
    left: AtomicUsize,
}

impl Generate for Parrot {
    fn generate(
        &self,
        prompts: &[Prompt],
        _: &Sampling,
    ) -> Result<Vec<Completion>, language_model::Error> {
        let taken = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            left.checked_sub(prompts.len())
        });
        if taken.is_err() {
            return Err(language_model::Error::Model("the parrot is tired".into()));
        }
        let reply = |prompt: &Prompt| Completion {
            text: format!("{} {}", prompt.dialogue.last_request().unwrap(), prompt.seed),
            tokens: 3,
            stopped: StopReason::Stop,
        };
        Ok(prompts.iter().map(reply).collect())
    }
}

impl Choose for Parrot {
    fn choose(
        &self,
        prompts: &[Dialogue],
        options: &[&str],
    ) -> Result<Vec<Vec<f64>>, language_model::Error> {
        let even = 1.0 / options.len() as f64;
        Ok(prompts.iter().map(|_| vec![even; options.len()]).collect())
    }
}

/// A folder with prompts, and a job on them.
struct Case {
    folder: tempfile::TempDir,
    job: Job,
    config: CritiqueRevisionConfig,
}

impl Case {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let prompts: Vec<String> = (0..20).map(|n| format!("\"question {n}\"\n")).collect();
        fs::write(folder.path().join("prompts.jsonl"), prompts.concat()).unwrap();
        let mut job = Job::new(folder.path().join("prompts.jsonl"), folder.path().join("out"));
        job.flow = Flow { chunk: 2, in_flight: 1 };
        let config = CritiqueRevisionConfig { revisions: 1, ..Default::default() };
        Self { folder, job, config }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run_with(&self, job: &Job, calls: usize) -> Result<Done, Error> {
        let model = Alone::new(Parrot { left: calls.into() }, json!({"name": "parrot"}));
        let config = self.config.clone();
        jobs::revise(job.clone(), Constitution::general(), config)?.run(&model, &mut Silent)
    }

    fn run(&self) -> Result<Done, Error> {
        self.run_with(&self.job, usize::MAX)
    }

    /// The records of a job that nobody disturbs.
    fn whole(&self) -> Vec<u8> {
        let job = Job { out: self.path("whole"), ..self.job.clone() };
        self.run_with(&job, usize::MAX).unwrap();
        fs::read(job.out).unwrap()
    }

    fn shard(&self, index: u32, count: u32) -> PathBuf {
        let out = self.path(&format!("part{index}of{count}"));
        let shard = Some(Shard::new(index, count).unwrap());
        let job = Job { out: out.clone(), shard, ..self.job.clone() };
        self.run_with(&job, usize::MAX).unwrap();
        out
    }
}

fn lines(path: &Path) -> usize {
    fs::read_to_string(path).unwrap().lines().count()
}

#[test]
fn a_model_that_fails_leaves_what_is_done() {
    let case = Case::new();
    // Three calls a prompt, two prompts a chunk: four chunks and a half.
    let error = case.run_with(&case.job, 27).unwrap_err().to_string();
    assert!(error.contains("tired") && error.contains("8 of 20 records"), "{error}");
    assert!(error.contains("out.part"), "{error}");
    assert_eq!(lines(&case.path("out.part")), 8);
    // The two replies of the chunk that failed are kept.
    let done = case.run().unwrap();
    assert_eq!((done.report.records, done.before, done.calls, done.tokens), (20, 8, 34, 102));
    assert_eq!(fs::read(case.path("out")).unwrap(), case.whole());
    assert!(!case.path("out.part").exists());
    let again = case.run().unwrap();
    assert_eq!((again.before, again.calls, again.report), (20, 0, done.report));
}

#[test]
fn a_half_written_last_line_is_done_again() {
    let case = Case::new();
    case.run_with(&case.job, 27).unwrap_err();
    let whole = fs::read(case.path("out.part")).unwrap();
    for cut in [1, whole.len() / 3, whole.len() - 1, whole.len()] {
        fs::write(case.path("out.part"), &whole[..cut]).unwrap();
        case.run_with(&case.job, 0).unwrap_err();
        let left = fs::read(case.path("out.part")).unwrap();
        let end = whole[..cut].iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        assert_eq!(left, &whole[..end]);
    }
    case.run().unwrap();
    assert_eq!(fs::read(case.path("out")).unwrap(), case.whole());
}

#[test]
fn other_settings_are_refused_by_name() {
    let mut case = Case::new();
    case.run_with(&case.job, 27).unwrap_err();
    let before = fs::read(case.path("out.part")).unwrap();
    case.config.reply.max_tokens = 9;
    case.job.seed = 2;
    let error = case.run().unwrap_err().to_string();
    for part in ["`seed` is 1 there and 2 here", "critique_revision.reply.max_tokens", "out.job"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    case.config.reply.max_tokens = CritiqueRevisionConfig::default().reply.max_tokens;
    case.job.seed = 1;
    case.job.shard = Some(Shard::new(1, 2).unwrap());
    let error = case.run().unwrap_err().to_string();
    assert!(error.contains("`shard` is missing there and \"1/2\" here"), "{error}");
    case.job.shard = None;
    let prompts = fs::read_to_string(&case.job.input).unwrap();
    fs::write(&case.job.input, format!("{prompts}\"one more\"\n")).unwrap();
    let error = case.run().unwrap_err().to_string();
    assert!(error.contains("`items` is 20 there and 21 here"), "{error}");
    fs::write(&case.job.input, prompts).unwrap();
    assert_eq!(fs::read(case.path("out.part")).unwrap(), before);
    // How much is under way decides nothing.
    case.job.flow = Flow { chunk: 5, in_flight: 3 };
    case.run().unwrap();
    assert_eq!(fs::read(case.path("out")).unwrap(), case.whole());
}

#[test]
fn records_out_of_their_place_are_named() {
    let case = Case::new();
    case.run_with(&case.job, 27).unwrap_err();
    let part = case.path("out.part");
    let text = fs::read_to_string(&part).unwrap();
    let rows: Vec<&str> = text.split_inclusive('\n').collect();
    for (wrong, expected) in [
        ([rows[0], rows[2]].concat(), "line 2: is the record of"),
        ([rows[0], rows[0]].concat(), "line 2: is the record of"),
        ([rows[0], "{\"id\": 1}\n"].concat(), "line 2: is damaged"),
        ([rows[0], "\0\0\n", rows[1]].concat(), "line 2: is damaged"),
    ] {
        fs::write(&part, wrong).unwrap();
        let error = case.run().unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("out.part"), "{error}");
    }
    fs::write(&part, text).unwrap();
    fs::write(case.path("out.job"), "{").unwrap();
    let error = case.run().unwrap_err().to_string();
    assert!(error.contains("out.job") && error.contains("damaged"), "{error}");
}

#[test]
fn files_of_others_are_left_alone() {
    let mut case = Case::new();
    fs::write(case.path("out"), "mine").unwrap();
    let error = case.run().unwrap_err().to_string();
    assert!(error.contains("exists already"), "{error}");
    assert_eq!(fs::read_to_string(case.path("out")).unwrap(), "mine");
    assert!(!case.path("out.job").exists());
    for extension in ["gz", "parquet", "CSV"] {
        case.job.out = case.path(&format!("out.{extension}"));
        let error = case.run().unwrap_err().to_string();
        let expected = format!("leave out `.{}`", extension.to_lowercase());
        assert!(error.contains(&expected) && error.contains("`rlaif convert`"), "{error}");
        assert!(merge(&[], &case.job.out).unwrap_err().to_string().contains(&expected));
    }
    // Not even the superuser makes a file there.
    if cfg!(target_os = "linux") {
        case.job.out = PathBuf::from("/proc/out");
        let error = case.run().unwrap_err();
        assert!(error.to_string().contains("cannot open /proc/out.job"), "{error}");
        assert!(std::error::Error::source(&error).is_some());
    }
    case.job.out = case.path("new");
    fs::write(&case.job.input, "\"good\"\n3\n").unwrap();
    let error = case.run().unwrap_err().to_string();
    assert!(error.contains("prompts.jsonl, line 2"), "{error}");
    assert_eq!(fs::read_dir(case.folder.path()).unwrap().count(), 2, "a refused job left a file");
}

#[cfg(unix)]
#[test]
fn what_cannot_be_read_twice_is_refused_before_anything_is_written() {
    let mut case = Case::new();
    let pipe = case.path("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    if !made.is_ok_and(|status| status.success()) {
        return;
    }
    let folder = case.path("folder");
    fs::create_dir(&folder).unwrap();
    for (input, expected) in [(pipe, "a pipe or a device"), (folder, "a folder")] {
        case.job.input = input;
        let all = [
            case.run().unwrap_err(),
            jobs::requests(case.job.clone(), GenerationConfig::default()).unwrap_err(),
        ];
        for error in all.map(|error| error.to_string()) {
            assert!(error.contains(expected) && error.contains("to a file first"), "{error}");
        }
    }
    // The prompts, the pipe and the folder.
    assert_eq!(fs::read_dir(case.folder.path()).unwrap().count(), 3);
}

#[cfg(unix)]
#[test]
fn a_disk_without_room_is_named() {
    let case = Case::new();
    if !Path::new("/dev/full").exists() {
        return;
    }
    std::os::unix::fs::symlink("/dev/full", case.path("out.part")).unwrap();
    let error = case.run().unwrap_err();
    assert!(error.to_string().contains("cannot write"), "{error}");
    assert!(error.to_string().contains("0 of 20 records"), "{error}");
    fs::remove_file(case.path("out.part")).unwrap();
    case.run().unwrap();
    assert_eq!(fs::read(case.path("out")).unwrap(), case.whole());
}

#[test]
fn shards_merge_to_the_whole_in_any_number() {
    let case = Case::new();
    let whole = case.whole();
    for count in [1, 2, 5, 40] {
        let mut parts: Vec<PathBuf> = (1..=count).map(|index| case.shard(index, count)).collect();
        parts.reverse();
        let out = case.path(&format!("merged{count}"));
        assert_eq!(merge(&parts, &out).unwrap().report.records, 20);
        assert_eq!(fs::read(&out).unwrap(), whole);
        // A job in one file takes the joined one for its own.
        let job = Job { out, ..case.job.clone() };
        assert_eq!(case.run_with(&job, 0).unwrap().before, 20);
    }
}

#[test]
fn a_merge_names_what_does_not_fit() {
    let case = Case::new();
    let parts: Vec<PathBuf> = (1..=3).map(|index| case.shard(index, 3)).collect();
    let out = case.path("merged");
    let refused = |parts: &[&PathBuf], expected: &[&str]| {
        let parts: Vec<PathBuf> = parts.iter().map(|&part| part.clone()).collect();
        let error = merge(&parts, &out).unwrap_err().to_string();
        for part in expected {
            assert!(error.contains(part), "`{part}` is missing in: {error}");
        }
        assert!(!out.exists() && !case.path("merged.job").exists());
    };
    let [one, two, three] = [&parts[0], &parts[1], &parts[2]];
    refused(&[], &["no part"]);
    refused(&[three], &["some are not given: 1/3, 2/3"]);
    refused(&[one, three], &["one is not given: 2/3"]);
    refused(&[one, two, three, one], &["both shard 1/3"]);
    refused(&[one, two, &case.shard(1, 2)], &["different jobs", "one of 3", "one of 2"]);
    refused(&[one, two, &case.path("none")], &["none.job cannot be read"]);
    case.whole();
    refused(&[&case.path("whole"), two, three], &["whole already"]);

    let text = fs::read_to_string(two).unwrap();
    let rows: Vec<&str> = text.split_inclusive('\n').collect();
    let doubled = [rows[0], &text].concat();
    for (wrong, expected) in [
        (rows[1..].concat(), "lack the record of item"),
        (rows[..rows.len() - 1].concat(), "lack the record of item"),
        (doubled, "lack the record of item"),
        ([text.as_str(), rows[0]].concat(), "comes twice"),
        (text.trim_end().to_owned(), "has no end"),
        (text.replacen("\"record\"", "\"recrd\"", 1), "line 1: is damaged"),
        (fs::read_to_string(one).unwrap(), "belongs to another shard"),
    ] {
        fs::write(two, wrong).unwrap();
        refused(&[one, two, three], &[expected]);
    }
    fs::write(two, &text).unwrap();

    // A part whose job is not finished.
    let job =
        Job { out: case.path("begun"), shard: Some(Shard::new(3, 3).unwrap()), ..case.job.clone() };
    case.run_with(&job, 6).unwrap_err();
    refused(&[one, two, &case.path("begun")], &["still under way"]);
    refused(&[one, two, &case.path("begun.part")], &["still under way"]);
    // One with another seed.
    let other = Job { out: case.path("other"), seed: 2, ..job };
    case.run_with(&other, usize::MAX).unwrap();
    refused(&[one, two, &case.path("other")], &["different jobs", "`seed` is 1 there and 2 here"]);

    fs::write(&out, "mine").unwrap();
    assert!(merge(&parts, &out).unwrap_err().to_string().contains("exists already"));
    fs::remove_file(&out).unwrap();
    assert_eq!(merge(&parts, &out).unwrap().report.records, 20);
    assert_eq!(merge(&parts, &out).unwrap().report.records, 20);
}
