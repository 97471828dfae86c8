//! Shares of a sample, with their uncertainty.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The 97.5% quantile of the standard normal distribution.
pub(crate) const Z: f64 = 1.959_963_984_540_054;

/// A share of a sample with its Wilson score interval at 95%.
///
/// With `p` the share, `n` the sample and `z` = 1.96:
///
/// ```text
/// (p + z²/2n ± z sqrt(p (1 - p) / n + z²/4n²)) / (1 + z²/n)
/// ```
///
/// Unlike the normal interval it stays in \[0, 1\] and does not shrink to a point at 0 or 1.
///
/// # References
/// Wilson (1927), "Probable inference, the law of succession, and statistical inference", JASA 22, pages
/// 209-212.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// The share found.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// Size of the sample.
    pub n: usize,
}

impl Rate {
    /// `successes` of `n`, where a tie counts as half a success.
    ///
    /// None if `n` is 0 or `successes` is not from 0 to `n`.
    pub fn new(successes: f64, n: usize) -> Option<Self> {
        let size = n as f64;
        if n == 0 || !(0.0..=size).contains(&successes) {
            return None;
        }
        let value = successes / size;
        let [low, high] = wilson(value, size);
        Some(Self { value, low, high, n })
    }
}

/// The interval of a share of a sample of `size`, above 0.
pub(crate) fn wilson(value: f64, size: f64) -> [f64; 2] {
    let spread = Z * Z / size;
    let center = value + spread / 2.0;
    let half = Z * (value * (1.0 - value) / size + spread / (4.0 * size)).sqrt();
    let [low, high] =
        [center - half, center + half].map(|end| (end / (1.0 + spread)).clamp(0.0, 1.0));
    // Where the share is 0 or 1 it is an end of the interval, which rounding would leave it out of.
    [low.min(value), high.max(value)]
}

/// The share of `true`; none of an empty sample.
pub fn rate(outcomes: impl IntoIterator<Item = bool>) -> Option<Rate> {
    let (successes, n) =
        outcomes.into_iter().fold((0, 0), |(yes, n), outcome| (yes + u32::from(outcome), n + 1));
    Rate::new(f64::from(successes), n)
}

/// `31.3% [28.0, 34.9] of 680`.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [value, low, high] = [self.value, self.low, self.high].map(|share| 100.0 * share);
        write!(f, "{value:.1}% [{low:.1}, {high:.1}] of {}", self.n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn agrees_with_numbers_computed_by_hand() {
        // z² = 3.84146. Of 10: 0 successes give z²/n / (1 + z²/n) = 0.384146 / 1.384146 at the upper end.
        let cases = [
            (0.0, 10, 0.0, 0.277_533),
            (5.0, 10, 0.236_593, 0.763_407),
            (10.0, 10, 0.722_467, 1.0),
            (213.0, 680, 0.279_506, 0.349_063),
            (1.0, 1, 0.206_549, 1.0),
        ];
        for (successes, n, low, high) in cases {
            let rate = Rate::new(successes, n).unwrap();
            assert!((rate.value - successes / n as f64).abs() < 1e-12);
            assert!((rate.low - low).abs() < 1e-6, "{rate:?}");
            assert!((rate.high - high).abs() < 1e-6, "{rate:?}");
        }
    }

    #[test]
    fn counts_what_is_true() {
        let rate = rate([true, false, true, false, false]).unwrap();
        assert_eq!((rate.value.to_bits(), rate.n), (0.4_f64.to_bits(), 5));
        assert_eq!(rate.to_string(), "40.0% [11.8, 76.9] of 5");
    }

    #[test]
    fn none_and_all_are_ends_of_their_intervals() {
        for n in 1..1000 {
            let none = Rate::new(0.0, n).unwrap();
            let all = Rate::new(n as f64, n).unwrap();
            assert_eq!((none.low.to_bits(), all.high.to_bits()), (0, 1.0_f64.to_bits()), "{n}");
        }
    }

    #[test]
    fn an_impossible_sample_has_no_rate() {
        assert_eq!(rate([]), None);
        for successes in [-1.0, 4.0, f64::NAN] {
            assert_eq!(Rate::new(successes, 3), None);
        }
    }

    #[test]
    fn survives_the_disk() {
        let rate = Rate::new(213.0, 680).unwrap();
        let json = serde_json::to_string(&rate).unwrap();
        assert_eq!(serde_json::from_str::<Rate>(&json).unwrap(), rate);
    }

    proptest! {
        #[test]
        fn holds_the_share_and_mirrors(successes in 0_u32..500, failures in 0_u32..500) {
            prop_assume!(successes + failures > 0);
            let n = (successes + failures) as usize;
            let rate = Rate::new(f64::from(successes), n).unwrap();
            let mirrored = Rate::new(f64::from(failures), n).unwrap();
            prop_assert!(0.0 <= rate.low && rate.low <= rate.value);
            prop_assert!(rate.value <= rate.high && rate.high <= 1.0);
            prop_assert!((rate.low - (1.0 - mirrored.high)).abs() < 1e-9);
        }
    }
}
