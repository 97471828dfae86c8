//! The paper's worked examples become settings, where `RLAIF_DATA_DIR` names a folder that holds them; the same form is read from
//! an example of our own elsewhere.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../dataset/tests/elsewhere/mod.rs"]
mod elsewhere;

use critique_revision::{CritiqueRevisionConfig, Form, few_shots_from_paper};
use std::fs;

#[test]
fn the_published_examples_come_back_as_they_were() {
    let file = "constitutional_ai/prompts/CritiqueRevisionFewShotPrompts.json";
    let Some(file) = elsewhere::published(file) else { return };
    let few_shots = few_shots_from_paper(&file).unwrap();
    let form = Form::Transcript;
    let config = CritiqueRevisionConfig { few_shots, form, ..CritiqueRevisionConfig::default() };
    config.validate().unwrap();
    // As they are shown, but for the space in two of our headings, and for the `Human:` behind them, which the fourth lacks.
    let shown = config.examples().into_iter().map(|example| {
        let text = example.to_transcript().replace("Critique Request:", "CritiqueRequest:");
        text.replace("Revision Request:", "RevisionRequest:")
    });
    let texts: Vec<String> = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let texts: Vec<&str> =
        texts.iter().map(|text| text.strip_suffix("\n\nHuman:").unwrap_or(text)).collect();
    assert_eq!(texts.len(), 5);
    assert_eq!(shown.collect::<Vec<String>>(), texts);
}
