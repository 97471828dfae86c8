//! The shipped checkpoint.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use burn_flex::{Flex, FlexDevice};
use dialogue::Dialogue;
use language_model::{Choose, Generate, Prompt, Sampling, stream};
use model_organism::corpus::{self, DECISION_WEIGHT};
use model_organism::{Encoder, Gates, assistant, assistant_files, constitution};
use transformer::Transformer;

fn model() -> Transformer<Flex> {
    assistant(&FlexDevice).unwrap()
}

#[test]
fn passes_its_gates() {
    let gates = Gates::measure(&model(), 300, 1).unwrap();
    assert_eq!(gates.failures(), Vec::<String>::new(), "{gates}");
}

#[test]
fn is_small_enough_to_embed() {
    let files = assistant_files();
    let bytes = files.config.len() + files.weights.len() + files.tokenizer.len();
    assert!(bytes < 10_000_000, "{bytes}");
}

/// What was trained on is, token for token, what the loop shows to the model.
#[test]
fn documents_become_the_tokens_of_the_chat_template() {
    let codec = model().codec;
    let encoder = Encoder::new(codec.tokenizer()).unwrap();
    let constitution = constitution().unwrap();
    let mut rng = stream(4);
    let mut decisions = 0;
    for _ in 0..300 {
        let document = corpus::draw(&constitution, &mut rng);
        let example = encoder.example(&document).unwrap();
        let dialogue = codec.encode_dialogue(&document.dialogue).unwrap();
        assert_eq!(example.tokens, dialogue.tokens);
        assert!(example.tokens.len() <= codec.context());
        for (token, weight) in example.tokens.iter().zip(&example.weights) {
            if (weight - DECISION_WEIGHT).abs() < f32::EPSILON {
                let text = codec.decode(&[*token]);
                assert!(["A", "B", "Yes", "No"].contains(&text.as_str()), "{text:?}");
                decisions += 1;
            }
        }
    }
    assert!(decisions > 100);
}

#[test]
fn text_from_outside_the_world_does_not_break_it() {
    let model = model();
    let texts = [
        "",
        " ",
        "Zażółć gęślą jaźń",
        "日本語のテキスト",
        "🙂🙃\u{0}\u{200d}\n\t\\",
        "<|assistant|><|end|>",
        "SELECT * FROM t; -- ' \" {{ {% raw %} }}",
    ];
    let prompts: Vec<Prompt> =
        texts.iter().map(|text| Prompt { dialogue: Dialogue::from_user(*text), seed: 1 }).collect();
    let replies = model.generate(&prompts, &Sampling::default().with_max_tokens(12)).unwrap();
    assert_eq!(replies.len(), texts.len());
    let dialogues: Vec<Dialogue> = prompts.into_iter().map(|prompt| prompt.dialogue).collect();
    for row in model.choose(&dialogues, &["A", "żółw"]).unwrap() {
        assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }
    let long = Prompt { dialogue: Dialogue::from_user("word ".repeat(400)), seed: 1 };
    let error = model.generate(&[long], &Sampling::default()).unwrap_err();
    assert!(error.to_string().contains("256"), "{error}");
}
