//! Commands that read and write files without a model: constitutions and evaluations.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The exit status, and what was said on both outputs.
fn rlaif(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rlaif"));
    let output = command.current_dir(folder).args(arguments).stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[track_caller]
fn says(folder: &Path, arguments: &[&str]) -> String {
    let (status, said, errors) = rlaif(folder, arguments);
    assert_eq!(status, 0, "{errors}");
    said
}

#[track_caller]
fn refused(folder: &Path, arguments: &[&str], expected: &[&str]) {
    let (status, said, errors) = rlaif(folder, arguments);
    assert_eq!(status, 2, "{said} {errors}");
    for part in expected {
        assert!(errors.contains(part), "`{part}` is missing in: {errors}");
    }
}

#[track_caller]
fn object(folder: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&says(folder, arguments)).unwrap()
}

fn published(file: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("RLAIF_DATA_DIR")?;
    Some(PathBuf::from(folder).join("constitutional_ai").join(file))
}

#[test]
fn constitutions_are_checked_compared_and_traded() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let general = says(folder, &["constitution", "show", "general"]);
    fs::write(folder.join("mine.toml"), &general).unwrap();
    let said = says(folder, &["constitution", "lint", "mine.toml"]);
    assert!(said.contains("16 principles to critique") && said.contains("0 errors, 0 warnings"));
    assert!(says(folder, &["constitution", "diff", "general", "mine.toml"]).contains("the same"));

    // Two faults and a doubt at once.
    let bad = general
        .replacen("id = \"law\"", "id = \"violence\"", 1)
        .replacen("tags = [\"harm\"]", "tags = [\"harm\"]\nweight = -1.0", 1)
        .replacen("id = \"truth\"", "id = \"self-harm\"", 1);
    fs::write(folder.join("bad.toml"), bad).unwrap();
    let (status, said, errors) = rlaif(folder, &["constitution", "lint", "bad.toml"]);
    assert_eq!(status, 2);
    for part in ["bad.toml, line", "].id", "].weight", "hard to tell apart", "2 errors, 1 warning"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(errors.contains("bad.toml: 2 errors"), "{errors}");
    refused(folder, &["constitution", "diff", "general", "bad.toml"], &["bad.toml, line"]);

    let changed = general.replacen("Which of these replies would", "Which reply would", 1);
    fs::write(folder.join("changed.toml"), changed).unwrap();
    let said = says(folder, &["constitution", "diff", "mine.toml", "changed.toml"]);
    assert_eq!(said, "comparison \"overall_harm\": changed text\n");

    let traded = ["--revisions", "r.json", "--comparisons", "c.json"];
    says(folder, &[&["constitution", "export", "general"][..], &traded].concat());
    let again = says(folder, &[&["constitution", "import"][..], &traded].concat());
    fs::write(folder.join("again.toml"), again).unwrap();
    let said = says(folder, &["constitution", "diff", "mine.toml", "again.toml"]);
    assert!(!said.contains("request") && !said.contains("changed text"), "{said}");
    refused(folder, &["constitution", "import", "--revisions", "c.json"], &["c.json", "object"]);
    refused(folder, &["constitution", "lint", "mine.toml", "--run", "runs"], &["runs"]);
}

#[test]
fn labels_that_flip_and_principles_never_drawn_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let label = |id: &str, principle: &str, probability: f64| {
        let (chosen, rejected, letter) =
            if probability >= 0.5 { ("a", "b", "A") } else { ("b", "a", "B") };
        let reply = |text| serde_json::json!([{"role": "assistant", "content": text}]);
        serde_json::json!({
            "id": id, "prompt": [], "chosen": reply(chosen), "rejected": reply(rejected),
            "probability": probability.max(1.0 - probability), "probability_a": probability,
            "chosen_as": letter,
            "principles": [{"id": principle, "text": "", "probability_a": probability, "orders": []}],
        })
        .to_string()
    };
    let stage = folder.join("run/ai_feedback");
    fs::create_dir_all(&stage).unwrap();
    let before = [label("1", "law", 0.9), label("2", "truth", 0.3), label("3", "law", 0.6)];
    fs::write(stage.join("labels.jsonl"), before.join("\n")).unwrap();
    let after = [label("1", "law", 0.2), label("2", "law", 0.4), label("4", "law", 0.1)];
    fs::write(folder.join("after.jsonl"), after.join("\n")).unwrap();
    let labels = ["--labels", "run/ai_feedback/labels.jsonl", "after.jsonl"];
    let said =
        says(folder, &[&["constitution", "diff", "general", "general"][..], &labels].concat());
    assert!(said.contains("1: P(A) 0.900 to 0.200"), "{said}");
    assert!(said.ends_with("1 of 2 labels flip\n"), "{said}");

    fs::write(folder.join("c.toml"), says(folder, &["constitution", "show"])).unwrap();
    let said = says(folder, &["constitution", "lint", "c.toml", "--run", "run"]);
    assert!(said.contains("comparison \"violence\" was never drawn in 3 draws"), "{said}");
    assert!(!said.contains("\"law\"") && said.contains("0 errors, 14 warnings"), "{said}");
}

