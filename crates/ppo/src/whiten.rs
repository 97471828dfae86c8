//! Whitening over all tokens of a set of replies.

use crate::precision::narrow;
use serde::{Deserialize, Serialize};

/// Added to the variance, so that equal numbers do not divide by 0.
const EPSILON: f64 = 1e-8;

/// The divisor of the variance of `n` numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Variance {
    /// `n`.
    Biased,
    /// `n - 1`; one number alone has variance 0.
    #[default]
    Unbiased,
}

/// The numbers that mean and variance are taken of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Over {
    /// None: nothing is whitened.
    Nothing,
    /// Those of each optimiser step by themselves.
    Minibatch,
    /// All of the round.
    #[default]
    Round,
}

/// How numbers are whitened.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `over` | `"round"` | `"nothing"`, `"minibatch"` or `"round"`, see [`Over`]; `"minibatch"` is for advantages alone |
/// | `variance` | `"unbiased"` | `"biased"` or `"unbiased"`, see [`Variance`] |
/// | `shift_mean` | true | to mean 0; without, the mean stays where it is |
///
/// [`crate::PpoConfig`] has other defaults for `whiten_rewards`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Whitening {
    /// The numbers that mean and variance are taken of.
    pub over: Over,
    /// The divisor.
    pub variance: Variance,
    /// To mean 0.
    pub shift_mean: bool,
}

impl Default for Whitening {
    fn default() -> Self {
        Self { over: Over::Round, variance: Variance::Unbiased, shift_mean: true }
    }
}

impl Whitening {
    /// Whitens the rows, if this is what mean and variance are taken of.
    pub(crate) fn apply(self, over: Over, rows: &mut [Vec<f32>]) {
        if self.over == over {
            whiten(rows, self.variance, self.shift_mean);
        }
    }
}

/// Mean and variance of all numbers of all rows.
fn moments(rows: &[Vec<f32>], variance: Variance) -> (f64, f64) {
    let numbers = || rows.iter().flatten().copied().map(f64::from);
    let count = numbers().count();
    let mean = numbers().sum::<f64>() / count.max(1) as f64;
    let squares: f64 = numbers().map(|number| (number - mean).powi(2)).sum();
    let divisor = match variance {
        Variance::Biased => count,
        Variance::Unbiased => count.saturating_sub(1),
    };
    (mean, squares / divisor.max(1) as f64)
}

/// Scales all numbers of all rows to variance 1 and, with `shift_mean`, to mean 0.
///
/// ```text
/// x' = (x - mean) / sqrt(variance + 1e-8)  [+ mean, unless shift_mean]
/// ```
///
/// Mean and variance run over every token of every row alike, so long replies weigh more than short ones.
///
/// # Shapes
/// Rows of any length, one number a token.
///
/// # References
/// arXiv 2403.17031 (advantages with the shift, rewards without).
pub fn whiten(rows: &mut [Vec<f32>], variance: Variance, shift_mean: bool) {
    let (mean, variance) = moments(rows, variance);
    let scale = (variance + EPSILON).sqrt().recip();
    let back = if shift_mean { 0.0 } else { mean };
    for number in rows.iter_mut().flatten() {
        *number = narrow((f64::from(*number) - mean) * scale + back);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::assert_close;
    use ndarray::Array1;
    use proptest::prelude::*;

    #[test]
    fn by_hand() {
        // 1, 2, 3, 6: mean 3, squares 4 + 1 + 0 + 9 = 14.
        let rows = [vec![1.0], vec![2.0, 3.0, 6.0]];
        let whitened = |variance, shift_mean| {
            let mut rows = rows.clone();
            whiten(&mut rows, variance, shift_mean);
            rows.concat()
        };
        let unbiased = (14.0_f32 / 3.0).sqrt();
        let expected = [-2.0, -1.0, 0.0, 3.0].map(|number| number / unbiased);
        assert_close(&whitened(Variance::Unbiased, true), &expected, 1e-6);
        let expected = [-2.0, -1.0, 0.0, 3.0].map(|number| number / 3.5_f32.sqrt() + 3.0);
        assert_close(&whitened(Variance::Biased, false), &expected, 1e-6);
    }

    #[test]
    fn one_number_and_equal_numbers_stay_finite() {
        for variance in [Variance::Biased, Variance::Unbiased] {
            let mut one = [vec![], vec![5.0]];
            whiten(&mut one, variance, true);
            assert_eq!(one, [vec![], vec![0.0]]);
            let mut equal = [vec![2.0, 2.0], vec![2.0]];
            whiten(&mut equal, variance, false);
            assert_eq!(equal, [vec![2.0, 2.0], vec![2.0]]);
            whiten(&mut [], variance, true);
        }
    }

    proptest! {
        #[test]
        fn agrees_with_ndarray(
            mut rows in prop::collection::vec(prop::collection::vec(-9.0_f32..9.0, 1..20), 2..10),
            biased: bool,
            shift_mean: bool,
        ) {
            let numbers = Array1::from_iter(rows.concat().into_iter().map(f64::from));
            let (mean, std) = (numbers.mean().unwrap(), numbers.std(if biased { 0.0 } else { 1.0 }));
            prop_assume!(std > 0.01);
            let expected = (numbers - mean) / std + if shift_mean { 0.0 } else { mean };
            let lengths: Vec<usize> = rows.iter().map(Vec::len).collect();
            let variance = if biased { Variance::Biased } else { Variance::Unbiased };
            whiten(&mut rows, variance, shift_mean);
            prop_assert_eq!(rows.iter().map(Vec::len).collect::<Vec<_>>(), lengths);
            for (found, expected) in rows.concat().iter().zip(&expected) {
                prop_assert!((f64::from(*found) - expected).abs() < 1e-3);
            }
            let (mean_after, variance_after) = moments(&rows, variance);
            let expected_mean = if shift_mean { 0.0 } else { mean };
            prop_assert!((mean_after - expected_mean).abs() < 1e-5);
            prop_assert!((variance_after - 1.0).abs() < 1e-3);
        }
    }
}
