//! Reinforcement learning against the preference model, or the judge itself: RL-CAI (section 4.2).

use super::direct_reward::{JudgeReward, Principles, RewardSource};
use super::evals::rates;
use super::models::model_folder;
use super::with_counts::WithCounts;
use super::{Checkpoint, Error, Session, Stage};
use ai_feedback::Judge;
use burn::tensor::backend::AutodiffBackend;
use dataset::{read_jsonl, write_jsonl};
use dialogue::Dialogue;
use language_model::{Reward, item_seed};
use ppo::{CallbackError, Inputs, Iteration, ScoredReply, ValueStart};
use report::Checkpoint as Measured;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sft::{Example, Examples};
use std::ops::ControlFlow;
use std::path::Path;
use training::Observe;
use transformer::Transformer;

/// Iterations between two looks at the policy.
const LOOK_EVERY: usize = 4;

/// Prompts of each kind that such a look takes.
const LOOK_PROMPTS: usize = 64;

/// Replies of a round that are kept as samples.
const SAMPLES: usize = 4;

/// The file of looks at the policy.
pub(crate) const CHECKPOINTS: &str = "checkpoints.jsonl";

/// Names and values that stand in every record.
type Counts = Vec<(&'static str, f64)>;

/// A reply of some round: one line of `samples.jsonl`.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Sample {
    iteration: usize,
    #[serde(flatten)]
    reply: ScoredReply,
}

