//! Several rewards of one dialogue as one.

use crate::Error;
use serde::{Deserialize, Serialize};

/// How the members of an ensemble become one reward.
///
/// | setting | reward, with the members' rewards `r_1 … r_k` |
/// |---|---|
/// | `"mean"` | `mean(r)` |
/// | `"minimum"` | `min(r)` |
/// | `{ mean_minus_std = F }` | `mean(r) - F std(r)`, the standard deviation of these `k` numbers |
///
/// The last two are low where the members disagree, which is where a policy finds mistakes of a single model and
/// exploits them.
///
/// # References
/// Coste et al. (2023), arXiv 2310.02743: mean, worst case, and the mean less a multiple of the variance, where the
/// standard deviation here leaves the factor without a unit. Eisenstein et al. (2023), arXiv 2312.09244.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Combine {
    /// The mean.
    #[default]
    Mean,
    /// The least.
    Minimum,
    /// The mean less so many standard deviations.
    MeanMinusStd(f64),
}

impl Combine {
    /// The rewards of one dialogue by every member as one; not a number without members.
    ///
    /// ```
    /// use preference_model::Combine;
    ///
    /// assert_eq!(Combine::Mean.of(&[1.0, 3.0]), 2.0);
    /// assert_eq!(Combine::Minimum.of(&[1.0, 3.0]), 1.0);
    /// assert_eq!(Combine::MeanMinusStd(0.5).of(&[1.0, 3.0]), 1.5);
    /// ```
    pub fn of(self, rewards: &[f64]) -> f64 {
        match self {
            Self::Mean => mean(rewards),
            // A damaged member must not be passed over, as `f64::min` would.
            Self::Minimum if rewards.iter().any(|reward| reward.is_nan()) => f64::NAN,
            Self::Minimum => rewards.iter().copied().reduce(f64::min).unwrap_or(f64::NAN),
            Self::MeanMinusStd(factor) => mean(rewards) - factor * deviation(rewards),
        }
    }

    /// Checks the factor.
    ///
    /// # Errors
    /// [`training::Error::Setting`] if it is not a number of at least 0.
    pub(crate) fn validate(self) -> Result<(), Error> {
        match self {
            Self::MeanMinusStd(factor) if !(factor.is_finite() && factor >= 0.0) => {
                let setting = "ensemble.combine.mean_minus_std";
                let (found, expected) = (factor.to_string(), "a number of at least 0");
                Err(training::Error::Setting { setting, found, expected }.into())
            }
            _ => Ok(()),
        }
    }
}

pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The standard deviation of these numbers, not of a population that they are drawn from.
pub(crate) fn deviation(values: &[f64]) -> f64 {
    let center = mean(values);
    let squares: Vec<f64> = values.iter().map(|value| (value - center).powi(2)).collect();
    mean(&squares).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array1;
    use proptest::prelude::*;

    #[test]
    fn combines_known_rewards() {
        // Mean 3, deviations 2, 0, 0, 1, -3: a variance of 14 / 5.
        let rewards = [5.0, 3.0, 3.0, 4.0, 0.0];
        assert!((Combine::Mean.of(&rewards) - 3.0).abs() < 1e-12);
        assert!(Combine::Minimum.of(&rewards).abs() < 1e-12);
        let expected = 3.0 - 2.0 * 2.8_f64.sqrt();
        assert!((Combine::MeanMinusStd(2.0).of(&rewards) - expected).abs() < 1e-12);
    }

    #[test]
    fn a_damaged_member_or_none_is_no_number() {
        for combine in [Combine::Mean, Combine::Minimum, Combine::MeanMinusStd(1.0)] {
            assert!(combine.of(&[1.0, f64::NAN]).is_nan());
            assert!(combine.of(&[]).is_nan());
        }
    }

    #[test]
    fn reads_what_it_writes_and_checks_the_factor() {
        for (combine, json) in [
            (Combine::Mean, r#""mean""#),
            (Combine::Minimum, r#""minimum""#),
            (Combine::MeanMinusStd(0.5), r#"{"mean_minus_std":0.5}"#),
        ] {
            assert_eq!(serde_json::to_string(&combine).unwrap(), json);
            assert_eq!(serde_json::from_str::<Combine>(json).unwrap(), combine);
            combine.validate().unwrap();
        }
        for factor in [-1.0, f64::NAN, f64::INFINITY] {
            let message = Combine::MeanMinusStd(factor).validate().unwrap_err().to_string();
            assert!(message.starts_with("`ensemble.combine.mean_minus_std` is "), "{message}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_ndarray_and_moves_with_the_rewards(
            rewards in prop::collection::vec(-10.0..10.0_f64, 1..8),
            factor in 0.0..3.0_f64,
            shift in -5.0..5.0_f64,
        ) {
            let array = Array1::from_vec(rewards.clone());
            let (mean, std) = (array.mean().unwrap(), array.std(0.0));
            let least = array.iter().copied().fold(f64::INFINITY, f64::min);
            let expected = [mean, least, mean - factor * std];
            let combined = [Combine::Mean, Combine::Minimum, Combine::MeanMinusStd(factor)];
            for (combine, expected) in combined.into_iter().zip(expected) {
                let found = combine.of(&rewards);
                prop_assert!((found - expected).abs() < 1e-9);
                prop_assert!(found <= mean + 1e-9);
                let moved: Vec<f64> = rewards.iter().map(|reward| reward + shift).collect();
                prop_assert!((combine.of(&moved) - found - shift).abs() < 1e-9);
                let alike = vec![rewards[0]; rewards.len()];
                prop_assert!((combine.of(&alike) - rewards[0]).abs() < 1e-9);
            }
        }
    }
}
