//! The loop: draw, score, learn.

use crate::actor_critic::{ActorCritic, Critic};
use crate::alarm::Alarm;
use crate::best_of_n::{check_held_out, last_before_rounds};
use crate::cursor::Cursor;
use crate::estimate::estimate;
use crate::metrics::sequence_kl;
use crate::rollout::{Rollout, check_prompts, draw, penalised, refuse_silence, score};
use crate::start::{REFERENCE, Start, begin, with_adapter};
use crate::states::States;
use crate::update::{Learner, Round};
use crate::{
    Error, Estimates, Experience, Inputs, KlLimit, KlTarget, Metrics, Phase, PpoConfig,
    RolloutMetrics, ScoredReply, ValueStart, adapted_coefficient,
};
use burn::module::AutodiffModule;
use burn::prelude::Backend;
use burn::tensor::backend::AutodiffBackend;
use language_model::{Prompt, item_seed, stream};
use sft::Example;
use std::ops::ControlFlow;
use training::{Checkpoint, Observe, Owner, State, Steps};
use transformer::{Codec, Decoder, Engine, Transformer, check_parameters, learning_paths};

/// The name of the stage in records, errors and random streams.
pub(crate) const STAGE: &str = "ppo";

/// Replies of a round that are shown as samples.
const SAMPLES: usize = 4;

/// What a caller sees after each iteration.
#[derive(Debug)]
#[non_exhaustive]
pub struct Iteration<'a, B: Backend> {
    /// Counted from 1.
    pub number: usize,
    /// The policy as it is now, after learning from `replies`.
    pub policy: &'a Transformer<B>,
    /// The replies, drawn before the policy learned from them.
    pub replies: &'a [ScoredReply],
    /// The numbers of the iteration.
    pub metrics: &'a Metrics,
}

/// The error of a caller's own code.
pub type CallbackError = Box<dyn std::error::Error + Send + Sync>;

