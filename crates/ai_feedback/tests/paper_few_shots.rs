//! The paper's worked examples become settings, where `RLAIF_DATA_DIR` names a folder that holds them; the same forms are read from
//! examples of our own elsewhere.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../dataset/tests/elsewhere/mod.rs"]
mod elsewhere;

use ai_feedback::{Answer, ChainOfThought, FeedbackConfig, FewShot, few_shots_from_paper};
use elsewhere::published;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

fn entries(file: &Path) -> Vec<Value> {
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

#[test]
fn the_published_pairs_come_back_as_they_were() {
    let file = "constitutional_ai/prompts/RLMadisonFewShotPrompts.json";
    let Some(file) = published(file) else { return };
    let few_shots = few_shots_from_paper(&file).unwrap();
    let answers: Vec<Answer> = few_shots.iter().map(|shot| shot.answer).collect();
    assert_eq!(answers, [Answer::A, Answer::B, Answer::A, Answer::B, Answer::A]);
    for (shot, entry) in few_shots.iter().zip(entries(&file)) {
        let FewShot { pair, answer, rationale } = shot;
        assert!(rationale.is_none());
        let prompt = format!("{}\n\nAssistant:", pair.prompt.to_transcript());
        let [a, b] = &pair.replies;
        let [better, worse] = if *answer == Answer::A { [a, b] } else { [b, a] };
        let found = json!({ "prompt": prompt, "corrects": [better], "incorrects": [worse] });
        assert_eq!(found, entry);
    }
}

#[test]
fn the_published_chains_of_thought_come_back_but_for_space() {
    let file = "constitutional_ai/prompts/RLMadisonPrecogFewShotPrompts.json";
    let Some(file) = published(file) else { return };
    let few_shots = few_shots_from_paper(&file).unwrap();
    let entries = entries(&file);
    assert_eq!((few_shots.len(), entries.len()), (6, 6));
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for (shot, entry) in few_shots.iter().zip(&entries) {
        let FewShot { pair, answer, rationale } = shot;
        let turns = pair.prompt.to_transcript();
        let turns = turns.replace("\n\nHuman:", "\n\nH:").replace("\n\nAssistant:", "\n\nA:");
        let [a, b] = &pair.replies;
        let rationale = rationale.as_deref().unwrap();
        let found = format!(
            "{turns}\n\n{{}}\n (A) [[[{a}]]]\n (B) [[[{b}]]]\n\nAssistant: Let's think step by step: {rationale}\n\nHuman:\n\
             So the answer is: ({answer:?})"
        );
        // The opening line, which one of them words otherwise, belongs to the question.
        let text = entry["prompt"].as_str().unwrap().trim_start();
        let (_, expected) = text.split_once("\n\n").unwrap();
        assert_eq!(words(&found), words(expected));
    }
    let config = FeedbackConfig {
        chain_of_thought: Some(ChainOfThought::default()),
        few_shots,
        ..FeedbackConfig::default()
    };
    config.validate().unwrap();
}
