//! What is reported of every iteration.

use crate::{Estimates, Experience, KlEstimator, ScoredReply};
use language_model::StopReason;

/// The numbers of one iteration, under the names that go to [`training::Observe`].
///
/// Every mean runs over real replies or reply tokens alone: there is no padding to leave out.
///
/// | name | unit | meaning |
/// |---|---|---|
/// | `score_mean` | score | mean of the reward's scores over replies, before any penalty |
/// | `score_std` | score | their standard deviation (divisor `n`) |
/// | `kl_per_sequence` | nats | mean over replies of `sum over tokens of (policy - reference)`, log-probs at drawing time |
/// | `kl_per_token` | nats | the same sum over all replies, divided by all reply tokens |
/// | `entropy` | nats | mean entropy of the distributions that the tokens were drawn from |
/// | `reply_tokens` | tokens | mean length of a reply, its end-of-turn token included |
/// | `ended_share` | | share of replies that ended by themselves |
/// | `explained_variance` | | `1 - var(return - value) / var(return)` over tokens, values at drawing time; 0 if all returns are equal |
/// | `policy_loss` | | clipped policy loss, mean over optimiser steps |
/// | `value_loss` | score^2 | clipped value loss without its coefficient, mean over optimiser steps |
/// | `approx_kl` | nats | mean over tokens and epochs of `(new - old)^2 / 2`, before the step that each token goes into |
/// | `clip_fraction` | | share of tokens, over epochs, where the clipped term is the larger one and stops the gradient |
/// | `gradient_norm` | | norm of all gradients before clipping, mean over optimiser steps |
/// | `learning_rate` | | at the last optimiser step |
///
/// KL is estimated by `k1` whatever the reward uses; it is not clamped, and noise may take it below 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Metrics {
    /// What was drawn.
    pub rollout: RolloutMetrics,
    /// What was learned; none if the run ended before.
    pub update: Option<UpdateMetrics>,
}

impl Metrics {
    /// Names and values, in the order of the table.
    pub fn named(&self) -> Vec<(&'static str, f64)> {
        let rollout = &self.rollout;
        let mut named = vec![
            ("score_mean", rollout.score_mean),
            ("score_std", rollout.score_std),
            ("kl_per_sequence", rollout.kl_per_sequence),
            ("kl_per_token", rollout.kl_per_token),
            ("entropy", rollout.entropy),
            ("reply_tokens", rollout.reply_tokens),
            ("ended_share", rollout.ended_share),
            ("explained_variance", rollout.explained_variance),
        ];
        if let Some(update) = &self.update {
            named.extend([
                ("policy_loss", update.policy_loss),
                ("value_loss", update.value_loss),
                ("approx_kl", update.approx_kl),
                ("clip_fraction", update.clip_fraction),
                ("gradient_norm", update.gradient_norm),
                ("learning_rate", update.learning_rate),
            ]);
        }
        named
    }
}

/// The part of [`Metrics`] that is known before learning.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(missing_docs, reason = "the table of `Metrics` describes every field")]
pub struct RolloutMetrics {
    pub score_mean: f64,
    pub score_std: f64,
    pub kl_per_sequence: f64,
    pub kl_per_token: f64,
    pub entropy: f64,
    pub reply_tokens: f64,
    pub ended_share: f64,
    pub explained_variance: f64,
}

impl RolloutMetrics {
    /// The metrics of at least one reply.
    pub(crate) fn new(
        replies: &[ScoredReply],
        estimates: &Estimates,
        experience: &Experience,
    ) -> Self {
        let count = replies.len() as f64;
        let tokens: f64 = replies.iter().map(|reply| reply.tokens as f64).sum();
        let kl: f64 = replies.iter().map(|reply| reply.kl).sum();
        let scores: Vec<f64> = replies.iter().map(|reply| f64::from(reply.score)).collect();
        let (score_mean, score_variance) = moments(&scores);
        let ended = replies.iter().filter(|reply| reply.stopped == StopReason::Stop).count();
        let entropies: f64 = estimates.entropies.iter().flatten().copied().map(f64::from).sum();
        Self {
            score_mean,
            score_std: score_variance.sqrt(),
            kl_per_sequence: kl / count,
            kl_per_token: kl / tokens,
            entropy: entropies / tokens,
            reply_tokens: tokens / count,
            ended_share: ended as f64 / count,
            explained_variance: explained_variance(&estimates.values, &experience.returns),
        }
    }
}

