//! Experiments as a user runs them, on a handful of prompts.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Every stage does its real work.
const SMALL: [&str; 11] = [
    "prompts.red_team_count=8",
    "prompts.helpful_count=4",
    "prompts.held_out=4",
    "sft.epochs=1",
    "red_team.requests=2",
    "preference_model.tokens_per_step=1024",
    "ppo.iterations=2",
    "ppo.prompts_per_iteration=2",
    "ppo.samples_per_prompt=2",
    "pairs_per_prompt=1",
    "engine.rows=16",
];

/// The exit status, and what was said on both outputs.
fn experiment(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rlaif"));
    command.current_dir(folder).stdin(Stdio::null()).arg("experiment").args(arguments);
    for setting in SMALL {
        command.args(["--set", setting]);
    }
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn ends_in_a_table_and_a_plot_and_repeats_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (status, said, errors) = experiment(folder.path(), &["revisions"]);
    assert_eq!(status, Some(0), "{errors}");
    for part in ["Revisions", "Harmless", "seeds 1, 2, 3", "revisions.svg"] {
        assert!(said.contains(part), "`{part}` is missing in: {said}");
    }
    assert!(errors.contains("defaults-seed3: run 3 of 3"), "{errors}");
    let runs = folder.path().join("runs/experiments");
    assert!(fs::read_to_string(runs.join("revisions.svg")).unwrap().contains("<svg"));
    let marks = || {
        let read = |seed: u32| {
            fs::read(runs.join(format!("defaults-seed{seed}/critique_revision/done.json")))
        };
        [1, 2, 3].map(|seed| read(seed).unwrap())
    };
    let before = marks();
    // What nobody measures is not run.
    assert!(!runs.join("defaults-seed1/sft").exists());

    // Another experiment adds its arms to what there is, and the numbers of the first stay.
    let (status, said, errors) = experiment(folder.path(), &["principles", "--json"]);
    assert_eq!(status, Some(0), "{errors}");
    let found: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(found["rows"].as_array().unwrap().len(), 5);
    assert_eq!(found["observations"].as_array().unwrap().len(), 15);
    assert_eq!(found["rows"][1]["measures"]["harmless"]["n"], 3);
    assert_eq!(marks(), before);
    let subset = fs::read_to_string(runs.join("principles-2-seed1/constitution.toml")).unwrap();
    assert_eq!(subset.matches("[[critique_revision]]").count(), 2);
    let first: Value =
        serde_json::from_str(&fs::read_to_string(runs.join("revisions.json")).unwrap()).unwrap();
    let last = |found: &Value, place: usize| found["rows"][place]["measures"]["harmless"].clone();
    assert_eq!(last(&first, 4), last(&found, 4));

    // A run folder has one set of settings.
    let other = ["revisions", "--set", "critique_revision.revisions=1"];
    let (status, _, errors) = experiment(folder.path(), &other);
    assert_eq!(status, Some(2));
    assert!(
        errors.contains("critique_revision.revisions") && errors.contains("--runs"),
        "{errors}"
    );
}

#[test]
fn policies_are_followed_along_reinforcement_learning() {
    let folder = tempfile::tempdir().unwrap();
    let (status, said, errors) = experiment(folder.path(), &["trade-off"]);
    assert_eq!(status, Some(0), "{errors}");
    for arm in ["helpful-only after RL", "HH-RLHF-like", "SL-CAI", "RL-CAI, chain of thought"] {
        assert!(said.contains(arm), "`{arm}` is missing in: {said}");
    }
    let (_, way) = said.split_once("\nAlong reinforcement learning:\n").unwrap();
    let looks = |arm: &str| way.lines().filter(|line| line.starts_with(arm)).count();
    assert_eq!((looks("HH-RLHF-like"), looks("RL-CAI"), looks("SL-CAI")), (1, 2, 0), "{way}");
    let runs = folder.path().join("runs/experiments");
    let text = fs::read_to_string(runs.join("trade-off.json")).unwrap();
    let found: Value = serde_json::from_str(&text).unwrap();
    // Four policies at their start, after the first of two iterations, and at the end.
    assert_eq!(
        (found["rows"].as_array().unwrap().len(), found["way"].as_array().unwrap().len()),
        (10, 4)
    );
    // The crowd gives no reasons.
    assert!(!runs.join("hh-rlhf-seed1/ai_feedback/labels.jsonl").exists());
    let labels =
        fs::read_to_string(runs.join("hh-rlhf-seed1/ai_feedback/preferences.jsonl")).unwrap();
    for line in labels.lines() {
        let preference: Value = serde_json::from_str(line).unwrap();
        assert_eq!(preference["probability"].as_f64(), Some(1.0), "{line}");
    }
}

#[test]
fn bad_input_is_named_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, expected) in [
        (&["revision"][..], "revisions"),
        (&["revisions", "--seeds", "1", "2"], "three different"),
        (&["revisions", "--seeds", "1", "2", "2"], "three different"),
        (&["revisions", "--set", "labeller=people"], "crowd"),
        (&["revisions", "--set", "model=mine", "--set", "prompts.red_team=a"], "prompts.helpful"),
        (
            &["revisions", "--set", "prompts.helpful=b", "--set", "prompts.red_team=a"],
            "oracle of the embedded world",
        ),
    ] {
        let (status, _, errors) = experiment(folder.path(), arguments);
        assert_eq!(status, Some(2), "{errors}");
        assert!(errors.contains(expected), "`{expected}` is missing in: {errors}");
    }
    assert!(!folder.path().join("runs").exists());
}
