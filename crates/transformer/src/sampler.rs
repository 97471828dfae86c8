//! Drawing the next token from its logits.

use crate::Error;
use language_model::Sampling;
use rand::Rng;

/// A drawn token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampled {
    /// The token.
    pub token: u32,
    /// Natural logarithm of its probability in the distribution that it was drawn from: after temperature, `top_k`
    /// and `top_p`. At temperature 0 it is 0, since the token was certain.
    pub log_prob: f32,
    /// The same before `top_k` and `top_p`: under softmax(logits / temperature), at temperature 0 under
    /// softmax(logits).
    pub untruncated_log_prob: f32,
}

/// Draws one token from `logits` (`[vocabulary]`), which it overwrites.
///
/// In this order: the logits are divided by the temperature, the `top_k` most likely tokens are kept, of those the
/// smallest set whose probability among them is at least `top_p`, and a token is drawn from what is left. Between
/// equal logits the lower token counts as the more likely one. Temperature 0 takes the most likely token and draws no
/// random number; every other setting draws exactly one, so that rows of one stream stay in step.
///
/// Without `top_k` and `top_p` nothing is sorted and nothing allocated.
///
/// # Errors
/// [`Error::NotFiniteLogit`] if a logit is infinite or not a number, or there is none.
pub fn sample(
    logits: &mut [f32],
    sampling: &Sampling,
    rng: &mut impl Rng,
) -> Result<Sampled, Error> {
    let highest = finite_argmax(logits)?;
    let max = logits[highest];
    if sampling.temperature <= 0.0 {
        let sum: f64 = logits.iter().map(|logit| f64::from((logit - max).exp())).sum();
        return Ok(Sampled {
            token: token(highest),
            log_prob: 0.0,
            untruncated_log_prob: narrow(-sum.ln()),
        });
    }
    // Weights: probabilities times a constant. The most likely token weighs 1.
    let mut sum = 0.0_f64;
    for logit in &mut *logits {
        *logit = ((*logit - max) / sampling.temperature).exp();
        sum += f64::from(*logit);
    }
    let weights = logits;
    let u: f64 = rng.random();
    let top_k = sampling.top_k.filter(|&k| k < weights.len());
    let top_p = sampling.top_p.filter(|&p| p < 1.0);
    let (drawn, kept_sum) = if top_k.is_none() && top_p.is_none() {
        let candidates = weights.iter().enumerate().map(|(index, &weight)| (index, weight));
        (draw(candidates, u * sum).unwrap_or(highest), sum)
    } else {
        let kept = truncated(weights, sum, top_k, top_p);
        let kept_sum = kept.iter().map(|&(_, weight)| f64::from(weight)).sum();
        (draw(kept.iter().copied(), u * kept_sum).unwrap_or(highest), kept_sum)
    };
    let log_weight = f64::from(weights[drawn]).ln();
    Ok(Sampled {
        token: token(drawn),
        log_prob: narrow(log_weight - kept_sum.ln()),
        untruncated_log_prob: narrow(log_weight - sum.ln()),
    })
}

/// The place of the greatest logit, the first of equals.
fn finite_argmax(logits: &[f32]) -> Result<usize, Error> {
    // The bits of a float without its sign order like its magnitude, and whole numbers compare in vector registers.
    let magnitude = logits.iter().fold(0, |most: u32, logit| most.max(logit.to_bits() << 1));
    if logits.is_empty() || magnitude >= f32::INFINITY.to_bits() << 1 {
        let wrong = logits.iter().position(|logit| !logit.is_finite()).unwrap_or(0);
        let value = logits.get(wrong).copied().unwrap_or(f32::NAN);
        return Err(Error::NotFiniteLogit { token: wrong, value });
    }
    let mut best = 0;
    for (index, &logit) in logits.iter().enumerate() {
        if logit > logits[best] {
            best = index;
        }
    }
    Ok(best)
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

/// The tokens that `top_k` and then `top_p` leave, with their weights.
fn truncated(
    weights: &[f32],
    sum: f64,
    top_k: Option<usize>,
    top_p: Option<f32>,
) -> Vec<(usize, f32)> {
    // The set of all tokens of probability at least (1 - p) / n holds the nucleus: those left out sum to less than
    // 1 - p. That leaves few to sort. With `top_k` the sum of those kept is not known yet, so nothing is left out.
    let floor = match (top_k, top_p) {
        (None, Some(p)) => 0.99 * (1.0 - f64::from(p)) * sum / weights.len() as f64,
        _ => 0.0,
    };
    let mut kept: Vec<(usize, f32)> = weights
        .iter()
        .enumerate()
        .map(|(index, &weight)| (index, weight))
        .filter(|&(_, weight)| f64::from(weight) >= floor)
        .collect();
    let likelier = |a: &(usize, f32), b: &(usize, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    let mut kept_sum = sum;
    if let Some(k) = top_k {
        kept.select_nth_unstable_by(k - 1, likelier);
        kept.truncate(k);
        kept_sum = kept.iter().map(|&(_, weight)| f64::from(weight)).sum();
    }
    if let Some(p) = top_p {
        kept.sort_unstable_by(likelier);
        let mut running = 0.0;
        let reached = kept.iter().position(|&(_, weight)| {
            running += f64::from(weight);
            running >= f64::from(p) * kept_sum
        });
        kept.truncate(reached.map_or(kept.len(), |last| last + 1));
    }
    kept
}

fn token(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

#[allow(clippy::cast_possible_truncation, reason = "a log-probability needs no more than f32")]
fn narrow(log_prob: f64) -> f32 {
    log_prob as f32
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
    fn extreme_settings_stay_sound() {
        let mut logits = vec![f32::MAX, f32::MIN, 0.0];
        let drawn = sample(&mut logits, &with(f32::from_bits(1), None, None), &mut stream(1));
        assert_eq!(drawn.unwrap(), Sampled { token: 0, log_prob: 0.0, untruncated_log_prob: 0.0 });
    }

    proptest! {
        #[test]
        fn draws_from_the_kept_tokens(
            logits in prop::collection::vec(-30.0_f32..30.0, 1..40),
            temperature in 0.05_f32..4.0,
            top_k in prop::option::of(1_usize..50),
            top_p in prop::option::of(0.01_f32..=1.0),
            seed in any::<u64>(),
        ) {
            let sampling = with(temperature, top_k, top_p);
            let drawn = sample(&mut logits.clone(), &sampling, &mut stream(seed)).unwrap();
            prop_assert!((drawn.token as usize) < logits.len());
            prop_assert!(drawn.log_prob <= 1e-6 && drawn.log_prob.is_finite());
            prop_assert!(drawn.untruncated_log_prob <= drawn.log_prob + 1e-6);
            let logit = logits[drawn.token as usize];
            let likelier = logits.iter().filter(|&&other| other > logit).count();
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
        fn one_draw_a_token(seed in any::<u64>(), top_p in prop::option::of(0.1_f32..0.9)) {
            let (mut one, mut other) = (stream(seed), stream(seed));
            sample(&mut halves(), &with(1.0, None, top_p), &mut one).unwrap();
            let _: f64 = other.random();
            prop_assert_eq!(one.random::<u64>(), other.random::<u64>());
        }
    }
}
