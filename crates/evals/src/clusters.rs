//! Shares of samples in which several outcomes share a prompt.

use crate::Rate;
use crate::rate::wilson;

/// Outcomes of one prompt, or `copies` prompts with the same ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cluster {
    /// Successes, a tie being half of one.
    pub(crate) successes: f64,
    /// Outcomes.
    pub(crate) outcomes: f64,
    /// How many clusters like this there are.
    pub(crate) copies: f64,
}

/// The share of `true` among outcomes that are grouped by prompt; none of an empty sample.
///
/// Replies to one prompt are alike, so that `n` of them say less than `n` replies to as many prompts. The interval is
/// Wilson's, as of a [`Rate`], for the number of independent outcomes that would say as much. With `p` the share, `n` the
/// outcomes, `G` the prompts that have one, and `x_gi` outcome `i` of prompt `g`, 0 or 1:
///
/// ```text
/// variance          V = G/(G - 1) Σ_g (Σ_i (x_gi - p))² / n²
/// design effect     d = max(1, V / (p (1 - p) / (n - 1)))
/// effective sample  n / d
/// ```
///
/// `V` is the square of the cluster-robust standard error. With one outcome a prompt `d` is 1, and the interval that of
/// [`rate`](crate::rate). Where all outcomes are equal, or all of one prompt, nothing shows how alike the outcomes of a
/// prompt are; the effective sample is then `G`, as if they were all the same. [`Rate::n`] is `n`.
///
/// ```
/// use evals::{rate, rate_by_prompt};
///
/// let alike = rate_by_prompt([[true, true], [false, false], [false, false]]).unwrap();
/// let all = rate([true, true, false, false, false, false]).unwrap();
/// assert_eq!(alike.value, all.value);
/// assert!(alike.high - alike.low > all.high - all.low);
/// ```
///
/// # References
/// Miller (2024), "Adding error bars to evals", arXiv 2411.00640, section 2.2, for the standard error; Korn and Graubard
/// (1998), "Confidence intervals for proportions with small expected number of positive counts estimated from survey
/// data", Survey Methodology 24, pages 193-201, for the effective sample in an interval for independent outcomes.
pub fn rate_by_prompt<Outcomes>(prompts: impl IntoIterator<Item = Outcomes>) -> Option<Rate>
where
    Outcomes: IntoIterator<Item = bool>,
{
    let count = |outcomes: Outcomes| {
        let add = |(yes, n): (u32, usize), outcome| (yes + u32::from(outcome), n + 1);
        outcomes.into_iter().fold((0, 0), add)
    };
    let counts: Vec<(u32, usize)> =
        prompts.into_iter().map(count).filter(|&(_, n)| n > 0).collect();
    let n: usize = counts.iter().map(|(_, n)| n).sum();
    let clusters = counts.iter().map(|&(yes, n)| Cluster {
        successes: f64::from(yes),
        outcomes: n as f64,
        copies: 1.0,
    });
    let (value, [low, high]) = share(&clusters.collect::<Vec<_>>())?;
    Some(Rate { value, low, high, n })
}

/// The share of successes of clusters and its interval; none without outcomes.
pub(crate) fn share(clusters: &[Cluster]) -> Option<(f64, [f64; 2])> {
    let sum = |of: fn(&Cluster) -> f64| clusters.iter().map(|one| one.copies * of(one)).sum();
    let (n, successes): (f64, f64) = (sum(|one| one.outcomes), sum(|one| one.successes));
    if n <= 0.0 {
        return None;
    }
    // Rounding must not leave [0, 1].
    let value = (successes / n).clamp(0.0, 1.0);
    Some((value, wilson(value, effective_sample(clusters, value, n))))
}

