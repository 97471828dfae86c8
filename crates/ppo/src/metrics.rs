//! What is reported of every iteration.

use crate::ratio::LARGEST_LOG_RATIO;
use crate::repetition::repeated_ngrams;
use crate::{Clip, Estimates, Experience, KlEstimator, ScoredReply};
use language_model::StopReason;

/// The numbers of one iteration, under the names that go to [`training::Observe`].
///
/// Every mean runs over real replies or reply tokens alone: there is no padding to leave out.
///
/// | name | unit | meaning |
/// |---|---|---|
/// | `score_mean` | score | mean of the reward's scores over replies, before any penalty |
/// | `score_std` | score | their standard deviation (divisor `n`) |
/// | `reward_mean` | score | mean over replies of their score less penalties and KL, before clipping, a group's baseline and whitening: the same quantity whatever `advantage` |
/// | `held_out_score_mean` | score | the same as `score_mean` by [`crate::Inputs::held_out_reward`], if there is one |
/// | `kl_per_sequence` | nats | mean over replies of `sum over tokens of (policy - reference)`, log-probs at drawing time |
/// | `kl_per_token` | nats | the same sum over all replies, divided by all reply tokens |
/// | `sqrt_kl` | nats^1/2 | square root of `kl_per_sequence`, 0 where that is below 0; scores grow about in proportion to it (arXiv 2204.05862, section 4.3) |
/// | `kl_coefficient` | score/nat | what one nat of KL cost in this round |
/// | `entropy` | nats | mean entropy of the distributions that the tokens were drawn from |
/// | `reply_tokens` | tokens | mean length of a reply, its end-of-turn token included |
/// | `ended_share` | | share of replies that ended by themselves |
/// | `repeated_4grams` | | share of the runs of 4 tokens in a reply that stood in it before, mean over replies |
/// | `engine_gap_mean` | nats | mean absolute difference of the log-probs of trainer and engine |
/// | `engine_gap_max` | nats | the largest |
/// | `engine_kl` | nats | KL of the engine's policy from the trainer's, by `k3`, mean over tokens |
/// | `explained_variance` | | `1 - var(return - value) / var(return)` over slots, values at drawing time; 0 if all returns are equal |
/// | `policy_loss` | | clipped policy loss, mean over optimiser steps |
/// | `value_loss` | score^2 | clipped value loss without its coefficient, mean over optimiser steps |
/// | `kl_loss` | nats | KL in the loss without its coefficient, mean over optimiser steps |
/// | `ptx_loss` | nats | loss on the other data without its coefficient, mean over optimiser steps |
/// | `approx_kl` | nats | mean over tokens and epochs of `(new - old)^2 / 2`, before the step that each token goes into |
/// | `ratio_mean`, `ratio_max` | | mean and largest probability ratio of new and old policy over tokens and epochs, as the loss has it |
/// | `clip_fraction` | | share of tokens, over epochs, whose gradient the clipping stops, that of the dual clip included |
/// | `gradient_norm` | | norm of all gradients before clipping, mean over optimiser steps |
/// | `value_gradient_norm` | | that of a separate value model; 0 without one |
/// | `learning_rate` | | of the policy, at the last optimiser step |
///
/// KL is estimated by `k1` whatever the reward uses; it is not clamped, and noise may take it below 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Metrics {
    /// What was drawn.
    pub rollout: RolloutMetrics,
    /// The mean score of a reward that nothing is learned from.
    pub held_out_score_mean: Option<f64>,
    /// What was learned.
    pub update: UpdateMetrics,
}