impl<B: AutodiffBackend> Session<B> {
    /// Writes the model RL-CAI, the last `rollouts.jsonl`, `samples.jsonl` of all rounds, and in the world
    /// `checkpoints.jsonl`, the way there.
    pub(super) fn ppo(&self, observe: &mut dyn Observe) -> Result<(), Error> {
        let stage = Stage::Ppo;
        let policy = self.policy::<B>(Checkpoint::SlCai, &self.device)?;
        let [red_team, helpful] = self.policy_prompts()?;
        let direct = self.settings.reward == RewardSource::Direct;
        let judge = if direct { Some(self.judge(stage)?) } else { None };
        let principles = Principles::new(&self.constitution);
        let reward: Box<dyn Reward> = match judge.as_deref() {
            Some(judge) => Box::new(self.judge_reward(judge, &principles, &helpful)?),
            None => Box::new(self.reward_model::<B::InnerBackend>(&self.device)?),
        };
        let held_out = self.held_out_model()?;
        let prompts: Vec<Dialogue> = red_team.into_iter().chain(helpful).collect();
        let config = &self.settings.ppo;
        let (ptx, counts) = self.ptx(&policy)?;
        let mut inputs = Inputs::new(policy, &*reward, &prompts).with_ptx(&ptx);
        if config.has_separate_values() && !direct {
            inputs.value = self.value_start()?;
        }
        inputs.held_out_reward = held_out.as_ref().map(|model| model as &dyn Reward);
        let mut watched = self.watched(stage, observe)?;
        let mut watched = WithCounts { observe: &mut watched, counts };
        let rollouts = self.folder.file(stage, "rollouts.jsonl")?;
        let looks = self.folder.file(stage, CHECKPOINTS)?;
        let samples = self.folder.file(stage, "samples.jsonl")?;
        let mut after = |iteration: &Iteration<'_, B::InnerBackend>| {
            let number = iteration.number;
            write_jsonl(&rollouts, iteration.replies)?;
            if (number - 1).is_multiple_of(config.samples_every) {
                let replies = iteration.replies.iter().step_by(config.samples_per_prompt);
                let sample =
                    |reply: &ScoredReply| Sample { iteration: number, reply: reply.clone() };
                let new = replies.take(SAMPLES).map(sample).collect();
                append(&samples, new, |sample: &Sample| sample.iteration < number)?;
            }
            if self.in_world() && (number.is_multiple_of(LOOK_EVERY) || number == 1) {
                let look = self.look(iteration).map_err(of_the_policy)?;
                append(&looks, vec![look], |look: &Measured| look.iteration < number as u64)?;
            }
            Ok(ControlFlow::Continue(()))
        };
        let seed = self.settings.seed;
        let mut states = self.checkpoints(stage)?;
        let model = config.run_with(inputs, seed, &mut watched, &mut states, &mut after)?;
        Ok(model.save(model_folder(self.folder.path(), stage))?)
    }

    /// The judge's own scores, with a stream of their own.
    fn judge_reward<'a>(
        &self,
        judge: &'a dyn Judge,
        principles: &'a Principles<'_>,
        helpful: &[Dialogue],
    ) -> Result<JudgeReward<'a>, Error> {
        let seed = item_seed(self.settings.seed, &["ppo"]);
        JudgeReward::new(judge, principles, &self.settings.direct_reward, helpful, seed)
    }

    /// What the policy goes on learning beside the reward, if it does: what SL-CAI was fine-tuned on, and, for the records,
    /// how many dialogues were too long and left out or shortened, as they were for SL-CAI.
    fn ptx(&self, policy: &Transformer<B>) -> Result<(Vec<Example>, Counts), Error> {
        if self.settings.ppo.ptx_coefficient <= 0.0 {
            return Ok((Vec::new(), Vec::new()));
        }
        let Transformer { decoder, codec, .. } = policy;
        let (dialogues, overlong) = (self.lessons()?.concat(), self.settings.sft.overlong);
        let found = Examples::of_dialogues(codec, decoder.config(), &dialogues, overlong)?;
        let [left_out, shortened] = [found.overlong, found.shortened].map(|count| count as f64);
        Ok((found.kept, vec![("ptx_overlong", left_out), ("ptx_shortened", shortened)]))
    }

    /// The preference model as what the value model begins as.
    fn value_start(&self) -> Result<Option<ValueStart<B>>, Error> {
        let ensemble = self.reward_model::<B>(&self.device)?;
        // Of several models the first: a value model is one.
        let [model, ..] = ensemble.members() else { return Ok(None) };
        let normalisation = model.normalisation();
        let (mean, std) = (normalisation.mean, normalisation.std);
        Ok(Some(ValueStart { model: model.scalar_model().clone(), mean, std }))
    }

    /// The policy as it is after an iteration, on a part of the held-out prompts, beside the score and the KL of the replies
    /// that the iteration learned from. Nothing is decided by it.
    fn look(&self, iteration: &Iteration<'_, B::InnerBackend>) -> Result<Measured, Error> {
        let part = |prompts: &[Dialogue]| prompts[..prompts.len().min(LOOK_PROMPTS)].to_vec();
        let red_team = part(&self.prompts.held_out_red_team);
        let helpful = part(&self.prompts.held_out_helpful);
        let harmful = rates(&self.answer(iteration.policy, "look", &red_team)?);
        let benign = rates(&self.answer(iteration.policy, "look", &helpful)?);
        Ok(Measured {
            iteration: iteration.number as u64,
            score: Some(iteration.metrics.rollout.score_mean),
            kl: Some(iteration.metrics.rollout.kl_per_sequence),
            harmless: harmful.map(|rates| rates.harmless),
            helpful: benign.map(|rates| rates.helpful),
        })
    }
}

/// The error of a model as it is, so that a policy that has diverged is told from a full disk.
fn of_the_policy(error: Error) -> CallbackError {
    match error {
        Error::LanguageModel(error) => error.into(),
        error => error.into(),
    }
}

/// Adds records to those of earlier iterations. What an interrupted process wrote of iterations that are now repeated is
/// dropped.
fn append<T: Serialize + DeserializeOwned>(
    path: &Path,
    new: Vec<T>,
    earlier: impl Fn(&T) -> bool,
) -> Result<(), Error> {
    let mut all: Vec<T> = if path.exists() { read_jsonl(path)? } else { Vec::new() };
    all.retain(earlier);
    all.extend(new);
    Ok(write_jsonl(path, &all)?)
}
