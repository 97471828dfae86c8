//! The loop: draw, score, learn.

use crate::actor_critic::{ActorCritic, Critic};
use crate::alarm::Alarm;
use crate::cursor::Cursor;
use crate::estimate::estimate;
use crate::metrics::sequence_kl;
use crate::rollout::{Rollout, check_prompts, draw, penalised, score};
use crate::start::{REFERENCE, Start, begin};
use crate::update::{Learner, Round};
use crate::{
    Error, Experience, Inputs, KlTarget, Metrics, PpoConfig, RolloutMetrics, ScoredReply,
    adapted_coefficient,
};
use burn::module::AutodiffModule;
use burn::prelude::Backend;
use burn::tensor::backend::AutodiffBackend;
use language_model::{Prompt, item_seed, stream};
use sft::Example;
use std::ops::ControlFlow;
use training::{Checkpoint, Observe, State, Steps};
use transformer::{Codec, Decoder, Engine, Transformer};

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
    /// [`Metrics`], one record an iteration.
    ///
    /// The same `seed`, settings and inputs give the same policy; `tokens_per_micro_batch` changes rounding alone. Whoever
    /// is interrupted goes on after the newest state that `checkpoint` kept, given the same inputs, and ends at the same.
    ///
    /// # Errors
    /// Before anything is drawn: settings out of range or without the input that they need, no prompts, or a prompt that
    /// leaves no room for `max_tokens`. Later: a score, a loss or a gradient that is not finite, a KL above
    /// `max_kl_per_sequence`, a round of empty replies, or an error of the reward, of `observe` or of `checkpoint`.
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
    /// As [`PpoConfig::run`], and [`Error::Callback`] if `after` fails.
    pub fn run_with<B: AutodiffBackend>(
        &self,
        inputs: Inputs<'_, B>,
        seed: u64,
        observe: &mut dyn Observe,
        checkpoint: &mut dyn Checkpoint,
        after: &mut AfterIteration<'_, B::InnerBackend>,
    ) -> Result<Transformer<B>, Error> {
        self.validate()?;
        inputs.check(self)?;
        check_prompts(&inputs.policy.codec, inputs.prompts, self.max_tokens)?;
        let fingerprint = || inputs.fingerprint(self, seed);
        let iterations = self.iterations as u64;
        let (mut steps, mut saved) =
            Steps::begin(STAGE, iterations, fingerprint, observe, checkpoint)?;
        let start = begin(self, &inputs, seed, saved.as_mut())?;
        let mut run = Run::new(self, &inputs, seed, &start);
        let mut actor =
            ActorCritic { critic: self.critic(&start.policy, &inputs), decoder: start.policy };
        if let Some(saved) = saved {
            actor = run.restore(actor, saved)?;
        }
        for number in steps.left() {
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
            let source = |source| Error::Callback { iteration: number_of, source };
            if after(&iteration).map_err(source)?.is_break() {
                break;
            }
            steps.save(number, || run.save(&actor))?;
        }
        steps.finish()?;
        let Transformer { codec, engine, .. } = inputs.policy;
        Ok(Transformer { decoder: actor.decoder, codec, engine })
    }

    /// The value function as it begins.
    fn critic<B: AutodiffBackend>(&self, policy: &Decoder<B>, inputs: &Inputs<'_, B>) -> Critic<B> {
        if self.has_separate_values() {
            Critic::separate(policy, inputs.value.as_ref())
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
        let rollouts = draw(&self.policy(&actor), self.next_prompts(iteration), self.config)?;
        if rollouts.iter().all(Rollout::is_empty) {
            return Err(Error::EmptyReplies { iteration: number, replies: rollouts.len() });
        }
        let scores = score(self.inputs.reward, &rollouts, number)?;
        let estimates = estimate(&actor.valid(), &self.reference, &rollouts, self.config)?;
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
        let limit = self.config.max_kl_per_sequence;
        if rollout.kl_per_sequence > f64::from(limit) {
            let kl = rollout.kl_per_sequence;
            return Err(Error::KlExploded { iteration: number, kl, limit });
        }
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
        self.adapt(&rollout, rollouts.len());
        Ok((actor, replies, Metrics { rollout, held_out_score_mean, update: Some(update) }))
    }

    /// The mean score of the same replies by the reward that nothing is learned from.
    fn held_out(&self, rollouts: &[Rollout], number: usize) -> Result<Option<f64>, Error> {
        let Some(reward) = self.inputs.held_out_reward else { return Ok(None) };
        let scores = score(reward, rollouts, number)?;
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
                "ppo: over the last rounds before iteration {number} the score rose while the held-out score fell: the \
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
        if (iteration - 1) % self.config.samples_every as u64 != 0 {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{B, CONTEXT, Records, policy};
    use std::cell::Cell;
    use training::Silent;

    fn prompts(count: u8) -> Vec<Dialogue> {
        (0..count).map(|index| Dialogue::from_user(char::from(b'a' + index))).collect()
    }

    fn small() -> PpoConfig {
        PpoConfig {
            iterations: 2,
            prompts_per_iteration: 3,
            samples_per_prompt: 2,
            max_tokens: 6,
            ..PpoConfig::default()
        }
    }

    /// Shares of the reply's letters that are a vowel.
    fn vowels(dialogue: &Dialogue) -> f32 {
        let reply = dialogue.last_reply().unwrap_or_default();
        let vowels = reply.chars().filter(|letter| "aeiou".contains(*letter)).count();
        vowels as f32 / reply.len().max(1) as f32
    }

    /// Runs on four prompts and keeps every reply and the final records.
    fn replies(config: &PpoConfig, seed: u64) -> (Vec<Vec<ScoredReply>>, Records) {
        let (mut records, mut replies) = (Records::default(), Vec::new());
        let mut after = |iteration: &Iteration<'_, _>| {
            replies.push(iteration.replies.to_vec());
            Ok(ControlFlow::Continue(()))
        };
        let prompts = prompts(4);
        config.run_with(policy(1), &vowels, &prompts, seed, &mut records, &mut after).unwrap();
        (replies, records)
    }

    #[test]
    fn learns_to_reply_in_vowels() {
        let mut config = PpoConfig {
            iterations: 25,
            prompts_per_iteration: 8,
            max_tokens: 12,
            kl_coefficient: 0.01,
            ..PpoConfig::default()
        };
        config.optimizer.learning_rate = 1e-2;
        let mut records = Records::default();
        config.run(policy(1), &vowels, &prompts(8), 1, &mut records).unwrap();
        assert_eq!(records.started, Some(("ppo".to_owned(), 25)));
        assert!(records.finished);
        let scores = records.values("score_mean");
        // Chance is 5 in 27 letters.
        assert!(scores[0] < 0.3, "{scores:?}");
        assert!(scores[20..].iter().all(|&score| score > 0.8), "{scores:?}");
        let kl = records.values("kl_per_sequence");
        assert!(kl[0].abs() < 1e-4 && kl[24] > 1.0, "{kl:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_run() {
        let (first, records) = replies(&small(), 7);
        let (again, records_again) = replies(&small(), 7);
        assert_eq!(first, again);
        assert_eq!(records.metrics, records_again.metrics);
        let (other, _) = replies(&small(), 8);
        assert_ne!(first, other);
        // Neither two samples of a prompt nor two rounds share a stream.
        assert_ne!(first[0][0].reply, first[0][1].reply);
        assert_eq!(first.iter().map(Vec::len).collect::<Vec<_>>(), [6, 6]);
    }

    #[test]
    fn reports_every_metric_under_its_name() {
        let (_, records) = replies(&small(), 7);
        let names: Vec<&str> = records.metrics[1].iter().map(|(name, _)| name.as_str()).collect();
        let expected = [
            "score_mean",
            "score_std",
            "kl_per_sequence",
            "kl_per_token",
            "entropy",
            "reply_tokens",
            "ended_share",
            "explained_variance",
            "policy_loss",
            "value_loss",
            "approx_kl",
            "clip_fraction",
            "gradient_norm",
            "learning_rate",
        ];
        assert_eq!(names, expected);
        assert!(records.metrics.iter().flatten().all(|(_, value)| value.is_finite()));
    }

    #[test]
    fn ends_where_the_caller_or_the_kl_says() {
        let mut records = Records::default();
        let mut stop = |_: &Iteration<'_, _>| Ok(ControlFlow::Break(()));
        small().run_with(policy(1), &vowels, &prompts(4), 7, &mut records, &mut stop).unwrap();
        assert_eq!(records.metrics.len(), 1);
        assert!(records.finished);

        // One violent step, then a round that is beyond any reasonable KL.
        let mut config = PpoConfig { max_kl_per_sequence: Some(0.05), iterations: 9, ..small() };
        config.optimizer.learning_rate = 0.05;
        let (replies, records) = replies(&config, 7);
        let kl = records.values("kl_per_sequence");
        assert!(kl.len() < 9 && replies.len() == kl.len(), "{kl:?}");
        let (last, before) = kl.split_last().unwrap();
        assert!(*last > 0.05 && before.iter().all(|kl| *kl <= 0.05), "{kl:?}");
        assert_eq!(records.values("policy_loss").len(), before.len());
    }

    #[test]
    fn refuses_bad_input_before_it_draws() {
        let run = |config: &PpoConfig, prompts: &[Dialogue]| {
            let drawn = Cell::new(0);
            let reward = |_: &Dialogue| {
                drawn.set(drawn.get() + 1);
                0.0
            };
            let error = config.run(policy(1), &reward, prompts, 1, &mut Silent).unwrap_err();
            assert_eq!(drawn.get(), 0);
            error.to_string()
        };
        assert!(run(&small(), &[]).contains("no prompts"));
        let long = Dialogue::from_user("a".repeat(CONTEXT - 6));
        let message = run(&small(), &[Dialogue::from_user("a"), long.clone()]);
        assert!(message.contains(&long.id()) && message.contains("32"), "{message}");
        assert!(run(&PpoConfig { clip: 0.0, ..small() }, &prompts(1)).contains("`clip`"));
    }

    #[test]
    fn refuses_scores_that_are_missing_or_not_finite() {
        struct Short;
        impl Reward for Short {
            fn reward(&self, dialogues: &[Dialogue]) -> Result<Vec<f32>, language_model::Error> {
                Ok(vec![0.0; dialogues.len() - 1])
            }
        }
        let run = |reward: &dyn Reward| {
            small().run(policy(1), reward, &prompts(2), 1, &mut Silent).unwrap_err()
        };
        assert!(matches!(run(&Short), Error::Scores { expected: 6, found: 5 }));
        let error = run(&|_: &Dialogue| f32::NAN);
        assert!(matches!(error, Error::Score { iteration: 1, .. }), "{error}");
    }

    #[test]
    fn a_score_beyond_reason_stops_the_run_with_its_iteration() {
        let config = PpoConfig { whiten_advantages: false, ..small() };
        let error = config
            .run::<B>(policy(1), &|_: &Dialogue| f32::MAX, &prompts(2), 1, &mut Silent)
            .unwrap_err();
        let message = error.to_string();
        assert!(message.contains("ppo") && message.contains("step 1"), "{message}");
    }

    #[test]
    fn a_failing_callback_is_named() {
        let mut after = |_: &Iteration<'_, _>| -> Result<ControlFlow<()>, CallbackError> {
            Err("disk full".into())
        };
        let error = small()
            .run_with(policy(1), &vowels, &prompts(2), 1, &mut Silent, &mut after)
            .unwrap_err();
        assert!(error.to_string().contains("iteration 1 failed: disk full"), "{error}");
    }
}
