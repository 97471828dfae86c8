//! Learning from a round of replies.

use crate::actor_critic::{ActorCritic, Batch, Critic, micro_batches};
use crate::config::KlPlace;
use crate::estimate::{at_temperature, numbers};
use crate::metrics::{UpdateMetrics, approximate_kl, clip_fraction};
use crate::ratio::ratio;
use crate::rollout::Rollout;
use crate::{Clip, Counts, Error, Estimates, Experience, Over, PpoConfig};
use crate::{importance_weights, kl_loss, mean_entropy, policy_loss, value_loss};
use burn::module::AutodiffModule;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::prelude::{Backend, Tensor, TensorData};
use burn::tensor::backend::AutodiffBackend;
use rand::Rng;
use rand::seq::SliceRandom;
use sft::Example;
use training::{State, finite};
use transformer::{
    Decoder, Optimizer, learning_paths, token_log_probs_and_entropy_for_training,
    token_log_probs_for_training,
};

/// What the files of a separate value model begin with in a state.
const VALUE_PREFIX: &str = "value_";

/// A round of replies with all that the losses need.
pub(crate) struct Round<'a> {
    pub(crate) iteration: usize,
    pub(crate) rollouts: &'a [Rollout],
    pub(crate) estimates: &'a Estimates,
    pub(crate) experience: &'a Experience,
    pub(crate) kl_coefficient: f32,
    /// Rows of other data for every optimiser step of the round; none without them.
    pub(crate) ptx: Vec<Vec<&'a Example>>,
}

impl Round<'_> {
    fn tokens(&self, rows: &[usize]) -> usize {
        rows.iter().map(|&row| self.rollouts[row].reply_tokens().len()).sum()
    }

    fn slots(&self, rows: &[usize]) -> usize {
        rows.iter().map(|&row| self.rollouts[row].slots()).sum()
    }
}

/// The optimisers and how far they have come.
pub(crate) struct Learner<'a, B: AutodiffBackend> {
    config: &'a PpoConfig,
    /// Of the policy, with the value head if it sits on its trunk.
    policy: Optimizer<B>,
    /// Of a separate value model.
    value: Option<Optimizer<B>>,
    /// Optimiser steps taken.
    step: u64,
}

impl PpoConfig {
    /// Checks that every group of an optimiser has a parameter.
    pub(crate) fn check_groups<B: Backend>(&self, actor: &ActorCritic<B>) -> Result<(), Error> {
        if !self.has_separate_values() {
            return Ok(self.optimizer.check_groups("optimizer", &learning_paths(actor))?);
        }
        let (policy, value) = (learning_paths(&actor.decoder), learning_paths(&actor.critic));
        match &self.value_optimizer {
            Some(own) => {
                self.optimizer.check_groups("optimizer", &policy)?;
                own.check_groups("value_optimizer", &value)?;
            }
            // The same settings serve both, so that a group may be there for either.
            None => self.optimizer.check_groups("optimizer", &[policy, value].concat())?,
        }
        Ok(())
    }
}

impl<'a, B: AutodiffBackend> Learner<'a, B> {
    pub(crate) fn new(config: &'a PpoConfig) -> Self {
        let value = config.has_separate_values().then(|| Optimizer::new(config.value_optimizer()));
        Self { config, policy: Optimizer::new(&config.optimizer), value, step: 0 }
    }

    /// Goes over the replies `epochs` times, in minibatches shuffled anew each time.
    pub(crate) fn learn(
        &mut self,
        mut actor: ActorCritic<B>,
        round: &Round<'_>,
        rng: &mut impl Rng,
    ) -> Result<(ActorCritic<B>, UpdateMetrics), Error> {
        let all: Vec<usize> = (0..round.rollouts.len()).collect();
        let mut steps = Vec::new();
        for _ in 0..self.config.epochs {
            let mut replies = all.clone();
            replies.shuffle(rng);
            for rows in minibatches(&replies, self.config.minibatches) {
                let minibatch =
                    Minibatch::new(self.config, round, rows, round.tokens(&all), round.slots(&all));
                let ptx = round.ptx.get(steps.len()).map_or(&[][..], Vec::as_slice);
                let step;
                (actor, step) = self.step(actor, &minibatch, ptx)?;
                steps.push(step);
            }
        }
        Ok((actor, summary(&steps)))
    }

