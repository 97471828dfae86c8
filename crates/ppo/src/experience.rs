//! What a round of replies teaches.

use crate::config::KlPlace;
use crate::rollout::Rollout;
use crate::{
    Over, PpoConfig, generalised_advantages, kl_per_token, returns, reward_to_go, token_rewards,
};

/// What the models say of the replies of a round, before it is learned from.
///
/// # Shapes
/// One row a reply, one number a reply token, the end-of-turn token included; of `values` one a slot, which is the same or
/// one more, see [`crate::ScorePlace`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Estimates {
    /// Log-probs of the policy that drew the replies, as the trainer computes them, in nats.
    pub log_probs: Vec<Vec<f32>>,
    /// The same as the engine had them that drew the replies.
    pub engine_log_probs: Vec<Vec<f32>>,
    /// Log-probs of the reference, in nats.
    pub reference_log_probs: Vec<Vec<f32>>,
    /// The value before each token is drawn, in score units; 0 where no value function is used.
    pub values: Vec<Vec<f32>>,
    /// Entropy of the distribution that each token was drawn from, in nats.
    pub entropies: Vec<Vec<f32>>,
}

impl Estimates {
    /// What is known of replies before any model has read them.
    pub(crate) fn empty(rollouts: &[Rollout]) -> Self {
        let rows = vec![Vec::new(); rollouts.len()];
        Self {
            log_probs: rows.clone(),
            engine_log_probs: rollouts.iter().map(|row| row.engine_log_probs.clone()).collect(),
            reference_log_probs: rows.clone(),
            values: rollouts.iter().map(|row| vec![0.0; row.slots()]).collect(),
            entropies: rows,
        }
    }
}

/// What the losses are computed from.
///
/// # Shapes
/// One row a reply; `advantages` one number a token, `rewards` and `returns` one a slot. `reply_rewards`, one number a reply.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Experience {
    /// What every reply earned: its score, less penalties and the KL of its tokens, before clipping and a group's baseline,
    /// so that it means the same whatever [`PpoConfig::advantage`]. Nothing is learned from it.
    pub reply_rewards: Vec<f64>,
    /// The reward of every slot, of which the score has been clipped and a group's baseline taken off, before whitening.
    pub rewards: Vec<Vec<f32>>,
    /// Advantages, whitened if [`PpoConfig::whiten_advantages`] says so, but for whitening over minibatches.
    pub advantages: Vec<Vec<f32>>,
    /// Targets of the value function.
    pub returns: Vec<Vec<f32>>,
}

impl Experience {
    /// Rewards, advantages and returns of replies with these scores.
    ///
    /// `scores`, one a reply, go in as they are: a penalty for a missing end has been taken off already. Replies to one
    /// prompt stand next to each other, [`PpoConfig::samples_per_prompt`] of them.
    ///
    /// # Panics
    /// If the numbers of replies or tokens differ.
    pub fn new(
        config: &PpoConfig,
        kl_coefficient: f32,
        estimates: &Estimates,
        scores: &[f32],
    ) -> Self {
        assert_eq!(estimates.log_probs.len(), scores.len(), "one score a reply");
        let coefficient = if config.kl_place == KlPlace::Reward { kl_coefficient } else { 0.0 };
        let kl = kl(config, estimates);
        let reply_rewards = reply_rewards(coefficient, &kl, scores);
        let rewards = rewards(config, coefficient, &kl, &estimates.values, scores);
        let mut whitened = rewards.clone();
        config.whiten_rewards.apply(Over::Round, &mut whitened);
        let estimated: Vec<Vec<f32>> = whitened
            .iter()
            .zip(&estimates.values)
            .map(|(rewards, values)| {
                if config.has_values() {
                    generalised_advantages(rewards, values, config.gamma, config.lambda)
                } else {
                    reward_to_go(rewards, config.gamma)
                }
            })
            .collect();
        let returns = estimated
            .iter()
            .zip(&estimates.values)
            .map(|(advantages, values)| returns(advantages, values))
            .collect();
        // What stands behind the last token is no move of the policy.
        let mut advantages = estimated;
        for (advantages, tokens) in advantages.iter_mut().zip(&estimates.log_probs) {
            advantages.truncate(tokens.len());
        }
        config.whiten_advantages.apply(Over::Round, &mut advantages);
        Self { reply_rewards, rewards, advantages, returns }
    }
}

