//! The objectives on flat tensors of reply tokens.
//!
//! Every loss is a sum over the tokens given, each with its weight ([`crate::Aggregation`]), which counts the tokens of the
//! whole optimiser step. Losses of the parts of a minibatch thus add up to the loss of the whole, however it is cut.
//!
//! # Shapes
//! All tensors are `[tokens of this part]`; every loss is `[1]`. `new` and `values` carry the gradient, all others are
//! constants.

use crate::KlEstimator;
use crate::precision::narrow;
use burn::prelude::{Backend, Tensor};

/// Log-ratios are kept within this, so that no ratio overflows; beyond it nothing is learned from a token.
const LARGEST_LOG_RATIO: f64 = 20.0;

/// How far a probability ratio may move before its token stops teaching.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clip {
    /// Below 1.
    pub low: f32,
    /// Above 1.
    pub high: f32,
    /// Times the advantage, the most that a token with a negative advantage may cost.
    pub dual: Option<f32>,
}

/// The clipped policy loss.
///
/// ```text
/// ratio = exp(new - old), the exponent within [-20, 20]
/// cost  = max(-A ratio, -A clip(ratio, 1 - low, 1 + high))
/// cost  = min(cost, -dual A)  where A < 0, with a dual clip
/// loss  = sum weight cost
/// ```
///
/// # References
/// arXiv 1707.06347, equation 7; separate bounds: arXiv 2503.14476; dual clip: arXiv 1912.09729.
pub fn policy_loss<B: Backend>(
    new: Tensor<B, 1>,
    old: Tensor<B, 1>,
    advantages: Tensor<B, 1>,
    weights: Tensor<B, 1>,
    clip: Clip,
) -> Tensor<B, 1> {
    let ratio = (new - old).clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO).exp();
    let costs = -advantages;
    let clipped = costs.clone() * ratio.clone().clamp(1.0 - clip.low, 1.0 + clip.high);
    let mut cost = (costs.clone() * ratio).max_pair(clipped);
    if let Some(dual) = clip.dual {
        let bounded = cost.clone().min_pair(costs.clone() * dual);
        cost = cost.mask_where(costs.greater_elem(0.0), bounded);
    }
    (cost * weights).sum()
}

/// The clipped value loss.
///
/// ```text
/// clipped = old + clip(values - old, -value_clip, value_clip)
/// loss    = 1/2 sum weight max((values - return)^2, (clipped - return)^2)
/// ```
///
/// `old` and `returns` in units of the score.
pub fn value_loss<B: Backend>(
    values: Tensor<B, 1>,
    old: Tensor<B, 1>,
    returns: Tensor<B, 1>,
    weights: Tensor<B, 1>,
    value_clip: f32,
) -> Tensor<B, 1> {
    let clipped = old.clone() + (values.clone() - old).clamp(-value_clip, value_clip);
    let squares = (values - returns.clone()).square();
    (squares.max_pair((clipped - returns).square()) * weights).sum() * 0.5
}

/// The KL penalty with a gradient of its own: `sum weight kl`, each within `[-clamp, clamp]` if `clamp` is set.
///
/// With `d = new - reference` the gradient of `k2` is `d` times that of `new`, whose expectation is the gradient of the
/// divergence; that of `k3` is `(1 - exp(-d))` times it.
pub fn kl_loss<B: Backend>(
    new: Tensor<B, 1>,
    reference: Tensor<B, 1>,
    weights: Tensor<B, 1>,
    estimator: KlEstimator,
    clamp: Option<f32>,
) -> Tensor<B, 1> {
    let log_ratio = (new - reference).clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO);
    let kl = match estimator {
        KlEstimator::K1 => log_ratio,
        KlEstimator::K2 => log_ratio.square() * 0.5,
        KlEstimator::K3 => (-log_ratio.clone()).exp() - 1.0 + log_ratio,
    };
    let kl = match clamp {
        Some(limit) => kl.clamp(-limit, limit),
        None => kl,
    };
    (kl * weights).sum()
}

/// The weighted entropy of the next-token distributions, in nats: subtracted from the loss with its coefficient.
pub fn mean_entropy<B: Backend>(entropies: Tensor<B, 1>, weights: Tensor<B, 1>) -> Tensor<B, 1> {
    (entropies * weights).sum()
}

