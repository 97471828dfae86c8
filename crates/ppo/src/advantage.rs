//! Generalised advantage estimation on single replies.

use crate::precision::narrow;

/// The advantage of every token of one reply.
///
/// ```text
/// delta_t = r_t + gamma V_{t+1} - V_t
/// A_t     = delta_t + gamma lambda A_{t+1}
/// ```
///
/// Past the last token both `V` and `A` are 0: the reply ends there, be it finished or cut, and its last reward is the
/// score of the whole. There is no padding, hence no mask.
///
/// # Shapes
/// `rewards` and `values`, one a token; `values[t]` is the estimate before token `t` is drawn. The result likewise.
///
/// # Panics
/// If the rows differ in length.
///
/// # References
/// arXiv 1506.02438, equation 16.
pub fn generalised_advantages(
    rewards: &[f32],
    values: &[f32],
    gamma: f32,
    lambda: f32,
) -> Vec<f32> {
    assert_eq!(rewards.len(), values.len(), "one reward and one value a token");
    let (gamma, lambda) = (f64::from(gamma), f64::from(lambda));
    let mut advantages = vec![0.0; rewards.len()];
    let (mut next_value, mut next_advantage) = (0.0, 0.0);
    for (t, advantage) in advantages.iter_mut().enumerate().rev() {
        let value = f64::from(values[t]);
        let delta = f64::from(rewards[t]) + gamma * next_value - value;
        next_advantage = delta + gamma * lambda * next_advantage;
        next_value = value;
        *advantage = narrow(next_advantage);
    }
    advantages
}

/// What the value function should have said: `A_t + V_t`, with advantages that are not whitened.
///
/// # Panics
/// If the rows differ in length.
pub fn returns(advantages: &[f32], values: &[f32]) -> Vec<f32> {
    assert_eq!(advantages.len(), values.len(), "one advantage and one value a token");
    advantages.iter().zip(values).map(|(advantage, value)| advantage + value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::assert_close;
    use ndarray::{Array1, Array2};
    use proptest::prelude::*;

    #[test]
    fn three_tokens_by_hand() {
        // gamma 0.9, lambda 0.5. Deltas: 0.1 + 0.9 * 0.4 - 0.5 = -0.04; 0 + 0.9 * 0.2 - 0.4 = -0.22; 1 - 0.2 = 0.8.
        // A_2 = 0.8; A_1 = -0.22 + 0.45 * 0.8 = 0.14; A_0 = -0.04 + 0.45 * 0.14 = 0.023.
        let (rewards, values) = ([0.1, 0.0, 1.0], [0.5, 0.4, 0.2]);
        let advantages = generalised_advantages(&rewards, &values, 0.9, 0.5);
        assert_close(&advantages, &[0.023, 0.14, 0.8], 1e-6);
        assert_close(&returns(&advantages, &values), &[0.523, 0.54, 1.0], 1e-6);
    }

    #[test]
    fn one_token_is_reward_less_value() {
        assert_close(&generalised_advantages(&[2.0], &[0.5], 0.9, 0.95), &[1.5], 1e-6);
        assert!(generalised_advantages(&[], &[], 1.0, 0.95).is_empty());
    }

    #[test]
    fn lambda_one_without_discount_is_reward_to_go_less_value() {
        let advantages = generalised_advantages(&[1.0, 2.0, 3.0], &[0.5, 0.5, 0.5], 1.0, 1.0);
        assert_close(&advantages, &[5.5, 4.5, 2.5], 1e-6);
    }

    #[test]
    fn a_correct_value_function_leaves_no_advantage() {
        let rewards = [0.5, -1.0, 2.0];
        assert_close(
            &generalised_advantages(&rewards, &[1.5, 1.0, 2.0], 1.0, 0.7),
            &[0.0; 3],
            1e-6,
        );
    }

    /// The definition, `A_t = sum over u from t of (gamma lambda)^(u - t) delta_u`, as a matrix times the deltas.
    fn oracle(rewards: &Array1<f64>, values: &Array1<f64>, gamma: f64, lambda: f64) -> Array1<f64> {
        let length = rewards.len();
        let next = Array1::from_shape_fn(length, |t| values.get(t + 1).copied().unwrap_or(0.0));
        let decay = Array2::from_shape_fn((length, length), |(t, u)| {
            if u < t { 0.0 } else { (gamma * lambda).powf((u - t) as f64) }
        });
        decay.dot(&(rewards + next * gamma - values))
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(
            row in prop::collection::vec((-2.0_f32..2.0, -2.0_f32..2.0), 1..60),
            gamma in 0.5_f32..=1.0,
            lambda in 0.0_f32..=1.0,
        ) {
            let (rewards, values): (Vec<f32>, Vec<f32>) = row.into_iter().unzip();
            let found = generalised_advantages(&rewards, &values, gamma, lambda);
            let wide = |row: &[f32]| Array1::from_iter(row.iter().copied().map(f64::from));
            let expected =
                oracle(&wide(&rewards), &wide(&values), f64::from(gamma), f64::from(lambda));
            for (found, expected) in found.iter().zip(&expected) {
                prop_assert!((f64::from(*found) - expected).abs() < 1e-4, "{found} {expected}");
            }
        }

        #[test]
        fn with_lambda_one_the_returns_are_the_rewards_to_go(
            row in prop::collection::vec((-2.0_f32..2.0, -2.0_f32..2.0), 1..60),
            gamma in 0.5_f32..=1.0,
        ) {
            let (rewards, values): (Vec<f32>, Vec<f32>) = row.into_iter().unzip();
            let advantages = generalised_advantages(&rewards, &values, gamma, 1.0);
            let found = returns(&advantages, &values);
            for (found, expected) in found.iter().zip(crate::reward_to_go(&rewards, gamma)) {
                prop_assert!((found - expected).abs() < 1e-4, "{found} {expected}");
            }
            // Values that are the returns leave nothing to learn.
            let exact = crate::reward_to_go(&rewards, gamma);
            for advantage in generalised_advantages(&rewards, &exact, gamma, 1.0) {
                prop_assert!(advantage.abs() < 1e-4, "{advantage}");
            }
        }
    }
}
