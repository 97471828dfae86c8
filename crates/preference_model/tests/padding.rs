//! A saved folder is read by `transformers` as it is read here, also that of a base which fills rows up with the end of
//! a turn.
//!
//! `fixtures/padding/make.py` makes the folders of such bases, and scores by `transformers` with the padding token that
//! is written in its place.
#![allow(clippy::unwrap_used, reason = "tests on fixtures")]

use burn_flex::{Flex, FlexDevice};
use dialogue::Dialogue;
use language_model::Reward;
use preference_model::PreferenceModel;
use serde::Deserialize;
use serde_json::Value;
use std::fs;
use std::path::Path;

#[derive(Deserialize)]
struct Fixture {
    dialogues: Vec<(String, String)>,
    pad_token_id: u64,
    pad_token: String,
    llama: Scores,
    gpt2: Scores,
}

/// What `transformers` scores.
#[derive(Deserialize)]
struct Scores {
    /// Each dialogue without padding.
    alone: Vec<f32>,
    /// All in one batch, filled up on a side.
    right: Vec<f32>,
    left: Vec<f32>,
    left_with_positions: Vec<f32>,
    /// With the padding token of the base.
    right_at_end: Vec<f32>,
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/padding"))
}

fn fixture() -> Fixture {
    serde_json::from_slice(&fs::read(folder().join("scores.json")).unwrap()).unwrap()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn furthest(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let gaps = found.iter().zip(expected).map(|(found, expected)| (found - expected).abs());
    gaps.fold(0.0, f32::max)
}

/// The scores of a family's base as they are here.
fn ours(family: &str, fixture: &Fixture) -> Vec<f32> {
    let model = PreferenceModel::<Flex>::from_folder(folder().join(family), &FlexDevice).unwrap();
    let dialogue = |(asked, reply): &(String, String)| {
        Dialogue::from_user(asked.clone()).with_assistant(reply.clone())
    };
    let dialogues: Vec<Dialogue> = fixture.dialogues.iter().map(dialogue).collect();
    let scores = model.reward(&dialogues).unwrap();

    // What is saved names the token that `transformers` was given, and scores the same.
    let written = tempfile::tempdir().unwrap();
    let written = written.path().join("model");
    model.save(&written).unwrap();
    let [config, tokenizer] =
        ["config.json", "tokenizer_config.json"].map(|name| json(&written.join(name)));
    assert_eq!(config["pad_token_id"].as_u64(), Some(fixture.pad_token_id));
    assert_eq!(tokenizer["pad_token"].as_str(), Some(&*fixture.pad_token));
    let read = PreferenceModel::<Flex>::from_folder(&written, &FlexDevice).unwrap();
    assert_eq!(read.reward(&dialogues).unwrap(), scores);
    scores
}

#[test]
fn scores_are_equal_whichever_side_is_filled_up() {
    let fixture = fixture();
    let (expected, found) = (&fixture.llama, ours("llama", &fixture));
    for side in [&expected.alone, &expected.right, &expected.left, &expected.left_with_positions] {
        assert!(furthest(&found, side) < 1e-4, "{found:?} {side:?}");
    }
    // The reason for another token.
    assert!(furthest(&found, &expected.right_at_end) > 0.1);
}

#[test]
fn with_learned_positions_the_left_side_needs_to_be_told_where_rows_begin() {
    let fixture = fixture();
    let (expected, found) = (&fixture.gpt2, ours("gpt2", &fixture));
    for side in [&expected.alone, &expected.right, &expected.left_with_positions] {
        assert!(furthest(&found, side) < 1e-4, "{found:?} {side:?}");
    }
    assert!(furthest(&found, &expected.left) > 0.1);
}
