//! Learning from a round of replies.

use crate::actor_critic::{ActorCritic, Batch, micro_batches};
use crate::estimate::numbers;
use crate::metrics::{UpdateMetrics, approximate_kl, clip_fraction};
use crate::rollout::Rollout;
use crate::{Error, Estimates, Experience, PpoConfig};
use crate::{mean_entropy, policy_loss, value_loss};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::prelude::{Backend, Tensor, TensorData};
use burn::tensor::backend::AutodiffBackend;
use rand::Rng;
use rand::seq::SliceRandom;
use training::finite;
use transformer::{Optimizer, token_log_probs, token_log_probs_and_entropy};

/// A round of replies with all that the losses need.
pub(crate) struct Round<'a> {
    pub(crate) iteration: usize,
    pub(crate) rollouts: &'a [Rollout],
    pub(crate) estimates: &'a Estimates,
    pub(crate) experience: &'a Experience,
}

/// The optimiser and how far it has come.
pub(crate) struct Learner<'a, B: AutodiffBackend> {
    config: &'a PpoConfig,
    optimizer: Optimizer<B>,
    /// Optimiser steps taken.
    step: u64,
}

impl<'a, B: AutodiffBackend> Learner<'a, B> {
    pub(crate) fn new(config: &'a PpoConfig) -> Self {
        Self { config, optimizer: Optimizer::new(&config.optimizer), step: 0 }
    }

    /// Goes over the replies `epochs` times, in minibatches shuffled anew each time.
    pub(crate) fn learn(
        &mut self,
        mut actor: ActorCritic<B>,
        round: &Round<'_>,
        rng: &mut impl Rng,
    ) -> Result<(ActorCritic<B>, UpdateMetrics), Error> {
        let mut steps = Vec::new();
        for _ in 0..self.config.epochs {
            let mut replies: Vec<usize> = (0..round.rollouts.len()).collect();
            replies.shuffle(rng);
            for minibatch in minibatches(&replies, self.config.minibatches) {
                let step;
                (actor, step) = self.step(actor, round, minibatch)?;
                steps.push(step);
            }
        }
        Ok((actor, summary(&steps)))
    }

    /// One optimiser step; the gradients of the micro-batches add up to those of the minibatch.
    fn step(
        &mut self,
        actor: ActorCritic<B>,
        round: &Round<'_>,
        minibatch: &[usize],
    ) -> Result<(ActorCritic<B>, Step), Error> {
        let count = |&row: &usize| round.rollouts[row].reply_tokens().len();
        let tokens: usize = minibatch.iter().map(count).sum();
        let mut gradients = GradientsAccumulator::new();
        let mut step = Step { tokens, ..Step::default() };
        for rows in micro_batches(round.rollouts, minibatch, self.config.tokens_per_micro_batch) {
            let loss = self.loss(&actor, round, &rows, &mut step)?;
            let part = GradientsParams::from_grads(loss.backward(), &actor);
            gradients.accumulate(&actor, part);
        }
        let steps = self.config.iterations * self.config.epochs * self.config.minibatches;
        let rate = self.config.schedule.rate(self.step, steps as u64);
        step.learning_rate = self.config.optimizer.learning_rate * rate;
        let (actor, norm) = self.optimizer.step(step.learning_rate, actor, gradients.grads());
        step.gradient_norm = finite("ppo", round.iteration as u64, "gradient_norm", norm)?;
        self.step += 1;
        Ok((actor, step))
    }

