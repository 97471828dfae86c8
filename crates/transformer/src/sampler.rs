//! Drawing the next token from its logits.
//!
//! It works on numbers in host memory, whatever the backend, and is no operation on tensors of `kernels`, since every reply
//! has a random stream of its own and keeps the exact log-probabilities of what was drawn, the same on every device.

use crate::Error;
use kernels::{largest_logit, largest_weights, weigh_logits, weights_from};
use language_model::Sampling;
use rand::Rng;
use std::cell::Cell;
use std::collections::HashSet;

/// A drawn token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampled {
    /// The token.
    pub token: u32,
    /// Natural logarithm of its probability in the distribution that it was drawn from: after repetition penalty,
    /// temperature, `top_k`, `top_p` and `min_p`. At temperature 0 it is 0, since the token was certain.
    pub log_prob: f32,
    /// The same as the model alone has it, before the repetition penalty, `top_k`, `top_p` and `min_p`: under
    /// softmax(logits / temperature), at temperature 0 under softmax(logits).
    pub untruncated_log_prob: f32,
}

/// The tokens that a repetition penalty makes less likely: those of the prompt and of the reply so far, each once.
#[derive(Debug, Clone, Default)]
pub struct SeenTokens {
    tokens: Vec<u32>,
    known: HashSet<u32>,
}

impl SeenTokens {
    /// Adds a token.
    pub fn push(&mut self, token: u32) {
        if self.known.insert(token) {
            self.tokens.push(token);
        }
    }

    /// Divides the positive and multiplies the negative among the logits of these tokens; what would be infinite
    /// becomes the greatest number instead.
    fn penalise(&self, logits: &mut [f32], penalty: f32) {
        for &token in &self.tokens {
            if let Some(logit) = logits.get_mut(token as usize) {
                let penalised = if *logit < 0.0 { *logit * penalty } else { *logit / penalty };
                *logit = penalised.clamp(f32::MIN, f32::MAX);
            }
        }
    }
}

impl Extend<u32> for SeenTokens {
    fn extend<I: IntoIterator<Item = u32>>(&mut self, tokens: I) {
        tokens.into_iter().for_each(|token| self.push(token));
    }
}

/// Draws one token from `logits` (`[vocabulary]`), which it overwrites. `seen` are the tokens that the repetition
/// penalty of `sampling` counts as repetitions; without one they do not matter.
///
/// In this order: the logits of the tokens seen are penalised, all are divided by the temperature, the `top_k` most
/// likely tokens are kept, of those the smallest set whose probability among them is at least `top_p`, of those the
/// tokens at least `min_p` times as likely as the most likely one, and a token is drawn from what is left. Between equal
/// logits the lower token counts as the more likely one. Temperature 0 takes the most likely token and draws no random
/// number; every other setting draws exactly one, so that rows of one stream stay in step.
///
/// These are the logits processors of Hugging Face's `transformers` in their order. Two things differ: `top_k` keeps
/// exactly `k` tokens where `transformers` keeps all that equal the last of them, and a penalised logit stays finite.
///
/// Only what may belong to the nucleus of `top_p` is sorted, and every thread uses the same memory again and again. A
/// penalty costs a copy of the logits and another pass over them, for [`Sampled::untruncated_log_prob`].
///
/// # Errors
/// [`Error::NotFiniteLogit`] if a logit is infinite or not a number, or there is none.
pub fn sample(
    logits: &mut [f32],
    seen: &SeenTokens,
    sampling: &Sampling,
    rng: &mut impl Rng,
) -> Result<Sampled, Error> {
    let mut scratch = SCRATCH.take();
    let sampled = sample_with(&mut scratch, logits, seen, sampling, rng);
    SCRATCH.set(scratch);
    sampled
}

thread_local! {
    /// Of the rows that this thread draws from, one after the other.
    static SCRATCH: Cell<Scratch> =
        const { Cell::new(Scratch { raw: Vec::new(), kept: Vec::new(), bits: Vec::new() }) };
}

/// Memory that is used again.
#[derive(Default)]
struct Scratch {
    /// The logits before a penalty.
    raw: Vec<f32>,
    /// The tokens that `top_k` and `top_p` leave, with their weights.
    kept: Vec<(usize, f32)>,
    /// What finding them takes.
    bits: Vec<u32>,
}