#[test]
fn evaluations_of_files_are_tables_and_objects() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let question = |text: &str, right: &str, wrong: &str| {
        format!(
            r#"{{"prompt": "{text} Options:\n (A) x\n (B) y\n\nThe answer is:", "corrects": [" ({right})"], "incorrects": [" ({wrong})"]}}"#
        )
    };
    let questions = [question("1", "A", "B"), question("2", "B", "A"), question("3", "B", "A")];
    fs::write(folder.join("q.jsonl"), questions.join("\n")).unwrap();
    let hhh = |judge: &str| {
        object(folder, &["eval", "hhh", "--data", "q.jsonl", "--judge", judge, "--json"])
    };
    let (oracle, constant) = (hhh("oracle"), hhh("constant:A"));
    assert_eq!((oracle["accuracy"].as_f64(), oracle["n"].as_u64()), (Some(1.0), Some(3)));
    assert!((constant["accuracy"].as_f64().unwrap() - 1.0 / 3.0).abs() < 1e-12);
    assert_eq!(constant["interval"].as_array().map(Vec::len), Some(2));
    let table = says(folder, &["eval", "harm", "--data", "q.jsonl", "--judge", "oracle"]);
    assert!(table.contains("100.0%"), "{table}");
    let asked = |arguments: &[&'static str]| [&["eval"][..], arguments].concat();
    let judge = ["--data", "q.jsonl", "--judge"];
    refused(
        folder,
        &asked(&[&["harm-type"][..], &judge, &["oracle"]].concat()),
        &["9", "2 options"],
    );
    refused(folder, &asked(&[&["hhh"][..], &judge, &["constant:C"]].concat()), &["\"C\""]);
    refused(
        folder,
        &asked(&[&["hhh"][..], &judge, &["no/such/folder"]].concat()),
        &["no/such/folder"],
    );

    fs::write(folder.join("s.jsonl"), "{\"reply\": \"No.\"}\n{\"replies\": [\"one two three\"]}\n")
        .unwrap();
    let found =
        object(folder, &asked(&["evasiveness", "--samples", "s.jsonl", "--words", "2", "--json"]));
    assert_eq!((found["share"].as_f64(), found["n"].as_u64()), (Some(0.5), Some(2)));

    let games = r#"{"first": "a", "second": "b", "winner": "first"}
        {"first": "b", "second": "a", "winner": "first"}
        {"first": "a", "second": "b", "winner": "tie"}
        {"first": "b", "second": "c", "wins": 3, "losses": 1}"#;
    fs::write(folder.join("g.jsonl"), games).unwrap();
    let elo =
        object(folder, &asked(&["elo", "--comparisons", "g.jsonl", "--anchor", "b", "--json"]));
    assert_eq!(elo["n"].as_f64(), Some(7.0));
    let rating = |player: &str| {
        let rows = elo["ratings"].as_array().unwrap();
        rows.iter().find(|row| row["player"] == player).unwrap()["elo"].as_f64().unwrap()
    };
    // Even against a; three to one against c, 400 log10(3).
    assert!(rating("a").abs() < 1e-6 && (rating("c") + 190.848_5).abs() < 1e-3);
    refused(folder, &asked(&["elo", "--comparisons", "g.jsonl", "--anchor", "z"]), &["anchor z"]);

    fs::write(folder.join("g.jsonl"), r#"{"first": "a", "second": "b"}"#).unwrap();
    refused(folder, &asked(&["elo", "--comparisons", "g.jsonl"]), &["g.jsonl, line 1", "`winner`"]);

    let labels =
        "{\"probability\": 0.75, \"outcome\": 1}\n{\"probability\": 0.75, \"outcome\": 0}\n";
    fs::write(folder.join("l.jsonl"), labels).unwrap();
    let found = object(folder, &asked(&["calibration", "--labels", "l.jsonl", "--json"]));
    assert_eq!(found["expected_calibration_error"].as_f64(), Some(0.25));
    fs::write(folder.join("l.jsonl"), "{\"probability\": 1.5, \"outcome\": 1}\n").unwrap();
    refused(
        folder,
        &asked(&["calibration", "--labels", "l.jsonl"]),
        &["l.jsonl, line 1", "probability", "1.5"],
    );
    fs::write(folder.join("l.jsonl"), "").unwrap();
    refused(folder, &asked(&["calibration", "--labels", "l.jsonl"]), &["l.jsonl", "no row"]);
}

#[test]
fn the_papers_files_give_the_papers_counts() {
    let folder = tempfile::tempdir().unwrap();
    for (eval, file, count, first) in [
        ("hhh", "evals/438HHHEvaluations.jsonl", 438, 228.0),
        ("harm", "evals/HarmfulVsEthical.jsonl", 254, 127.0),
        ("harm-type", "evals/HarmfulnessClassification.jsonl", 287, 31.0),
    ] {
        let Some(file) = published(file) else { return };
        let file = file.to_str().unwrap();
        for (judge, right) in [("oracle", f64::from(count)), ("constant:A", first)] {
            let arguments = ["eval", eval, "--data", file, "--judge", judge, "--json"];
            let found = object(folder.path(), &arguments);
            assert_eq!(found["n"].as_i64(), Some(i64::from(count)), "{eval}");
            assert_eq!(found["correct"].as_f64(), Some(right), "{eval} {judge}");
        }
    }
    for (system, share) in [("HHRLHF", 213.0 / 680.0), ("RLMADISON", 0.0)] {
        let Some(file) = published(&format!("samples/PALMS_{system}.jsonl")) else { return };
        let file = file.to_str().unwrap();
        let found = object(folder.path(), &["eval", "evasiveness", "--samples", file, "--json"]);
        assert_eq!((found["n"].as_i64(), found["share"].as_f64()), (Some(680), Some(share)));
    }
}
