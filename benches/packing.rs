//! Tokens a second of fine-tuning with examples side by side and one behind the other, on a model of the embedded one's
//! shape and dialogues whose lengths are log-normal, cut at the context.
//!
//! ```text
//! cargo bench -p rlaif --bench packing
//! ```

mod devices;

use burn::backend::Autodiff;
use burn::prelude::{Backend, Device};
use devices::on_every_device;
use divan::Bencher;
use divan::counter::ItemsCount;
use rand::Rng;
use rlaif::language_model::stream;
use rlaif::sft::{Example, SftConfig};
use rlaif::training::{NoCheckpoints, Silent};
use rlaif::transformer::{Decoder, ModelConfig};

const VOCABULARY: u32 = 512;

/// Median of the lengths before they are cut.
const MEDIAN: f64 = 90.0;

/// Tokens of a step; some ten steps make an epoch.
const TOKENS_PER_STEP: usize = 4_096;
const DIALOGUES: usize = 320;

fn main() {
    divan::main();
}

on_every_device! {
    #[divan::bench(args = [256, 1024], sample_count = 5, sample_size = 1)]
    fn side_by_side(bencher: divan::Bencher, context: usize) {
        super::epoch::<B>(bencher, context, false);
    }

    #[divan::bench(args = [256, 1024], sample_count = 5, sample_size = 1)]
    fn one_behind_the_other(bencher: divan::Bencher, context: usize) {
        super::epoch::<B>(bencher, context, true);
    }
}

/// Everything that a run pays for: forward, backward and `AdamW` over all dialogues once.
fn epoch<B: Backend>(bencher: Bencher, context: usize, packing: bool) {
    let device = Device::<B>::default();
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
        .with_inputs(|| Decoder::<Autodiff<B>>::init(&model, 1, &device))
        .bench_local_values(|decoder| {
            let fitted =
                config.fit_examples(decoder, &examples, 1, &mut Silent, &mut NoCheckpoints);
            B::sync(&device).expect("the device finishes its work");
            fitted
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
