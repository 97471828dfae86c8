//! How far the policy is from the reference.

use crate::ratio::LARGEST_LOG_RATIO;
use serde::{Deserialize, Serialize};

/// An estimator of KL(policy || reference) from the log-probs of one token drawn from the policy.
///
/// With `d = policy - reference`, both in nats:
///
/// | name | estimate | remarks |
/// |---|---|---|
/// | `k1` | `d` | unbiased, may be negative |
/// | `k2` | `d^2 / 2` | biased, at least 0 |
/// | `k3` | `exp(-d) - 1 + d`, the exponent within [-20, 20] | unbiased, at least 0 |
///
/// As a reward, `k1` is the one whose policy gradient is that of the divergence: a reward is held fixed when the
/// gradient is taken, and only the derivative of `k1` itself has expectation 0.
///
/// # References
/// J. Schulman, Approximating KL divergence, 2020.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KlEstimator {
    /// The log-ratio.
    #[default]
    K1,
    /// Half its square.
    K2,
    /// The log-ratio with a control variate.
    K3,
}

impl KlEstimator {
    /// The estimate in nats from two log-probs in nats.
    pub fn estimate(self, policy: f32, reference: f32) -> f32 {
        let log_ratio = policy - reference;
        match self {
            Self::K1 => log_ratio,
            Self::K2 => 0.5 * log_ratio * log_ratio,
            // `exp_m1` keeps the digits that `exp(-d) - 1` loses near 0.
            Self::K3 => {
                let exponent = (-log_ratio).clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO);
                exponent.exp_m1() + log_ratio
            }
        }
    }
}