    /// One optimiser step; the gradients of the micro-batches add up to those of the minibatch.
    fn step(
        &mut self,
        actor: ActorCritic<B>,
        minibatch: &Minibatch<'_>,
        ptx: &[&Example],
    ) -> Result<(ActorCritic<B>, Step), Error> {
        let mut step = Step { tokens: minibatch.tokens, ..Step::default() };
        let rate = self.config.schedule.rate(self.step, self.config.optimizer_steps());
        step.learning_rate = self.config.optimizer.learning_rate * rate;
        let iteration = minibatch.round.iteration as u64;
        let (actor, norms) = if let Some(value) = &mut self.value {
            let (policy_part, value_part) = minibatch.apart(&actor, ptx, &mut step)?;
            let ActorCritic { decoder, critic } = actor;
            let (decoder, norm) = self.policy.step(step.learning_rate, decoder, policy_part);
            let value_rate = self.config.value_optimizer().learning_rate * rate;
            let (critic, value_norm) = value.step(value_rate, critic, value_part);
            (ActorCritic { decoder, critic }, [norm, value_norm])
        } else {
            let gradients = minibatch.together(&actor, ptx, &mut step)?;
            let (actor, norm) = self.policy.step(step.learning_rate, actor, gradients);
            (actor, [norm, 0.0])
        };
        step.gradient_norm = finite("ppo", iteration, "gradient_norm", norms[0])?;
        step.value_gradient_norm = finite("ppo", iteration, "value_gradient_norm", norms[1])?;
        self.step += 1;
        Ok((actor, step))
    }

    /// Everything that learning has made.
    pub(crate) fn save(&self, actor: &ActorCritic<B>) -> Result<State, Error> {
        let Some(value) = &self.value else { return Ok(self.policy.save(actor)?) };
        let mut state = self.policy.save(&actor.decoder)?;
        let files = value.save(&actor.critic)?.files.into_iter();
        state.files.extend(files.map(|(name, bytes)| (format!("{VALUE_PREFIX}{name}"), bytes)));
        Ok(state)
    }

    /// The inverse of [`Learner::save`], after `step` optimiser steps.
    pub(crate) fn restore(
        &mut self,
        actor: ActorCritic<B>,
        state: &mut State,
        step: u64,
    ) -> Result<ActorCritic<B>, Error> {
        self.step = step;
        let Some(value) = &mut self.value else { return Ok(self.policy.restore(actor, state)?) };
        let [mut of_value, mut of_policy] = [Vec::new(), Vec::new()].map(|files| state.part(files));
        for (name, bytes) in state.files.drain(..) {
            match name.strip_prefix(VALUE_PREFIX) {
                Some(name) => of_value.files.push((name.to_owned(), bytes)),
                None => of_policy.files.push((name, bytes)),
            }
        }
        let decoder = self.policy.restore(actor.decoder, &mut of_policy)?;
        let critic = value.restore(actor.critic, &mut of_value)?;
        state.files = of_policy.files;
        Ok(ActorCritic { decoder, critic })
    }

    /// Optimiser steps taken.
    pub(crate) fn steps_taken(&self) -> u64 {
        self.step
    }
}

/// The replies of one optimiser step.
struct Minibatch<'a> {
    config: &'a PpoConfig,
    round: &'a Round<'a>,
    rows: &'a [usize],
    tokens: usize,
    /// Of all replies of the round; those of the step are whitened, if they are by themselves.
    advantages: Vec<Vec<f32>>,
    /// What counts tokens and slots.
    token_counts: Counts,
    slot_counts: Counts,
}

impl<'a> Minibatch<'a> {
    fn new(
        config: &'a PpoConfig,
        round: &'a Round<'a>,
        rows: &'a [usize],
        round_tokens: usize,
        round_slots: usize,
    ) -> Self {
        let (tokens, slots) = (round.tokens(rows), round.slots(rows));
        let counts = |tokens, round_tokens| Counts {
            replies: rows.len(),
            tokens,
            round_tokens,
            minibatches: config.minibatches,
            max_tokens: config.max_tokens,
        };
        let mut own: Vec<Vec<f32>> =
            rows.iter().map(|&row| round.experience.advantages[row].clone()).collect();
        config.whiten_advantages.apply(Over::Minibatch, &mut own);
        let mut advantages = vec![Vec::new(); round.rollouts.len()];
        for (&row, own) in rows.iter().zip(own) {
            advantages[row] = own;
        }
        Self {
            config,
            round,
            rows,
            tokens,
            advantages,
            token_counts: counts(tokens, round_tokens),
            slot_counts: counts(slots, round_slots),
        }
    }

