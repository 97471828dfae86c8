//! Scores to rewards.

use crate::combine::{deviation, mean};
use serde::{Deserialize, Serialize};

/// Turns raw scores into rewards with mean 0 and standard deviation 1 on some reference scores.
///
/// ```text
/// reward = (score - mean) / std
/// ```
///
/// The loss fixes differences of scores only; a common scale lets one KL coefficient serve every preference model
/// (arXiv 1909.08593, section 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Normalisation {
    /// Mean of the reference scores.
    pub mean: f64,
    /// Their standard deviation, above 0.
    pub std: f64,
}

impl Default for Normalisation {
    /// Leaves scores as they are.
    fn default() -> Self {
        Self { mean: 0.0, std: 1.0 }
    }
}

impl Normalisation {
    /// Mean and standard deviation (of these scores, not of a population) of reference scores; scores that are all
    /// the same, or none, keep the scale.
    pub(crate) fn of(scores: &[f64]) -> Self {
        if scores.is_empty() {
            return Self::default();
        }
        let (mean, std) = (mean(scores), deviation(scores));
        Self { mean, std: if std == 0.0 { 1.0 } else { std } }
    }

    /// The reward of a raw score.
    pub fn reward(&self, score: f64) -> f64 {
        (score - self.mean) / self.std
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array1;
    use proptest::prelude::*;

    #[test]
    fn rewards_of_the_reference_have_mean_0_and_standard_deviation_1() {
        let scores = [1.0, 3.0, 5.0, 7.0];
        let found = Normalisation::of(&scores);
        assert!((found.mean - 4.0).abs() < 1e-12 && (found.std - 5.0_f64.sqrt()).abs() < 1e-12);
        let rewards = scores.map(|score| found.reward(score));
        assert!(rewards.iter().sum::<f64>().abs() < 1e-12);
        assert!((rewards.iter().map(|reward| reward * reward).sum::<f64>() - 4.0).abs() < 1e-12);
    }

    #[test]
    fn equal_scores_keep_their_scale() {
        let found = Normalisation::of(&[2.0, 2.0]);
        assert_eq!(found, Normalisation { mean: 2.0, std: 1.0 });
        assert_eq!(Normalisation::of(&[]), Normalisation::default());
    }

    proptest! {
        #[test]
        fn agrees_with_ndarray_whatever_the_unit(
            scores in prop::collection::vec(-50.0..50.0_f64, 2..40),
            factor in 0.1..10.0_f64,
            shift in -20.0..20.0_f64,
        ) {
            let found = Normalisation::of(&scores);
            let array = Array1::from_vec(scores.clone());
            prop_assert!((found.mean - array.mean().unwrap()).abs() < 1e-9);
            prop_assert!((found.std - array.std(0.0)).abs() < 1e-9 || array.std(0.0) < 1e-9);
            let other: Vec<f64> = scores.iter().map(|score| factor * score + shift).collect();
            let moved = Normalisation::of(&other);
            if found.std > 1e-3 {
                for (score, other) in scores.iter().zip(&other) {
                    prop_assert!((found.reward(*score) - moved.reward(*other)).abs() < 1e-6);
                }
            }
        }
    }
}
