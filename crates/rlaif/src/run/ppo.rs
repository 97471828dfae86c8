//! Reinforcement learning against the preference model: RL-CAI (section 4.2).

use super::evals::rates;
use super::models::model_folder;
use super::{Checkpoint, Error, Session, Stage};
use burn::tensor::backend::AutodiffBackend;
use dataset::write_jsonl;
use dialogue::Dialogue;
use ppo::Iteration;
use report::Checkpoint as Measured;
use std::ops::ControlFlow;
use training::Observe;

/// Iterations between two looks at the policy.
const LOOK_EVERY: usize = 4;

/// Prompts of each kind that such a look takes.
const LOOK_PROMPTS: usize = 64;

impl<B: AutodiffBackend> Session<B> {
    /// Writes the model RL-CAI, the last `rollouts.jsonl`, and in the world `checkpoints.jsonl`, the way there.
    pub(super) fn ppo(&self, observe: &mut dyn Observe) -> Result<(), Error> {
        let stage = Stage::Ppo;
        let policy = self.policy::<B>(Checkpoint::SlCai, &self.device)?;
        let reward = self.preference_model()?;
        let [red_team, helpful] = self.policy_prompts()?;
        let prompts: Vec<Dialogue> = red_team.into_iter().chain(helpful).collect();
        let mut watched = self.watched(stage, observe)?;
        let mut measured: Vec<Measured> = Vec::new();
        let rollouts = self.folder.file(stage, "rollouts.jsonl")?;
        let mut after = |iteration: &Iteration<'_, B::InnerBackend>| {
            write_jsonl(&rollouts, iteration.replies)?;
            if self.in_world() && (iteration.number % LOOK_EVERY == 0 || iteration.number == 1) {
                measured.push(self.look(iteration)?);
            }
            Ok(ControlFlow::Continue(()))
        };
        let config = &self.settings.ppo;
        let model = config.run_with(
            policy,
            &reward,
            &prompts,
            self.settings.seed,
            &mut watched,
            &mut after,
        )?;
        write_jsonl(self.folder.file(stage, CHECKPOINTS)?, measured)?;
        Ok(model.save(model_folder(self.folder.path(), stage))?)
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

/// The file of looks at the policy.
pub(super) const CHECKPOINTS: &str = "checkpoints.jsonl";