    fn micro_batches(&self) -> Vec<Vec<usize>> {
        micro_batches(self.round.rollouts, self.rows, self.config.tokens_per_micro_batch)
    }

    /// The gradients of a policy whose value head sits on its own trunk, or that has none.
    fn together<B: AutodiffBackend>(
        &self,
        actor: &ActorCritic<B>,
        ptx: &[&Example],
        step: &mut Step,
    ) -> Result<GradientsParams, Error> {
        let mut gradients = GradientsAccumulator::new();
        for rows in self.micro_batches() {
            let batch = Batch::new(self.round.rollouts, &rows);
            let hidden = batch.hidden_for_training(&actor.decoder);
            let mut loss = self.policy_part(&actor.decoder, hidden.clone(), &batch, &rows, step)?;
            if self.config.has_values() {
                loss = loss + self.value_part(&actor.critic, hidden, &batch, &rows, step)?;
            }
            accumulate(&mut gradients, actor, loss);
        }
        self.ptx_parts(&actor.decoder, ptx, step, |loss| accumulate(&mut gradients, actor, loss))?;
        Ok(gradients.grads())
    }

    /// The gradients of a policy and of a value model beside it. One graph is gone before the other begins.
    fn apart<B: AutodiffBackend>(
        &self,
        actor: &ActorCritic<B>,
        ptx: &[&Example],
        step: &mut Step,
    ) -> Result<(GradientsParams, GradientsParams), Error> {
        let (mut policy, mut value) = (GradientsAccumulator::new(), GradientsAccumulator::new());
        for rows in self.micro_batches() {
            let batch = Batch::new(self.round.rollouts, &rows);
            let hidden = batch.hidden_for_training(&actor.decoder);
            let loss = self.policy_part(&actor.decoder, hidden, &batch, &rows, step)?;
            accumulate(&mut policy, &actor.decoder, loss);
            let trunk = actor.critic.trunk().unwrap_or(&actor.decoder);
            let hidden = batch.hidden_for_training(trunk);
            let loss = self.value_part(&actor.critic, hidden, &batch, &rows, step)?;
            accumulate(&mut value, &actor.critic, loss);
        }
        let decoder = &actor.decoder;
        self.ptx_parts(decoder, ptx, step, |loss| accumulate(&mut policy, decoder, loss))?;
        Ok((policy.grads(), value.grads()))
    }

    /// The part of the policy's loss that `rows` contribute; what it is made of is added to `step`.
    fn policy_part<B: AutodiffBackend>(
        &self,
        decoder: &Decoder<B>,
        hidden: Tensor<B, 3>,
        batch: &Batch,
        rows: &[usize],
        step: &mut Step,
    ) -> Result<Tensor<B, 1>, Error> {
        let (config, estimates) = (self.config, self.round.estimates);
        let device = decoder.device();
        let old = gather(rows, &estimates.log_probs);
        let advantages = gather(rows, &self.advantages);
        let mean_weights = self.weights(rows, Rollout::reply_tokens_len, &self.token_counts);
        let mut weights = mean_weights.clone();
        if let Some(cap) = config.rollout_correction {
            let engine = gather(rows, &estimates.engine_log_probs);
            let corrections = importance_weights(&old, &engine, cap);
            weights.iter_mut().zip(corrections).for_each(|(weight, by)| *weight *= by);
        }
        let hidden = at_temperature(hidden, config.temperature);
        // The entropy takes another pass over all logits: only where it is wanted.
        let (new, entropies) = if config.entropy_coefficient > 0.0 {
            let (new, entropies) =
                token_log_probs_and_entropy_for_training(decoder, hidden, &batch.targets);
            (new, Some(entropies))
        } else {
            (token_log_probs_for_training(decoder, hidden, &batch.targets), None)
        };
        step.look(&numbers(new.clone().inner()), &old, &advantages, self.clip());

        let constant = |row: Vec<f32>| constant::<B>(row, &device);
        let mean_weights = constant(mean_weights);
        let loss = policy_loss(
            new.clone(),
            constant(old),
            constant(advantages),
            constant(weights),
            self.clip(),
        );
        step.policy_loss += self.finite("policy_loss", &loss)?;
        let mut loss = loss;
        if config.kl_place == KlPlace::Loss {
            let reference = constant(gather(rows, &estimates.reference_log_probs));
            let (estimator, clamp) = (config.kl_estimator, config.kl_clamp);
            let kl = kl_loss(new, reference, mean_weights.clone(), estimator, clamp);
            step.kl_loss += self.finite("kl_loss", &kl)?;
            loss = loss + kl * self.round.kl_coefficient;
        }
        if let Some(entropies) = entropies {
            loss = loss - mean_entropy(entropies, mean_weights) * config.entropy_coefficient;
        }
        Ok(loss)
    }

