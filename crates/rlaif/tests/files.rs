//! Commands that read and write constitutions, without a model.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod program;

use program::{refused, rlaif, says};
use std::fs;

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
        format!(
            r#"{{"id": "{id}", "pair": {{"prompt": [], "replies": ["a", "b"]}}, "principle": "{principle}",
            "principle_text": "", "probability_a": {probability}, "orders": []}}"#
        )
        .replace('\n', " ")
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
