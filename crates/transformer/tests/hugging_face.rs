//! Tiny random models of every family, made by `transformers` (fixtures/make.py), give what `transformers` computes.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::print_stderr,
    reason = "tests on tiny models"
)]

use burn::tensor::Tensor;
use burn_flex::{Flex, FlexDevice};
use std::fs;
use std::path::{Path, PathBuf};
use transformer::{
    Architecture, Decoder, Engine, ModelConfig, Next, Precision, ScalarHead, Weights, generate,
    pad_right, select_positions,
};

type B = Flex;

/// Largest difference allowed; logits are about 1 to 20.
const TOLERANCE: f32 = 1e-4;
const LENGTHS: [usize; 3] = [24, 9, 17];
const TIME: usize = 24;
const VOCABULARY: usize = 61;
const NEW_TOKENS: usize = 32;

const MODELS: [&str; 18] = [
    "llama2",
    "llama3",
    "smollm2",
    "llama_bias",
    "llama_linear",
    "mistral",
    "qwen2",
    "qwen2_window",
    "qwen3",
    "gemma3",
    "gpt2",
    "gpt_neox",
    "gpt_neox_serial",
    // With the names and the derived tensors of the published files.
    "gpt2_published",
    "gpt_neox_published",
    "sharded",
    "half",
    "brain",
];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// What `transformers` computes for some rows of tokens.
struct Expected {
    name: &'static str,
    file: Weights,
    rows: Vec<Vec<u32>>,
}

impl Expected {
    fn of(name: &'static str) -> Self {
        let mut file = Weights::from_file(&folder(name).join("expected.safetensors")).unwrap();
        let tokens = file.take("tokens", &[3, TIME]).unwrap();
        let rows = tokens.chunks(TIME).zip(LENGTHS);
        let rows =
            rows.map(|(row, length)| row[..length].iter().map(|&token| token as u32).collect());
        Self { name, rows: rows.collect(), file }
    }

    /// Logits of the real tokens of every row.
    fn logits(&mut self, kind: &str) -> Vec<Vec<f32>> {
        let logits = self.file.take(kind, &[3, TIME, VOCABULARY]).unwrap();
        let rows = logits.chunks(TIME * VOCABULARY).zip(LENGTHS);
        rows.map(|(row, length)| row[..length * VOCABULARY].to_vec()).collect()
    }

    fn tokens(&mut self, kind: &str) -> Vec<Vec<u32>> {
        let tokens = self.file.take(kind, &[3, NEW_TOKENS]).unwrap();
        tokens
            .chunks(NEW_TOKENS)
            .map(|row| row.iter().map(|&token| token as u32).collect())
            .collect()
    }

    /// Logits of the real tokens of a batch of hidden states are those of `kind`.
    #[track_caller]
    fn assert_logits(
        &self,
        decoder: &Decoder<B>,
        hidden: &Tensor<B, 3>,
        logits: &[Vec<f32>],
    ) -> f32 {
        let mut worst = 0.0_f32;
        for (row, (length, expected)) in LENGTHS.into_iter().zip(logits).enumerate() {
            let real: Vec<usize> = (0..length).map(|t| row * TIME + t).collect();
            let logits = decoder.logits(select_positions(hidden.clone(), &real)).into_data();
            worst = worst.max(assert_close(self.name, &logits.to_vec::<f32>().unwrap(), expected));
        }
        worst
    }
}

/// The largest difference.
#[track_caller]
fn assert_close(name: &str, found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let pairs = found.iter().zip(expected);
    let worst = pairs.map(|(found, expected)| (found - expected).abs()).fold(0.0, f32::max);
    assert!(worst < TOLERANCE, "{name}: off by {worst}");
    assert!(expected.iter().any(|logit| logit.abs() > 0.1), "{name}: all but zero");
    worst
}

fn decoder(name: &str) -> Decoder<B> {
    Decoder::from_folder(&folder(name), &FlexDevice).unwrap()
}

fn best(logits: &[f32]) -> u32 {
    let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
    best as u32
}

fn greedy(decoder: &Decoder<B>, rows: &[Vec<u32>], at_once: usize) -> Vec<Vec<u32>> {
    let engine = Engine { rows: at_once, ..Engine::default() };
    let mut next = |_: usize, logits: &mut [f32]| Next::Token(best(logits));
    generate(decoder, rows, NEW_TOKENS, &engine, &mut next).unwrap()
}