    /// The part of a minibatch's loss that `rows` contribute; what it is made of is added to `step`.
    fn loss(
        &self,
        actor: &ActorCritic<B>,
        round: &Round<'_>,
        rows: &[usize],
        step: &mut Step,
    ) -> Result<Tensor<B, 1>, Error> {
        let config = self.config;
        let device = actor.decoder.device();
        let gather = |all: &[Vec<f32>]| rows.iter().flat_map(|&row| &all[row]).copied().collect();
        let old: Vec<f32> = gather(&round.estimates.log_probs);
        let advantages: Vec<f32> = gather(&round.experience.advantages);
        let [old_tensor, advantages_tensor, old_values, returns] = [
            old.clone(),
            advantages.clone(),
            gather(&round.estimates.values),
            gather(&round.experience.returns),
        ]
        .map(|row: Vec<f32>| constant::<B>(row, &device));

        let batch = Batch::new(round.rollouts, rows);
        let hidden = batch.hidden(&actor.decoder);
        let values = actor.values(hidden.clone(), &batch.targets, config.value_trunk);
        // The entropy takes another gradient of the size of all logits: only where it is wanted.
        let (new, entropies) = if config.entropy_coefficient > 0.0 {
            let (new, entropies) =
                token_log_probs_and_entropy(&actor.decoder, hidden, &batch.targets);
            (new, Some(entropies))
        } else {
            (token_log_probs(&actor.decoder, hidden, &batch.targets), None)
        };

        let new_numbers = numbers(new.clone().inner());
        let count = new_numbers.len() as f64;
        step.approx_kl += approximate_kl(&new_numbers, &old) * count;
        step.clipped += clip_fraction(&new_numbers, &old, &advantages, config.clip) * count;

        let tokens = step.tokens;
        let policy = policy_loss(new, old_tensor, advantages_tensor, config.clip, tokens);
        let value = value_loss(values, old_values, returns, config.value_clip, tokens);
        let iteration = round.iteration as u64;
        step.policy_loss += finite("ppo", iteration, "policy_loss", number(&policy))?;
        step.value_loss += finite("ppo", iteration, "value_loss", number(&value))?;
        let mut loss = policy + value * config.value_coefficient;
        if let Some(entropies) = entropies {
            loss = loss - mean_entropy(entropies, tokens) * config.entropy_coefficient;
        }
        Ok(loss)
    }
}

/// What one optimiser step saw.
#[derive(Debug, Clone, Default)]
struct Step {
    /// Reply tokens of the minibatch.
    tokens: usize,
    policy_loss: f64,
    value_loss: f64,
    /// Sum over tokens.
    approx_kl: f64,
    /// Sum over tokens.
    clipped: f64,
    gradient_norm: f64,
    learning_rate: f64,
}

/// The metrics of at least one step.
fn summary(steps: &[Step]) -> UpdateMetrics {
    let count = steps.len() as f64;
    let tokens: f64 = steps.iter().map(|step| step.tokens as f64).sum();
    let sum = |part: fn(&Step) -> f64| steps.iter().map(part).sum::<f64>();
    UpdateMetrics {
        policy_loss: sum(|step| step.policy_loss) / count,
        value_loss: sum(|step| step.value_loss) / count,
        approx_kl: sum(|step| step.approx_kl) / tokens,
        clip_fraction: sum(|step| step.clipped) / tokens,
        gradient_norm: sum(|step| step.gradient_norm) / count,
        learning_rate: steps.last().map_or(0.0, |step| step.learning_rate),
    }
}

/// `count` runs of nearly equal length; `count` is at most the number of replies.
fn minibatches(replies: &[usize], count: usize) -> impl Iterator<Item = &[usize]> {
    let cut = move |part: usize| part * replies.len() / count;
    (0..count).map(move |part| &replies[cut(part)..cut(part + 1)])
}

fn constant<B: Backend>(row: Vec<f32>, device: &B::Device) -> Tensor<B, 1> {
    let length = row.len();
    Tensor::from_data(TensorData::new(row, [length]), device)
}

