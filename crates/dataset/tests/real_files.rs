//! Reads published files, where `RLAIF_DATA_DIR` names a folder that holds them. The same formats are read from rows of our own
//! beside the code.

mod elsewhere;

use dataset::{
    ColumnMapping, Error, Reading, RowFormat, Samples, partial_conversations, prompts, read_jsonl,
    read_preferences, read_prompts, write_rows,
};
use dialogue::{Dialogue, Preference};
use elsewhere::published;
use std::collections::HashSet;
use std::path::PathBuf;

/// The harmless-base test split of hh-rlhf (arXiv 2204.05862).
fn harmless_base_test() -> Option<PathBuf> {
    published("hh_rlhf/harmless-base-test.jsonl.gz")
}

#[test]
fn every_prompt_of_harmless_base_is_read() {
    let Some(path) = harmless_base_test() else { return };
    let prompts = read_prompts(path).unwrap();
    assert_eq!(prompts.dialogues.len() + prompts.duplicates, 2_312);
    assert!(prompts.duplicates <= 10, "{}", prompts.duplicates);
}

#[test]
fn every_human_turn_of_harmless_base_makes_a_prompt() {
    let Some(path) = harmless_base_test() else { return };
    let rows: Vec<serde_json::Value> = read_jsonl(&path).unwrap();
    let turns = |text: &str| text.matches("\n\nHuman:").count();
    let expected: Vec<usize> =
        rows.iter().map(|row| turns(row["chosen"].as_str().unwrap())).collect();
    let conversations = prompts(path).unwrap().map(|row| partial_conversations(row.unwrap()));
    let found: Vec<Vec<Dialogue>> = conversations.map(Iterator::collect).collect();
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<usize>>(), expected);
    assert_eq!(expected.iter().sum::<usize>(), 5_756);
    for prompt in found.iter().flatten() {
        assert_eq!(prompt.last_request(), prompt.messages.last().map(|last| &*last.content));
    }
    // As many names as there are different prompts.
    let ids: HashSet<String> = found.iter().flatten().map(Dialogue::id).collect();
    let different: HashSet<&Dialogue> = found.iter().flatten().collect();
    assert_eq!(ids.len(), different.len());
}

#[test]
fn every_preference_of_harmless_base_is_read() {
    let Some(path) = harmless_base_test() else { return };
    let preferences = read_preferences(path).unwrap();
    assert_eq!(preferences.len(), 2_312);
    assert_eq!(preferences.iter().filter(|row| row.chosen.is_empty()).count(), 4);
}

#[test]
fn harmless_base_is_the_same_in_every_format() {
    let Some(path) = harmless_base_test() else { return };
    let format = Some(RowFormat::HhRlhf);
    let columns = ColumnMapping { format, ..ColumnMapping::default() };
    let rows = Reading { columns, rejects: None };
    let rows: Result<Vec<Preference>, Error> = rows.preferences(path).unwrap().collect();
    let rows = rows.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let names =
        if cfg!(feature = "parquet") { &["a.jsonl", "a.parquet"][..] } else { &["a.jsonl"] };
    for name in names {
        let path = folder.path().join(name);
        assert_eq!(write_rows(&path, rows.iter().map(Ok)).unwrap(), 2_312);
        assert_eq!(read_preferences(&path).unwrap(), rows, "{name}");
    }
}

#[test]
fn every_sample_of_the_paper_is_read() {
    for (system, replies) in
        [("HHRLHF", 17), ("HRLHF", 17), ("RLMADISON", 17), ("RLMADISON_COT", 17), ("SLMADISON", 1)]
    {
        let file = format!("constitutional_ai/samples/PALMS_{system}.jsonl");
        let Some(path) = published(&file) else { return };
        let samples: Result<Vec<Samples>, Error> =
            Reading::default().samples(&path).unwrap().collect();
        let samples = samples.unwrap();
        assert_eq!(samples.len(), 40, "{system}");
        assert!(samples.iter().all(|row| row.replies.len() == replies), "{system}");
        for row in &samples {
            let scores: Vec<f64> = row.replies.iter().filter_map(|reply| reply.score).collect();
            assert!(scores.is_sorted_by(|higher, lower| higher >= lower), "{system}");
            assert!(row.replies.iter().all(|reply| !reply.text.ends_with("Human:")), "{system}");
        }
        assert_eq!(read_prompts(&path).unwrap().dialogues.len(), 40, "{system}");
        let dialogues: Result<Vec<Dialogue>, Error> =
            Reading::default().dialogues(&path).unwrap().collect();
        assert!(dialogues.unwrap().iter().all(Dialogue::ends_with_assistant), "{system}");
    }
}

#[test]
fn every_prompt_of_xstest_is_read() {
    let Some(path) = published("xstest/xstest_prompts.csv") else { return };
    let prompts = read_prompts(path).unwrap();
    assert_eq!(prompts.dialogues.len() + prompts.duplicates, 450);
}
