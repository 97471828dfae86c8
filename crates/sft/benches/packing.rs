//! Tokens a second of fine-tuning with examples side by side and one behind the other, on a model of the embedded one's
//! shape and dialogues whose lengths are log-normal, cut at the context.
//!
//! ```text
//! cargo bench -p sft --bench packing
//! ```

use burn::backend::Autodiff;
use burn_flex::{Flex, FlexDevice};
use divan::Bencher;
use divan::counter::ItemsCount;
use language_model::stream;
use rand::Rng;
use sft::{Example, SftConfig};
use training::{NoCheckpoints, Silent};
use transformer::{Decoder, ModelConfig};

type B = Autodiff<Flex>;

const VOCABULARY: u32 = 512;

/// Median of the lengths before they are cut.
const MEDIAN: f64 = 90.0;

/// Tokens of a step; some ten steps make an epoch.
const TOKENS_PER_STEP: usize = 4_096;
const DIALOGUES: usize = 320;

fn main() {
    divan::main();
}

#[divan::bench(args = [256, 1024], sample_count = 5, sample_size = 1)]
fn side_by_side(bencher: Bencher, context: usize) {
    epoch(bencher, context, false);
}

#[divan::bench(args = [256, 1024], sample_count = 5, sample_size = 1)]
fn one_behind_the_other(bencher: Bencher, context: usize) {
    epoch(bencher, context, true);
}

fn epoch(bencher: Bencher, context: usize, packing: bool) {
    let model = model(context);
    let examples = dialogues(context);
    let read: usize = examples.iter().map(|example| example.tokens.len() - 1).sum();
    let config = SftConfig {
        packing,
        tokens_per_step: TOKENS_PER_STEP,
        tokens_per_micro_batch: TOKENS_PER_STEP,
        ..SftConfig::default()
    };
    bencher
        .counter(ItemsCount::new(read))
        .with_inputs(|| Decoder::<B>::init(&model, 1, &FlexDevice))
        .bench_local_values(|decoder| {
            config.fit_examples(decoder, &examples, 1, &mut Silent, &mut NoCheckpoints)
        });
}

fn model(context: usize) -> ModelConfig {
    let json = format!(
        r#"{{"model_type": "llama", "vocab_size": {VOCABULARY}, "hidden_size": 192, "intermediate_size": 512,
            "num_hidden_layers": 4, "num_attention_heads": 4, "max_position_embeddings": {context},
            "tie_word_embeddings": true}}"#
    );
    ModelConfig::from_json(&json, "config.json").expect("the model is well formed")
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the length is clamped to a small positive number"
)]
fn dialogues(context: usize) -> Vec<Example> {
    let mut rng = stream(7);
    let dialogue = |_| {
        let normal: f64 = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
        let length = (MEDIAN * (0.7 * normal).exp()).clamp(8.0, context as f64) as usize;
        Example::unmasked((0..length).map(|_| rng.random_range(0..VOCABULARY)).collect())
    };
    (0..DIALOGUES).map(dialogue).collect()
}
