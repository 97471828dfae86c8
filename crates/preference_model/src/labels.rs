//! What becomes of a soft label before the loss sees it.

use crate::Error;
use serde::{Deserialize, Serialize};

/// How much of a soft label is kept.
///
/// | setting | `probability` becomes |
/// |---|---|
/// | `"soft"` | what it is |
/// | `"hard"` | 1 above one half, 0 below, and one half at one half |
/// | `{ clamped = [LOW, HIGH] }` | the nearest number from `LOW` to `HIGH` |
///
/// # References
/// Constitutional AI (arXiv 2212.08073), section 4.1: soft labels beat hard ones, and labels of a chain of thought are
/// clamped to 0.4 and 0.6 since they are nearly always too sure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Labels {
    /// The probability itself.
    #[default]
    Soft,
    /// The likelier order for certain. A label of exactly one half has no likelier order and stays.
    Hard,
    /// The probability, kept between two bounds.
    Clamped([f64; 2]),
}

impl Labels {
    /// The label that the loss sees.
    ///
    /// ```
    /// use preference_model::Labels;
    ///
    /// assert_eq!(Labels::Hard.target(0.7), 1.0);
    /// assert_eq!(Labels::Clamped([0.4, 0.6]).target(0.7), 0.6);
    /// ```
    pub fn target(self, probability: f64) -> f64 {
        match self {
            Self::Hard if probability > 0.5 => 1.0,
            Self::Hard if probability < 0.5 => 0.0,
            Self::Soft | Self::Hard => probability,
            Self::Clamped([low, high]) => probability.max(low).min(high),
        }
    }

    /// Checks the bounds.
    ///
    /// # Errors
    /// [`training::Error::Setting`] if they are not two numbers from 0 to 1 in ascending order.
    pub(crate) fn validate(self) -> Result<(), Error> {
        match self {
            Self::Clamped([low, high]) if !(0.0 <= low && low <= high && high <= 1.0) => {
                let found = format!("[{low}, {high}]");
                let expected = "two numbers from 0 to 1, the lower first";
                Err(training::Error::Setting { setting: "labels.clamped", found, expected }.into())
            }
            _ => Ok(()),
        }
    }
}

/// The label that remains if it is the wrong one with some probability.
///
/// With the label `p` and the probability `e` that it is swapped:
///
/// ```text
/// (1 - e) p + e (1 - p)
/// ```
///
/// At `p = 1` the loss becomes `-(1 - e) ln sigmoid(d) - e ln sigmoid(-d)`.
///
/// # References
/// Wang et al. (2024), arXiv 2401.06080, on label smoothing; the conservative loss of Mitchell (2023), "A note on DPO with
/// noisy preferences", with the difference of scores in place of that of log-ratios.
pub fn smoothed(probability: f64, smoothing: f64) -> f64 {
    (1.0 - smoothing) * probability + smoothing * (1.0 - probability)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn assert_close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
    }

    #[test]
    fn known_labels() {
        let cases = [(0.0, 0.0, 0.4), (0.45, 0.0, 0.45), (0.5, 0.5, 0.5), (0.9, 1.0, 0.6)];
        for (probability, hard, clamped) in cases {
            assert_close(Labels::Soft.target(probability), probability);
            assert_close(Labels::Hard.target(probability), hard);
            assert_close(Labels::Clamped([0.4, 0.6]).target(probability), clamped);
        }
        assert_close(smoothed(1.0, 0.1), 0.9);
        assert_close(smoothed(0.75, 0.2), 0.65);
        assert_close(smoothed(0.5, 0.3), 0.5);
    }

    #[test]
    fn reads_what_it_writes() {
        for (labels, json) in [
            (Labels::Soft, r#""soft""#),
            (Labels::Hard, r#""hard""#),
            (Labels::Clamped([0.4, 0.6]), r#"{"clamped":[0.4,0.6]}"#),
        ] {
            assert_eq!(serde_json::to_string(&labels).unwrap(), json);
            assert_eq!(serde_json::from_str::<Labels>(json).unwrap(), labels);
        }
    }

    #[test]
    fn bounds_must_be_probabilities_in_order() {
        Labels::Clamped([0.5, 0.5]).validate().unwrap();
        for bounds in [[0.6, 0.4], [-0.1, 0.5], [0.5, 1.1], [f64::NAN, 0.5], [0.5, f64::NAN]] {
            let message = Labels::Clamped(bounds).validate().unwrap_err().to_string();
            assert!(message.starts_with("`labels.clamped` is "), "{message}");
        }
    }

    proptest! {
        /// Whoever stores a pair the other way round gets the same loss.
        #[test]
        fn swapping_the_pair_swaps_the_target(
            probability in 0.0..=1.0_f64,
            bound in 0.0..=0.5_f64,
            smoothing in 0.0..0.5_f64,
        ) {
            for labels in [Labels::Soft, Labels::Hard, Labels::Clamped([bound, 1.0 - bound])] {
                let target = |p| smoothed(labels.target(p), smoothing);
                let (stored, swapped) = (target(probability), target(1.0 - probability));
                prop_assert!((stored + swapped - 1.0).abs() < 1e-12);
                prop_assert!((0.0..=1.0).contains(&stored));
            }
        }

        #[test]
        fn smoothing_keeps_the_order(a in 0.0..=1.0_f64, b in 0.0..=1.0_f64, smoothing in 0.0..0.5_f64) {
            prop_assert!((a <= b) == (smoothed(a, smoothing) <= smoothed(b, smoothing)) || (a - b).abs() < 1e-9);
        }

        #[test]
        fn a_clamped_label_is_the_nearest_within_the_bounds(
            probability in 0.0..=1.0_f64,
            bounds in (0.0..=1.0_f64, 0.0..=1.0_f64),
            share in 0.0..=1.0_f64,
        ) {
            let (low, high) = (bounds.0.min(bounds.1), bounds.0.max(bounds.1));
            let labels = Labels::Clamped([low, high]);
            labels.validate().unwrap();
            let found = labels.target(probability);
            prop_assert!((low..=high).contains(&found));
            let other = low + share * (high - low);
            prop_assert!((found - probability).abs() <= (other - probability).abs() + 1e-12);
            prop_assert!((labels.target(found) - found).abs() < 1e-12);
        }

        /// The loss of a smoothed label is what the losses of both orders are expected to be.
        #[test]
        fn smoothing_expects_the_swap(
            difference in -20.0..20.0_f64,
            probability in 0.0..=1.0_f64,
            smoothing in 0.0..0.5_f64,
        ) {
            let softplus = |x: f64| x.exp().ln_1p();
            let loss = |p: f64| p * softplus(-difference) + (1.0 - p) * softplus(difference);
            let expected =
                (1.0 - smoothing) * loss(probability) + smoothing * loss(1.0 - probability);
            prop_assert!((loss(smoothed(probability, smoothing)) - expected).abs() < 1e-9);
        }
    }
}