impl Metrics {
    /// Names and values, in the order of the table.
    pub fn named(&self) -> Vec<(&'static str, f64)> {
        let (rollout, update) = (&self.rollout, &self.update);
        let mut named = vec![
            ("score_mean", rollout.score_mean),
            ("score_std", rollout.score_std),
            ("reward_mean", rollout.reward_mean),
        ];
        named.extend(self.held_out_score_mean.map(|mean| ("held_out_score_mean", mean)));
        named.extend([
            ("kl_per_sequence", rollout.kl_per_sequence),
            ("kl_per_token", rollout.kl_per_token),
            ("sqrt_kl", rollout.kl_per_sequence.max(0.0).sqrt()),
            ("kl_coefficient", rollout.kl_coefficient),
            ("entropy", rollout.entropy),
            ("reply_tokens", rollout.reply_tokens),
            ("ended_share", rollout.ended_share),
            ("repeated_4grams", rollout.repeated_4grams),
            ("engine_gap_mean", rollout.engine_gap_mean),
            ("engine_gap_max", rollout.engine_gap_max),
            ("engine_kl", rollout.engine_kl),
            ("explained_variance", rollout.explained_variance),
            ("policy_loss", update.policy_loss),
            ("value_loss", update.value_loss),
            ("kl_loss", update.kl_loss),
            ("ptx_loss", update.ptx_loss),
            ("approx_kl", update.approx_kl),
            ("ratio_mean", update.ratio_mean),
            ("ratio_max", update.ratio_max),
            ("clip_fraction", update.clip_fraction),
            ("gradient_norm", update.gradient_norm),
            ("value_gradient_norm", update.value_gradient_norm),
            ("learning_rate", update.learning_rate),
        ]);
        named
    }
}

/// The part of [`Metrics`] that is known before learning.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(missing_docs, reason = "the table of `Metrics` describes every field")]
pub struct RolloutMetrics {
    pub score_mean: f64,
    pub score_std: f64,
    pub reward_mean: f64,
    pub kl_per_sequence: f64,
    pub kl_per_token: f64,
    pub kl_coefficient: f64,
    pub entropy: f64,
    pub reply_tokens: f64,
    pub ended_share: f64,
    pub repeated_4grams: f64,
    pub engine_gap_mean: f64,
    pub engine_gap_max: f64,
    pub engine_kl: f64,
    pub explained_variance: f64,
}

impl RolloutMetrics {
    /// The metrics of at least one reply.
    pub(crate) fn new(
        replies: &[ScoredReply],
        tokens_of: &[&[u32]],
        estimates: &Estimates,
        experience: &Experience,
        kl_coefficient: f64,
    ) -> Self {
        let count = replies.len() as f64;
        let tokens: f64 = replies.iter().map(|reply| reply.tokens as f64).sum();
        let kl: f64 = replies.iter().map(|reply| reply.kl).sum();
        let scores: Vec<f64> = replies.iter().map(|reply| f64::from(reply.score)).collect();
        let (score_mean, score_variance) = moments(&scores);
        let ended = replies.iter().filter(|reply| reply.stopped == StopReason::Stop).count();
        let sum = |rows: &[Vec<f32>]| rows.iter().flatten().copied().map(f64::from).sum::<f64>();
        let repeated: f64 = tokens_of.iter().map(|tokens| repeated_ngrams(tokens, 4)).sum();
        let gap = EngineGap::of(&estimates.log_probs, &estimates.engine_log_probs);
        Self {
            score_mean,
            score_std: score_variance.sqrt(),
            reward_mean: experience.reply_rewards.iter().sum::<f64>() / count,
            kl_per_sequence: kl / count,
            kl_per_token: kl / tokens,
            kl_coefficient,
            entropy: sum(&estimates.entropies) / tokens,
            reply_tokens: tokens / count,
            ended_share: ended as f64 / count,
            repeated_4grams: repeated / count,
            engine_gap_mean: gap.mean,
            engine_gap_max: gap.max,
            engine_kl: gap.kl,
            explained_variance: explained_variance(&estimates.values, &experience.returns),
        }
    }
}

/// How far the log-probs of the engine that drew the tokens are from those of the trainer.
struct EngineGap {
    mean: f64,
    max: f64,
    kl: f64,
}

impl EngineGap {
    fn of(trainer: &[Vec<f32>], engine: &[Vec<f32>]) -> Self {
        let pairs = || trainer.iter().flatten().zip(engine.iter().flatten());
        let gaps =
            || pairs().map(|(trainer, engine)| (f64::from(*trainer) - f64::from(*engine)).abs());
        let count = pairs().count().max(1) as f64;
        let kl = |(trainer, engine): (&f32, &f32)| {
            f64::from(KlEstimator::K3.estimate(*engine, *trainer))
        };
        Self {
            mean: gaps().sum::<f64>() / count,
            max: gaps().fold(0.0, f64::max),
            kl: pairs().map(kl).sum::<f64>() / count,
        }
    }
}

