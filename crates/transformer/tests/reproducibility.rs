//! What changes no bit on the CPU: the batch in which a row is scored, and the number of threads.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests on tiny models")]

use burn::backend::Autodiff;
use burn::optim::GradientsParams;
use burn_flex::{Flex, FlexDevice};
use rayon::ThreadPoolBuilder;
use std::path::Path;
use training::OptimizerConfig;
use transformer::{
    Decoder, ModelConfig, Optimizer, Packed, ScalarHead, ScalarModel, Targets, fingerprint_of,
    token_log_probs_and_entropy,
};

/// Both norms, rotary positions and learned ones, windows, gates and none.
const FAMILIES: [&str; 4] = ["llama3", "gemma3", "gpt2", "gpt_neox"];

fn token(row: usize, t: usize) -> u32 {
    ((row * 31 + t * t * 7 + t * 3 + 5) % 61) as u32
}

#[test]
fn a_score_is_the_same_to_the_bit_in_every_batch() {
    // More rows than products of a few take, of which no two begin with the same token.
    let length = |row: usize| 1 + row * 5 % 24;
    let rows: Vec<Vec<u32>> =
        (0..45).map(|row| (0..length(row)).map(|t| token(row, t)).collect()).collect();
    let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
    for name in FAMILIES {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        let decoder = Decoder::<Flex>::from_folder(&folder, &FlexDevice).unwrap();
        let head = ScalarHead::init(decoder.config().hidden_size, 1, &FlexDevice);
        let model = ScalarModel::new(decoder, head);
        let alone: Vec<f32> = rows.iter().flat_map(|&row| model.scores(&[row], 1)).collect();
        for tokens_at_once in [40, 300, 10_000] {
            let together = model.scores(&rows, tokens_at_once);
            assert_eq!(together, alone, "{name}: {tokens_at_once} tokens at once");
        }
    }
}

/// Twenty rows of four beginnings: what two steps of training on them make of the weights, and the losses.
fn trained() -> (String, [u32; 2]) {
    // Wide and long enough that every operation is shared out among threads.
    let config = r#"{"model_type": "llama", "vocab_size": 300, "hidden_size": 128, "intermediate_size": 192,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}"#;
    let config = ModelConfig::from_json(config, "config.json").unwrap();
    let beginning = |row: usize| (0..20).map(move |t| token(row % 4, t));
    let own = |row: usize| (0..18).map(move |t| token(row + 4, t));
    let rows: Vec<Vec<u32>> = (0..20).map(|row| beginning(row).chain(own(row)).collect()).collect();
    let packed = Packed::new(&rows);
    assert_eq!(packed.tokens().len(), 4 * 20 + 20 * 18);
    let mut targets = Targets::default();
    for (row, tokens) in rows.iter().enumerate() {
        for (t, &next) in tokens.iter().enumerate().skip(1) {
            targets.positions.push(packed.place(row, t - 1));
            targets.tokens.push(next);
        }
    }
    let mut decoder = Decoder::<Autodiff<Flex>>::init(&config, 1, &FlexDevice);
    let mut optimizer = Optimizer::new(&OptimizerConfig::default());
    let losses = std::array::from_fn(|_| {
        let hidden = decoder.hidden_packed(&packed);
        let (log_probs, entropies) = token_log_probs_and_entropy(&decoder, hidden, &targets);
        let loss = (log_probs + entropies * 0.1).mean().neg();
        let bits = loss.clone().into_scalar().to_bits();
        let gradients = GradientsParams::from_grads(loss.backward(), &decoder);
        decoder = optimizer.step(1e-2, decoder.clone(), gradients).0;
        bits
    });
    (fingerprint_of(&decoder), losses)
}

#[test]
fn training_is_the_same_to_the_bit_with_any_number_of_threads() {
    let with_threads = |count| {
        let pool = ThreadPoolBuilder::new().num_threads(count).build().unwrap();
        pool.install(trained)
    };
    let (weights, losses) = with_threads(1);
    assert_ne!(losses[0], losses[1], "nothing was learnt");
    for count in [2, 3] {
        assert_eq!(with_threads(count), (weights.clone(), losses), "{count} threads");
    }
}