fn sample_with(
    scratch: &mut Scratch,
    logits: &mut [f32],
    seen: &SeenTokens,
    sampling: &Sampling,
    rng: &mut impl Rng,
) -> Result<Sampled, Error> {
    let highest = finite_argmax(logits)?;
    let Some(penalty) = sampling.repetition_penalty else {
        return Ok(draw_from(logits, highest, sampling, rng, scratch));
    };
    scratch.raw.clear();
    scratch.raw.extend_from_slice(logits);
    seen.penalise(logits, penalty);
    let likeliest = finite_argmax(logits)?;
    let mut sampled = draw_from(logits, likeliest, sampling, rng, scratch);
    let raw = &mut scratch.raw;
    let temperature = if sampling.temperature > 0.0 { sampling.temperature } else { 1.0 };
    let largest = raw[highest];
    let drawn = f64::from((raw[sampled.token as usize] - largest) / temperature);
    let sum = weigh_logits(raw, largest, temperature);
    sampled.untruncated_log_prob = narrow(drawn - sum.ln());
    Ok(sampled)
}

/// Draws from finite logits, whose greatest is at `highest`.
fn draw_from(
    logits: &mut [f32],
    highest: usize,
    sampling: &Sampling,
    rng: &mut impl Rng,
    scratch: &mut Scratch,
) -> Sampled {
    let max = logits[highest];
    if sampling.temperature <= 0.0 {
        let sum = weigh_logits(logits, max, 1.0);
        return Sampled {
            token: token(highest),
            log_prob: 0.0,
            untruncated_log_prob: narrow(-sum.ln()),
        };
    }
    // Weights: probabilities times a constant. The most likely token weighs 1.
    let sum = weigh_logits(logits, max, sampling.temperature);
    let weights = logits;
    let u: f64 = rng.random();
    let top_k = sampling.top_k.filter(|&k| k < weights.len());
    let top_p = sampling.top_p.filter(|&p| p < 1.0);
    let min_weight = sampling.min_p.unwrap_or(0.0);
    let (drawn, kept_sum) = if top_k.is_none() && top_p.is_none() {
        let candidates = weights.iter().enumerate().map(|(index, &weight)| (index, weight));
        let candidates = candidates.filter(|&(_, weight)| weight >= min_weight);
        let kept_sum = if min_weight > 0.0 { total(candidates.clone()) } else { sum };
        (draw(candidates, u * kept_sum), kept_sum)
    } else {
        truncate(weights, sum, top_k, top_p, scratch);
        scratch.kept.retain(|&(_, weight)| weight >= min_weight);
        let candidates = scratch.kept.iter().copied();
        let kept_sum = total(candidates.clone());
        (draw(candidates, u * kept_sum), kept_sum)
    };
    let drawn = drawn.unwrap_or(highest);
    let log_weight = f64::from(weights[drawn]).ln();
    Sampled {
        token: token(drawn),
        log_prob: narrow(log_weight - kept_sum.ln()),
        untruncated_log_prob: narrow(log_weight - sum.ln()),
    }
}

fn total(candidates: impl Iterator<Item = (usize, f32)>) -> f64 {
    candidates.map(|(_, weight)| f64::from(weight)).sum()
}

/// The place of the greatest logit, the first of equals.
fn finite_argmax(logits: &[f32]) -> Result<usize, Error> {
    largest_logit(logits).map_err(|token| {
        let value = logits.get(token).copied().unwrap_or(f32::NAN);
        Error::NotFiniteLogit { token, value }
    })
}

/// The first candidate at which the running sum of weights exceeds `threshold`; the last one with any weight if
/// rounding keeps the sum below it.
fn draw(candidates: impl Iterator<Item = (usize, f32)>, threshold: f64) -> Option<usize> {
    let mut running = 0.0;
    let mut last = None;
    for (index, weight) in candidates {
        if weight > 0.0 {
            running += f64::from(weight);
            last = Some(index);
            if running > threshold {
                break;
            }
        }
    }
    last
}

