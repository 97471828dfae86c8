//! The objectives on flat tensors of reply tokens.
//!
//! Every loss is a sum over the tokens given, each with its weight ([`crate::Aggregation`]), which counts the tokens of the
//! whole optimiser step. Losses of the parts of a minibatch thus add up to the loss of the whole, however it is cut.

use crate::KlEstimator;
use crate::precision::narrow;
use crate::ratio::{LARGEST_LOG_RATIO, ratio};
use burn::prelude::{Backend, Tensor};

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
/// ratio = exp(new - old), the exponent within [-20, 20]; beyond that a token teaches nothing
/// cost  = max(-A ratio, -A clip(ratio, 1 - low, 1 + high))
/// cost  = min(cost, -dual A)  where A < 0, with a dual clip
/// loss  = sum weight cost
/// ```
///
/// # Shapes
/// All tensors `[tokens]`, those of this part of the step, to `[1]`; `new`, log-probs in nats, carries the gradient, all others
/// are constants.
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
///
/// # Shapes
/// All tensors `[slots]`, those of this part of the step, to `[1]`; `values` carries the gradient, all others are constants.
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
/// Whatever the estimator, `d` is kept within [-20, 20].
///
/// With `d = new - reference` the gradient of `k2` is `d` times that of `new`, whose expectation is the gradient of the
/// divergence; that of `k3` is `(1 - exp(-d))` times it.
///
/// # Shapes
/// All tensors `[tokens]`, those of this part of the step, to `[1]`; `new`, log-probs in nats, carries the gradient, all others
/// are constants.
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
///
/// # Shapes
/// Both tensors `[tokens]`, those of this part of the step, to `[1]`; `entropies` carries the gradient.
pub fn mean_entropy<B: Backend>(entropies: Tensor<B, 1>, weights: Tensor<B, 1>) -> Tensor<B, 1> {
    (entropies * weights).sum()
}

/// What a token weighs since it was drawn by a slightly different policy: `min(exp(trainer - engine), cap)`, the exponent within
/// [-20, 20].
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
    let weight =
        |(trainer, engine): (&f32, &f32)| narrow(ratio(*trainer, *engine).min(f64::from(cap)));
    trainer.iter().zip(engine).map(weight).collect()
}

#[cfg(test)]
mod tests;