/// What a caller does between iterations: look, evaluate, save, and say whether to go on.
pub type AfterIteration<'a, B> =
    dyn FnMut(&Iteration<'_, B>) -> Result<ControlFlow<()>, CallbackError> + 'a;

impl PpoConfig {
    /// Optimises a policy against a reward and gives it back.
    ///
    /// The reference of the KL penalty is a copy of the policy as it comes in, or as [`PpoConfig::best_of_n_start`] makes
    /// it; with [`PpoConfig::lora`] the policy learns an adapter, which the result still carries, and the reference is the
    /// policy without it. The value function is dropped at the end. Metrics go to `observe` under the names of
    /// [`Metrics`], one record an iteration; what comes before the first is a stage of its own to it, see
    /// [`crate::BestOfN`].
    ///
    /// The same `seed`, settings and inputs give the same policy; `tokens_per_micro_batch` changes rounding alone. Whoever
    /// is interrupted goes on after the newest state that `checkpoint` kept, given the same inputs, and ends at the same.
    ///
    /// # Errors
    /// Before anything is drawn: settings out of range or without the input that they need, no prompts, a prompt that leaves
    /// no room for `max_tokens` and the end of the turn, a value model with fewer tokens than the policy or too short a
    /// context, a group of an optimiser without a parameter, or prompts of [`PpoConfig::best_of_n_start`] of which none can
    /// be held out. Later: a score, a loss, a gradient or a number that the policy or the value model computes that is not
    /// finite, a KL above [`KlLimit`] or as far below 0, a round of empty replies, or an error of the reward, of `observe` or
    /// of `checkpoint`.
    ///
    /// # References
    /// arXiv 2212.08073, section 4; arXiv 2204.05862, section 4; arXiv 1707.06347.
    pub fn run<B: AutodiffBackend>(
        &self,
        inputs: Inputs<'_, B>,
        seed: u64,
        observe: &mut dyn Observe,
        checkpoint: &mut dyn Checkpoint,
    ) -> Result<Transformer<B>, Error> {
        let go_on = &mut |_: &Iteration<'_, B::InnerBackend>| Ok(ControlFlow::Continue(()));
        self.run_with(inputs, seed, observe, checkpoint, go_on)
    }

    /// As [`PpoConfig::run`]; calls `after` at the end of every iteration, which may evaluate or save the policy, write
    /// the replies, or end the run by [`ControlFlow::Break`]. An iteration whose state was kept is not repeated, so that
    /// `after` sees it once.
    ///
    /// # Errors
    /// As [`PpoConfig::run`], and [`Error::Callback`] if `after` fails; a [`language_model::Error::NotFinite`] of `after`
    /// becomes an [`Error::NotFinite`], since it is the policy that `after` looks at.
    pub fn run_with<B: AutodiffBackend>(
        &self,
        mut inputs: Inputs<'_, B>,
        seed: u64,
        observe: &mut dyn Observe,
        checkpoint: &mut dyn Checkpoint,
        after: &mut AfterIteration<'_, B::InnerBackend>,
    ) -> Result<Transformer<B>, Error> {
        self.validate()?;
        inputs.check(self)?;
        check_prompts(&inputs.policy.codec, inputs.prompts, self.max_tokens)?;
        inputs.check_value_model(self.max_tokens)?;
        self.check_optimizers(&inputs.policy.decoder, inputs.value.as_ref())?;
        if let Some(best) = &self.best_of_n_start {
            check_held_out(best, &inputs, seed)?;
        }
        let fingerprint =
            if checkpoint.keeps() { inputs.fingerprint(self, seed) } else { String::new() };
        let owner = Owner { stage: STAGE.to_owned(), fingerprint: fingerprint.clone() };
        let before_rounds = last_before_rounds(self, inputs.prompts.len());
        let mut states = States::load(owner, before_rounds, observe, checkpoint)?;
        let start = begin(self, &inputs, seed, observe, &mut states)?;
        let iterations = self.iterations as u64;
        let (mut steps, saved) =
            Steps::begin(STAGE, iterations, || fingerprint, observe, &mut states)?;
        // Taken out, so that no second copy of it is alive while it learns.
        let critic = self.critic(&start.policy, inputs.value.take());
        let mut run = Run::new(self, &inputs, seed, &start);
        let mut actor = ActorCritic { decoder: start.policy, critic };
        if let Some(saved) = saved {
            actor = run.restore(actor, saved)?;
        }
        let mut taken = 0;
        for number in steps.left() {
            taken = number;
            let (replies, metrics);
            (actor, replies, metrics) = run.iterate(actor, number, steps.observe())?;
            steps.record(number, &metrics.named())?;
            let policy = run.policy(&actor);
            #[expect(clippy::cast_possible_truncation, reason = "counted by a `usize`")]
            let number_of = number as usize;
            let iteration = Iteration {
                number: number_of,
                policy: &policy,
                replies: &replies,
                metrics: &metrics,
            };
            let failed = |source| Error::of_callback(source, number_of);
            if after(&iteration).map_err(failed)?.is_break() {
                break;
            }
            steps.save(number, || run.save(&actor))?;
        }
        check_parameters(STAGE, taken, &actor)?;
        steps.finish()?;
        let Transformer { codec, engine, .. } = inputs.policy;
        Ok(Transformer { decoder: actor.decoder, codec, engine })
    }

    /// Checks that every group of an optimiser has a parameter, as a run of this policy and, if one is given, this value model
    /// does before anything is drawn. Models of the same shape will do.
    ///
    /// # Errors
    /// [`training::Error::EmptyGroup`], or an adapter that does not fit the policy.
    pub fn check_optimizers<B: AutodiffBackend>(
        &self,
        policy: &Decoder<B>,
        value: Option<&ValueStart<B>>,
    ) -> Result<(), Error> {
        if let Some(best) = &self.best_of_n_start {
            let table = "best_of_n_start.sft.optimizer";
            best.sft.optimizer.check_groups(table, &learning_paths(policy))?;
        }
        // What an adapter begins with changes no path.
        let decoder = with_adapter(self, policy.clone(), 0)?;
        let critic = self.critic(&decoder, value.cloned());
        self.check_groups(&ActorCritic { decoder, critic })
    }

    /// The value function as it begins.
    fn critic<B: AutodiffBackend>(
        &self,
        policy: &Decoder<B>,
        value: Option<ValueStart<B>>,
    ) -> Critic<B> {
        if self.has_separate_values() {
            Critic::separate(policy, value)
        } else {
            Critic::on_policy(policy)
        }
    }
}

/// Everything that lives as long as the run.
struct Run<'a, B: AutodiffBackend> {
    config: &'a PpoConfig,
    inputs: &'a Inputs<'a, B>,
    seed: u64,
    codec: Codec,
    engine: Engine,
    reference: Decoder<B::InnerBackend>,
    /// True if the reference is not one of the inputs, so that a state has to hold it.
    reference_is_made: bool,
    learner: Learner<'a, B>,
    kl_coefficient: f64,
    alarm: Alarm,
}

/// Names of what a state holds beside what learning has made.
const KL_COEFFICIENT: &str = "kl_coefficient";
const OPTIMIZER_STEPS: &str = "optimizer_steps";
const ALARM: &str = "alarm";

