//! The clipped objectives on flat tensors of reply tokens.
//!
//! Every loss is a sum over the tokens given, divided by `tokens`, the number of reply tokens of the whole optimiser
//! step. Losses of the parts of a minibatch thus add up to the loss of the whole, however it is cut.
//!
//! # Shapes
//! All tensors are `[tokens of this part]`; every loss is `[1]`.

use burn::prelude::{Backend, Tensor};

/// The clipped policy loss.
///
/// ```text
/// ratio = exp(new - old)
/// loss  = sum max(-A ratio, -A clip(ratio, 1 - clip, 1 + clip)) / tokens
/// ```
///
/// `new` carries the gradient; `old` and `advantages` are constants.
///
/// # References
/// arXiv 1707.06347, equation 7.
pub fn policy_loss<B: Backend>(
    new: Tensor<B, 1>,
    old: Tensor<B, 1>,
    advantages: Tensor<B, 1>,
    clip: f32,
    tokens: usize,
) -> Tensor<B, 1> {
    let ratio = (new - old).exp();
    let costs = -advantages;
    let clipped = costs.clone() * ratio.clone().clamp(1.0 - clip, 1.0 + clip);
    (costs * ratio).max_pair(clipped).sum() / tokens as f64
}

/// The clipped value loss.
///
/// ```text
/// clipped = old + clip(new - old, -value_clip, value_clip)
/// loss    = 1/2 sum max((new - return)^2, (clipped - return)^2) / tokens
/// ```
///
/// `new` carries the gradient; `old` and `returns` are constants, in units of the score.
pub fn value_loss<B: Backend>(
    new: Tensor<B, 1>,
    old: Tensor<B, 1>,
    returns: Tensor<B, 1>,
    value_clip: f32,
    tokens: usize,
) -> Tensor<B, 1> {
    let clipped = old.clone() + (new.clone() - old).clamp(-value_clip, value_clip);
    let squares = (new - returns.clone()).square();
    squares.max_pair((clipped - returns).square()).sum() * 0.5 / tokens as f64
}

