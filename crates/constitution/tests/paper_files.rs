//! The paper's two files come back as they were: small ones of our own, and the published ones where `RLAIF_DATA_DIR` names a
//! folder that holds them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../dataset/tests/elsewhere/mod.rs"]
mod elsewhere;

use constitution::Constitution;
use elsewhere::published;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Reads both files, goes through our own format, and gives them back, with the constitution between.
fn through(revisions: &Path, comparisons: &Path) -> (Constitution, [String; 2]) {
    let read = Constitution::from_paper("paper", Some(revisions), Some(comparisons)).unwrap();
    let constitution = Constitution::from_toml(&read.to_toml().unwrap()).unwrap();
    assert_eq!(constitution, read);
    assert_eq!(constitution.doubts(), [""; 0]);
    let texts = [constitution.revisions_to_paper(), constitution.comparisons_to_paper()];
    (constitution, texts)
}

#[test]
fn our_lists_come_back_to_the_last_byte() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let files = ["revisions.json", "comparisons.json"].map(|name| folder.join(name));
    let (constitution, texts) = through(&files[0], &files[1]);
    let ids = constitution.critique_revision.iter().map(|principle| principle.id.as_str());
    assert_eq!(ids.collect::<Vec<_>>(), ["harm", "evasion"], "in the order of the file");
    assert_eq!(
        constitution.critique_revision[1].critique_request,
        "Is the reply preachy?\nOr does it dodge the question?"
    );
    assert_eq!(constitution.comparison[1].text, "Which reply is \"wiser\", and less preachy?");
    for (file, text) in files.iter().zip(texts) {
        assert_eq!(text, fs::read_to_string(file).unwrap());
    }
}

#[test]
fn the_published_lists_come_back_as_they_were() {
    let Some(folder) = published("constitutional_ai/prompts") else { return };
    let files = ["CritiqueRevisionInstructions.json", "RLMadisonInstructions.json"]
        .map(|name| folder.join(name));
    let (constitution, texts) = through(&files[0], &files[1]);
    assert_eq!(constitution.critique_revision.len(), 16);
    assert_eq!(constitution.comparison.len(), 16);
    for (file, text) in files.iter().zip(texts) {
        let expected: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        let found: Value = serde_json::from_str(&text).unwrap();
        // As texts, since objects are equal in whatever order of their keys.
        assert_eq!(found.to_string(), expected.to_string());
    }
}
