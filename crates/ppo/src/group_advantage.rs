//! Advantages from comparing the replies to one prompt, without a value function.

use crate::precision::narrow;
use serde::{Deserialize, Serialize};

/// Added to a standard deviation, so that equal scores do not divide by 0.
const EPSILON: f64 = 1e-9;

/// How advantages are estimated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Advantage {
    /// Generalised advantage estimation with a value function, [`crate::generalised_advantages`].
    #[default]
    Gae,
    /// The score less the mean score of the other replies to the prompt, [`leave_one_out`].
    Rloo,
    /// The score less the mean of the prompt's replies, over their standard deviation: GRPO, [`group_normalised`].
    GroupNormalised,
    /// The same without the division: Dr. GRPO, [`group_centred`].
    GroupCentred,
}

impl Advantage {
    /// The scores of all replies, those to one prompt next to each other, less the baseline of their group.
    ///
    /// # Panics
    /// If `group` is 0.
    pub fn baselined(self, scores: &[f32], group: usize) -> Vec<f32> {
        let of_group = match self {
            Self::Gae => return scores.to_vec(),
            Self::Rloo => leave_one_out,
            Self::GroupNormalised => group_normalised,
            Self::GroupCentred => group_centred,
        };
        scores.chunks(group).flat_map(of_group).collect()
    }
}

/// `s_i - mean of s_j over j != i`; a reply without another keeps its score.
///
/// # References
/// arXiv 2402.14740, equation 7.
pub fn leave_one_out(scores: &[f32]) -> Vec<f32> {
    let total: f64 = scores.iter().copied().map(f64::from).sum();
    let others = scores.len().saturating_sub(1).max(1) as f64;
    let baseline = |score: f64| if scores.len() > 1 { (total - score) / others } else { 0.0 };
    scores
        .iter()
        .map(|&score| f64::from(score))
        .map(|score| narrow(score - baseline(score)))
        .collect()
}

/// `(s_i - mean) / (std + 1e-9)`, with the unbiased standard deviation.
///
/// # References
/// arXiv 2402.03300, section 4.1.2.
pub fn group_normalised(scores: &[f32]) -> Vec<f32> {
    let centred = centred(scores);
    let squares: f64 = centred.iter().map(|score| score * score).sum();
    let std = (squares / scores.len().saturating_sub(1).max(1) as f64).sqrt();
    centred.into_iter().map(|score| narrow(score / (std + EPSILON))).collect()
}

/// `s_i - mean`.
///
/// # References
/// arXiv 2503.20783, section 3.2: without the division, hard and easy prompts weigh what their scores weigh.
pub fn group_centred(scores: &[f32]) -> Vec<f32> {
    centred(scores).into_iter().map(narrow).collect()
}

fn centred(scores: &[f32]) -> Vec<f64> {
    let count = scores.len().max(1) as f64;
    let mean = scores.iter().copied().map(f64::from).sum::<f64>() / count;
    scores.iter().map(|&score| f64::from(score) - mean).collect()
}

