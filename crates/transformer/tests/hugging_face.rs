//! Tiny random models made by `transformers` (fixtures/make.py) give the numbers that `transformers` computes.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "tests on tiny models"
)]

use burn_flex::{Flex, FlexDevice};
use std::path::{Path, PathBuf};
use transformer::{
    Architecture, Decoder, ModelConfig, ScalarHead, Weights, pad_right, select_positions,
};

type B = Flex;

/// Largest difference allowed; logits are about 1 to 20.
const TOLERANCE: f32 = 1e-4;
const LENGTHS: [usize; 3] = [24, 9, 17];
const VOCABULARY: usize = 61;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The rows of tokens, and what came out for them.
fn expected(name: &str, shape: &[usize]) -> (Vec<Vec<u32>>, Vec<f32>) {
    let mut file = Weights::from_file(&folder(name).join("expected.safetensors")).unwrap();
    let tokens = file.take("tokens", &[3, 24]).unwrap();
    let rows = tokens.chunks(24).zip(LENGTHS);
    let rows = rows.map(|(row, length)| row[..length].iter().map(|&token| token as u32).collect());
    (rows.collect(), file.take("output", shape).unwrap())
}

fn assert_close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    let pairs = found.iter().zip(expected);
    let worst = pairs.map(|(found, expected)| (found - expected).abs()).fold(0.0, f32::max);
    assert!(worst < TOLERANCE, "off by {worst}");
}

#[test]
fn logits_agree() {
    for name in ["grouped_untied", "tied"] {
        let decoder = Decoder::<B>::from_folder(&folder(name), &FlexDevice).unwrap();
        let (rows, expected) = expected(name, &[3, 24, VOCABULARY]);
        let hidden = decoder.hidden(pad_right(&rows, &FlexDevice));
        let mut cache = decoder.cache(3, 24);
        let cached = decoder.hidden_into(pad_right(&rows, &FlexDevice), &LENGTHS, &mut cache);
        for hidden in [hidden, cached] {
            for (row, length) in LENGTHS.into_iter().enumerate() {
                let real: Vec<usize> = (0..length).map(|t| row * 24 + t).collect();
                let logits = decoder.logits(select_positions(hidden.clone(), &real)).into_data();
                let from = row * 24 * VOCABULARY;
                let expected = &expected[from..from + length * VOCABULARY];
                assert_close(&logits.to_vec::<f32>().unwrap(), expected);
            }
        }
    }
}

#[test]
fn scores_agree() {
    let config = ModelConfig::from_folder(&folder("score")).unwrap();
    assert_eq!(config.architecture, Architecture::Score);
    let mut weights = Weights::from_folder(&folder("score")).unwrap();
    let decoder = Decoder::<B>::from_weights(&config, &mut weights, &FlexDevice).unwrap();
    let head = weights.take("score.weight", &[1, config.hidden_size]).unwrap();
    weights.finish().unwrap();
    let head = ScalarHead::<B>::from_weight(head, &FlexDevice);
    let (rows, expected) = expected("score", &[3, 1]);
    let last: Vec<usize> = (0..3).map(|row| row * 24 + LENGTHS[row] - 1).collect();
    let hidden = decoder.hidden(pad_right(&rows, &FlexDevice));
    let scores = head.forward(select_positions(hidden, &last)).into_data();
    assert_close(&scores.to_vec::<f32>().unwrap(), &expected);
}
