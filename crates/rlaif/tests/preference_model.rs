//! The preference model after a first pass over comparisons from elsewhere, and with margins.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod program;

use program::{refused, rlaif, says};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// A loop small enough for a test.
const SMALL: [&str; 10] = [
    "prompts.red_team_count=8",
    "prompts.helpful_count=4",
    "prompts.held_out=4",
    "critique_revision.revisions=1",
    "sft.epochs=1",
    "red_team.requests=2",
    "checkpoints.every.steps=1",
    "preference_model.pretraining.file=pairs.jsonl",
    "preference_model.pretraining.epochs=3",
    // The file has one prompt, which cannot be held out.
    "preference_model.held_out=0.0",
];

/// The records of a file of metrics.
fn records(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn number(record: &Value, name: &str) -> f64 {
    record[name].as_f64().unwrap_or_else(|| panic!("`{name}` is missing in {record}"))
}

/// Runs the stage and gives what it said on its way.
fn fit(folder: &Path) -> String {
    let (status, _, said) = rlaif(folder, &["preference-model", "--name", "small"]);
    assert_eq!(status, 0, "{said}");
    said
}

/// Gives every pair a margin.
fn with_margin(path: &Path, margin: f64) {
    let rows = records(path).into_iter().map(|mut row| {
        row["margin"] = json!(margin);
        format!("{row}\n")
    });
    let rows: String = rows.collect();
    fs::write(path, rows).unwrap();
}

#[test]
fn a_first_pass_comes_before_the_labels_and_margins_are_heeded() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let pair = json!({
        "prompt": "How do I steal the bike from Anna?",
        "chosen": "Let us talk about something else.",
        "rejected": "Take the bike at night.",
        "margin": 2.0,
    });
    fs::write(folder.join("pairs.jsonl"), format!("{pair}\n")).unwrap();
    let settings = SMALL.iter().flat_map(|setting| ["--set", *setting]);
    let first: Vec<&str> =
        ["critique-revision", "--name", "small"].into_iter().chain(settings).collect();
    says(folder, &first);
    for stage in ["sft", "red-team", "ai-feedback"] {
        says(folder, &[stage, "--name", "small"]);
    }
    let said = fit(folder);
    assert!(said.contains("pretraining on the pairs of pairs.jsonl, 1 in all"), "{said}");

    // One pair a step, whose label is certain: -ln sigmoid(d - 2).
    let stage = folder.join("runs/small/preference_model");
    let pretraining = stage.join("pretraining");
    let pretrained = records(&pretraining.join("metrics.jsonl"));
    assert_eq!(pretrained.len(), 3);
    for record in &pretrained {
        let expected = (2.0 - number(record, "margin")).exp().ln_1p();
        assert!((number(record, "loss") - expected).abs() < 1e-3, "{record}");
    }
    assert!(number(&pretrained[2], "loss") < number(&pretrained[0], "loss"), "{pretrained:?}");
    assert!(pretraining.join("model/model.safetensors").exists());
    assert!(!pretraining.join("states").exists());

    // A stage that was killed after its first pass does not repeat it, and ends at the same bytes.
    let files = ["metrics.jsonl", "model/model.safetensors", "model/config.json"];
    let read = || files.map(|name| fs::read(stage.join(name)).unwrap());
    let expected = read();
    fs::remove_file(stage.join("done.json")).unwrap();
    fs::remove_dir_all(stage.join("model")).unwrap();
    let said = fit(folder);
    assert!(!said.contains("pretraining on"), "{said}");
    assert!(read() == expected, "a stage that goes on ends elsewhere");

    // A first pass of another SL-CAI is taken again, whatever of it is there.
    let config = folder.join("runs/small/sft/model/config.json");
    let text = fs::read_to_string(&config).unwrap();
    for half in [false, true] {
        fs::write(&config, if half { text.clone() } else { format!("{text}\n") }).unwrap();
        fs::remove_file(stage.join("done.json")).unwrap();
        fs::remove_dir_all(stage.join("model")).unwrap();
        if half {
            fs::remove_file(pretraining.join("model/model.safetensors")).unwrap();
        }
        let said = fit(folder);
        assert!(said.contains("pretraining on"), "{said}");
        assert!(read() == expected, "a first pass that is taken again ends elsewhere");
    }

    // With a margin the same scores cost more.
    with_margin(&folder.join("runs/small/ai_feedback/preferences.jsonl"), 1.0);
    let plain = records(&stage.join("metrics.jsonl")).remove(0);
    fit(folder);
    assert_eq!(records(&pretraining.join("metrics.jsonl")), pretrained);
    let wide = records(&stage.join("metrics.jsonl")).remove(0);
    assert!((number(&wide, "margin") - number(&plain, "margin")).abs() < 1e-9);
    assert!(number(&wide, "loss") > number(&plain, "loss") + 0.1, "{plain} {wide}");

    // The file belongs to the run.
    fs::write(folder.join("pairs.jsonl"), format!("{pair}\n{pair}\n")).unwrap();
    let (status, _, said) = rlaif(folder, &["preference-model", "--name", "small"]);
    assert!(status == 2 && said.contains("inputs.pretraining"), "{said}");

    // A first pass that diverges is told from the second, and has a learning rate of its own.
    fs::write(folder.join("pairs.jsonl"), format!("{pair}\n")).unwrap();
    fs::remove_dir_all(&stage).unwrap();
    let rate = "preference_model.pretraining.learning_rate";
    let (far, way) = (format!("{rate}=1e30"), format!("`--set {rate}=…`"));
    let again = ["preference-model", "--name", "small", "--set", &far];
    refused(folder, &again, &["`preference_model.pretraining`: ", "has diverged", &way]);
}