/// Keeps in `scratch` the tokens that `top_k` and then `top_p` leave: those of `top_k` in the order of the vocabulary, those
/// of `top_p` the likeliest first.
fn truncate(
    weights: &[f32],
    sum: f64,
    top_k: Option<usize>,
    top_p: Option<f32>,
    scratch: &mut Scratch,
) {
    let Scratch { kept, bits, .. } = scratch;
    let mut kept_sum = sum;
    if let Some(k) = top_k {
        largest_weights(weights, k, kept, bits);
        kept_sum = total(kept.iter().copied());
    } else {
        // The set of all tokens of probability at least (1 - p) / n holds the nucleus: those left out sum to less than
        // 1 - p. That leaves few to sort.
        let left_out = 1.0 - f64::from(top_p.unwrap_or(1.0));
        weights_from(weights, narrow(0.99 * left_out * sum / weights.len() as f64), kept);
    }
    if let Some(p) = top_p {
        keep_nucleus(kept, f64::from(p) * kept_sum);
    }
}

/// Keeps the likeliest tokens that together weigh at least `least`; between equal ones the lower token is the likelier one.
fn keep_nucleus(kept: &mut Vec<(usize, f32)>, least: f64) {
    kept.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let mut running = 0.0;
    let reached = kept.iter().position(|&(_, weight)| {
        running += f64::from(weight);
        running >= least
    });
    kept.truncate(reached.map_or(kept.len(), |last| last + 1));
}