impl<'a, B: AutodiffBackend> Run<'a, B> {
    fn new(config: &'a PpoConfig, inputs: &'a Inputs<'a, B>, seed: u64, start: &Start<B>) -> Self {
        Self {
            config,
            inputs,
            seed,
            codec: inputs.policy.codec.clone(),
            engine: inputs.policy.engine.clone(),
            reference: start.reference.clone(),
            reference_is_made: config.best_of_n_start.is_some(),
            learner: Learner::new(config),
            kl_coefficient: f64::from(config.kl_coefficient),
            alarm: Alarm::default(),
        }
    }

    /// The policy without its value function, for anything but learning.
    fn policy(&self, actor: &ActorCritic<B>) -> Transformer<B::InnerBackend> {
        Transformer {
            decoder: actor.decoder.valid(),
            codec: self.codec.clone(),
            engine: self.engine.clone(),
        }
    }

    /// One round of drawing and learning.
    ///
    /// The policy is taken and given back, so that no second copy of its weights is alive while it learns.
    fn iterate(
        &mut self,
        actor: ActorCritic<B>,
        iteration: u64,
        observe: &mut dyn Observe,
    ) -> Result<(ActorCritic<B>, Vec<ScoredReply>, Metrics), Error> {
        #[expect(clippy::cast_possible_truncation, reason = "counted by a `usize`")]
        let number = iteration as usize;
        let phase = Phase::Iteration(number);
        let rollouts = draw(&self.policy(&actor), self.next_prompts(iteration), self.config)
            .map_err(|error| error.at(phase))?;
        refuse_silence(&rollouts, phase)?;
        let scores = score(self.inputs.reward, &rollouts, phase)?;
        let estimates = self.estimate(&actor, &rollouts, phase)?;
        let penalised = penalised(&rollouts, &scores, self.config.missing_end_penalty);
        #[expect(clippy::cast_possible_truncation, reason = "rewards have 32 bits")]
        let kl_coefficient = self.kl_coefficient as f32;
        let experience = Experience::new(self.config, kl_coefficient, &estimates, &penalised);
        let replies: Vec<ScoredReply> = (0..rollouts.len())
            .map(|reply| {
                let reference = &estimates.reference_log_probs[reply];
                let kl = sequence_kl(&estimates.log_probs[reply], reference);
                ScoredReply::new(&rollouts[reply], scores[reply], kl)
            })
            .collect();
        let tokens: Vec<&[u32]> = rollouts.iter().map(Rollout::reply_tokens).collect();
        let rollout =
            RolloutMetrics::new(&replies, &tokens, &estimates, &experience, self.kl_coefficient);
        check_kl(&rollout, self.config, number)?;
        let held_out_score_mean = self.held_out(&rollouts, number)?;
        self.watch(&rollout, held_out_score_mean, number, observe);
        self.show(&replies, iteration, observe)?;
        let round = Round {
            iteration: number,
            rollouts: &rollouts,
            estimates: &estimates,
            experience: &experience,
            kl_coefficient,
            ptx: self.next_ptx(iteration),
        };
        let mut rng = stream(item_seed(self.seed, &[STAGE, "minibatches", &number.to_string()]));
        let (actor, update) = self.learner.learn(actor, &round, &mut rng)?;
        // By one reply, so that nothing that has diverged is shown or kept.
        let one = &rollouts[..rollouts.len().min(1)];
        self.estimate(&actor, one, Phase::AfterIteration(number))?;
        self.adapt(&rollout, rollouts.len());
        Ok((actor, replies, Metrics { rollout, held_out_score_mean, update }))
    }

    /// What policy, reference and value function make of replies.
    fn estimate(
        &self,
        actor: &ActorCritic<B>,
        rollouts: &[Rollout],
        phase: Phase,
    ) -> Result<Estimates, Error> {
        estimate(&actor.valid(), &self.reference, rollouts, self.config)
            .map_err(|error| error.at(phase))
    }

    /// The mean score of the same replies by the reward that nothing is learned from.
    fn held_out(&self, rollouts: &[Rollout], number: usize) -> Result<Option<f64>, Error> {
        let Some(reward) = self.inputs.held_out_reward else { return Ok(None) };
        let scores = score(reward, rollouts, Phase::Iteration(number))?;
        let sum: f64 = scores.iter().copied().map(f64::from).sum();
        Ok(Some(sum / scores.len().max(1) as f64))
    }

    /// Says so when the reward is being over-optimised.
    fn watch(
        &mut self,
        rollout: &RolloutMetrics,
        held_out: Option<f64>,
        number: usize,
        observe: &mut dyn Observe,
    ) {
        let Some(held_out) = held_out else { return };
        if self.alarm.rings(rollout.score_mean, held_out) {
            observe.note(&format!(
                "ppo: over the last rounds up to iteration {number} the score rose while the held-out score fell: the \
                 policy begins to exploit its reward; stop here, raise `kl_coefficient`, or train the preference model on \
                 replies of this policy"
            ));
        }
    }