/// The mean entropy of the next-token distributions, in nats: subtracted from the loss with its coefficient.
pub fn mean_entropy<B: Backend>(entropies: Tensor<B, 1>, tokens: usize) -> Tensor<B, 1> {
    entropies.sum() / tokens as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::assert_close;
    use burn::backend::Autodiff;
    use burn_flex::Flex;
    use ndarray::{Array1, Zip};
    use proptest::prelude::*;

    fn tensor<B: Backend>(row: &[f32]) -> Tensor<B, 1> {
        Tensor::from_floats(row, &B::Device::default())
    }

    fn number(loss: Tensor<Flex, 1>) -> f32 {
        loss.into_scalar()
    }

    fn policy(new: &[f32], old: &[f32], advantages: &[f32], clip: f32, tokens: usize) -> f32 {
        number(policy_loss(tensor(new), tensor(old), tensor(advantages), clip, tokens))
    }

    fn value(new: &[f32], old: &[f32], returns: &[f32], clip: f32, tokens: usize) -> f32 {
        number(value_loss(tensor(new), tensor(old), tensor(returns), clip, tokens))
    }

    #[test]
    fn policy_by_hand() {
        let ratios = [1.5_f32, 1.5, 0.5, 0.5, 1.1].map(f32::ln);
        let advantages = [1.0, -1.0, 1.0, -1.0, 2.0];
        // Per token: -1.2 (clipped), 1.5 (the worse one counts), -0.5, 0.8 (clipped), -2.2.
        let found = policy(&ratios, &[0.0; 5], &advantages, 0.2, 5);
        assert_close(&[found], &[(-1.2 + 1.5 - 0.5 + 0.8 - 2.2) / 5.0], 1e-6);
    }

    #[test]
    fn value_by_hand() {
        // Move +0.5 towards a far return: clipped to 0.2, (0.2 - 1)^2 = 0.64 counts over 0.25.
        // Move +0.1: no clipping, (0.1 - 1)^2 = 0.81. Move +0.5 away from -1: 2.25 counts over 1.44.
        let found = value(&[0.5, 0.1, 0.5], &[0.0; 3], &[1.0, 1.0, -1.0], 0.2, 3);
        assert_close(&[found], &[0.5 * (0.64 + 0.81 + 2.25) / 3.0], 1e-6);
    }

    #[test]
    fn entropy_by_hand() {
        assert_close(&[number(mean_entropy(tensor(&[0.5, 1.5]), 4))], &[0.5], 1e-6);
    }

    #[test]
    fn the_first_update_has_ratio_one() {
        let log_probs = [-0.3, -4.0, -1.7];
        let advantages = [0.5, -2.0, 0.9];
        let found = policy(&log_probs, &log_probs, &advantages, 0.2, 3);
        assert_close(&[found], &[-(0.5 - 2.0 + 0.9) / 3.0], 1e-6);
    }

    #[test]
    fn no_gradient_where_the_ratio_is_clipped() {
        type B = Autodiff<Flex>;
        let new = tensor::<B>(&[0.5, 0.5, -0.5, 0.0]).require_grad();
        let old = tensor(&[0.0; 4]);
        let loss = policy_loss(new.clone(), old, tensor(&[1.0, -1.0, -1.0, 3.0]), 0.2, 4);
        let gradient = new.grad(&loss.backward()).unwrap().into_data().to_vec::<f32>().unwrap();
        // d(-A ratio)/d new = -A ratio.
        assert_close(&gradient, &[0.0, 0.5_f32.exp() / 4.0, 0.0, -0.75], 1e-6);
    }

    #[test]
    fn no_gradient_where_the_value_has_moved_far_enough() {
        type B = Autodiff<Flex>;
        let new = tensor::<B>(&[0.5, 0.1, 0.5]).require_grad();
        let loss = value_loss(new.clone(), tensor(&[0.0; 3]), tensor(&[1.0, 1.0, -1.0]), 0.2, 3);
        let gradient = new.grad(&loss.backward()).unwrap().into_data().to_vec::<f32>().unwrap();
        assert_close(&gradient, &[0.0, -0.9 / 3.0, 1.5 / 3.0], 1e-6);
    }

    fn wide(row: &[f32]) -> Array1<f64> {
        row.iter().copied().map(f64::from).collect()
    }

    fn policy_oracle(new: &[f32], old: &[f32], advantages: &[f32], clip: f64) -> f64 {
        let ratio = (wide(new) - wide(old)).exp();
        Zip::from(&ratio)
            .and(&wide(advantages))
            .map_collect(|ratio, a| (-a * ratio).max(-a * ratio.clamp(1.0 - clip, 1.0 + clip)))
            .mean()
            .unwrap()
    }

    fn value_oracle(new: &[f32], old: &[f32], returns: &[f32], clip: f64) -> f64 {
        Zip::from(&wide(new))
            .and(&wide(old))
            .and(&wide(returns))
            .map_collect(|v, old, r| {
                (v - r).powi(2).max((v.clamp(old - clip, old + clip) - r).powi(2))
            })
            .mean()
            .unwrap()
            / 2.0
    }

    proptest! {
        #[test]
        fn agree_with_f64_and_do_not_depend_on_the_cut(
            tokens in prop::collection::vec((-3.0_f32..0.0, -3.0_f32..0.0, -2.0_f32..2.0), 2..80),
            cut in 1_usize..79,
        ) {
            let count = tokens.len();
            let cut = cut.min(count - 1);
            let row = |part: fn(&(f32, f32, f32)) -> f32| tokens.iter().map(part).collect::<Vec<_>>();
            let (new, old, target) = (row(|t| t.0), row(|t| t.1), row(|t| t.2));
            let cases = [
                (policy as fn(&[f32], &[f32], &[f32], f32, usize) -> f32,
                 policy_oracle(&new, &old, &target, f64::from(0.2_f32))),
                (value, value_oracle(&new, &old, &target, f64::from(0.2_f32))),
            ];
            for (loss, expected) in cases {
                let whole = loss(&new, &old, &target, 0.2, count);
                let parts = loss(&new[..cut], &old[..cut], &target[..cut], 0.2, count)
                    + loss(&new[cut..], &old[cut..], &target[cut..], 0.2, count);
                let tolerance = 1e-4 * expected.abs().max(1.0);
                prop_assert!((f64::from(whole) - expected).abs() < tolerance, "{whole} {expected}");
                prop_assert!((f64::from(parts) - expected).abs() < tolerance, "{parts} {expected}");
            }
        }
    }
}