#[test]
fn logits_agree() {
    for name in MODELS {
        let decoder = decoder(name);
        let mut expected = Expected::of(name);
        let logits = expected.logits("logits");
        let tokens = || pad_right(&expected.rows, &FlexDevice);
        let whole = expected.assert_logits(&decoder, &decoder.hidden(tokens()), &logits);
        let mut cache = decoder.cache(3, TIME);
        let cached = decoder.hidden_into(tokens(), &LENGTHS, &mut cache);
        expected.assert_logits(&decoder, &cached, &logits);
        // Padding on the left, too, is nothing that a model may notice.
        let left = expected.logits("left_logits");
        let hidden = decoder.hidden(pad_right(&expected.rows, &FlexDevice));
        let left = expected.assert_logits(&decoder, &hidden, &left);
        eprintln!("{name}: {whole:.1e}, padded on the left {left:.1e}");
    }
}

/// Token by token, so that every step reads the cache.
#[test]
fn logits_agree_through_the_cache() {
    for name in MODELS {
        let decoder = decoder(name);
        let mut expected = Expected::of(name);
        let logits = expected.logits("logits");
        for (row, logits) in expected.rows.iter().zip(logits) {
            let mut cache = decoder.cache(1, TIME);
            let first = pad_right(&[&row[..1]], &FlexDevice);
            let mut states = vec![decoder.hidden_into(first, &[1], &mut cache).flatten::<2>(0, 1)];
            for &token in &row[1..] {
                let token = Tensor::from_data([i64::from(token)], &FlexDevice);
                states.push(decoder.step(token, &mut cache));
            }
            let found = decoder.logits(Tensor::cat(states, 0)).into_data();
            assert_close(name, &found.to_vec::<f32>().unwrap(), &logits);
        }
    }
}

#[test]
fn greedy_tokens_agree() {
    for name in MODELS {
        let decoder = decoder(name);
        let mut expected = Expected::of(name);
        let rows = expected.rows.clone();
        for kind in ["greedy", "greedy_single"] {
            let tokens = expected.tokens(kind);
            for at_once in [1, 2, 3] {
                assert_eq!(greedy(&decoder, &rows, at_once), tokens, "{name}, {at_once} at once");
            }
        }
    }
}

#[test]
fn a_saved_model_agrees() {
    for name in MODELS {
        let folder = tempfile::tempdir().unwrap();
        decoder(name).save(folder.path(), Precision::F32).unwrap();
        let again = Decoder::<B>::from_folder(folder.path(), &FlexDevice).unwrap();
        let mut expected = Expected::of(name);
        let logits = expected.logits("logits");
        let hidden = again.hidden(pad_right(&expected.rows, &FlexDevice));
        expected.assert_logits(&again, &hidden, &logits);
        assert_eq!(greedy(&again, &expected.rows.clone(), 3), expected.tokens("greedy"), "{name}");
        assert_eq!(again.weights(), decoder(name).weights(), "{name}");
    }
}

/// What the next major release of `transformers` writes about the same weights.
#[test]
fn newer_configurations_mean_the_same() {
    let newer = fs::read_dir(folder("transformers5")).unwrap();
    let mut read = 0;
    for file in newer.map(|entry| entry.unwrap().path()) {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&file).unwrap();
        let newer = ModelConfig::from_json(&text, &file.display().to_string()).unwrap();
        let older = ModelConfig::from_folder(&folder(name)).unwrap();
        let meaning = |config: ModelConfig| ModelConfig { other: serde_json::Map::new(), ..config };
        assert_eq!(meaning(newer), meaning(older), "{name}");
        read += 1;
    }
    assert!(read >= 7, "{read} configurations");
}

#[test]
fn scores_agree() {
    for name in [
        "llama_score",
        "mistral_score",
        "qwen2_score",
        "qwen3_score",
        "gemma3_score",
        "gpt2_score",
        "gpt_neox_score",
    ] {
        let config = ModelConfig::from_folder(&folder(name)).unwrap();
        assert_eq!(config.architecture, Architecture::Score);
        let mut weights = Weights::from_folder(&folder(name)).unwrap();
        let decoder = Decoder::<B>::from_weights(&config, &mut weights, &FlexDevice).unwrap();
        let head = weights.take("score.weight", &[1, config.hidden_size]).unwrap();
        weights.finish().unwrap();
        let head = ScalarHead::<B>::from_weight(head, &FlexDevice);
        let mut expected = Expected::of(name);
        let last: Vec<usize> = (0..3).map(|row| row * TIME + LENGTHS[row] - 1).collect();
        let hidden = decoder.hidden(pad_right(&expected.rows, &FlexDevice));
        let scores = head.forward(select_positions(hidden, &last)).into_data();
        let expected = expected.file.take("scores", &[3, 1]).unwrap();
        assert_close(name, &scores.to_vec::<f32>().unwrap(), &expected);
    }
}
