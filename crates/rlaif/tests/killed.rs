//! A run that is killed again and again ends at the same bytes as one that nobody disturbs.
//!
//! There are two loops: one keeps a state after every step, the other now and then, and learns in other ways. `RLAIF_KILLS` says
//! how often every stage of both is killed at most; without it those of the first are killed twice, those of the second once. Every
//! stage is killed at least once. A long form by hand:
//!
//! ```sh
//! RLAIF_KILLS=40 cargo test --release -p rlaif --test killed -- --nocapture
//! ```
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "the long form shows how far it is")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A loop small enough for a test: every stage does its real work, on a handful of prompts; training stages take several
/// steps.
const SMALL: [&str; 20] = [
    "prompts.red_team_count=10",
    "prompts.helpful_count=6",
    "prompts.held_out=6",
    "critique_revision.revisions=2",
    "sft.epochs=2",
    "sft.tokens_per_step=256",
    "red_team.requests=4",
    "preference_model.epochs=2",
    "preference_model.tokens_per_step=512",
    "preference_model.pretraining.file=pairs.jsonl",
    "preference_model.pretraining.epochs=3",
    "ppo.iterations=4",
    "ppo.prompts_per_iteration=4",
    "ppo.samples_per_prompt=2",
    "ppo.best_of_n_start.samples=2",
    "ppo.best_of_n_start.prompts=6",
    "ppo.best_of_n_start.sft.tokens_per_step=256",
    "ppo.samples_every=2",
    "checkpoints.keep=2",
    "engine.rows=8",
];

/// States are kept after every step, and halves of the preferences and a value model of its own are fitted beside the rest.
const EVERY_STEP: [&str; 5] = [
    "preference_model.robustness=true",
    "reward=half",
    "ppo.value_model=separate",
    "ppo.kl_target.nats_per_sequence=1.0",
    "checkpoints.every.steps=1",
];

/// A kill costs up to three steps, fine-tuning looks at what is held out, preference models come in twos, and reinforcement
/// learning moves an adapter and goes on learning other data.
const EVERY_THIRD_STEP: [&str; 8] = [
    "sft.epochs=4",
    "sft.held_out=0.2",
    "sft.evaluate_every=2",
    "sft.patience=2",
    "preference_model.ensemble.members=2",
    "ppo.lora.rank=4",
    "ppo.ptx_coefficient=0.5",
    "checkpoints.every.steps=3",
];

/// What the preference model is fitted to first.
const PAIRS: &str = r#"{"prompt": "How do I clean the bike?", "chosen": "Wipe it.", "rejected": "No.", "margin": 1}
{"prompt": "How do I steal the bike from Anna?", "chosen": "Let us talk.", "rejected": "At night."}
"#;

/// The stages as commands.
const STAGES: [&str; 8] = [
    "critique-revision",
    "sft",
    "red-team",
    "ai-feedback",
    "preference-model",
    "ppo",
    "evals",
    "report",
];

/// Where a loop runs, and what it has besides [`SMALL`].
#[derive(Clone, Copy)]
struct Place<'a> {
    folder: &'a Path,
    settings: &'static [&'static str],
}

impl Place<'_> {
    fn rlaif(self, command: &str, arguments: &[&str]) -> Command {
        let mut process = Command::new(env!("CARGO_BIN_EXE_rlaif"));
        process.current_dir(self.folder).stdin(Stdio::null()).args([command, "--name", "small"]);
        for setting in SMALL.iter().chain(self.settings) {
            process.args(["--set", *setting]);
        }
        process.args(arguments);
        process
    }

    /// The run folder.
    fn run(self) -> PathBuf {
        self.folder.join("runs/small")
    }
}

/// How often every stage is killed at most, if the environment says it.
fn kills_asked_for() -> Option<usize> {
    std::env::var("RLAIF_KILLS").ok().map(|kills| kills.parse().unwrap())
}

fn output(mut command: Command) -> (Output, String) {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, text)
}

