//! Labels are preference rows as TRL reads them.
//!
//! That TRL itself opens them and trains on them needs Python with the packages `torch`, `transformers`, `datasets` and `trl`:
//!
//! ```sh
//! PYTHON=venv/bin/python cargo test -p ai_feedback --test trl_reads_labels
//! ```
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../dataset/tests/elsewhere/mod.rs"]
mod elsewhere;

use ai_feedback::{ChainOfThought, FeedbackConfig, label};
use constitution::Constitution;
use dialogue::{Comparison, Dialogue};
use language_model::{Choose, Completion, Error, Generate, Prompt, Sampling, StopReason};
use serde_json::{Map, Value};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Leans to the reply that the question shows first, and thinks aloud without a thought.
struct Judge;

impl Choose for Judge {
    fn choose(&self, prompts: &[Dialogue], _: &[&str]) -> Result<Vec<Vec<f64>>, Error> {
        let lean =
            |prompt: &Dialogue| 0.2 + (prompt.last_request().unwrap().len() % 5) as f64 / 10.0;
        Ok(prompts.iter().map(|prompt| vec![lean(prompt), 1.0 - lean(prompt)]).collect())
    }
}

impl Generate for Judge {
    fn generate(&self, prompts: &[Prompt], _: &Sampling) -> Result<Vec<Completion>, Error> {
        let thought = Completion { text: "Well.".to_owned(), tokens: 1, stopped: StopReason::Stop };
        Ok(vec![thought; prompts.len()])
    }
}

/// Pairs of replies to prompts of one turn and of several.
fn pairs() -> Vec<Comparison> {
    let prompt = |index: usize| {
        let first = Dialogue::from_user(format!("How do I do {index}?"));
        if index.is_multiple_of(2) {
            first
        } else {
            first.with_assistant("Do what?").with_user("That.")
        }
    };
    let replies = |index: usize| [format!("Like \"this\",\n{index}."), "x".repeat(index + 1)];
    (0..8).map(|index| Comparison { prompt: prompt(index), replies: replies(index) }).collect()
}

/// Every way of labelling that shows in the rows.
fn ways() -> [FeedbackConfig; 3] {
    let plain = FeedbackConfig::default();
    let thoughts = ChainOfThought { samples: 2, ..ChainOfThought::default() };
    [
        FeedbackConfig { both_orders: false, ..plain.clone() },
        FeedbackConfig { principles_per_comparison: 3, ..plain.clone() },
        FeedbackConfig { chain_of_thought: Some(thoughts), ..plain },
    ]
}

/// Writes labels as a stage does, and gives them back as rows.
fn written(path: &Path, config: &FeedbackConfig) -> Vec<Value> {
    let labels = label(&Judge, &Constitution::general(), &pairs(), config, 1).unwrap();
    assert_eq!(labels.len(), pairs().len());
    dataset::write_jsonl(path, labels).unwrap();
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The object, whose fields are these and no other.
fn object<'a>(value: &'a Value, fields: &[&str]) -> &'a Map<String, Value> {
    let found = value.as_object().unwrap();
    assert_eq!(found.keys().collect::<Vec<_>>(), fields, "{value}");
    found
}

fn is_probability(value: &Value) -> bool {
    value.as_f64().is_some_and(|number| (0.0..=1.0).contains(&number))
}

/// The roles of a list of `{role, content}`.
fn roles(messages: &Value) -> Vec<&str> {
    let role = |message| {
        let fields: &Map<String, Value> = object(message, &["role", "content"]);
        assert!(fields["content"].is_string(), "{message}");
        fields["role"].as_str().unwrap()
    };
    messages.as_array().unwrap().iter().map(role).collect()
}

/// Holds a row to the documented columns and their types.
fn check(row: &Value, config: &FeedbackConfig) {
    let columns = [
        "id",
        "prompt",
        "chosen",
        "rejected",
        "probability",
        "probability_a",
        "chosen_as",
        "principles",
    ];
    let row = object(row, &columns);
    assert!(row["id"].is_string());
    let asked = roles(&row["prompt"]);
    assert!(asked == ["user"] || asked == ["user", "assistant", "user"], "{asked:?}");
    assert_eq!(roles(&row["chosen"]), ["assistant"]);
    assert_eq!(roles(&row["rejected"]), ["assistant"]);
    assert_ne!(row["chosen"], row["rejected"]);
    let [chosen, of_a] = ["probability", "probability_a"].map(|name| row[name].as_f64().unwrap());
    assert!((0.5..=1.0).contains(&chosen) && (0.0..=1.0).contains(&of_a));
    let expected = match row["chosen_as"].as_str().unwrap() {
        "A" => of_a,
        "B" => 1.0 - of_a,
        other => panic!("`chosen_as` is {other}"),
    };
    assert!((chosen - expected).abs() < 1e-9, "{chosen} {of_a}");
    let principles = row["principles"].as_array().unwrap();
    assert_eq!(principles.len(), config.principles_per_comparison);
    for principle in principles {
        check_principle(principle, config);
    }
}

fn check_principle(principle: &Value, config: &FeedbackConfig) {
    let principle = object(principle, &["id", "text", "probability_a", "probe", "orders"]);
    assert!(principle["id"].is_string() && principle["text"].is_string());
    assert!(is_probability(&principle["probability_a"]));
    let orders = principle["orders"].as_array().unwrap();
    assert_eq!(orders.len(), 1 + usize::from(config.both_orders));
    for order in orders {
        let order = object(order, &["probability_of_first", "answers"]);
        assert!(is_probability(&order["probability_of_first"]));
        let answers = order["answers"].as_array().unwrap();
        let thoughts = config.chain_of_thought.as_ref();
        assert_eq!(answers.len(), thoughts.map_or(1, |thoughts| thoughts.samples));
        for answer in answers {
            let answer = object(answer, &["probability_of_first", "rationale", "question"]);
            assert!(is_probability(&answer["probability_of_first"]));
            let rationale = &answer["rationale"];
            assert!(if thoughts.is_some() { rationale.is_string() } else { rationale.is_null() });
            assert_eq!(roles(&answer["question"]).last(), Some(&"assistant"));
        }
    }
}

#[test]
fn every_row_has_the_documented_columns() {
    let folder = tempfile::tempdir().unwrap();
    for config in ways() {
        for row in written(&folder.path().join("labels.jsonl"), &config) {
            check(&row, &config);
        }
    }
}

#[test]
fn trl_trains_on_labels() {
    let packages = "`torch`, `transformers`, `datasets` and `trl`";
    let Some(python) = elsewhere::python(packages) else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/trl_reads_labels.py");
    for config in ways() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.jsonl");
        let rows = written(&path, &config);
        let mut command = Command::new(&python);
        // What `datasets` keeps goes with the folder.
        command.env("HF_HOME", folder.path()).env("HF_HUB_OFFLINE", "1");
        let output = command.arg(&script).arg(&path).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout).unwrap();
        let found: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
        assert_eq!(found["conversational"], true, "{found}");
        assert_eq!(found["rows"], rows.len());
        for trainer in ["reward", "dpo"] {
            assert_eq!(found[trainer]["rows"], rows.len(), "{trainer} left rows out");
            let loss = found[trainer]["loss"].as_f64().unwrap();
            // Of random weights: near the logarithm of 2.
            assert!((0.3..1.5).contains(&loss), "{trainer}: {loss}");
        }
        let probabilities: Vec<Value> = rows.iter().map(|row| row["probability"].clone()).collect();
        assert_eq!(found["probabilities"], Value::Array(probabilities));
    }
}
