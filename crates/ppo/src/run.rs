//! The loop: draw, score, learn.

use crate::actor_critic::ActorCritic;
use crate::estimate::estimate;
use crate::metrics::sequence_kl;
use crate::prompt_cursor::PromptCursor;
use crate::rollout::{check_prompts, draw, penalised, score};
use crate::update::{Learner, Round};
use crate::{Error, Experience, Metrics, PpoConfig, RolloutMetrics, ScoredReply};
use burn::module::AutodiffModule;
use burn::prelude::Backend;
use burn::tensor::backend::AutodiffBackend;
use dialogue::Dialogue;
use language_model::{Prompt, Reward, item_seed, stream};
use std::ops::ControlFlow;
use training::Observe;
use transformer::{Codec, Engine, Transformer};

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
    /// Optimises `policy` against `reward` on `prompts` and gives it back.
    ///
    /// The reference of the KL penalty is a copy of `policy` as it comes in. The value head starts at 0 and is dropped
    /// at the end. Metrics go to `observe` under the names of [`Metrics`], one record an iteration.
    ///
    /// The same `seed`, settings and inputs give the same policy; `tokens_per_micro_batch` changes rounding alone.
    ///
    /// # Errors
    /// Before anything is drawn: settings out of range, no prompts, or a prompt that leaves no room for `max_tokens`.
    /// Later: a score, a loss or a gradient that is not finite, or an error of the reward or of `observe`.
    ///
    /// # References
    /// arXiv 2212.08073, section 4; arXiv 2204.05862, section 4; arXiv 1707.06347.
    pub fn run<B: AutodiffBackend>(
        &self,
        policy: Transformer<B>,
        reward: &dyn Reward,
        prompts: &[Dialogue],
        seed: u64,
        observe: &mut dyn Observe,
    ) -> Result<Transformer<B>, Error> {
        let go_on = &mut |_: &Iteration<'_, B::InnerBackend>| Ok(ControlFlow::Continue(()));
        self.run_with(policy, reward, prompts, seed, observe, go_on)
    }

    /// As [`PpoConfig::run`]; calls `after` at the end of every iteration, which may evaluate or save the policy, write
    /// the replies, or end the run by [`ControlFlow::Break`].
    ///
    /// # Errors
    /// As [`PpoConfig::run`], and [`Error::Callback`] if `after` fails.
    pub fn run_with<B: AutodiffBackend>(
        &self,
        policy: Transformer<B>,
        reward: &dyn Reward,
        prompts: &[Dialogue],
        seed: u64,
        observe: &mut dyn Observe,
        after: &mut AfterIteration<'_, B::InnerBackend>,
    ) -> Result<Transformer<B>, Error> {
        self.validate()?;
        check_prompts(&policy.codec, prompts, self.max_tokens)?;
        let mut run = Run::new(self, &policy, reward, prompts, seed);
        let mut actor = ActorCritic::new(policy.decoder);
        observe.start("ppo", self.iterations as u64, 0)?;
        for number in 1..=self.iterations {
            let (replies, metrics);
            (actor, replies, metrics) = run.iterate(actor, number)?;
            observe.record(number as u64, &metrics.named())?;
            let policy = run.policy(&actor);
            let iteration =
                Iteration { number, policy: &policy, replies: &replies, metrics: &metrics };
            let source = |source| Error::Callback { iteration: number, source };
            if after(&iteration).map_err(source)?.is_break() || metrics.update.is_none() {
                break;
            }
        }
        observe.finish()?;
        Ok(Transformer { decoder: actor.decoder, codec: policy.codec, engine: policy.engine })
    }
}

/// Everything that lives as long as the run.
struct Run<'a, B: AutodiffBackend> {
    config: &'a PpoConfig,
    reward: &'a dyn Reward,
    prompts: &'a [Dialogue],
    seed: u64,
    cursor: PromptCursor,
    codec: Codec,
    engine: Engine,
    reference: transformer::Decoder<B::InnerBackend>,
    learner: Learner<'a, B>,
}

impl<'a, B: AutodiffBackend> Run<'a, B> {
    fn new(
        config: &'a PpoConfig,
        policy: &Transformer<B>,
        reward: &'a dyn Reward,
        prompts: &'a [Dialogue],
        seed: u64,
    ) -> Self {
        Self {
            config,
            reward,
            prompts,
            seed,
            cursor: PromptCursor::new(prompts.len(), seed),
            codec: policy.codec.clone(),
            engine: policy.engine.clone(),
            reference: policy.decoder.valid(),
            learner: Learner::new(config),
        }
    }

    /// The policy without its value head, for anything but learning.
    fn policy(&self, actor: &ActorCritic<B>) -> Transformer<B::InnerBackend> {
        Transformer {
            decoder: actor.decoder.valid(),
            codec: self.codec.clone(),
            engine: self.engine.clone(),
        }
    }

    /// One round of drawing and learning. The policy is left as it was, and no update reported, if it has strayed
    /// beyond `max_kl_per_sequence`.
    ///
    /// The policy is taken and given back, so that no second copy of its weights is alive while it learns.
    fn iterate(
        &mut self,
        actor: ActorCritic<B>,
        number: usize,
    ) -> Result<(ActorCritic<B>, Vec<ScoredReply>, Metrics), Error> {
        let prompts = self.next_prompts(number);
        let rollouts = draw(&self.policy(&actor), prompts, self.config.max_tokens)?;
        let scores = score(self.reward, &rollouts, number)?;
        let limit = self.config.tokens_per_micro_batch;
        let estimates = estimate(&actor.valid(), &self.reference, &rollouts, limit)?;
        let penalised = penalised(&rollouts, &scores, self.config.missing_end_penalty);
        let experience = Experience::new(self.config, &estimates, &penalised);
        let replies: Vec<ScoredReply> = (0..rollouts.len())
            .map(|reply| {
                let reference = &estimates.reference_log_probs[reply];
                let kl = sequence_kl(&estimates.log_probs[reply], reference);
                ScoredReply::new(&rollouts[reply], scores[reply], kl)
            })
            .collect();
        let rollout = RolloutMetrics::new(&replies, &estimates, &experience);
        let limit = self.config.max_kl_per_sequence.map_or(f64::INFINITY, f64::from);
        if rollout.kl_per_sequence > limit {
            return Ok((actor, replies, Metrics { rollout, update: None }));
        }
        let round = Round {
            iteration: number,
            rollouts: &rollouts,
            estimates: &estimates,
            experience: &experience,
        };
        let mut rng = stream(item_seed(self.seed, &["ppo", "minibatches", &number.to_string()]));
        let (actor, update) = self.learner.learn(actor, &round, &mut rng)?;
        Ok((actor, replies, Metrics { rollout, update: Some(update) }))
    }

    /// Every prompt of the round `samples_per_prompt` times, each with a stream of its own.
    fn next_prompts(&mut self, iteration: usize) -> Vec<Prompt> {
        let iteration = iteration.to_string();
        let mut prompts = Vec::with_capacity(self.config.replies_per_iteration());
        for _ in 0..self.config.prompts_per_iteration {
            let dialogue = &self.prompts[self.cursor.advance()];
            let id = dialogue.id();
            for _ in 0..self.config.samples_per_prompt {
                // The place in the round keeps streams apart if a prompt comes twice.
                let place = prompts.len().to_string();
                let seed = item_seed(self.seed, &["ppo", &id, &iteration, &place]);
                prompts.push(Prompt { dialogue: dialogue.clone(), seed });
            }
        }
        prompts
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