    /// The part of the value loss that `rows` contribute, with its coefficient.
    fn value_part<B: AutodiffBackend>(
        &self,
        critic: &Critic<B>,
        hidden: Tensor<B, 3>,
        batch: &Batch,
        rows: &[usize],
        step: &mut Step,
    ) -> Result<Tensor<B, 1>, Error> {
        let config = self.config;
        let values = critic.values(hidden, batch, config.value_model);
        let device = values.device();
        let weights = self.weights(rows, Rollout::slots, &self.slot_counts);
        let [old, returns, weights] = [
            gather(rows, &self.round.estimates.values),
            gather(rows, &self.round.experience.returns),
            weights,
        ]
        .map(|row| constant::<B>(row, &device));
        let loss = value_loss(values, old, returns, weights, config.value_clip);
        step.value_loss += self.finite("value_loss", &loss)?;
        Ok(loss * config.value_coefficient)
    }

    /// Hands the loss on other data over, with its coefficient, part by part: no more than one micro-batch is held.
    fn ptx_parts<B: AutodiffBackend>(
        &self,
        decoder: &Decoder<B>,
        rows: &[&Example],
        step: &mut Step,
        mut accumulate: impl FnMut(Tensor<B, 1>),
    ) -> Result<(), Error> {
        let weights = sft::weight_sum(rows);
        for rows in sft::micro_batches(rows, self.config.tokens_per_micro_batch) {
            let loss = sft::training_loss_part(decoder, &rows, weights);
            step.ptx_loss += self.finite("ptx_loss", &loss)?;
            accumulate(loss * self.config.ptx_coefficient);
        }
        Ok(())
    }

    /// The weights of the numbers of `rows`, of which each has `count`.
    fn weights(
        &self,
        rows: &[usize],
        count: impl Fn(&Rollout) -> usize,
        counts: &Counts,
    ) -> Vec<f32> {
        let of = |&row: &usize| {
            let length = count(&self.round.rollouts[row]);
            vec![self.config.aggregation.weight(length, counts); length]
        };
        rows.iter().flat_map(of).collect()
    }

    fn clip(&self) -> Clip {
        let PpoConfig { clip_low: low, clip_high: high, dual_clip: dual, .. } = *self.config;
        Clip { low, high, dual }
    }

    fn finite<B: AutodiffBackend>(&self, name: &str, loss: &Tensor<B, 1>) -> Result<f64, Error> {
        Ok(finite("ppo", self.round.iteration as u64, name, number(loss))?)
    }
}

/// Backward consumes the graph, so that no more than one micro-batch is held.
fn accumulate<B: AutodiffBackend, M: AutodiffModule<B>>(
    gradients: &mut GradientsAccumulator<M>,
    module: &M,
    loss: Tensor<B, 1>,
) {
    gradients.accumulate(module, GradientsParams::from_grads(loss.backward(), module));
}

fn gather(rows: &[usize], all: &[Vec<f32>]) -> Vec<f32> {
    rows.iter().flat_map(|&row| &all[row]).copied().collect()
}

/// What one optimiser step saw.
#[derive(Debug, Clone, Default)]
struct Step {
    /// Reply tokens of the minibatch.
    tokens: usize,
    policy_loss: f64,
    value_loss: f64,
    kl_loss: f64,
    ptx_loss: f64,
    /// Sum over tokens.
    approx_kl: f64,
    /// Sum over tokens.
    clipped: f64,
    /// Sum over tokens.
    ratio: f64,
    ratio_max: f64,
    gradient_norm: f64,
    value_gradient_norm: f64,
    learning_rate: f64,
}

