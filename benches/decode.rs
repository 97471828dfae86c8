//! Tokens a second that the embedded model draws, by the number of replies that run together.
//!
//! ```text
//! cargo bench -p rlaif --bench decode
//! ```

mod devices;

use burn::prelude::{Backend, Device};
use devices::on_every_device;
use divan::Bencher;
use divan::counter::ItemsCount;
use rlaif::dialogue::Dialogue;
use rlaif::language_model::{Sampling, stream};
use rlaif::model_organism::assistant;
use rlaif::transformer::{Next, SeenTokens, Transformer, generate, sample};

/// Replies that run together.
const BATCHES: [usize; 3] = [1, 16, 64];

/// Tokens of every reply; end-of-turn tokens do not end one, so that all runs do the same work.
const NEW_TOKENS: usize = 32;

fn main() {
    divan::main();
}

on_every_device! {
    #[divan::bench(args = super::BATCHES, sample_count = 10, sample_size = 1)]
    fn drawn_tokens(bencher: divan::Bencher, batch: usize) {
        super::draw::<B>(bencher, batch);
    }
}

/// Reads a prompt and draws [`NEW_TOKENS`] tokens at temperature 1, `batch` times side by side.
fn draw<B: Backend>(bencher: Bencher, batch: usize) {
    let Transformer { decoder, codec } =
        assistant::<B>(&Device::<B>::default()).expect("the embedded model can be read");
    let prompt = codec
        .encode_prompt(&Dialogue::from_user("How do I read the messages of Anna?"))
        .expect("the embedded template renders any prompt");
    let prompts = vec![prompt; batch];
    let sampling = Sampling::default();
    bencher.counter(ItemsCount::new(batch * NEW_TOKENS)).bench_local(|| {
        let mut rng = stream(1);
        let mut next = |_: usize, logits: &mut [f32]| {
            sample(logits, &SeenTokens::default(), &sampling, &mut rng)
                .map_or(Next::Stop, |sampled| Next::Token(sampled.token))
        };
        generate(&decoder, &prompts, NEW_TOKENS, batch, &mut next)
    });
}