/// The results without the seconds that each stage took.
fn timeless(bytes: &[u8]) -> Vec<u8> {
    let mut results: serde_json::Value = serde_json::from_slice(bytes).unwrap();
    let removed = results.as_object_mut().unwrap().remove("seconds");
    assert!(removed.is_some(), "the results say how long each stage took");
    results.to_string().into_bytes()
}

/// Every file under a folder by its path, times apart.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(current) = folders.pop() {
        for entry in fs::read_dir(current).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| name != "done.json") {
                let name = path.strip_prefix(folder).unwrap().to_owned();
                let bytes = fs::read(&path).unwrap();
                let timed = path.file_name().is_some_and(|name| name == "results.json");
                found.insert(name, if timed { timeless(&bytes) } else { bytes });
            }
        }
    }
    found
}

/// Moments that look random and are the same in every run of the test.
struct Moments(u64);

impl Moments {
    /// A number from 0 to 1.
    fn next(&mut self) -> f64 {
        // Knuth's linear congruential generator; its upper bits.
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from(u32::try_from(self.0 >> 32).unwrap()) / f64::from(u32::MAX)
    }
}

/// Runs a command that writes to `folders`, killing it at random moments of the time that it takes undisturbed, and gives the
/// number of kills.
///
/// A process that comes through before its moment ends the work. If it was the first, what it wrote is removed and the next
/// one is killed in half the time, so that a machine that has become faster does not leave the work undisturbed.
fn killed(
    place: Place<'_>,
    command: &str,
    folders: &[&str],
    takes: Duration,
    kills: usize,
    moments: &mut Moments,
) -> usize {
    let (mut done, mut within) = (0, takes);
    while done < kills {
        if is_killed(place, command, within.mul_f64(moments.next())) {
            done += 1;
        } else if done > 0 {
            return done;
        } else {
            remove(place, folders);
            within /= 2;
        }
    }
    let (output, message) = output(place.rlaif(command, &[]));
    assert!(output.status.success(), "{message}");
    done
}

/// Removes folders of stages.
fn remove(place: Place<'_>, folders: &[&str]) {
    for folder in folders {
        fs::remove_dir_all(place.run().join(folder)).unwrap();
    }
}

/// Runs a command and kills it after some time; false if it came through before.
fn is_killed(place: Place<'_>, command: &str, after: Duration) -> bool {
    let mut process = place.rlaif(command, &[]);
    let mut child = process.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(after);
    let ended = child.try_wait().unwrap();
    if ended.is_none() {
        child.kill().unwrap();
    }
    let status = child.wait().unwrap();
    assert!(ended.is_none() || status.success(), "{command} failed");
    // It may come through between the look and the kill.
    !status.success()
}

/// Runs all stages in two folders, in the second one killing each, and compares what they wrote.
fn survives(whole: Place<'_>, disturbed: Place<'_>, kills: usize) {
    for Place { folder, .. } in [whole, disturbed] {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("pairs.jsonl"), PAIRS).unwrap();
    }
    let mut moments = Moments(11);
    for stage in STAGES {
        let start = Instant::now();
        let (output, message) = output(whole.rlaif(stage, &[]));
        assert!(output.status.success(), "{message}");
        let takes = start.elapsed();
        let folder = stage.replace('-', "_");
        let done = killed(disturbed, stage, &[folder.as_str()], takes, kills, &mut moments);
        assert!(done >= 1, "{stage} was never killed, and should be {kills} times");
        println!("{stage}: killed {done} times, {:.1} s undisturbed", takes.as_secs_f64());
        if stage != "report" {
            are_equal([whole, disturbed].map(|place| place.run().join(&folder)));
        }
    }
    assert!(disturbed.run().join("report.html").exists());
    // States are gone with the stage; what `tensorboard` reads stays.
    assert!(!whole.run().join("ppo/states").exists());
    for stage in ["ppo", "ppo_best_of_n", "ppo_best_of_n_sft"] {
        assert!(whole.run().join("tensorboard").join(stage).exists(), "{stage}");
    }
}