/// The estimate for every token of a reply, kept within `[-clamp, clamp]` if `clamp` is set.
///
/// # Shapes
/// `policy` and `reference`: log-probs in nats, one a reply token; the result likewise.
///
/// # Panics
/// If the rows differ in length.
pub fn kl_per_token(
    policy: &[f32],
    reference: &[f32],
    estimator: KlEstimator,
    clamp: Option<f32>,
) -> Vec<f32> {
    assert_eq!(policy.len(), reference.len(), "one log-prob a token from each model");
    policy
        .iter()
        .zip(reference)
        .map(|(&policy, &reference)| {
            let kl = estimator.estimate(policy, reference);
            clamp.map_or(kl, |limit| kl.clamp(-limit, limit))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::precision::narrow;
    use crate::test_support::assert_close;
    use ndarray::Array1;
    use proptest::prelude::*;

    #[test]
    fn estimates_by_hand() {
        // d = 0.5: exp(-0.5) = 0.60653066.
        let at = |estimator: KlEstimator| estimator.estimate(-1.0, -1.5);
        assert_close(&[at(KlEstimator::K1), at(KlEstimator::K2)], &[0.5, 0.125], 1e-6);
        assert_close(&[at(KlEstimator::K3)], &[0.106_530_66], 1e-6);
        // d = -0.5: exp(0.5) = 1.64872127.
        let at = |estimator: KlEstimator| estimator.estimate(-1.5, -1.0);
        assert_close(&[at(KlEstimator::K1), at(KlEstimator::K2)], &[-0.5, 0.125], 1e-6);
        assert_close(&[at(KlEstimator::K3)], &[0.148_721_27], 1e-6);
    }

    #[test]
    fn clamps_both_sides() {
        let policy = [-1.0, -30.0, -2.0];
        let reference = [-30.0, -1.0, -2.5];
        let found = kl_per_token(&policy, &reference, KlEstimator::K1, Some(10.0));
        assert_close(&found, &[10.0, -10.0, 0.5], 1e-6);
        let found = kl_per_token(&policy, &reference, KlEstimator::K1, None);
        assert_close(&found, &[29.0, -29.0, 0.5], 1e-6);
    }

    #[test]
    fn k3_does_not_overflow() {
        let far = kl_per_token(&[-500.0], &[-1.0], KlEstimator::K3, None)[0];
        assert!(far.is_finite() && far > 1e8, "{far}");
        // On the other side nothing is large.
        let other = KlEstimator::K3.estimate(-1.0, -500.0);
        assert_close(&[other], &[498.0], 1e-4);
    }

    #[test]
    fn names_are_lower_case() {
        assert_eq!(serde_json::to_string(&KlEstimator::K3).unwrap(), r#""k3""#);
    }

    /// KL of two distributions over three tokens, against the expectation of each estimator under the policy.
    #[test]
    fn k1_and_k3_are_unbiased() {
        let (policy, reference) = ([0.5_f32, 0.3, 0.2], [0.2_f32, 0.3, 0.5]);
        let expectation = |estimator: KlEstimator| -> f32 {
            policy.iter().zip(reference).map(|(p, q)| p * estimator.estimate(p.ln(), q.ln())).sum()
        };
        // 0.5 ln 2.5 + 0.2 ln 0.4 = 0.3 ln 2.5.
        let kl = 0.3 * 2.5_f32.ln();
        assert_close(
            &[expectation(KlEstimator::K1), expectation(KlEstimator::K3)],
            &[kl, kl],
            1e-6,
        );
        assert!((expectation(KlEstimator::K2) - kl).abs() > 1e-3);
    }

    proptest! {
        #[test]
        fn k2_and_k3_are_never_negative(policy in -20.0_f32..0.0, reference in -20.0_f32..0.0) {
            for estimator in [KlEstimator::K2, KlEstimator::K3] {
                // K3 subtracts two numbers of the size of d: rounding alone may take it below 0.
                let rounding = 1e-6 * (policy - reference).abs();
                prop_assert!(estimator.estimate(policy, reference) >= -rounding);
                prop_assert!(estimator.estimate(policy, policy).abs() < 1e-12);
            }
        }

        #[test]
        fn agrees_with_f64_token_by_token(
            tokens in prop::collection::vec((-20.0_f32..0.0, -20.0_f32..0.0), 1..60),
            clamp in prop::option::of(0.1_f32..10.0),
        ) {
            let (policy, reference): (Vec<f32>, Vec<f32>) = tokens.into_iter().unzip();
            let wide = |row: &[f32]| row.iter().copied().map(f64::from).collect::<Array1<f64>>();
            // The probability by the reference over that by the policy.
            let ratios = wide(&reference).exp() / wide(&policy).exp();
            let limit = clamp.map_or(f64::INFINITY, f64::from);
            for (estimator, expected) in [
                (KlEstimator::K1, -ratios.ln()),
                (KlEstimator::K2, ratios.ln().powi(2) / 2.0),
                (KlEstimator::K3, &ratios - 1.0 - ratios.ln()),
            ] {
                let found = kl_per_token(&policy, &reference, estimator, clamp);
                prop_assert_eq!(found.len(), policy.len());
                for (found, expected) in found.iter().zip(&expected.clamp(-limit, limit)) {
                    let tolerance = 1e-5 * expected.abs().max(1.0);
                    let error = (f64::from(*found) - expected).abs();
                    prop_assert!(error < tolerance, "{found} is not {expected}");
                    prop_assert!(f64::from(found.abs()) <= limit);
                }
            }
        }

        #[test]
        fn turning_the_models_round_turns_k1_and_leaves_k2(
            policy in -20.0_f32..0.0,
            reference in -20.0_f32..0.0,
        ) {
            let both = |estimator: KlEstimator| {
                [estimator.estimate(policy, reference), estimator.estimate(reference, policy)]
            };
            let [one, other] = both(KlEstimator::K1);
            prop_assert!((one + other).abs() < 1e-12, "{one} {other}");
            let [one, other] = both(KlEstimator::K2);
            prop_assert!((one - other).abs() < 1e-12, "{one} {other}");
        }

        #[test]
        fn k1_and_k3_expect_the_divergence(
            logits in prop::collection::vec((-3.0..3.0_f64, -3.0..3.0_f64), 2..10),
        ) {
            let log_softmax = |logits: Vec<f64>| {
                let logits = Array1::from_vec(logits);
                let total = logits.exp().sum().ln();
                logits - total
            };
            let (policy, reference): (Vec<f64>, Vec<f64>) = logits.into_iter().unzip();
            let (policy, reference) = (log_softmax(policy), log_softmax(reference));
            let divergence = policy.exp().dot(&(&policy - &reference));
            let row = |log_probs: &Array1<f64>| -> Vec<f32> {
                log_probs.iter().copied().map(narrow).collect()
            };
            for estimator in [KlEstimator::K1, KlEstimator::K3] {
                let each = kl_per_token(&row(&policy), &row(&reference), estimator, None);
                let each: Array1<f64> = each.into_iter().map(f64::from).collect();
                let expectation = policy.exp().dot(&each);
                prop_assert!((expectation - divergence).abs() < 1e-5, "{expectation} {divergence}");
            }
        }
    }
}