    /// Hands some replies over to be looked at, every few rounds.
    fn show(
        &self,
        replies: &[ScoredReply],
        iteration: u64,
        observe: &mut dyn Observe,
    ) -> Result<(), Error> {
        if !(iteration - 1).is_multiple_of(self.config.samples_every as u64) {
            return Ok(());
        }
        let apart = self.config.samples_per_prompt;
        for reply in replies.iter().step_by(apart).take(SAMPLES) {
            let asked = reply.prompt.messages.last().map_or("", |message| message.content.as_str());
            let text = format!("{asked}\n\n{}\n\nscore {:.3}", reply.reply, reply.score);
            observe.text(iteration, "sample", &text)?;
        }
        Ok(())
    }

    /// Moves the KL coefficient, if it has a target.
    fn adapt(&mut self, rollout: &RolloutMetrics, replies: usize) {
        let Some(target) = self.config.kl_target else { return };
        let kl = match target {
            KlTarget::NatsPerSequence(_) => rollout.kl_per_sequence,
            KlTarget::NatsPerToken(_) => rollout.kl_per_token,
        };
        self.kl_coefficient = adapted_coefficient(
            self.kl_coefficient,
            kl,
            target.nats(),
            replies as f64,
            self.config.kl_horizon,
        );
    }

    /// Every prompt of the round `samples_per_prompt` times, each with a stream of its own.
    fn next_prompts(&self, iteration: u64) -> Vec<Prompt> {
        let round = self.config.prompts_per_iteration;
        let taken = (iteration - 1) * round as u64;
        let mut cursor = Cursor::new("prompts", self.inputs.prompts.len(), self.seed, taken);
        let iteration = iteration.to_string();
        let mut prompts = Vec::with_capacity(self.config.replies_per_iteration());
        for _ in 0..round {
            let dialogue = &self.inputs.prompts[cursor.advance()];
            let id = dialogue.id();
            for _ in 0..self.config.samples_per_prompt {
                // The place in the round keeps streams apart if a prompt comes twice.
                let place = prompts.len().to_string();
                let seed = item_seed(self.seed, &[STAGE, &id, &iteration, &place]);
                prompts.push(Prompt { dialogue: dialogue.clone(), seed });
            }
        }
        prompts
    }

    /// Other data for every optimiser step of the round: as many rows as the step has replies.
    fn next_ptx(&self, iteration: u64) -> Vec<Vec<&'a Example>> {
        let examples = self.inputs.ptx;
        if self.config.ptx_coefficient <= 0.0 || examples.is_empty() {
            return Vec::new();
        }
        let steps = self.config.epochs * self.config.minibatches;
        let rows = self.config.replies_per_iteration().div_ceil(self.config.minibatches);
        let taken = (iteration - 1) * (steps * rows) as u64;
        let mut cursor = Cursor::new("ptx", examples.len(), self.seed, taken);
        (0..steps).map(|_| (0..rows).map(|_| &examples[cursor.advance()]).collect()).collect()
    }

    /// Everything that the next iteration needs.
    fn save(&self, actor: &ActorCritic<B>) -> Result<State, Error> {
        let mut state = self.learner.save(actor)?;
        let alarm = serde_json::to_value(&self.alarm).unwrap_or_default();
        state.values.insert(KL_COEFFICIENT.to_owned(), self.kl_coefficient.into());
        state.values.insert(OPTIMIZER_STEPS.to_owned(), self.learner.steps_taken().into());
        state.values.insert(ALARM.to_owned(), alarm);
        if self.reference_is_made {
            let bytes = self.reference.weights().to_bytes(transformer::Precision::F32)?;
            state.files.push((REFERENCE.to_owned(), bytes));
        }
        Ok(state)
    }

    fn restore(
        &mut self,
        actor: ActorCritic<B>,
        mut state: State,
    ) -> Result<ActorCritic<B>, Error> {
        self.kl_coefficient = state.value(KL_COEFFICIENT)?;
        self.alarm = state.value(ALARM)?;
        let steps = state.value(OPTIMIZER_STEPS)?;
        self.learner.restore(actor, &mut state, steps)
    }
}

/// Says why a round whose KL is too large, or too far below 0, must not be learned from.
fn check_kl(rollout: &RolloutMetrics, config: &PpoConfig, iteration: usize) -> Result<(), Error> {
    let RolloutMetrics { kl_per_sequence: kl, engine_gap_mean: engine_gap, .. } = *rollout;
    let limit = KlLimit::of(config, rollout.reply_tokens);
    if kl > limit.nats() {
        return Err(Error::KlExploded { iteration, kl, limit });
    }
    if kl < -limit.nats() {
        return Err(Error::KlNegative { iteration, kl, limit, engine_gap });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
