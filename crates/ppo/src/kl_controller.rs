//! A KL coefficient that moves.

use serde::{Deserialize, Serialize};

/// The KL that the coefficient is moved towards, by the unit that it is measured in.
///
/// A reply of `n` tokens has about `n` times the KL of one of its tokens, so that a target means nothing without its
/// unit: the 6 nats of arXiv 1909.08593 are those of a sequence, while others feed a mean over tokens into the same rule.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KlTarget {
    /// Nats a reply: the mean over replies of the sum over their tokens.
    NatsPerSequence(f64),
    /// Nats a token: the mean over all tokens of all replies.
    NatsPerToken(f64),
}

impl KlTarget {
    /// The number.
    pub fn nats(self) -> f64 {
        let (Self::NatsPerSequence(nats) | Self::NatsPerToken(nats)) = self;
        nats
    }
}

/// The coefficient after a round.
///
/// ```text
/// error        = clip(kl / target - 1, -0.2, 0.2)
/// coefficient' = coefficient * (1 + error * replies / horizon)
/// ```
///
/// `kl` in the unit of `target`, `replies` those of the round.
///
/// # References
/// arXiv 1909.08593, section 2.2.
pub fn adapted_coefficient(
    coefficient: f64,
    kl: f64,
    target: f64,
    replies: f64,
    horizon: f64,
) -> f64 {
    let error = (kl / target - 1.0).clamp(-0.2, 0.2);
    coefficient * (1.0 + error * replies / horizon)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn moves_towards_the_target_and_no_faster_than_a_fifth() {
        let after = |kl| adapted_coefficient(0.1, kl, 6.0, 1_000.0, 10_000.0);
        // 6.6 is 10% above: 0.1 * (1 + 0.1 * 0.1).
        assert!((after(6.6) - 0.101).abs() < 1e-12);
        assert!((after(6.0) - 0.1).abs() < 1e-12);
        assert!((after(60.0) - 0.102).abs() < 1e-12);
        assert!((after(-5.0) - 0.098).abs() < 1e-12);
    }

    #[test]
    fn the_unit_is_part_of_the_setting() {
        let target: KlTarget = serde_json::from_str(r#"{"nats_per_token":0.1}"#).unwrap();
        assert_eq!(target, KlTarget::NatsPerToken(0.1));
        assert!((target.nats() - 0.1).abs() < 1e-12);
    }

    /// By cases, as an amount that is added.
    fn oracle(coefficient: f64, kl: f64, target: f64, replies: f64, horizon: f64) -> f64 {
        let fifth = target / 5.0;
        let excess = if kl > target + fifth {
            fifth
        } else if kl < target - fifth {
            -fifth
        } else {
            kl - target
        };
        coefficient + coefficient * excess * replies / (target * horizon)
    }

    proptest! {
        #[test]
        fn agrees_with_the_cases_and_ignores_the_unit(
            coefficient in 1e-4..10.0_f64,
            kl in -5.0..30.0_f64,
            target in 0.01..15.0_f64,
            replies in 1.0..500.0_f64,
            horizon in 200.0..50_000.0_f64,
            unit in 0.01..100.0_f64,
        ) {
            let found = adapted_coefficient(coefficient, kl, target, replies, horizon);
            let expected = oracle(coefficient, kl, target, replies, horizon);
            let rounding = 1e-9 * coefficient;
            prop_assert!((found - expected).abs() < rounding, "{found} is not {expected}");
            let other =
                adapted_coefficient(coefficient, unit * kl, unit * target, replies, horizon);
            prop_assert!((found - other).abs() < rounding, "{found} {other}");
        }

        #[test]
        fn stays_at_the_target_and_rises_with_kl(
            coefficient in 1e-4..10.0_f64,
            kl in -5.0..30.0_f64,
            more in 0.0..30.0_f64,
            target in 0.01..15.0_f64,
            replies in 1.0..500.0_f64,
            horizon in 200.0..50_000.0_f64,
        ) {
            let after = |kl: f64| adapted_coefficient(coefficient, kl, target, replies, horizon);
            prop_assert_eq!(after(target).to_bits(), coefficient.to_bits());
            prop_assert!(after(kl) <= after(kl + more));
            prop_assert!((after(kl) - coefficient) * (kl - target) >= 0.0);
            // By a fifth in `horizon` replies at most.
            let largest = 0.2 * coefficient * replies / horizon;
            prop_assert!((after(kl) - coefficient).abs() <= largest + 1e-12 * coefficient);
            // Leaving the reference is never paid for as long as a round is shorter than five horizons.
            prop_assert!(after(kl) > 0.0);
        }
    }
}
