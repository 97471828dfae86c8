//! The reward of every token: a penalty for leaving the reference, and the score at the end.

use serde::{Deserialize, Serialize};

/// Which token the score of a reply is added to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScorePlace {
    /// The last token that was drawn: the end-of-turn token, unless the reply was cut.
    #[default]
    Last,
    /// The one after it, as TRL has it: a slot of its own with a value of its own, where no token was drawn and nothing
    /// is learned by the policy. A reply of `max_tokens` tokens has no room for one and gets its score at the last token.
    AfterLast,
}

impl ScorePlace {
    /// Slots behind the last token of a reply: 0 or 1.
    pub(crate) fn slots_after(self, tokens: usize, max_tokens: usize) -> usize {
        usize::from(self == Self::AfterLast && tokens < max_tokens)
    }
}

/// The reward of every slot of a reply: `-coefficient * kl_t` at its tokens, plus `score` at the last slot.
///
/// # Shapes
/// `kl`, one a token drawn; the result has one number a slot, `slots` in all, which is the number of tokens or one more.
///
/// # Panics
/// If there are fewer slots than tokens.
///
/// # References
/// arXiv 2204.05862, section 4.1; the penalty is spread over the tokens as in arXiv 1909.08593.
pub fn token_rewards(kl: &[f32], coefficient: f32, score: f32, slots: usize) -> Vec<f32> {
    assert!(slots >= kl.len(), "a slot for every token");
    let mut rewards: Vec<f32> = kl.iter().map(|kl| -coefficient * kl).collect();
    rewards.resize(slots, 0.0);
    if let Some(last) = rewards.last_mut() {
        *last += score;
    }
    rewards
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::assert_close;
    use ndarray::{Array1, s};
    use proptest::prelude::*;

    #[test]
    fn the_score_joins_the_penalty_at_the_last_token() {
        assert_close(&token_rewards(&[1.0, -2.0, 4.0], 0.1, 3.0, 3), &[-0.1, 0.2, 2.6], 1e-6);
        assert_close(&token_rewards(&[2.0], 0.5, -1.0, 1), &[-2.0], 1e-6);
        assert!(token_rewards(&[], 0.5, 1.0, 0).is_empty());
    }

    #[test]
    fn the_score_may_stand_behind_the_last_token() {
        assert_close(&token_rewards(&[1.0, -2.0], 0.1, 3.0, 3), &[-0.1, 0.2, 3.0], 1e-6);
        assert_eq!(ScorePlace::AfterLast.slots_after(3, 4), 1);
        assert_eq!(ScorePlace::AfterLast.slots_after(4, 4), 0);
        assert_eq!(ScorePlace::Last.slots_after(3, 4), 0);
    }

    proptest! {
        #[test]
        fn rewards_add_up_to_the_penalised_score(
            kl in prop::collection::vec(-3.0_f32..3.0, 1..50),
            coefficient in 0.0_f32..1.0,
            score in -5.0_f32..5.0,
            behind in 0_usize..2,
        ) {
            let rewards = token_rewards(&kl, coefficient, score, kl.len() + behind);
            let total: f64 = rewards.iter().copied().map(f64::from).sum();
            let kl: f64 = kl.iter().copied().map(f64::from).sum();
            let expected = f64::from(score) - f64::from(coefficient) * kl;
            prop_assert!((total - expected).abs() < 1e-4);
        }

        #[test]
        fn agree_with_ndarray_slot_by_slot(
            kl in prop::collection::vec(-3.0_f32..3.0, 1..50),
            coefficient in 0.0_f32..1.0,
            score in -5.0_f32..5.0,
            behind in 0_usize..2,
        ) {
            let slots = kl.len() + behind;
            let wide: Array1<f64> = kl.iter().copied().map(f64::from).collect();
            let mut expected = Array1::<f64>::zeros(slots);
            expected.slice_mut(s![..kl.len()]).assign(&(wide * -f64::from(coefficient)));
            expected[slots - 1] += f64::from(score);
            let found = token_rewards(&kl, coefficient, score, slots);
            prop_assert_eq!(found.len(), slots);
            for (found, expected) in found.iter().zip(&expected) {
                prop_assert!((f64::from(*found) - expected).abs() < 1e-5, "{found} {expected}");
            }
        }
    }
}
