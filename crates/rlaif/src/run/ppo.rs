//! Reinforcement learning against the preference model, or the judge itself: RL-CAI (section 4.2).

use super::direct_reward::{JudgeReward, Principles, RewardSource};
use super::evals::rates;
use super::models::model_folder;
use super::with_counts::WithCounts;
use super::{Checkpoint, Error, Session, Stage};
use ai_feedback::Judge;
use burn::tensor::backend::AutodiffBackend;
use dataset::{write_atomic, write_jsonl};
use dialogue::Dialogue;
use language_model::{Reward, item_seed};
use ppo::{CallbackError, Inputs, Iteration, ScoredReply, ValueStart};
use report::Checkpoint as Measured;
use serde::{Deserialize, Serialize};
use sft::{Example, Examples};
use std::fs;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::Path;
use training::{LinesBeside, Observe};
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
        if self.settings.value_begins_as_preference_model() {
            inputs.value = self.value_start()?;
        }
        inputs.held_out_reward = held_out.as_ref().map(|model| model as &dyn Reward);
        let rollouts = self.folder.file(stage, "rollouts.jsonl")?;
        let looks = self.folder.file(stage, CHECKPOINTS)?;
        let samples = self.folder.file(stage, "samples.jsonl")?;
        let mut watched = self.watched(stage, observe)?;
        watched.push(Box::new(LinesBeside::new(stage.name(), &samples, iteration_of_sample)));
        if self.in_world() {
            watched.push(Box::new(LinesBeside::new(stage.name(), &looks, iteration_of_look)));
        }
        let mut watched = WithCounts { observe: &mut watched, counts };
        let mut after = |iteration: &Iteration<'_, B::InnerBackend>| {
            let number = iteration.number;
            write_jsonl(&rollouts, iteration.replies)?;
            if (number - 1).is_multiple_of(config.samples_every) {
                let replies = iteration.replies.iter().step_by(config.samples_per_prompt);
                let sample =
                    |reply: &ScoredReply| Sample { iteration: number, reply: reply.clone() };
                append(&samples, replies.take(SAMPLES).map(sample))?;
            }
            if self.in_world() && (number.is_multiple_of(LOOK_EVERY) || number == 1) {
                append(&looks, [self.look(iteration).map_err(of_the_policy)?])?;
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

/// The iteration that a line of `samples.jsonl` belongs to.
fn iteration_of_sample(line: &[u8]) -> Result<u64, serde_json::Error> {
    Ok(serde_json::from_slice::<Sample>(line)?.iteration as u64)
}

/// The iteration that a line of `checkpoints.jsonl` belongs to.
fn iteration_of_look(line: &[u8]) -> Result<u64, serde_json::Error> {
    Ok(serde_json::from_slice::<Measured>(line)?.iteration)
}

/// Adds lines to those of earlier iterations, at once. Those of iterations that are taken again are gone since the stage has
/// begun, and what is there is not read: it decides nothing.
fn append<T: Serialize>(
    path: &Path,
    new: impl IntoIterator<Item = T>,
) -> Result<(), CallbackError> {
    let mut lines = match fs::read(path) {
        Err(source) if source.kind() == ErrorKind::NotFound => Vec::new(),
        read => {
            read.map_err(|source| Error::Io { action: "read", path: path.to_owned(), source })?
        }
    };
    for row in new {
        serde_json::to_writer(&mut lines, &row)?;
        lines.push(b'\n');
    }
    Ok(write_atomic(path, &lines)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataset::read_jsonl;
    use language_model::StopReason;

    fn sample(iteration: usize) -> Sample {
        let reply = ScoredReply {
            prompt: Dialogue::from_user("q"),
            reply: "a".to_owned(),
            tokens: 1,
            stopped: StopReason::Stop,
            score: 0.1,
            kl: 0.3,
        };
        Sample { iteration, reply }
    }

    fn look(iteration: u64) -> Measured {
        Measured { iteration, score: Some(0.1), kl: None, harmless: None, helpful: None }
    }

    #[test]
    fn what_was_written_is_known_by_its_iteration_and_the_rest_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let [samples, looks] = ["samples.jsonl", CHECKPOINTS].map(|name| folder.path().join(name));
        append(&samples, [1, 1, 6].map(sample)).unwrap();
        append(&samples, [11].map(sample)).unwrap();
        append(&looks, [1].map(look)).unwrap();
        append(&looks, [4, 8, 12].map(look)).unwrap();
        for path in [&samples, &looks] {
            let text = fs::read_to_string(path).unwrap();
            fs::write(path, format!("garbage\n{text}{{\"iteration\":\n")).unwrap();
        }
        let mut watched = [
            LinesBeside::new("ppo", &samples, iteration_of_sample),
            LinesBeside::new("ppo", &looks, iteration_of_look),
        ];
        for (lines, path) in watched.iter_mut().zip([&samples, &looks]) {
            lines.start("ppo", 15, 8).unwrap();
            let notes = lines.notes();
            assert_eq!(notes.len(), 2, "{notes:?}");
            assert!(notes[0].starts_with(&format!("{}, line 1: ", path.display())), "{notes:?}");
        }
        append(&samples, [11].map(sample)).unwrap();
        append(&looks, [12].map(look)).unwrap();
        let samples: Vec<Sample> = read_jsonl(&samples).unwrap();
        let iterations: Vec<usize> = samples.iter().map(|sample| sample.iteration).collect();
        assert_eq!(iterations, [1, 1, 6, 11]);
        let looks: Vec<Measured> = read_jsonl(&looks).unwrap();
        assert_eq!(looks, [1, 4, 8, 12].map(look));
    }
}