impl Step {
    /// Takes in how far the tokens of a micro-batch have moved.
    fn look(&mut self, new: &[f32], old: &[f32], advantages: &[f32], clip: Clip) {
        let count = new.len() as f64;
        self.approx_kl += approximate_kl(new, old) * count;
        self.clipped += clip_fraction(new, old, advantages, clip) * count;
        for (new, old) in new.iter().zip(old) {
            let ratio = ratio(*new, *old);
            self.ratio += ratio;
            self.ratio_max = self.ratio_max.max(ratio);
        }
    }
}

/// The metrics of at least one step.
fn summary(steps: &[Step]) -> UpdateMetrics {
    let count = steps.len() as f64;
    let tokens: f64 = steps.iter().map(|step| step.tokens as f64).sum();
    let sum = |part: fn(&Step) -> f64| steps.iter().map(part).sum::<f64>();
    UpdateMetrics {
        policy_loss: sum(|step| step.policy_loss) / count,
        value_loss: sum(|step| step.value_loss) / count,
        kl_loss: sum(|step| step.kl_loss) / count,
        ptx_loss: sum(|step| step.ptx_loss) / count,
        approx_kl: sum(|step| step.approx_kl) / tokens,
        clip_fraction: sum(|step| step.clipped) / tokens,
        ratio_mean: sum(|step| step.ratio) / tokens,
        ratio_max: steps.iter().map(|step| step.ratio_max).fold(0.0, f64::max),
        gradient_norm: sum(|step| step.gradient_norm) / count,
        value_gradient_norm: sum(|step| step.value_gradient_norm) / count,
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
    use crate::config::ValueModel;
    use crate::estimate::estimate;
    use crate::test_support::{B, VOCABULARY, assert_close, embedded, flat, policy};
    use crate::{Aggregation, KlEstimator, Whitening};
    use burn::backend::Autodiff;
    use burn::backend::autodiff::checkpoint::strategy::BalancedCheckpointing;
    use burn::module::{Module, ModuleVisitor, Param};
    use burn_flex::{Flex, FlexDevice};
    use dialogue::Dialogue;
    use language_model::{StopReason, stream};
    use std::f32::consts::LN_2;

    /// Its operations are those of other backends.
    type Recomputing = Autodiff<Flex, BalancedCheckpointing>;

    /// Replies of 1 to 7 random letters to prompts of 1 to 4.
    fn rollouts(count: usize) -> Vec<Rollout> {
        rollouts_longer_by(0, count)
    }

    /// The same with so many letters more in every reply.
    fn rollouts_longer_by(more: usize, count: usize) -> Vec<Rollout> {
        let mut rng = stream(11);
        (0..count)
            .map(|index| {
                let (reply_start, length) = (1 + index % 4, 1 + index % 7 + more);
                let token = |_| rng.random_range(0..VOCABULARY);
                Rollout {
                    prompt: Dialogue::from_user("q"),
                    reply: String::new(),
                    tokens: (0..reply_start + length).map(token).collect(),
                    reply_start,
                    engine_log_probs: vec![-3.0; length],
                    slots_after: 0,
                    stopped: StopReason::Stop,
                }
            })
            .collect()
    }

    fn actor(config: &PpoConfig) -> ActorCritic<B> {
        actor_of(policy(3).decoder, config)
    }

    fn actor_of<B: Backend>(decoder: Decoder<B>, config: &PpoConfig) -> ActorCritic<B> {
        let critic = if config.has_separate_values() {
            Critic::separate(&decoder, None)
        } else {
            Critic::on_policy(&decoder)
        };
        ActorCritic { decoder, critic }
    }

    fn round<'a>(
        rollouts: &'a [Rollout],
        estimates: &'a Estimates,
        experience: &'a Experience,
    ) -> Round<'a> {
        let (iteration, kl_coefficient, ptx) = (1, 0.05, Vec::new());
        Round { iteration, rollouts, estimates, experience, kl_coefficient, ptx }
    }

    /// Learning from nine replies, whose log-probs the engine had a tenth nearer to 0: the metrics and all weights.
    fn learned(config: &PpoConfig) -> (UpdateMetrics, Vec<f32>) {
        learned_with(config, |trainer| 0.9 * trainer)
    }

    /// The same with log-probs of the engine that follow from those of the trainer.
    fn learned_with(config: &PpoConfig, engine: impl Fn(f32) -> f32) -> (UpdateMetrics, Vec<f32>) {
        let rollouts = rollouts(9);
        let actor = actor(config);
        let valid = actor.valid();
        let mut estimates = estimate(&valid, &valid.decoder, &rollouts, config).unwrap();
        let by_engine = |row: &Vec<f32>| row.iter().copied().map(&engine).collect::<Vec<f32>>();
        estimates.engine_log_probs = estimates.log_probs.iter().map(by_engine).collect();
        let scores: Vec<f32> = (0..9).map(|index| index as f32 / 4.0 - 1.0).collect();
        let experience = Experience::new(config, 0.05, &estimates, &scores);
        let others: Vec<Example> =
            (3..9).map(|end| Example::unmasked((1..end).collect())).collect();
        let mut round = round(&rollouts, &estimates, &experience);
        if config.ptx_coefficient > 0.0 {
            round.ptx = vec![others.iter().collect(); config.epochs * config.minibatches];
        }
        let (actor, metrics) = Learner::new(config).learn(actor, &round, &mut stream(5)).unwrap();
        (metrics, flat(&actor.valid()))
    }

    /// All gradients as one vector.
    struct Gradients<'a> {
        gradients: &'a GradientsParams,
        values: Vec<f32>,
    }

    impl<B: AutodiffBackend> ModuleVisitor<B> for Gradients<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            if let Some(gradient) = self.gradients.get::<B::InnerBackend, D>(param.id) {
                self.values.extend(gradient.into_data().iter::<f32>());
            }
        }
    }

    /// The losses of a step on all replies, and the gradients of policy and values.
    fn gradients<B: AutodiffBackend>(
        config: &PpoConfig,
        actor: &ActorCritic<B>,
        round: &Round<'_>,
    ) -> (Step, Vec<f32>) {
        let all: Vec<usize> = (0..round.rollouts.len()).collect();
        let minibatch = Minibatch::new(config, round, &all, round.tokens(&all), round.slots(&all));
        let mut step = Step::default();
        if config.has_separate_values() {
            let (policy, value) = minibatch.apart(actor, &[], &mut step).unwrap();
            let mut of_policy = Gradients { gradients: &policy, values: Vec::new() };
            actor.decoder.visit(&mut of_policy);
            let mut of_value = Gradients { gradients: &value, values: of_policy.values };
            actor.critic.visit(&mut of_value);
            return (step, of_value.values);
        }
        let both = minibatch.together(actor, &[], &mut step).unwrap();
        let mut visitor = Gradients { gradients: &both, values: Vec::new() };
        actor.visit(&mut visitor);
        (step, visitor.values)
    }

    /// What an actor has to say of replies with some scores.
    fn experience(
        config: &PpoConfig,
        actor: &ActorCritic<B>,
        rollouts: &[Rollout],
    ) -> (Estimates, Experience) {
        let valid = actor.valid();
        let estimates = estimate(&valid, &valid.decoder, rollouts, config).unwrap();
        let scores: Vec<f32> = (0..rollouts.len()).map(|index| index as f32 / 4.0 - 1.0).collect();
        let experience = Experience::new(config, 0.05, &estimates, &scores);
        (estimates, experience)
    }

    /// How far two vectors are apart, in lengths of the second.
    fn distance(found: &[f32], expected: &[f32]) -> f64 {
        assert_eq!(found.len(), expected.len());
        let pairs = found.iter().zip(expected);
        let apart: f64 = pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
        let length: f64 = expected.iter().map(|value| f64::from(*value).powi(2)).sum();
        (apart / length).sqrt()
    }

    fn one_step() -> PpoConfig {
        PpoConfig { iterations: 1, epochs: 1, minibatches: 1, ..PpoConfig::default() }
    }

    fn plain() -> Whitening {
        Whitening { over: Over::Nothing, ..Whitening::default() }
    }

    #[test]
    fn the_first_step_has_ratio_one() {
        let config = PpoConfig { whiten_advantages: plain(), lambda: 1.0, ..one_step() };
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
    fn a_policy_far_from_what_it_was_has_ratios_that_are_numbers() {
        let mut step = Step::default();
        let clip = Clip { low: 0.2, high: 0.2, dual: None };
        step.look(&[0.0, -1000.0], &[-1000.0, 0.0], &[1.0, 1.0], clip);
        assert!(step.ratio.is_finite() && step.ratio_max < 1e9, "{step:?}");
        assert!((step.clipped - 1.0).abs() < 1e-12, "{step:?}");
    }

    #[test]
    fn whitened_advantages_start_at_loss_zero() {
        let (metrics, _) = learned(&one_step());
        assert!(metrics.policy_loss.abs() < 1e-5, "{metrics:?}");
    }

    #[test]
    fn a_step_does_not_depend_on_its_micro_batches() {
        type Change = fn(&mut PpoConfig);
        let changes: [Change; 9] = [
            |_| {},
            |c| c.entropy_coefficient = 0.1,
            |c| c.value_model = ValueModel::Separate,
            |c| c.aggregation = Aggregation::Sequence,
            |c| c.aggregation = Aggregation::Round,
            |c| {
                c.kl_place = KlPlace::Loss;
                c.kl_estimator = KlEstimator::K3;
                c.rollout_correction = Some(2.0);
            },
            |c| c.whiten_advantages.over = Over::Minibatch,
            |c| c.ptx_coefficient = 0.5,
            |c| {
                c.ptx_coefficient = 0.5;
                c.value_model = ValueModel::Separate;
            },
        ];
        for change in changes {
            // Adam's first step is the rate times `g / (|g| + epsilon)`: at the default of 1e-8 a gradient that small takes the
            // size and even the sign of its step from rounding. An epsilon far above all rounding lets weights tell whether
            // gradients agree; for the gradients themselves see the next test.
            let mut config = PpoConfig { epochs: 2, minibatches: 2, ..one_step() };
            config.optimizer.epsilon = 1e-3;
            config.optimizer.learning_rate = 1e-4;
            change(&mut config);
            let before = flat(&actor(&config).valid());
            let (whole, weights) = learned(&config);
            let moved = |(after, before): (&f32, &f32)| (after - before).abs() > 5e-5;
            assert!(weights.iter().zip(&before).any(moved));
            assert_eq!(whole.ptx_loss > 0.0, config.ptx_coefficient > 0.0);
            // Every row is longer than one token, and none than twelve: each alone, and some together.
            for tokens_per_micro_batch in [1, 12] {
                let parts = PpoConfig { tokens_per_micro_batch, ..config.clone() };
                let (parts, parts_weights) = learned(&parts);
                for (one, other) in [
                    (whole.policy_loss, parts.policy_loss),
                    (whole.value_loss, parts.value_loss),
                    (whole.kl_loss, parts.kl_loss),
                    (whole.ptx_loss, parts.ptx_loss),
                    (whole.approx_kl, parts.approx_kl),
                    (whole.ratio_mean, parts.ratio_mean),
                    (whole.gradient_norm, parts.gradient_norm),
                ] {
                    assert!((one - other).abs() < 1e-5 * one.abs().max(1.0), "{whole:?} {parts:?}");
                }
                assert_close(&parts_weights, &weights, 1e-6);
            }
        }
    }

    #[test]
    fn micro_batches_change_millions_of_gradients_by_rounding_alone() {
        let config = one_step();
        let actor = actor_of(embedded(), &config);
        // Logits at up to 32 places are added up in another order than those at more, so every reply alone has more.
        let rollouts = rollouts_longer_by(34, 4);
        let (estimates, experience) = experience(&config, &actor, &rollouts);
        let round = round(&rollouts, &estimates, &experience);
        let (whole, all) = gradients(&config, &actor, &round);
        assert!(all.len() > 1_500_000, "{}", all.len());
        for tokens_per_micro_batch in [100, 1] {
            let config = PpoConfig { tokens_per_micro_batch, ..config.clone() };
            let (parts, of_parts) = gradients(&config, &actor, &round);
            for (one, other) in
                [(whole.policy_loss, parts.policy_loss), (whole.value_loss, parts.value_loss)]
            {
                assert!((one - other).abs() < 1e-6 * one.abs().max(1.0), "{whole:?} {parts:?}");
            }
            let distance = distance(&of_parts, &all);
            assert!(distance < 1e-6, "{tokens_per_micro_batch}: {distance}");
        }
    }

    #[test]
    fn activations_that_are_computed_again_change_nothing() {
        for value_model in [ValueModel::Shared, ValueModel::Separate] {
            let config = PpoConfig { value_model, ..one_step() };
            let actor = actor(&config);
            let decoder = Decoder::<Recomputing>::init(actor.decoder.config(), 3, &FlexDevice);
            let recomputing = actor_of(decoder, &config);
            let rollouts = rollouts(9);
            let (estimates, experience) = experience(&config, &actor, &rollouts);
            let round = round(&rollouts, &estimates, &experience);
            let (expected, all) = gradients(&config, &actor, &round);
            let (found, of_found) = gradients(&config, &recomputing, &round);
            for (one, other) in
                [(expected.policy_loss, found.policy_loss), (expected.value_loss, found.value_loss)]
            {
                assert!((one - other).abs() < 1e-5 * one.abs().max(1.0), "{expected:?} {found:?}");
            }
            let distance = distance(&of_found, &all);
            assert!(distance < 1e-5, "{value_model:?}: {distance}");
        }
    }

    #[test]
    fn a_correction_of_one_changes_nothing() {
        let learn = |rollout_correction, shift: f32| {
            let config = PpoConfig { rollout_correction, whiten_advantages: plain(), ..one_step() };
            learned_with(&config, |trainer| trainer + shift)
        };
        let uncorrected = learn(None, 0.0);
        assert_eq!(learn(Some(2.0), 0.0), uncorrected);
        let loss = uncorrected.0.policy_loss;
        assert!(loss.abs() > 0.01, "{loss}");
        // What the engine found half as likely as the trainer weighs twice as much, up to the cap.
        for (shift, cap, factor) in [(-LN_2, 4.0, 2.0), (LN_2, 4.0, 0.5), (-LN_2, 1.5, 1.5)] {
            let found = learn(Some(cap), shift).0.policy_loss;
            assert!((found - factor * loss).abs() < 1e-5, "{found} is not {factor} times {loss}");
        }
    }

    #[test]
    fn only_a_shared_trunk_learns_from_values() {
        // Advantages of 0 leave the value loss alone to move anything. The head starts at 0, so the trunk sees no
        // gradient before the second step.
        let rollouts = rollouts(6);
        let moved = |value_model| {
            let config = PpoConfig { value_model, epochs: 3, ..one_step() };
            let actor = actor(&config);
            let look = |actor: &ActorCritic<B>| {
                let actor = actor.valid();
                estimate(&actor, &actor.decoder, &rollouts, &config).unwrap()
            };
            let before = look(&actor);
            let rows = |number: f32| {
                before.values.iter().map(|row| vec![number; row.len()]).collect::<Vec<_>>()
            };
            let experience =
                Experience { advantages: rows(0.0), returns: rows(1.0), ..Experience::default() };
            let round = round(&rollouts, &before, &experience);
            let (actor, _) = Learner::new(&config).learn(actor, &round, &mut stream(5)).unwrap();
            let after = look(&actor);
            assert_ne!(after.values, before.values);
            after.log_probs != before.log_probs
        };
        assert!(moved(ValueModel::Shared));
        assert!(!moved(ValueModel::Detached));
        assert!(!moved(ValueModel::Separate));
    }

    #[test]
    fn a_value_model_begins_as_the_reward() {
        use transformer::{ScalarHead, ScalarModel};
        let decoder = policy(3).decoder;
        let trunk = policy(4).decoder;
        let head = ScalarHead::init(trunk.config().hidden_size, 9, &trunk.device());
        let model = ScalarModel::new(trunk, head);
        let score = model.scores(&[&[1, 2, 3]], 100)[0];
        let start = crate::ValueStart { model: model.no_grad(), mean: 0.25, std: 0.5 };
        let mut rollouts = [rollouts(1).remove(0)];
        rollouts[0].tokens = vec![1, 2, 3];
        rollouts[0].reply_start = 1;
        rollouts[0].engine_log_probs = vec![0.0; 2];
        rollouts[0].slots_after = 1;
        let critic = Critic::separate(&decoder, Some(start));
        let batch = Batch::new(&rollouts, &[0]);
        let values =
            critic.values(batch.hidden(critic.trunk().unwrap()), &batch, ValueModel::Separate);
        // The slot behind the last token has read the whole row, as the score has.
        let values = numbers(values.inner());
        assert!((values[2] - (score - 0.25) / 0.5).abs() < 1e-5, "{values:?} {score}");
    }

    #[test]
    fn minibatches_hold_every_reply_once() {
        let replies: Vec<usize> = (0..10).collect();
        let cut: Vec<&[usize]> = minibatches(&replies, 4).collect();
        assert_eq!(cut, [&[0, 1][..], &[2, 3, 4], &[5, 6], &[7, 8, 9]]);
        assert_eq!(minibatches(&replies, 10).count(), 10);
    }
}
