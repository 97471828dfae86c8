//! Differences of two shares of the same items.

use crate::Rate;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The difference of two shares of the same items, from -1 to 1, with its interval at 95%.
///
/// With `p` and `q` the shares, `l` and `u` the ends of their Wilson intervals, `n` the items and `c` the covariance of the
/// two outcomes of an item:
///
/// ```text
/// low  = p - q - sqrt((p - l_p)² - 2 r (p - l_p) (u_q - q) + (u_q - q)²)
/// high = p - q + sqrt((u_p - p)² - 2 r (u_p - p) (q - l_q) + (q - l_q)²)
/// r    = c' / sqrt(p (1 - p) q (1 - q)),  c' = c if c ≤ 0, else max(0, c - 1/2n)
/// ```
///
/// and `r` = 0 where a share is 0 or 1. Like Wilson's interval, and unlike a bootstrap, it does not shrink to a point where
/// all items agree. Outcomes may lie between 0 and 1; their spread is then taken to be that of outcomes of 0 and 1 with the
/// same mean, which is the largest there is.
///
/// # References
/// Newcombe (1998), "Improved confidence intervals for the difference between binomial proportions based on paired data",
/// Statistics in Medicine 17, pages 2635-2650, method 10.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The difference.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// Size of the sample.
    pub n: usize,
}

impl Difference {
    /// The difference of the means of the first and the second outcomes of items, each from 0 to 1.
    ///
    /// None without items, or if an outcome is out of range.
    pub fn of(outcomes: &[[f64; 2]]) -> Option<Self> {
        if outcomes.iter().flatten().any(|outcome| !(0.0..=1.0).contains(outcome)) {
            return None;
        }
        let n = outcomes.len();
        let sum = |of: fn(&[f64; 2]) -> f64| outcomes.iter().map(of).sum::<f64>();
        let [first, second] = [sum(|pair| pair[0]), sum(|pair| pair[1])];
        let (first, second) = (Rate::new(first, n)?, Rate::new(second, n)?);
        let (p, q) = (first.value, second.value);
        let covariance = outcomes.iter().map(|[x, y]| (x - p) * (y - q)).sum::<f64>() / n as f64;
        let correlation = correlation(covariance, p, q, n as f64);
        let side = |one: f64, other: f64| {
            let square = one.powi(2) - 2.0 * correlation * one * other + other.powi(2);
            square.max(0.0).sqrt()
        };
        Some(Self {
            value: p - q,
            low: p - q - side(p - first.low, second.high - q),
            high: p - q + side(first.high - p, q - second.low),
            n,
        })
    }
}

/// The correlation of outcomes of 0 and 1 with the means `p` and `q`, with a correction for continuity.
fn correlation(covariance: f64, p: f64, q: f64, n: f64) -> f64 {
    let spread = (p * (1.0 - p) * q * (1.0 - q)).sqrt();
    if spread <= 0.0 {
        return 0.0;
    }
    let covariance = if covariance > 0.0 { (covariance - 0.5 / n).max(0.0) } else { covariance };
    (covariance / spread).clamp(-1.0, 1.0)
}

/// `0.25 [-0.02, 0.49] of 64`.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} [{:.2}, {:.2}] of {}", self.value, self.low, self.high, self.n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use language_model::stream;
    use proptest::prelude::*;
    use rand::Rng;

    /// Items by both outcomes: both, the first alone, the second alone, neither.
    fn table(counts: [usize; 4]) -> Difference {
        let outcomes = [[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]];
        let pairs = outcomes.iter().zip(counts).flat_map(|(&pair, count)| vec![pair; count]);
        Difference::of(&pairs.collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn agrees_with_numbers_computed_apart() {
        for (counts, value, low, high) in [
            ([36, 12, 2, 0], 0.2, 0.056_930, 0.340_428),
            ([20, 12, 2, 16], 0.2, 0.056_156, 0.329_207),
            ([2, 12, 2, 34], 0.2, 0.053_704, 0.342_109),
            ([0, 5, 5, 0], 0.0, -0.526_814, 0.526_814),
            ([0, 10, 0, 0], 1.0, 0.607_509, 1.0),
        ] {
            let found = table(counts);
            assert!((found.value - value).abs() < 1e-9, "{counts:?}: {found:?}");
            assert!((found.low - low).abs() < 1e-6, "{counts:?}: {found:?}");
            assert!((found.high - high).abs() < 1e-6, "{counts:?}: {found:?}");
        }
    }

    #[test]
    fn items_that_agree_leave_an_interval() {
        let one = table([1, 0, 0, 0]);
        assert!((one.low + 0.793_451).abs() < 1e-6 && (one.high - 0.793_451).abs() < 1e-6);
        let many = table([10, 0, 0, 10]);
        assert!((many.low + 0.089_757).abs() < 1e-6 && (many.high - 0.089_757).abs() < 1e-6);
        assert_eq!(many.to_string(), "0.00 [-0.09, 0.09] of 20");
        let unmoved = Difference::of(&[[0.5, 0.5]; 4]).unwrap();
        assert!(unmoved.value.abs() < 1e-12 && unmoved.high - unmoved.low > 0.5, "{unmoved:?}");
    }

    #[test]
    fn an_impossible_sample_has_no_difference() {
        assert_eq!(Difference::of(&[]), None);
        for outcome in [-0.1, 1.1, f64::NAN] {
            assert_eq!(Difference::of(&[[0.5, 0.5], [0.5, outcome]]), None);
        }
    }

    /// 2,000 samples of 20 pairs; the first outcome is drawn with 0.7, the second copies it half the time.
    #[test]
    fn intervals_hold_the_truth_as_often_as_they_say() {
        let truth = 0.7 - (0.5 * 0.7 + 0.5 * 0.2);
        let held = (0..2000).filter(|&trial| {
            let mut rng = stream(trial);
            let mut pair = || {
                let first = rng.random_bool(0.7);
                let second = if rng.random_bool(0.5) { first } else { rng.random_bool(0.2) };
                [first, second].map(|outcome| f64::from(u8::from(outcome)))
            };
            let found = Difference::of(&(0..20).map(|_| pair()).collect::<Vec<_>>()).unwrap();
            (found.low..=found.high).contains(&truth)
        });
        let held = held.count() as f64 / 2000.0;
        assert!((0.93..0.98).contains(&held), "{held}");
    }

    proptest! {
        #[test]
        fn holds_the_difference_mirrors_and_stays_in_bounds(
            pairs in prop::collection::vec([0.0..=1.0_f64, 0.0..=1.0_f64], 1..60),
        ) {
            let found = Difference::of(&pairs).unwrap();
            let swapped: Vec<[f64; 2]> = pairs.iter().map(|&[one, other]| [other, one]).collect();
            let mirrored = Difference::of(&swapped).unwrap();
            prop_assert!(-1.0 - 1e-9 <= found.low && found.low <= found.value);
            prop_assert!(found.value <= found.high && found.high <= 1.0 + 1e-9);
            prop_assert!(found.high - found.low > 1e-3);
            prop_assert!((found.low + mirrored.high).abs() < 1e-9);
        }
    }
}
