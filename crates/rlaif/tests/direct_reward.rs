//! Reinforcement learning by the judge's own scores, without a preference model.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Every stage does its real work, on a handful of prompts.
const SMALL: [&str; 12] = [
    "reward=direct",
    "direct_reward.principles_per_reply=2",
    "prompts.red_team_count=4",
    "prompts.helpful_count=4",
    "prompts.held_out=4",
    "critique_revision.revisions=1",
    "sft.epochs=1",
    "red_team.requests=2",
    "ai_feedback.probe=2",
    "ppo.iterations=1",
    "ppo.prompts_per_iteration=4",
    "ppo.samples_per_prompt=2",
];

fn rlaif(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rlaif"));
    let output = command.current_dir(folder).args(arguments).stdin(Stdio::null()).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn a_run_without_a_preference_model_ends_in_results() {
    let folder = tempfile::tempdir().unwrap();
    let settings = SMALL.iter().flat_map(|setting| ["--set", *setting]);
    let arguments: Vec<&str> = ["run", "--name", "direct"].into_iter().chain(settings).collect();
    let (code, message) = rlaif(folder.path(), &arguments);
    assert_eq!(code, Some(0), "{message}");

    let run = folder.path().join("runs/direct");
    assert!(!run.join("preference_model").exists());
    let replies = fs::read_to_string(run.join("ppo/rollouts.jsonl")).unwrap();
    let scores: Vec<f64> = replies
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["score"].as_f64().unwrap())
        .collect();
    assert_eq!(scores.len(), 8);
    assert!(scores.iter().all(|score| (-1.0..=1.0).contains(score)), "{scores:?}");
    assert!(scores.iter().any(|score| (score - scores[0]).abs() > 0.0), "{scores:?}");
    let results = json(&run.join("evals/results.json"));
    assert_eq!(results.get("preference_model"), None);
    assert!(results["models"]["rl_cai"]["harmless"]["n"].as_u64() == Some(4), "{results}");

    let report = json(&run.join("ai_feedback/report.json"));
    assert_eq!(report["labels"]["principle_consistency"], Value::Null);
    assert_eq!(report["probe"]["labels"], 2);
    for figure in ["order_consistency", "principle_consistency"] {
        assert!(report["probe"][figure].is_number(), "{report}");
    }
    for figure in ["position_bias", "order_consistency", "entropy"] {
        assert!(report["labels"][figure].is_number(), "{report}");
    }
    assert!(report["truth"]["calibration"]["expected_calibration_error"].is_number(), "{report}");
    let (code, message) = rlaif(folder.path(), &["preference-model", "--name", "direct"]);
    assert_eq!(code, Some(0), "{message}");
}