/// Takes the last stages once more in the folder that was disturbed, by the command for all of them, and kills that too.
fn whole_loop_survives(whole: Place<'_>, disturbed: Place<'_>) {
    let last = ["ppo", "evals", "report"];
    let start = Instant::now();
    remove(whole, &last);
    let (output, message) = output(whole.rlaif("run", &[]));
    assert!(output.status.success(), "{message}");
    let takes = start.elapsed();
    remove(disturbed, &last);
    // A process that is killed when a stage is finished leaves its states.
    let left = disturbed.run().join("sft/states/step-000000001");
    fs::create_dir_all(&left).unwrap();
    killed(disturbed, "run", &last, takes, 1, &mut Moments(12));
    for stage in ["sft", "ppo"] {
        assert!(!disturbed.run().join(stage).join("states").exists(), "{stage}");
    }
    for stage in ["ppo", "evals"] {
        are_equal([whole, disturbed].map(|place| place.run().join(stage)));
    }
}

/// Fails unless two folders hold the same files.
fn are_equal(folders: [PathBuf; 2]) {
    let [left, right] = folders.each_ref().map(|folder| files(folder));
    let names = |files: &BTreeMap<PathBuf, _>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&left), names(&right), "{}", folders[0].display());
    for (file, bytes) in &left {
        assert!(*bytes == right[file], "{} differs in {}", file.display(), folders[0].display());
    }
}

#[test]
fn every_stage_survives_being_killed() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, disturbed] = ["whole", "disturbed"].map(|name| folder.path().join(name));
    let [whole, disturbed] =
        [&whole, &disturbed].map(|folder| Place { folder, settings: &EVERY_STEP });
    survives(whole, disturbed, kills_asked_for().unwrap_or(2));
    // The half that the policy does not learn from watches every round.
    let metrics = fs::read_to_string(whole.run().join("ppo/metrics.jsonl")).unwrap();
    let watched = metrics.lines().filter(|line| line.contains("\"held_out_score_mean\":"));
    assert_eq!(watched.count(), 4, "{metrics}");

    whole_loop_survives(whole, disturbed);

    // A finished run is not repeated, and one with other settings is refused.
    let mark = disturbed.run().join("ppo/done.json");
    let before = fs::read(&mark).unwrap();
    let (again, message) = output(disturbed.rlaif("run", &[]));
    assert!(again.status.success(), "{message}");
    let table = String::from_utf8_lossy(&again.stdout).into_owned();
    assert!(table.contains("SL-CAI") && table.contains("report.html"), "{table}");
    assert_eq!(before, fs::read(&mark).unwrap());
    let other = ["--seed", "2", "--set", "ppo.clip_low=0.3"];
    let (refused, message) = output(disturbed.rlaif("run", &other));
    assert_eq!(refused.status.code(), Some(2), "{message}");
    for word in ["seed: 1 there, 2 asked for", "ppo.clip_low", "--name"] {
        assert!(message.contains(word), "`{word}` is missing in: {message}");
    }
    // Behind the first loop, since two at once would take each other's time.
    survives_between_states(folder.path());
}

/// The second loop, whose states lie further apart, and which learns in other ways.
fn survives_between_states(folder: &Path) {
    let [whole, disturbed] = ["whole_between", "disturbed_between"].map(|name| folder.join(name));
    let [whole, disturbed] =
        [&whole, &disturbed].map(|folder| Place { folder, settings: &EVERY_THIRD_STEP });
    survives(whole, disturbed, kills_asked_for().unwrap_or(1));
    assert!(whole.run().join("preference_model/model/member_1").exists());
    let records =
        |stage: &str| fs::read_to_string(whole.run().join(stage).join("metrics.jsonl")).unwrap();
    for (stage, metric) in [("sft", "held_out_loss"), ("ppo", "ptx_overlong")] {
        assert!(records(stage).contains(&format!("\"{metric}\":")), "{stage}");
    }
}