/// The number of independent outcomes that would say as much of a share `value` as the `n` outcomes of the clusters.
pub(crate) fn effective_sample(clusters: &[Cluster], value: f64, n: f64) -> f64 {
    let spread = value * (1.0 - value);
    let count: f64 = clusters.iter().map(|one| one.copies).sum();
    if spread <= 0.0 || count <= 1.0 || n <= 1.0 {
        return n.min(count);
    }
    let squares: f64 = clusters
        .iter()
        .map(|one| one.copies * (one.successes - one.outcomes * value).powi(2))
        .sum();
    let variance = count / (count - 1.0) * squares / n.powi(2);
    n / (variance * (n - 1.0) / spread).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rate;
    use language_model::stream;
    use proptest::prelude::*;
    use rand::Rng;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
    }

    #[test]
    fn agrees_with_numbers_computed_by_hand() {
        // p = 1/2 of 6. Residuals by prompt: 1, 0, -1. V = 3/2 * 2 / 36 = 1/12; d = 1/12 / (1/4 / 5) = 5/3; 6 / d = 3.6.
        let found = rate_by_prompt([[true, true], [true, false], [false, false]]).unwrap();
        let [low, high] = wilson(0.5, 3.6);
        assert_eq!(found.n, 6);
        close(found.value, 0.5);
        close(found.low, low);
        close(found.high, high);
    }

    #[test]
    fn where_nothing_varies_prompts_count() {
        let none = rate_by_prompt(vec![[false; 17]; 40]).unwrap();
        assert_eq!((none.value.to_bits(), none.n), (0.0_f64.to_bits(), 680));
        close(none.high, rate([false; 40]).unwrap().high);
        let one_prompt = rate_by_prompt([[true, false, true]]).unwrap();
        let [low, high] = wilson(2.0 / 3.0, 1.0);
        close(one_prompt.low, low);
        close(one_prompt.high, high);
    }

    #[test]
    fn prompts_without_outcomes_do_not_count() {
        let some = rate_by_prompt([vec![true], vec![], vec![false, false]]);
        assert_eq!(some, rate_by_prompt([vec![true], vec![false, false]]));
        assert_eq!(rate_by_prompt([Vec::new(), Vec::new()]), None);
        assert_eq!(share(&[]), None);
    }

    /// How often the interval of 30 prompts, 10 outcomes each, holds the truth of 0.3, where a share of the prompts
    /// have ten equal outcomes.
    fn coverage(interval: impl Fn(&[Vec<bool>]) -> Rate, alike: f64) -> f64 {
        let trials = 2000;
        let held = (0..trials).filter(|&trial| {
            let mut rng = stream(trial);
            let mut prompt = || {
                let first = rng.random_bool(0.3);
                let same = rng.random_bool(alike);
                (0..10).map(|_| if same { first } else { rng.random_bool(0.3) }).collect()
            };
            let found = interval(&(0..30).map(|_| prompt()).collect::<Vec<Vec<bool>>>());
            (found.low..=found.high).contains(&0.3)
        });
        held.count() as f64 / trials as f64
    }

    #[test]
    fn intervals_hold_the_truth_as_often_as_they_say() {
        let by_prompt = |sample: &[Vec<bool>]| rate_by_prompt(sample.iter().cloned()).unwrap();
        let all = |sample: &[Vec<bool>]| rate(sample.iter().flatten().copied()).unwrap();
        for alike in [0.0, 0.5, 1.0] {
            let held = coverage(by_prompt, alike);
            assert!((0.91..0.98).contains(&held), "{alike}: {held}");
        }
        assert!(coverage(all, 0.5) < 0.75);
    }

    proptest! {
        #[test]
        fn one_outcome_a_prompt_is_a_plain_rate(outcomes in prop::collection::vec(any::<bool>(), 1..300)) {
            let found = rate_by_prompt(outcomes.iter().map(|&outcome| [outcome])).unwrap();
            let expected = rate(outcomes).unwrap();
            prop_assert_eq!((found.value.to_bits(), found.n), (expected.value.to_bits(), expected.n));
            prop_assert!((found.low - expected.low).abs() < 1e-9, "{} {}", found, expected);
            prop_assert!((found.high - expected.high).abs() < 1e-9, "{} {}", found, expected);
        }

        #[test]
        fn holds_the_share_and_is_never_narrower_than_without_prompts(
            prompts in prop::collection::vec(prop::collection::vec(any::<bool>(), 0..6), 1..40),
        ) {
            let plain = rate(prompts.iter().flatten().copied());
            prop_assume!(plain.is_some());
            let (found, plain) = (rate_by_prompt(prompts).unwrap(), plain.unwrap());
            prop_assert_eq!(found.value.to_bits(), plain.value.to_bits());
            prop_assert!(0.0 <= found.low && found.low <= found.value);
            prop_assert!(found.value <= found.high && found.high <= 1.0);
            prop_assert!(found.high - found.low >= plain.high - plain.low - 1e-9);
        }
    }
}