/// What a token earns from itself on: `sum over u from t of gamma^(u - t) r_u`.
///
/// # Shapes
/// One number a token, to the same.
pub fn reward_to_go(rewards: &[f32], gamma: f32) -> Vec<f32> {
    let mut sum = 0.0;
    let mut sums: Vec<f32> = rewards
        .iter()
        .rev()
        .map(|&reward| {
            sum = f64::from(reward) + f64::from(gamma) * sum;
            narrow(sum)
        })
        .collect();
    sums.reverse();
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::assert_close;
    use ndarray::{Array1, Array2};
    use proptest::prelude::*;

    #[test]
    fn baselines_by_hand() {
        assert_close(&leave_one_out(&[1.0, 2.0, 6.0]), &[-3.0, -1.5, 4.5], 1e-6);
        assert_close(&group_centred(&[1.0, 2.0, 6.0]), &[-2.0, -1.0, 3.0], 1e-6);
        // Squares 4 + 1 + 9 over 2.
        let std = 7.0_f32.sqrt();
        let expected = [-2.0, -1.0, 3.0].map(|score| score / std);
        assert_close(&group_normalised(&[1.0, 2.0, 6.0]), &expected, 1e-6);
        assert_close(&group_normalised(&[2.0, 2.0]), &[0.0, 0.0], 1e-6);
        assert_close(&leave_one_out(&[2.0]), &[2.0], 1e-6);
    }

    #[test]
    fn groups_do_not_touch_each_other() {
        let found = Advantage::GroupCentred.baselined(&[1.0, 3.0, 10.0, 30.0], 2);
        assert_close(&found, &[-1.0, 1.0, -10.0, 10.0], 1e-6);
        assert_close(&Advantage::Gae.baselined(&[1.0, 3.0], 2), &[1.0, 3.0], 0.0);
    }

    #[test]
    fn rewards_to_go_by_hand() {
        assert_close(&reward_to_go(&[1.0, 2.0, 4.0], 0.5), &[3.0, 4.0, 4.0], 1e-6);
        assert!(reward_to_go(&[], 1.0).is_empty());
    }

    proptest! {
        #[test]
        fn agree_with_ndarray_whatever_the_order(
            scores in prop::collection::vec(-5.0_f32..5.0, 2..20),
        ) {
            let wide: Array1<f64> = scores.iter().copied().map(f64::from).collect();
            let (mean, std) = (wide.mean().unwrap(), wide.std(1.0));
            prop_assume!(std > 0.01);
            let count = scores.len() as f64;
            let rloo = (&wide - mean) * (count / (count - 1.0));
            let mut turned = scores.clone();
            turned.reverse();
            for (estimate, expected) in [
                (leave_one_out as fn(&[f32]) -> Vec<f32>, rloo),
                (group_normalised, (&wide - mean) / std),
                (group_centred, &wide - mean),
            ] {
                let found = estimate(&scores);
                for (found, expected) in found.iter().zip(&expected) {
                    prop_assert!((f64::from(*found) - expected).abs() < 1e-4);
                }
                let mut back = estimate(&turned);
                back.reverse();
                prop_assert!(found.iter().zip(&back).all(|(one, other)| (one - other).abs() < 1e-5));
            }
        }

        /// The definition, as a matrix of discounts times the rewards.
        #[test]
        fn rewards_to_go_agree_with_the_definition(
            rewards in prop::collection::vec(-3.0_f32..3.0, 1..50),
            gamma in 0.0_f32..=1.0,
            start in 0_usize..50,
        ) {
            let length = rewards.len();
            let discounts = Array2::from_shape_fn((length, length), |(t, u)| {
                if u < t { 0.0 } else { f64::from(gamma).powf((u - t) as f64) }
            });
            let wide: Array1<f64> = rewards.iter().copied().map(f64::from).collect();
            let expected = discounts.dot(&wide);
            let found = reward_to_go(&rewards, gamma);
            prop_assert_eq!(found.len(), length);
            for (found, expected) in found.iter().zip(&expected) {
                prop_assert!((f64::from(*found) - expected).abs() < 1e-4, "{found} {expected}");
            }
            // What came before a token has no part in it.
            let start = start.min(length - 1);
            let rest = reward_to_go(&rewards[start..], gamma);
            prop_assert_eq!(rest.as_slice(), &found[start..]);
            // Without a future every token earns its own reward.
            prop_assert_eq!(reward_to_go(&rewards, 0.0), rewards);
        }

        /// Groups know nothing of each other, so that those of a round may come in any order.
        #[test]
        fn the_order_of_groups_does_not_matter(
            groups in prop::collection::vec(prop::collection::vec(-5.0_f32..5.0, 4), 1..6),
        ) {
            for advantage in [
                Advantage::Gae, Advantage::Rloo, Advantage::GroupNormalised, Advantage::GroupCentred,
            ] {
                let found = advantage.baselined(&groups.concat(), 4);
                let reversed: Vec<Vec<f32>> = groups.iter().rev().cloned().collect();
                let back = advantage.baselined(&reversed.concat(), 4);
                let back: Vec<f32> = back.chunks(4).rev().flatten().copied().collect();
                prop_assert_eq!(found, back);
            }
        }
    }
}
