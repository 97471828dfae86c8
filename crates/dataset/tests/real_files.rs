//! Reads the published hh-rlhf file. Skipped where `RLAIF_DATA_DIR` does not name a folder that holds it.

use dataset::{read_preferences, read_prompts};
use std::path::PathBuf;

/// The harmless-base test split of hh-rlhf (arXiv 2204.05862), if it is at hand.
#[expect(clippy::print_stderr, reason = "a skipped test must say so")]
fn harmless_base_test() -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("RLAIF_DATA_DIR") else {
        eprintln!("skipped: RLAIF_DATA_DIR is not set");
        return None;
    };
    Some(PathBuf::from(folder).join("hh_rlhf/harmless-base-test.jsonl.gz"))
}

#[test]
fn every_prompt_of_harmless_base_is_read() {
    let Some(path) = harmless_base_test() else { return };
    let prompts = read_prompts(path).unwrap();
    assert_eq!(prompts.dialogues.len() + prompts.duplicates, 2_312);
    assert!(prompts.duplicates <= 10, "{}", prompts.duplicates);
}

#[test]
fn every_preference_of_harmless_base_is_read() {
    let Some(path) = harmless_base_test() else { return };
    let preferences = read_preferences(path).unwrap();
    assert_eq!(preferences.len(), 2_312);
    assert_eq!(preferences.iter().filter(|row| row.chosen.is_empty()).count(), 4);
}
