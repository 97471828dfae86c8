//! Means over a few independent runs.

use crate::rate::Z;
use serde::{Deserialize, Serialize};

/// A mean over independent runs, such as those of several seeds, with its interval at 95%.
///
/// With `m` the mean of `n` numbers, `s` their standard deviation (of `n - 1`) and `t` the 97.5% quantile of Student's
/// distribution with `n - 1` degrees of freedom:
///
/// ```text
/// m ± t s / sqrt(n)
/// ```
///
/// It counts whatever differs between the runs: training as well as the sample that a run is measured on. For few runs it is
/// wide: at three `t` is 4.3, not 2.
///
/// # References
/// Student (1908), "The probable error of a mean", Biometrika 6.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MeanOverRuns {
    /// The mean.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// Runs.
    pub n: usize,
}

impl MeanOverRuns {
    /// The mean of one number a run; none of fewer than two, which say nothing about their spread.
    ///
    /// ```
    /// use evals::MeanOverRuns;
    ///
    /// let mean = MeanOverRuns::of(&[0.7, 0.8, 0.9]).unwrap();
    /// assert!((mean.value - 0.8).abs() < 1e-12);
    /// assert!((mean.high - 0.8 - 4.302_653 * 0.1 / 3.0_f64.sqrt()).abs() < 1e-6);
    /// ```
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len();
        let freedom = n.checked_sub(1).filter(|&freedom| freedom > 0)?;
        let value = values.iter().sum::<f64>() / n as f64;
        let squares = values.iter().map(|x| (x - value).powi(2)).sum::<f64>();
        let half = quantile(freedom) * (squares / freedom as f64 / n as f64).sqrt();
        Some(Self { value, low: value - half, high: value + half, n })
    }
}

/// The quantiles of 1 to 10 degrees of freedom.
const QUANTILES: [f64; 10] = [
    12.706_205, 4.302_653, 3.182_446, 2.776_445, 2.570_582, 2.446_912, 2.364_624, 2.306_004,
    2.262_157, 2.228_139,
];

/// The 97.5% quantile of Student's distribution, to within 0.0002; at least one degree of freedom.
///
/// Above the table it is an expansion around the quantile of the normal distribution: Abramowitz and Stegun (1964), 26.7.5.
fn quantile(freedom: usize) -> f64 {
    if let Some(&quantile) = QUANTILES.get(freedom - 1) {
        return quantile;
    }
    let terms = [
        (Z.powi(3) + Z) / 4.0,
        (5.0 * Z.powi(5) + 16.0 * Z.powi(3) + 3.0 * Z) / 96.0,
        (3.0 * Z.powi(7) + 19.0 * Z.powi(5) + 17.0 * Z.powi(3) - 15.0 * Z) / 384.0,
    ];
    terms.iter().rev().fold(0.0, |sum, term| (sum + term) / freedom as f64) + Z
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The probability between 0 and `t`, by Simpson's rule over the angle whose tangent is `x / sqrt(freedom)`, which
    /// leaves `Γ((v + 1) / 2) / (sqrt(π) Γ(v / 2)) cos(angle)^(v - 1)` to be summed.
    fn probability(t: f64, freedom: u32) -> f64 {
        // Γ((v + 1) / 2) / Γ(v / 2) is 1 / sqrt(π) at 1, sqrt(π) / 2 at 2, and grows by (v + 1) / v every two steps.
        let root = std::f64::consts::PI.sqrt();
        let mut ratio = if freedom % 2 == 1 { 1.0 / root } else { root / 2.0 };
        let mut below = if freedom % 2 == 1 { 1 } else { 2 };
        while below < freedom {
            ratio *= f64::from(below + 1) / f64::from(below);
            below += 2;
        }
        let density = |angle: f64| ratio / root * angle.cos().powf(f64::from(freedom) - 1.0);
        let (pieces, end) = (1000, (t / f64::from(freedom).sqrt()).atan());
        let width = end / f64::from(pieces);
        let inner = (1..pieces).map(|piece| {
            let weight = if piece % 2 == 1 { 4.0 } else { 2.0 };
            weight * density(f64::from(piece) * width)
        });
        (density(0.0) + density(end) + inner.sum::<f64>()) * width / 3.0
    }

    #[test]
    fn every_quantile_leaves_a_fortieth_on_each_side() {
        for freedom in 1..200 {
            let found = probability(quantile(freedom as usize), freedom);
            assert!((found - 0.475).abs() < 2e-5, "{freedom}: {found}");
        }
        assert!((quantile(1_000_000) - Z).abs() < 1e-5);
    }

    #[test]
    fn agrees_with_numbers_computed_by_hand() {
        // Mean 0.5, standard deviation 0.2, so 4.302653 * 0.2 / sqrt(3) to each side.
        let mean = MeanOverRuns::of(&[0.3, 0.5, 0.7]).unwrap();
        assert_eq!(mean.n, 3);
        assert!((mean.value - 0.5).abs() < 1e-12);
        assert!((mean.low - 0.003_173).abs() < 1e-5 && (mean.high - 0.996_827).abs() < 1e-5);
        let same = MeanOverRuns::of(&[0.25; 4]).unwrap();
        assert!(same.high - same.low < 1e-12);
    }

    #[test]
    fn one_run_has_no_spread() {
        assert_eq!(MeanOverRuns::of(&[]), None);
        assert_eq!(MeanOverRuns::of(&[0.5]), None);
    }

    proptest! {
        #[test]
        fn moves_and_grows_with_the_numbers(
            values in prop::collection::vec(-5.0..5.0_f64, 2..15),
            shift in -3.0..3.0_f64,
            scale in 0.1..4.0_f64,
        ) {
            let mean = MeanOverRuns::of(&values).unwrap();
            let moved: Vec<f64> = values.iter().map(|x| scale * x + shift).collect();
            let moved = MeanOverRuns::of(&moved).unwrap();
            let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
            prop_assert!(close(moved.value, scale * mean.value + shift));
            prop_assert!(close(moved.low, scale * mean.low + shift));
            prop_assert!(close(moved.high, scale * mean.high + shift));
            prop_assert!(mean.low <= mean.value && mean.value <= mean.high);
        }
    }
}