fn token(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

#[allow(clippy::cast_possible_truncation, reason = "no more than f32 is needed")]
fn narrow(number: f64) -> f32 {
    number as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use language_model::stream;
    use proptest::prelude::*;
    use rand::Rng;

    fn with(temperature: f32, top_k: Option<usize>, top_p: Option<f32>) -> Sampling {
        Sampling { temperature, top_k, top_p, ..Sampling::default() }
    }

    /// Logits of the probabilities 1/2, 1/4, 1/8, 1/8.
    fn halves() -> Vec<f32> {
        [0.5_f32, 0.25, 0.125, 0.125].map(f32::ln).to_vec()
    }

    fn seen(tokens: &[u32]) -> SeenTokens {
        let mut seen = SeenTokens::default();
        seen.extend(tokens.iter().copied());
        seen
    }

    /// Without tokens seen.
    fn sample(
        logits: &mut [f32],
        sampling: &Sampling,
        rng: &mut impl Rng,
    ) -> Result<Sampled, Error> {
        super::sample(logits, &SeenTokens::default(), sampling, rng)
    }

    fn frequencies(logits: &[f32], sampling: &Sampling, draws: u16) -> Vec<f64> {
        let mut rng = stream(7);
        let mut counts = vec![0.0; logits.len()];
        for _ in 0..draws {
            let drawn = sample(&mut logits.to_vec(), sampling, &mut rng).unwrap();
            counts[drawn.token as usize] += 1.0 / f64::from(draws);
        }
        counts
    }

    /// Pearson's statistic per draw; its expectation is (tokens - 1) / draws.
    fn distance(found: &[f64], expected: &[f64]) -> f64 {
        found
            .iter()
            .zip(expected)
            .map(|(f, e)| if *e > 0.0 { (f - e).powi(2) / e } else { f64::INFINITY * f })
            .filter(|term| !term.is_nan())
            .sum()
    }

    #[test]
    fn temperature_zero_takes_the_first_of_the_greatest() {
        let mut logits = vec![0.0, 2.0, 1.0, 2.0];
        let drawn = sample(&mut logits, &with(0.0, None, None), &mut stream(1)).unwrap();
        assert_eq!((drawn.token, drawn.log_prob), (1, 0.0));
        let sum = 1.0 + 2.0 * 2.0_f32.exp() + 1.0_f32.exp();
        assert!((drawn.untruncated_log_prob - (2.0 - sum.ln())).abs() < 1e-6);
    }

    #[test]
    fn log_probs_are_those_of_the_distribution_drawn_from() {
        // Temperature 1/2 squares the probabilities: 16, 4, 1, 1 of 22. The nucleus of 0.9 is the first two: 20.
        let sampling = with(0.5, None, Some(0.9));
        for seed in 0..20 {
            let drawn = sample(&mut halves(), &sampling, &mut stream(seed)).unwrap();
            let weight: f32 = [16.0, 4.0][drawn.token as usize];
            assert!((drawn.log_prob - (weight / 20.0).ln()).abs() < 1e-6);
            assert!((drawn.untruncated_log_prob - (weight / 22.0).ln()).abs() < 1e-6);
        }
    }

    #[test]
    fn frequencies_are_the_probabilities() {
        // The 99.99% quantile of chi-square with 3 degrees of freedom is 21.1.
        let bound = 21.1 / 20_000.0;
        let plain = frequencies(&halves(), &with(1.0, None, None), 20_000);
        assert!(distance(&plain, &[0.5, 0.25, 0.125, 0.125]) < bound);
        let hot = frequencies(&halves(), &with(2.0, None, None), 20_000);
        let roots = [0.5_f64, 0.25, 0.125, 0.125].map(f64::sqrt);
        let sum: f64 = roots.iter().sum();
        assert!(distance(&hot, &roots.map(|root| root / sum)) < bound);
        let two = frequencies(&halves(), &with(1.0, Some(2), None), 20_000);
        assert!(distance(&two, &[2.0 / 3.0, 1.0 / 3.0, 0.0, 0.0]) < bound);
    }

    #[test]
    fn truncation_keeps_the_lower_of_equal_tokens() {
        let three = frequencies(&halves(), &with(1.0, Some(3), None), 500);
        assert!(three[2] > 0.0 && three[3] <= 0.0);
        // 1/2 + 1/4 + 1/8 is exactly 0.875: at least that much needs three tokens, a little more needs all.
        let nucleus = frequencies(&halves(), &with(1.0, None, Some(0.87)), 500);
        assert!(nucleus[2] > 0.0 && nucleus[3] <= 0.0);
        let all = frequencies(&halves(), &with(1.0, None, Some(0.88)), 500);
        assert!(all[3] > 0.0);
    }

    #[test]
    fn top_p_counts_within_top_k() {
        // Of the two kept the first has 2/3: a nucleus of 0.6 is that token alone.
        let found = frequencies(&halves(), &with(1.0, Some(2), Some(0.6)), 200);
        assert!(found[0] > 0.999);
    }

    #[test]
    fn min_p_is_a_share_of_the_most_likely() {
        // Half of 1/2 is 1/4, which is kept; 1/8 is not.
        let min_p = |min_p, top_p| Sampling { min_p: Some(min_p), ..with(1.0, None, top_p) };
        let bound = 21.1 / 20_000.0;
        let two = frequencies(&halves(), &min_p(0.499, None), 20_000);
        assert!(distance(&two, &[2.0 / 3.0, 1.0 / 3.0, 0.0, 0.0]) < bound);
        let all = frequencies(&halves(), &min_p(0.0, None), 20_000);
        assert!(distance(&all, &[0.5, 0.25, 0.125, 0.125]) < bound);
        // Behind a nucleus of three tokens it still measures against the most likely one.
        let nucleus = frequencies(&halves(), &min_p(0.499, Some(0.87)), 20_000);
        assert!(distance(&nucleus, &[2.0 / 3.0, 1.0 / 3.0, 0.0, 0.0]) < bound);
        // At 1 the most likely token and those that equal it are left.
        let equal = frequencies(&[1.0, 3.0, 3.0], &min_p(1.0, None), 500);
        assert!(equal[0] <= 0.0 && equal[1] > 0.3 && equal[2] > 0.3);
        let drawn = sample(&mut halves(), &min_p(0.499, None), &mut stream(1)).unwrap();
        let probability = [0.5_f32, 0.25][drawn.token as usize];
        assert!((drawn.log_prob - (probability / 0.75).ln()).abs() < 1e-6);
        assert!((drawn.untruncated_log_prob - probability.ln()).abs() < 1e-6);
    }

    #[test]
    fn a_penalty_divides_positive_and_multiplies_negative_logits() {
        let logits = [2.0_f32, -1.0, 0.0, 1.0];
        let sampling = Sampling { repetition_penalty: Some(2.0), ..Sampling::default() };
        // Tokens 0 and 1 have been seen, token 0 twice: 1, -2, 0, 1. Token 9 is not in the vocabulary.
        let seen = seen(&[0, 1, 0, 9]);
        let weights = [1.0_f64, -2.0, 0.0, 1.0].map(f64::exp);
        let raw: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
        let (mut rng, mut found) = (stream(3), [0.0; 4]);
        for _ in 0..20_000 {
            let drawn = super::sample(&mut logits.clone(), &seen, &sampling, &mut rng).unwrap();
            let token = drawn.token as usize;
            found[token] += 1.0 / 20_000.0;
            let expected = (weights[token] / weights.iter().sum::<f64>()).ln();
            assert!((f64::from(drawn.log_prob) - expected).abs() < 1e-6);
            let expected = f64::from(logits[token]) - raw.ln();
            assert!((f64::from(drawn.untruncated_log_prob) - expected).abs() < 1e-6);
        }
        let expected = weights.map(|weight| weight / weights.iter().sum::<f64>());
        assert!(distance(&found, &expected) < 21.1 / 20_000.0);
    }

    #[test]
    fn a_penalty_changes_what_is_most_likely() {
        let sampling = Sampling { repetition_penalty: Some(4.0), ..with(0.0, None, None) };
        let drawn =
            super::sample(&mut [2.0, 1.0, 0.0], &seen(&[0]), &sampling, &mut stream(1)).unwrap();
        assert_eq!((drawn.token, drawn.log_prob), (1, 0.0));
        let sum = 2.0_f32.exp() + 1.0_f32.exp() + 1.0;
        assert!((drawn.untruncated_log_prob - (1.0 - sum.ln())).abs() < 1e-6);
    }

    #[test]
    fn a_penalised_logit_stays_finite() {
        for penalty in [f32::MIN_POSITIVE, f32::MAX] {
            let sampling = Sampling { repetition_penalty: Some(penalty), ..Sampling::default() };
            let mut logits = [f32::MAX, f32::MIN, 5.0, -5.0];
            let seen = seen(&[0, 1, 2, 3]);
            let drawn = super::sample(&mut logits, &seen, &sampling, &mut stream(1)).unwrap();
            assert!(drawn.log_prob.is_finite(), "{drawn:?}");
        }
    }

    #[test]
    fn refuses_what_is_not_finite() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for sampling in [with(0.0, None, None), with(1.0, Some(2), Some(0.5))] {
                let error = sample(&mut [0.0, bad, 1.0], &sampling, &mut stream(1)).unwrap_err();
                assert!(matches!(error, Error::NotFiniteLogit { token: 1, .. }), "{error}");
            }
        }
        assert!(sample(&mut [], &Sampling::default(), &mut stream(1)).is_err());
    }

    #[test]
    fn a_row_sees_nothing_of_the_one_before() {
        let sampling = Sampling { repetition_penalty: Some(1.5), ..with(1.0, Some(3), Some(0.9)) };
        let long: Vec<f32> = (0..1000).map(|i| (i as f32 * 0.37).sin() * 8.0).collect();
        let draw = || super::sample(&mut halves(), &seen(&[1]), &sampling, &mut stream(1)).unwrap();
        let expected = draw();
        super::sample(&mut long.clone(), &seen(&[5]), &sampling, &mut stream(2)).unwrap();
        assert_eq!(draw(), expected);
        let elsewhere = std::thread::scope(|scope| scope.spawn(draw).join().unwrap());
        assert_eq!(elsewhere, expected);
    }

    #[test]
    fn extreme_settings_stay_sound() {
        let mut logits = vec![f32::MAX, f32::MIN, 0.0];
        let drawn = sample(&mut logits, &with(f32::from_bits(1), None, None), &mut stream(1));
        assert_eq!(drawn.unwrap(), Sampled { token: 0, log_prob: 0.0, untruncated_log_prob: 0.0 });
    }

    /// What `top_k` and then `top_p` leave, by sorting all.
    fn left(weights: &[f32], top_k: Option<usize>, top_p: Option<f32>) -> Vec<(usize, f32)> {
        let mut all: Vec<(usize, f32)> = weights.iter().copied().enumerate().collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        all.truncate(top_k.unwrap_or(weights.len()));
        let Some(p) = top_p else {
            all.sort_by_key(|&(place, _)| place);
            return all;
        };
        let least = f64::from(p) * total(all.iter().copied());
        let reached = |count: &usize| total(all[..*count].iter().copied()) >= least;
        let count = (1..=all.len()).find(reached).unwrap_or(all.len());
        all.truncate(count);
        all
    }

    proptest! {
        #[test]
        fn what_is_left_is_what_sorting_all_leaves(
            // Their sums are exact in every order.
            eighths in prop::collection::vec(0_u8..=8, 1..600),
            top_k in prop::option::of(1_usize..700),
            top_p in prop::option::of(0.01_f32..1.0),
        ) {
            let weights: Vec<f32> = eighths.into_iter().map(|n| f32::from(n) / 8.0).collect();
            let sum = weights.iter().copied().map(f64::from).sum();
            let mut scratch = Scratch::default();
            truncate(&weights, sum, top_k, top_p, &mut scratch);
            prop_assert_eq!(scratch.kept, left(&weights, top_k, top_p));
        }

        #[test]
        fn draws_from_the_kept_tokens(
            logits in prop::collection::vec(-30.0_f32..30.0, 1..40),
            temperature in 0.05_f32..4.0,
            top_k in prop::option::of(1_usize..50),
            top_p in prop::option::of(0.01_f32..=1.0),
            min_p in prop::option::of(0.0_f32..=1.0),
            seed in any::<u64>(),
        ) {
            let sampling = Sampling { min_p, ..with(temperature, top_k, top_p) };
            let drawn = sample(&mut logits.clone(), &sampling, &mut stream(seed)).unwrap();
            prop_assert!((drawn.token as usize) < logits.len());
            prop_assert!(drawn.log_prob <= 1e-6 && drawn.log_prob.is_finite());
            prop_assert!(drawn.untruncated_log_prob <= drawn.log_prob + 1e-6);
            let logit = logits[drawn.token as usize];
            let likelier = logits.iter().filter(|&&other| other > logit).count();
            let most = logits.iter().copied().fold(f32::MIN, f32::max);
            let share = ((logit - most) / temperature).exp();
            prop_assert!(min_p.is_none_or(|p| share >= p - 1e-5));
            prop_assert!(top_k.is_none_or(|k| likelier < k));
            // The tokens that are likelier than the drawn one have less than `top_p` of those that `top_k` keeps.
            let mut probabilities: Vec<f64> =
                logits.iter().map(|l| (f64::from(*l) / f64::from(temperature)).exp()).collect();
            probabilities.sort_by(|a, b| b.total_cmp(a));
            probabilities.truncate(top_k.unwrap_or(usize::MAX));
            let sum: f64 = probabilities.iter().sum();
            let above: f64 = probabilities.iter().take(likelier).sum();
            prop_assert!(top_p.is_none_or(|p| above / sum < f64::from(p) + 1e-5));
        }

        #[test]
        fn a_penalty_of_one_changes_nothing(
            logits in prop::collection::vec(-30.0_f32..30.0, 1..40),
            tokens in prop::collection::vec(0..50_u32, 0..20),
            temperature in 0.0_f32..4.0,
            seed in any::<u64>(),
        ) {
            let plain = with(temperature, Some(5), Some(0.9));
            let one = Sampling { repetition_penalty: Some(1.0), ..plain.clone() };
            let expected = sample(&mut logits.clone(), &plain, &mut stream(seed)).unwrap();
            let found =
                super::sample(&mut logits.clone(), &seen(&tokens), &one, &mut stream(seed)).unwrap();
            prop_assert_eq!(found.token, expected.token);
            prop_assert!((found.log_prob - expected.log_prob).abs() < 1e-5);
            let difference = found.untruncated_log_prob - expected.untruncated_log_prob;
            prop_assert!(difference.abs() < 1e-4);
        }

        #[test]
        fn one_draw_a_token(seed in any::<u64>(), top_p in prop::option::of(0.1_f32..0.9)) {
            let (mut one, mut other) = (stream(seed), stream(seed));
            sample(&mut halves(), &with(1.0, None, top_p), &mut one).unwrap();
            let _: f64 = other.random();
            prop_assert_eq!(one.random::<u64>(), other.random::<u64>());
        }
    }
}