/// The KL of every token, as rewards have it.
fn kl(config: &PpoConfig, estimates: &Estimates) -> Vec<Vec<f32>> {
    let models = estimates.log_probs.iter().zip(&estimates.reference_log_probs);
    models
        .map(|(policy, reference)| {
            kl_per_token(policy, reference, config.kl_estimator, config.kl_clamp)
        })
        .collect()
}

/// The score of every reply less what the KL of its tokens costs.
fn reply_rewards(coefficient: f32, kl: &[Vec<f32>], scores: &[f32]) -> Vec<f64> {
    kl.iter()
        .zip(scores)
        .map(|(kl, &score)| {
            let kl: f64 = kl.iter().copied().map(f64::from).sum();
            f64::from(score) - f64::from(coefficient) * kl
        })
        .collect()
}

/// The reward of every slot: the KL penalty of its token, if rewards have one, and the score at the last.
fn rewards(
    config: &PpoConfig,
    coefficient: f32,
    kl: &[Vec<f32>],
    values: &[Vec<f32>],
    scores: &[f32],
) -> Vec<Vec<f32>> {
    let clip = |score: f32| config.score_clip.map_or(score, |limit| score.clamp(-limit, limit));
    let scores = config.advantage.baselined(scores, config.samples_per_prompt);
    kl.iter()
        .zip(values)
        .zip(scores)
        .map(|((kl, values), score)| token_rewards(kl, coefficient, clip(score), values.len()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::assert_close;
    use crate::{Advantage, Whitening};
    use proptest::prelude::*;

    /// Log-prob, log-prob of the reference and value of every token, and the score of the whole.
    type Reply = (Vec<(f32, f32, f32)>, f32);

    fn replies() -> impl Strategy<Value = Vec<Reply>> {
        let token = (-3.0_f32..0.0, -3.0_f32..0.0, -1.0_f32..1.0);
        prop::collection::vec((prop::collection::vec(token, 1..10), -2.0_f32..2.0), 2..8)
    }

    /// Two replies, of three tokens and of one.
    fn estimates() -> Estimates {
        Estimates {
            log_probs: vec![vec![-1.0, -2.0, -0.5], vec![-3.0]],
            reference_log_probs: vec![vec![-2.0, -1.0, -0.5], vec![-4.0]],
            values: vec![vec![0.5, 0.25, 0.0], vec![1.0]],
            engine_log_probs: Vec::new(),
            entropies: Vec::new(),
        }
    }

    fn config(whiten_advantages: bool) -> PpoConfig {
        let defaults = PpoConfig::default();
        let over = if whiten_advantages { Over::Round } else { Over::Nothing };
        let whiten_advantages = Whitening { over, ..Whitening::default() };
        PpoConfig { gamma: 1.0, lambda: 0.5, whiten_advantages, samples_per_prompt: 2, ..defaults }
    }

    #[test]
    fn two_replies_by_hand() {
        let experience = Experience::new(&config(false), 0.1, &estimates(), &[2.0, -1.0]);
        // First: KL 1, -1, 0; rewards -0.1, 0.1, 2. Deltas -0.1 + 0.25 - 0.5 = -0.35; 0.1 + 0 - 0.25 = -0.15; 2.
        // Advantages from the end: 2; -0.15 + 1 = 0.85; -0.35 + 0.425 = 0.075.
        assert_close(&experience.advantages[0], &[0.075, 0.85, 2.0], 1e-6);
        assert_close(&experience.returns[0], &[0.575, 1.1, 2.0], 1e-6);
        // Second: KL 1, reward -0.1 - 1, advantage -2.1, return -1.1.
        assert_close(&experience.advantages[1], &[-2.1], 1e-6);
        assert_close(&experience.returns[1], &[-1.1], 1e-6);
    }

    #[test]
    fn whitening_leaves_the_returns_alone() {
        let plain = Experience::new(&config(false), 0.1, &estimates(), &[2.0, -1.0]);
        let white = Experience::new(&config(true), 0.1, &estimates(), &[2.0, -1.0]);
        assert_eq!(white.returns, plain.returns);
        let numbers = white.advantages.concat();
        let mean = numbers.iter().sum::<f32>() / 4.0;
        let variance = numbers.iter().map(|number| (number - mean).powi(2)).sum::<f32>() / 3.0;
        assert_close(&[mean, variance], &[0.0, 1.0], 1e-5);
    }

    #[test]
    fn the_clamp_bounds_the_penalty_alone() {
        let config = PpoConfig { kl_clamp: Some(0.5), lambda: 0.0, ..config(false) };
        let experience = Experience::new(&config, 0.1, &estimates(), &[2.0, -1.0]);
        // With lambda 0 the advantages are the deltas: -0.05 + 0.25 - 0.5; 0.05 - 0.25; 2; -0.05 - 1 - 1.
        assert_close(&experience.advantages[0], &[-0.3, -0.2, 2.0], 1e-6);
        assert_close(&experience.advantages[1], &[-2.05], 1e-6);
    }

    #[test]
    fn the_slot_behind_the_last_token_is_no_move_of_the_policy() {
        let mut estimates = estimates();
        estimates.values[1].push(0.5);
        let experience = Experience::new(&config(false), 0.1, &estimates, &[2.0, -1.0]);
        // Rewards -0.1 and -1. Behind: -1 - 0.5; at the token: -0.1 + 0.5 - 1 + 0.5 * -1.5.
        assert_close(&experience.rewards[1], &[-0.1, -1.0], 1e-6);
        assert_close(&experience.advantages[1], &[-1.35], 1e-6);
        assert_close(&experience.returns[1], &[-0.35, -1.0], 1e-6);
    }

    #[test]
    fn groups_need_no_values() {
        let config =
            PpoConfig { advantage: Advantage::Rloo, score_clip: Some(2.5), ..config(false) };
        let mut estimates = estimates();
        estimates.values = vec![vec![0.0; 3], vec![0.0]];
        // Scores 3 and -3 after the baseline, clipped; the penalties are summed up from the end.
        let experience = Experience::new(&config, 0.1, &estimates, &[2.0, -1.0]);
        assert_close(&experience.advantages[0], &[2.5, 2.6, 2.5], 1e-6);
        assert_close(&experience.advantages[1], &[-2.6], 1e-6);
    }

    #[test]
    fn a_penalty_in_the_loss_is_not_in_the_reward() {
        let config = PpoConfig { kl_place: KlPlace::Loss, ..config(false) };
        let experience = Experience::new(&config, 0.1, &estimates(), &[2.0, -1.0]);
        assert_close(&experience.rewards[0], &[0.0, 0.0, 2.0], 1e-6);
        are_near(&experience.reply_rewards, &[2.0, -1.0]);
    }

    fn are_near(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        let near = |(found, expected): (&f64, &f64)| (found - expected).abs() < 1e-6;
        assert!(found.iter().zip(expected).all(near), "{found:?} against {expected:?}");
    }

    #[test]
    fn what_a_reply_earned_does_not_depend_on_the_advantage() {
        let scores = [2.0, -1.0];
        for advantage in
            [Advantage::Gae, Advantage::Rloo, Advantage::GroupNormalised, Advantage::GroupCentred]
        {
            let config = PpoConfig { advantage, ..config(false) };
            let experience = Experience::new(&config, 0.1, &estimates(), &scores);
            // KL 1 - 1 + 0 of the first, 1 of the second.
            are_near(&experience.reply_rewards, &[2.0, -1.1]);
            let slots: f32 = experience.rewards.iter().flatten().sum();
            // What is learned from has the baseline taken off: its scores add up to 0.
            let expected = if advantage == Advantage::Gae { 0.9 } else { -0.1 };
            assert!((slots - expected).abs() < 1e-5, "{advantage:?}: {slots}");
        }
    }

    proptest! {
        #[test]
        fn the_order_of_replies_does_not_matter(replies in replies(), whiten: bool) {
            let config = config(whiten);
            let learned = |replies: &[Reply]| {
                let column = |of: fn(&(f32, f32, f32)) -> f32| -> Vec<Vec<f32>> {
                    replies.iter().map(|(tokens, _)| tokens.iter().map(of).collect()).collect()
                };
                let estimates = Estimates {
                    log_probs: column(|token| token.0),
                    reference_log_probs: column(|token| token.1),
                    values: column(|token| token.2),
                    ..Estimates::default()
                };
                let scores: Vec<f32> = replies.iter().map(|reply| reply.1).collect();
                Experience::new(&config, 0.1, &estimates, &scores)
            };
            let turned: Vec<Reply> = replies.iter().rev().cloned().collect();
            let (found, back) = (learned(&replies), learned(&turned));
            for (found, mut back) in [
                (found.rewards, back.rewards),
                (found.advantages, back.advantages),
                (found.returns, back.returns),
            ] {
                back.reverse();
                assert_close(&found.concat(), &back.concat(), 1e-5);
            }
        }
    }
}
