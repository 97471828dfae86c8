//! Decoders that compute with 16 bits.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests on tiny models")]

use burn_flex::{Flex, FlexDevice};
use std::path::Path;
use transformer::{Decoder, Engine, Next, Precision, continuation_log_probs, generate, pad_right};

type B = Flex;

const FAMILIES: [&str; 7] =
    ["llama3", "mistral", "qwen2_window", "qwen3", "gemma3", "gpt2", "gpt_neox"];

fn decoder(name: &str) -> Decoder<B> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    Decoder::from_folder(&fixtures.join(name), &FlexDevice).unwrap()
}

fn rows() -> Vec<Vec<u32>> {
    [19, 7, 12].map(|length| (0..length).map(|t| (t * t + 3 * t + 5) % 60 + 1).collect()).to_vec()
}

fn logits(decoder: &Decoder<B>) -> Vec<f32> {
    let hidden = decoder.hidden(pad_right(&rows()[..1], &FlexDevice)).flatten(0, 1);
    decoder.logits(hidden).into_data().iter().collect()
}

/// Every family runs through every road with 16 bits, and gives nearly what it gives with 32.
#[test]
fn sixteen_bits_are_nearly_as_good() {
    for name in FAMILIES {
        let exact = decoder(name);
        let expected = logits(&exact);
        let spread = expected.iter().fold(0.0_f32, |most, logit| most.max(logit.abs()));
        let continuations = vec![vec![vec![3], vec![4, 5]]; 3];
        let weigh = |decoder: &Decoder<B>| {
            continuation_log_probs(decoder, &rows(), &continuations, &Engine::default()).unwrap()
        };
        let weights = weigh(&exact).concat();
        // Two layers, and 11 or 8 significant bits.
        for (precision, tolerance) in [(Precision::F16, 0.02), (Precision::Bf16, 0.15)] {
            let rounded = exact.clone().with_precision(precision).unwrap();
            let found = logits(&rounded);
            let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs());
            let worst = worst.fold(0.0, f32::max) / spread;
            assert!(worst > 0.0 && worst < tolerance, "{name} as {precision:?}: off by {worst}");
            for (found, expected) in weigh(&rounded).concat().iter().zip(&weights) {
                let allowed = 2.0 * f64::from(tolerance) * f64::from(spread);
                assert!((found - expected).abs() < allowed, "{name}: {found} {expected}");
            }
            let mut calls = 0;
            let mut next = |_: usize, logits: &mut [f32]| {
                calls += 1;
                assert!(logits.iter().all(|logit| logit.is_finite()));
                Next::Token(1)
            };
            generate(&rounded, &rows(), 4, &Engine::default(), &mut next).unwrap();
            assert_eq!(calls, 12);
        }
        let again = exact.clone().with_precision(Precision::F32).unwrap();
        assert_eq!(logits(&again), expected);
    }
}

#[test]
fn the_processor_answers_with_32_bits() {
    assert_eq!(Precision::for_answers::<B>(&FlexDevice), Precision::F32);
}