/// The part of [`Metrics`] that learning adds.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(missing_docs, reason = "the table of `Metrics` describes every field")]
pub struct UpdateMetrics {
    pub policy_loss: f64,
    pub value_loss: f64,
    pub approx_kl: f64,
    pub clip_fraction: f64,
    pub gradient_norm: f64,
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
pub fn explained_variance(values: &[Vec<f32>], returns: &[Vec<f32>]) -> f64 {
    let returns = || returns.iter().flatten().copied().map(f64::from);
    let values = values.iter().flatten().copied().map(f64::from);
    let (_, total) = moments(&returns().collect::<Vec<_>>());
    let errors: Vec<f64> =
        returns().zip(values).map(|(returned, value)| returned - value).collect();
    let (_, left) = moments(&errors);
    if total > 0.0 { 1.0 - left / total } else { 0.0 }
}

/// Half the mean square of `new - old`: how far the policy has moved since the replies were drawn, in nats.
pub fn approximate_kl(new: &[f32], old: &[f32]) -> f64 {
    let squares = new.iter().zip(old).map(|(&new, &old)| (f64::from(new) - f64::from(old)).powi(2));
    squares.sum::<f64>() / (2.0 * new.len().max(1) as f64)
}

/// The share of tokens where the clipped term of the policy loss is the larger one, so that no gradient flows: the
/// ratio has left `[1 - clip, 1 + clip]` on the side that the advantage favours.
pub fn clip_fraction(new: &[f32], old: &[f32], advantages: &[f32], clip: f32) -> f64 {
    let clipped = new
        .iter()
        .zip(old)
        .zip(advantages)
        .filter(|&((new, old), &advantage)| {
            let ratio = (new - old).exp();
            (advantage > 0.0 && ratio > 1.0 + clip) || (advantage < 0.0 && ratio < 1.0 - clip)
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
mod tests {
    use super::*;
    use dialogue::Dialogue;

    fn assert_near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
    }

    #[test]
    fn explained_variance_by_hand() {
        let returns = [vec![1.0, 2.0], vec![3.0]];
        assert_near(explained_variance(&[vec![1.0, 2.0], vec![3.0]], &returns), 1.0);
        // A constant offset is not an error of the variance.
        assert_near(explained_variance(&[vec![0.0, 1.0], vec![2.0]], &returns), 1.0);
        assert_near(explained_variance(&[vec![0.0, 0.0], vec![0.0]], &returns), 0.0);
        // Errors 0, 0, 1: variance 2/9 against 2/3.
        assert_near(explained_variance(&[vec![1.0, 2.0], vec![2.0]], &returns), 2.0 / 3.0);
        assert_near(explained_variance(&[vec![1.0]], &[vec![4.0]]), 0.0);
    }

    #[test]
    fn approximate_kl_by_hand() {
        assert_near(approximate_kl(&[-1.0, -2.0], &[-1.5, -1.0]), 0.5 * (0.25 + 1.0) / 2.0);
        assert_near(approximate_kl(&[], &[]), 0.0);
    }

    #[test]
    fn only_favoured_moves_count_as_clipped() {
        let new = [1.5_f32, 1.5, 0.5, 0.5, 1.1].map(f32::ln);
        let advantages = [1.0, -1.0, 1.0, -1.0, 1.0];
        assert_near(clip_fraction(&new, &[0.0; 5], &advantages, 0.2), 0.4);
    }

    #[test]
    fn rollouts_by_hand() {
        let reply = |tokens, stopped, score, kl| ScoredReply {
            prompt: Dialogue::from_user("q"),
            reply: "a".to_owned(),
            tokens,
            stopped,
            score,
            kl,
        };
        let replies =
            [reply(3, StopReason::Stop, 1.0, 0.5), reply(1, StopReason::Length, -1.0, 1.5)];
        let estimates = Estimates {
            values: vec![vec![0.0; 3], vec![0.0]],
            entropies: vec![vec![1.0, 2.0, 3.0], vec![4.0]],
            ..Estimates::default()
        };
        let experience = Experience { returns: vec![vec![1.0; 3], vec![0.0]], advantages: vec![] };
        let found = RolloutMetrics::new(&replies, &estimates, &experience);
        let expected = RolloutMetrics {
            score_mean: 0.0,
            score_std: 1.0,
            kl_per_sequence: 1.0,
            kl_per_token: 0.5,
            entropy: 2.5,
            reply_tokens: 2.0,
            ended_share: 0.5,
            explained_variance: 0.0,
        };
        assert_eq!(found, expected);
        assert_near(sequence_kl(&[-1.0, -2.0], &[-1.5, -4.0]), 2.5);
    }
}
