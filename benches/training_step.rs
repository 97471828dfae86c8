//! Tokens a second of an optimiser step of supervised fine-tuning, on a model of the embedded one's shape.
//!
//! ```text
//! cargo bench -p rlaif --bench training_step
//! ```

mod devices;

use burn::backend::Autodiff;
use burn::prelude::{Backend, Device};
use devices::on_every_device;
use divan::Bencher;
use divan::counter::ItemsCount;
use rand::Rng;
use rlaif::language_model::stream;
use rlaif::model_organism::assistant;
use rlaif::sft::{Example, SftConfig};
use rlaif::training::{NoCheckpoints, Silent};

/// Rows of a step.
const ROWS: usize = 16;

/// Tokens of a row that the model reads.
const TOKENS: usize = 100;

fn main() {
    divan::main();
}

on_every_device! {
    #[divan::bench(sample_count = 10, sample_size = 1)]
    fn sft_16_rows_of_100_tokens(bencher: divan::Bencher) {
        super::step::<B>(bencher);
    }
}

/// Forward, backward and `AdamW`, with a loss on every token.
fn step<B: Backend>(bencher: Bencher) {
    let device = Device::<B>::default();
    let model = assistant::<Autodiff<B>>(&device).expect("the embedded model can be read");
    let vocabulary = u32::try_from(model.decoder.config().vocab_size).expect("tokens are u32");
    let mut rng = stream(1);
    let examples: Vec<Example> = (0..ROWS)
        // The last token is predicted, but not read.
        .map(|_| Example::unmasked((0..=TOKENS).map(|_| rng.random_range(0..vocabulary)).collect()))
        .collect();
    let config = SftConfig { tokens_per_step: ROWS * TOKENS, ..SftConfig::default() };
    bencher
        .counter(ItemsCount::new(ROWS * TOKENS))
        .with_inputs(|| model.decoder.clone())
        .bench_local_values(|decoder| {
            let fitted =
                config.fit_examples(decoder, &examples, 1, &mut Silent, &mut NoCheckpoints);
            B::sync(&device).expect("the device finishes its work");
            fitted
        });
}
