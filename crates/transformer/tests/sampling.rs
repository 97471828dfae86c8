//! Tokens are drawn from the distributions that the logits processors of `transformers` leave
//! (`fixtures/make_sampling.py`).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use language_model::{Sampling, stream};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use transformer::{SeenTokens, sample};

const DRAWS: usize = 400;

#[derive(Deserialize)]
struct Case {
    sampling: Sampling,
    seen: Vec<u32>,
    logits: Vec<f32>,
    /// The probability of every token that is left.
    left: BTreeMap<u32, f64>,
}

#[test]
fn draws_from_what_the_processors_of_hugging_face_leave() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("fixtures/sampling.json")).unwrap();
    assert!(cases.len() >= 100);
    for (index, Case { sampling, seen, logits, left }) in cases.into_iter().enumerate() {
        let mut seen_tokens = SeenTokens::default();
        seen_tokens.extend(seen);
        let mut rng = stream(5);
        let mut found = BTreeSet::new();
        for _ in 0..DRAWS {
            let drawn = sample(&mut logits.clone(), &seen_tokens, &sampling, &mut rng).unwrap();
            // Equal probabilities mean that the tokens left weigh the same together.
            let expected = left.get(&drawn.token).map_or(f64::NEG_INFINITY, |p| p.ln());
            let difference = (f64::from(drawn.log_prob) - expected).abs();
            assert!(difference < 1e-5, "case {index}: {drawn:?}, expected {expected}");
            found.insert(drawn.token);
        }
        // A token of 5% is missed by 400 draws once in a billion times.
        let likely = left.iter().filter(|&(_, &probability)| probability > 0.05);
        assert!(likely.clone().all(|(token, _)| found.contains(token)), "case {index}");
        assert!(likely.count() > 0 || left.len() > 20);
    }
}