fn number<B: AutodiffBackend>(loss: &Tensor<B, 1>) -> f64 {
    numbers(loss.clone().inner()).first().copied().map_or(f64::NAN, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ValueTrunk;
    use crate::estimate::estimate;
    use crate::test_support::{B, VOCABULARY, assert_close, policy};
    use burn::module::AutodiffModule;
    use dialogue::Dialogue;
    use language_model::{StopReason, stream};

    /// Replies of 1 to 7 random letters to prompts of 1 to 4.
    fn rollouts(count: usize) -> Vec<Rollout> {
        let mut rng = stream(11);
        (0..count)
            .map(|index| {
                let (reply_start, length) = (1 + index % 4, 1 + index % 7);
                let token = |_| rng.random_range(0..VOCABULARY);
                Rollout {
                    prompt: Dialogue::from_user("q"),
                    reply: String::new(),
                    tokens: (0..reply_start + length).map(token).collect(),
                    reply_start,
                    stopped: StopReason::Stop,
                }
            })
            .collect()
    }

    /// One pass over nine replies; the metrics, and the log-probs and values afterwards.
    fn learned(config: &PpoConfig) -> (UpdateMetrics, Estimates) {
        let rollouts = rollouts(9);
        let actor = ActorCritic::<B>::new(policy(3).decoder);
        let look = |actor: &ActorCritic<B>| {
            let actor = actor.valid();
            estimate(&actor, &actor.decoder, &rollouts, 4096).unwrap()
        };
        let estimates = look(&actor);
        let scores: Vec<f32> = (0..9).map(|index| index as f32 / 4.0 - 1.0).collect();
        let experience = Experience::new(config, &estimates, &scores);
        let (rollouts, estimates) = (&rollouts, &estimates);
        let round = Round { iteration: 1, rollouts, estimates, experience: &experience };
        let (actor, metrics) = Learner::new(config).learn(actor, &round, &mut stream(5)).unwrap();
        (metrics, look(&actor))
    }

    fn one_step() -> PpoConfig {
        PpoConfig { iterations: 1, epochs: 1, minibatches: 1, ..PpoConfig::default() }
    }

    #[test]
    fn the_first_step_has_ratio_one() {
        let config = PpoConfig { whiten_advantages: false, lambda: 1.0, ..one_step() };
        let (metrics, _) = learned(&config);
        // The value head says 0 and the reference is the policy, so each token's advantage is its reply's score.
        let lengths: Vec<f64> = (0..9).map(|index| f64::from(1 + index % 7)).collect();
        let weighted: f64 = lengths
            .iter()
            .zip(0..)
            .map(|(length, index)| length * (f64::from(index) / 4.0 - 1.0))
            .sum();
        let mean = weighted / lengths.iter().sum::<f64>();
        assert!((metrics.policy_loss + mean).abs() < 1e-5, "{metrics:?} {mean}");
        assert!(metrics.approx_kl < 1e-9, "{metrics:?}");
        assert!(metrics.clip_fraction <= 0.0 && metrics.gradient_norm > 0.0, "{metrics:?}");
    }

    #[test]
    fn whitened_advantages_start_at_loss_zero() {
        let (metrics, _) = learned(&one_step());
        assert!(metrics.policy_loss.abs() < 1e-5, "{metrics:?}");
    }

    #[test]
    fn a_step_does_not_depend_on_its_micro_batches() {
        for entropy_coefficient in [0.0, 0.1] {
            // Epsilon keeps Adam's first step from turning rounding into signs.
            let mut config =
                PpoConfig { epochs: 2, minibatches: 2, entropy_coefficient, ..one_step() };
            config.optimizer.epsilon = 1e-3;
            config.optimizer.learning_rate = 0.1;
            let (whole, after) = learned(&config);
            // Every row is longer than one token: each goes alone.
            let (parts, parts_after) = learned(&PpoConfig { tokens_per_micro_batch: 1, ..config });
            for (one, other) in [
                (whole.policy_loss, parts.policy_loss),
                (whole.value_loss, parts.value_loss),
                (whole.approx_kl, parts.approx_kl),
                (whole.gradient_norm, parts.gradient_norm),
            ] {
                assert!((one - other).abs() < 1e-4 * one.abs().max(1.0), "{whole:?} {parts:?}");
            }
            let flat = |rows: &[Vec<f32>]| rows.concat();
            assert_close(&flat(&after.log_probs), &flat(&parts_after.log_probs), 1e-3);
            assert_close(&flat(&after.values), &flat(&parts_after.values), 1e-3);
        }
    }

    #[test]
    fn only_a_shared_trunk_learns_from_values() {
        // Advantages of 0 leave the value loss alone to move anything. The head starts at 0, so the trunk sees no
        // gradient before the second step.
        let rollouts = rollouts(6);
        let moved = |value_trunk| {
            let config = PpoConfig { value_trunk, epochs: 3, ..one_step() };
            let actor = ActorCritic::<B>::new(policy(3).decoder);
            let look = |actor: &ActorCritic<B>| {
                let actor = actor.valid();
                estimate(&actor, &actor.decoder, &rollouts, 4096).unwrap()
            };
            let before = look(&actor);
            let rows = |number: f32| {
                before.values.iter().map(|row| vec![number; row.len()]).collect::<Vec<_>>()
            };
            let experience = Experience { advantages: rows(0.0), returns: rows(1.0) };
            let (rollouts, estimates) = (&rollouts, &before);
            let round = Round { iteration: 1, rollouts, estimates, experience: &experience };
            let (actor, _) = Learner::new(&config).learn(actor, &round, &mut stream(5)).unwrap();
            let after = look(&actor);
            assert_ne!(after.values, before.values);
            after.log_probs != before.log_probs
        };
        assert!(moved(ValueTrunk::Shared));
        assert!(!moved(ValueTrunk::Detached));
    }

    #[test]
    fn minibatches_hold_every_reply_once() {
        let replies: Vec<usize> = (0..10).collect();
        let cut: Vec<&[usize]> = minibatches(&replies, 4).collect();
        assert_eq!(cut, [&[0, 1][..], &[2, 3, 4], &[5, 6], &[7, 8, 9]]);
        assert_eq!(minibatches(&replies, 10).count(), 10);
    }
}