/// The part of [`Metrics`] that learning adds.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(missing_docs, reason = "the table of `Metrics` describes every field")]
pub struct UpdateMetrics {
    pub policy_loss: f64,
    pub value_loss: f64,
    pub kl_loss: f64,
    pub ptx_loss: f64,
    pub approx_kl: f64,
    pub ratio_mean: f64,
    pub ratio_max: f64,
    pub clip_fraction: f64,
    pub gradient_norm: f64,
    pub value_gradient_norm: f64,
    pub learning_rate: f64,
}

/// `sum over tokens of (policy - reference)`: the KL of one reply, in nats.
pub(crate) fn sequence_kl(policy: &[f32], reference: &[f32]) -> f64 {
    policy
        .iter()
        .zip(reference)
        .map(|(&policy, &reference)| f64::from(KlEstimator::K1.estimate(policy, reference)))
        .sum()
}

/// `1 - var(return - value) / var(return)` over all tokens of all replies; 0 if the returns do not vary.
///
/// 1 says that the values foretell every return, 0 or less that a constant would do as well or better.
///
/// # Shapes
/// One row a reply, one number a slot, of both.
///
/// # Panics
/// If the numbers of rows or their lengths differ.
pub fn explained_variance(values: &[Vec<f32>], returns: &[Vec<f32>]) -> f64 {
    let lengths = |rows: &[Vec<f32>]| rows.iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(lengths(values), lengths(returns), "one value and one return a slot");
    let returns = || returns.iter().flatten().copied().map(f64::from);
    let values = values.iter().flatten().copied().map(f64::from);
    let (_, total) = moments(&returns().collect::<Vec<_>>());
    let errors: Vec<f64> =
        returns().zip(values).map(|(returned, value)| returned - value).collect();
    let (_, left) = moments(&errors);
    if total > 0.0 { 1.0 - left / total } else { 0.0 }
}

/// Half the mean square of `new - old`: how far the policy has moved since the replies were drawn, in nats; 0 without tokens.
///
/// # Shapes
/// Log-probs in nats, one a token, of both.
///
/// # Panics
/// If the lengths differ.
pub fn approximate_kl(new: &[f32], old: &[f32]) -> f64 {
    assert_eq!(new.len(), old.len(), "one log-prob a token from each policy");
    let squares = new.iter().zip(old).map(|(&new, &old)| (f64::from(new) - f64::from(old)).powi(2));
    squares.sum::<f64>() / (2.0 * new.len().max(1) as f64)
}

/// The share of tokens where the clipping of the policy loss lets no gradient flow: the ratio has left
/// `[1 - low, 1 + high]` on the side that the advantage favours, or is above the bound of a dual clip where the
/// advantage is negative. 0 without tokens.
///
/// # Shapes
/// `new` and `old` log-probs in nats, one a token; `advantages` one a token.
///
/// # Panics
/// If the lengths differ.
pub fn clip_fraction(new: &[f32], old: &[f32], advantages: &[f32], clip: Clip) -> f64 {
    assert_eq!(new.len(), old.len(), "one log-prob a token from each policy");
    assert_eq!(new.len(), advantages.len(), "one advantage a token");
    let clipped = new
        .iter()
        .zip(old)
        .zip(advantages)
        .filter(|&((new, old), &advantage)| {
            let ratio = (new - old).clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO).exp();
            let too_dear = clip.dual.is_some_and(|dual| ratio > dual);
            (advantage > 0.0 && ratio > 1.0 + clip.high)
                || (advantage < 0.0 && (ratio < 1.0 - clip.low || too_dear))
        })
        .count();
    clipped as f64 / new.len().max(1) as f64
}

/// Mean and variance (divisor `n`); both 0 without numbers.
fn moments(numbers: &[f64]) -> (f64, f64) {
    let count = numbers.len().max(1) as f64;
    let mean = numbers.iter().sum::<f64>() / count;
    (mean, numbers.iter().map(|number| (number - mean).powi(2)).sum::<f64>() / count)
}

#[cfg(test)]
mod tests;