/// What a token weighs since it was drawn by a slightly different policy: `min(exp(trainer - engine), cap)`.
///
/// The engine that drew a token and the trainer that learns from it round differently (another order of sums, another type
/// of numbers); the truncated ratio takes the bias away that this brings.
///
/// # Shapes
/// Log-probs of the same policy at drawing time, one a token, as the trainer and as the engine computed them.
///
/// # Panics
/// If the rows differ in length.
///
/// # References
/// Truncated importance sampling: Ionides, 2008.
pub fn importance_weights(trainer: &[f32], engine: &[f32], cap: f32) -> Vec<f32> {
    assert_eq!(trainer.len(), engine.len(), "one log-prob a token from each");
    let weight = |(trainer, engine): (&f32, &f32)| {
        narrow((f64::from(*trainer) - f64::from(*engine)).exp().min(f64::from(cap)))
    };
    trainer.iter().zip(engine).map(weight).collect()
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

    fn even(count: usize, tokens: usize) -> Vec<f32> {
        vec![1.0 / tokens as f32; count]
    }

    fn clip(clip: f32) -> Clip {
        Clip { low: clip, high: clip, dual: None }
    }

    fn policy_with(new: &[f32], old: &[f32], advantages: &[f32], clip: Clip) -> f32 {
        let weights = tensor(&even(new.len(), new.len()));
        number(policy_loss(tensor(new), tensor(old), tensor(advantages), weights, clip))
    }

    fn policy(new: &[f32], old: &[f32], advantages: &[f32], range: f32, tokens: usize) -> f32 {
        let weights = tensor(&even(new.len(), tokens));
        number(policy_loss(tensor(new), tensor(old), tensor(advantages), weights, clip(range)))
    }

    fn value(new: &[f32], old: &[f32], returns: &[f32], range: f32, tokens: usize) -> f32 {
        let weights = tensor(&even(new.len(), tokens));
        number(value_loss(tensor(new), tensor(old), tensor(returns), weights, range))
    }

    #[test]
    fn the_sides_may_be_clipped_apart() {
        let ratios = [1.5_f32, 0.5].map(f32::ln);
        let sides = Clip { low: 0.1, high: 0.3, dual: None };
        // -1.3 and 0.9, both clipped.
        let found = policy_with(&ratios, &[0.0; 2], &[1.0, -1.0], sides);
        assert_close(&[found], &[f32::midpoint(-1.3, 0.9)], 1e-6);
    }

    #[test]
    fn a_dual_clip_bounds_the_cost_of_bad_tokens_alone() {
        let ratios = [5.0_f32, 5.0, 2.0].map(f32::ln);
        let dual = Clip { dual: Some(3.0), ..clip(0.2) };
        // 5 is cut to 3; a good token stays at -1.2; 2 is below 3.
        let found = policy_with(&ratios, &[0.0; 3], &[-1.0, 1.0, -1.0], dual);
        assert_close(&[found], &[(3.0 - 1.2 + 2.0) / 3.0], 1e-6);
    }

    #[test]
    fn ratios_do_not_overflow() {
        let found = policy_with(&[0.0], &[-500.0], &[-1.0], clip(0.2));
        assert!(found.is_finite() && found > 1e8, "{found}");
    }

    #[test]
    fn kl_by_hand() {
        let kl = |estimator, clamp| {
            let weights = tensor(&[0.5, 0.5]);
            number(kl_loss(tensor(&[-1.0, -1.0]), tensor(&[-1.5, -0.5]), weights, estimator, clamp))
        };
        assert_close(&[kl(KlEstimator::K1, None)], &[0.0], 1e-6);
        assert_close(&[kl(KlEstimator::K2, None)], &[0.125], 1e-6);
        assert_close(
            &[kl(KlEstimator::K3, None)],
            &[f32::midpoint(0.106_530_66, 0.148_721_27)],
            1e-6,
        );
        assert_close(&[kl(KlEstimator::K1, Some(0.1))], &[0.0], 1e-6);
        assert_close(&[kl(KlEstimator::K2, Some(0.1))], &[0.1], 1e-6);
    }

    #[test]
    fn importance_weights_by_hand() {
        let found = importance_weights(&[-1.0, -1.0, 0.0], &[-1.0, -1.5, -9.0], 2.0);
        assert_close(&found, &[1.0, 0.5_f32.exp(), 2.0], 1e-6);
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
        assert_close(
            &[number(mean_entropy(tensor(&[0.5, 1.5]), tensor(&[0.25; 2])))],
            &[0.5],
            1e-6,
        );
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
        let advantages = tensor(&[1.0, -1.0, -1.0, 3.0]);
        let loss = policy_loss(new.clone(), old, advantages, tensor(&[0.25; 4]), clip(0.2));
        let gradient = new.grad(&loss.backward()).unwrap().into_data().to_vec::<f32>().unwrap();
        // d(-A ratio)/d new = -A ratio.
        assert_close(&gradient, &[0.0, 0.5_f32.exp() / 4.0, 0.0, -0.75], 1e-6);
    }

    #[test]
    fn no_gradient_where_the_value_has_moved_far_enough() {
        type B = Autodiff<Flex>;
        let new = tensor::<B>(&[0.5, 0.1, 0.5]).require_grad();
        let (returns, weights) = (tensor(&[1.0, 1.0, -1.0]), tensor(&even(3, 3)));
        let loss = value_loss(new.clone(), tensor(&[0.0; 3]), returns, weights, 0.2);
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
