//! The settings of other systems.

use super::{PpoConfig, ValueModel};
use crate::{Over, ScorePlace, Variance, Whitening};
use serde::{Deserialize, Serialize};
use training::{OptimizerConfig, Schedule, WarmUp};

/// A system, or a paper, whose conventions are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// TRL 1.12.0, `trl.experimental.ppo`, the last release that has it, with `stop_token = "eos"`: by its default of none it
    /// draws every reply on past its end to the longest length.
    Trl,
    /// `OpenRLHF` 0.11.2, its PPO on a critic.
    OpenRlhf,
    /// verl 0.9.1, its GAE.
    Verl,
    /// What arXiv 2204.05862, section 4, says of the procedure that arXiv 2212.08073 uses.
    Paper,
}

impl Preset {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Trl, Self::OpenRlhf, Self::Verl, Self::Paper];
}

impl PpoConfig {
    /// The numerics of another system by its own defaults; the number of prompts, replies and rounds stays ours.
    ///
    /// | | `trl` | `openrlhf` | `verl` | `paper` |
    /// |---|---|---|---|---|
    /// | temperature | 0.7 | 1 | 1 | 1 |
    /// | KL in the reward | 0.05 k1 | 0.01 k1, clamped to 10 | none | 0.001 k1 |
    /// | score at | the token after the last | the last, clipped to 10 | the last | the last |
    /// | penalty of a cut reply | none | none | none | none |
    /// | gamma, lambda | 1, 0.95 | 1, 1 | 1, 1 | 1, 1 |
    /// | whitening of advantages | round, unbiased | round, biased | round, unbiased | none |
    /// | epochs x optimiser steps | 4 x 1 | 1 x 8 | 1 x 4 | 4 x 1 |
    /// | clip, dual clip | 0.2, none | 0.2, none | 0.2, 3 | 0.2, none |
    /// | value model | separate | separate | separate | separate |
    /// | value clip, coefficient | 0.2, 0.1 | 0.5, 1 | 0.5, 1 | off, 1 |
    /// | learning rates | 3e-6 both, falling to 0 | 1e-6, 9e-6, warm-up of 3%, cosine to a tenth | 1e-6, 1e-5 | ours |
    /// | `beta_2`, weight decay | 0.999, 0 | 0.95, 0 | 0.999, 0.01 | ours |
    /// | clipping of gradients | none | norm 1 | norm 1 | ours |
    ///
    /// A reply ends at its end of turn, whatever the preset; TRL needs `stop_token = "eos"` for that, which is not its default.
    ///
    /// The paper gives the KL penalty, the score at the end of a reply, gamma, the clip range and `epochs`, of which it has
    /// 1 in its scans, 2 in the robustness experiment and 4 online: 4 is taken, since the policies that come out of the
    /// procedure are those trained online. It has no entropy bonus. What it does not say is in `paper` not our default but
    /// the plainest form: lambda 1, so that the score counts for every token alike (our default is 0.95), advantages as they
    /// are, a value model of its own whose loss is neither clipped nor scaled (`value_clip` off, `value_coefficient` 1), one
    /// optimiser step a pass and no penalty of a cut reply. `optimizer` and `schedule` are our defaults: its learning rate is
    /// 0.01 times that of pretraining, which is a number only beside a model and how it was pretrained.
    ///
    /// TRL averages the losses of micro-batches that it cuts by rows, so a token of a short micro-batch weighs more there;
    /// here a micro-batch changes nothing, so that both agree where TRL's minibatch is one micro-batch.
    pub fn preset(preset: Preset) -> Self {
        match preset {
            Preset::Trl => Self::trl(),
            Preset::OpenRlhf => Self::open_rlhf(),
            Preset::Verl => Self::verl(),
            Preset::Paper => Self::paper(),
        }
    }

    /// The numerics of another system, with how much is drawn, what learns and begins, and what is watched as in these
    /// settings: rounds, prompts, replies and micro-batches, `lora`, `best_of_n_start`, `max_kl_per_sequence`,
    /// `max_kl_per_token` and `samples_every`.
    #[must_use]
    pub fn with_preset(self, preset: Preset) -> Self {
        Self {
            iterations: self.iterations,
            prompts_per_iteration: self.prompts_per_iteration,
            samples_per_prompt: self.samples_per_prompt,
            max_tokens: self.max_tokens,
            best_of_n_start: self.best_of_n_start,
            lora: self.lora,
            max_kl_per_sequence: self.max_kl_per_sequence,
            max_kl_per_token: self.max_kl_per_token,
            tokens_per_micro_batch: self.tokens_per_micro_batch,
            samples_every: self.samples_every,
            ..Self::preset(preset)
        }
    }

    fn trl() -> Self {
        let optimizer = OptimizerConfig {
            learning_rate: 3e-6,
            beta_2: 0.999,
            clip_norm: f64::from(f32::MAX),
            ..OptimizerConfig::default()
        };
        Self {
            temperature: 0.7,
            score_place: ScorePlace::AfterLast,
            missing_end_penalty: 0.0,
            epochs: 4,
            minibatches: 1,
            optimizer,
            schedule: Schedule::linear(),
            value_model: ValueModel::Separate,
            ..Self::default()
        }
    }

    fn open_rlhf() -> Self {
        let optimizer = OptimizerConfig { learning_rate: 1e-6, ..OptimizerConfig::default() };
        Self {
            kl_coefficient: 0.01,
            kl_clamp: Some(10.0),
            score_clip: Some(10.0),
            missing_end_penalty: 0.0,
            lambda: 1.0,
            whiten_advantages: Whitening { variance: Variance::Biased, ..Whitening::default() },
            epochs: 1,
            minibatches: 8,
            value_optimizer: Some(optimizer.clone().with_learning_rate(9e-6)),
            optimizer,
            schedule: Schedule::cosine().with_warm_up(WarmUp::Share(0.03)).with_floor(0.1),
            value_model: ValueModel::Separate,
            value_clip: 0.5,
            value_coefficient: 1.0,
            ..Self::default()
        }
    }

    fn verl() -> Self {
        let optimizer = OptimizerConfig {
            learning_rate: 1e-6,
            beta_2: 0.999,
            weight_decay: 0.01,
            ..OptimizerConfig::default()
        };
        Self {
            kl_coefficient: 0.0,
            missing_end_penalty: 0.0,
            lambda: 1.0,
            epochs: 1,
            minibatches: 4,
            value_optimizer: Some(optimizer.clone().with_learning_rate(1e-5)),
            optimizer,
            dual_clip: Some(3.0),
            value_model: ValueModel::Separate,
            value_clip: 0.5,
            value_coefficient: 1.0,
            ..Self::default()
        }
    }

    fn paper() -> Self {
        let whiten_advantages = Whitening { over: Over::Nothing, ..Whitening::default() };
        Self {
            kl_coefficient: 0.001,
            missing_end_penalty: 0.0,
            lambda: 1.0,
            whiten_advantages,
            epochs: 4,
            minibatches: 1,
            value_model: ValueModel::Separate,
            value_clip: f32::MAX,
            value_coefficient: 1.0,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Advantage, Aggregation, KlEstimator, KlPlace};
    use training::Decay;

    /// The settings at a place of [`Preset::ALL`]: a row of four is of TRL, `OpenRLHF`, verl and the paper, and what stands alone
    /// is the same in all. Nothing comes from a default, so that no default moves a preset unseen.
    fn pinned(at: usize) -> PpoConfig {
        let optimizer = OptimizerConfig {
            learning_rate: [3e-6, 1e-6, 1e-6, 2e-4][at],
            beta_1: 0.9,
            beta_2: [0.999, 0.95, 0.999, 0.95][at],
            epsilon: 1e-8,
            weight_decay: [0.0, 0.0, 0.01, 0.0][at],
            clip_norm: [f64::from(f32::MAX), 1.0, 1.0, 1.0][at],
            groups: Vec::new(),
        };
        let of_values = [None, Some(9e-6), Some(1e-5), None][at];
        let value_optimizer =
            of_values.map(|learning_rate| OptimizerConfig { learning_rate, ..optimizer.clone() });
        PpoConfig {
            iterations: 15,
            prompts_per_iteration: 16,
            samples_per_prompt: 4,
            max_tokens: 128,
            temperature: [0.7, 1.0, 1.0, 1.0][at],
            best_of_n_start: None,
            kl_coefficient: [0.05, 0.01, 0.0, 0.001][at],
            kl_target: None,
            kl_horizon: 10_000.0,
            kl_place: KlPlace::Reward,
            kl_estimator: KlEstimator::K1,
            kl_clamp: [None, Some(10.0), None, None][at],
            score_place: [
                ScorePlace::AfterLast,
                ScorePlace::Last,
                ScorePlace::Last,
                ScorePlace::Last,
            ][at],
            score_clip: [None, Some(10.0), None, None][at],
            missing_end_penalty: 0.0,
            whiten_rewards: Whitening {
                over: Over::Nothing,
                variance: Variance::Unbiased,
                shift_mean: false,
            },
            advantage: Advantage::Gae,
            gamma: 1.0,
            lambda: [0.95, 1.0, 1.0, 1.0][at],
            whiten_advantages: Whitening {
                over: [Over::Round, Over::Round, Over::Round, Over::Nothing][at],
                variance: [
                    Variance::Unbiased,
                    Variance::Biased,
                    Variance::Unbiased,
                    Variance::Unbiased,
                ][at],
                shift_mean: true,
            },
            epochs: [4, 1, 1, 4][at],
            minibatches: [1, 8, 4, 1][at],
            tokens_per_micro_batch: 1024,
            optimizer,
            value_optimizer,
            schedule: Schedule {
                decay: [Decay::Linear, Decay::Cosine, Decay::Constant, Decay::Constant][at],
                warm_up: [
                    WarmUp::Steps(0),
                    WarmUp::Share(0.03),
                    WarmUp::Steps(0),
                    WarmUp::Steps(0),
                ][at],
                floor: [0.0, 0.1, 0.0, 0.0][at],
            },
            lora: None,
            clip_low: 0.2,
            clip_high: 0.2,
            dual_clip: [None, None, Some(3.0), None][at],
            aggregation: Aggregation::Token,
            entropy_coefficient: 0.0,
            rollout_correction: None,
            value_model: ValueModel::Separate,
            value_clip: [0.2, 0.5, 0.5, f32::MAX][at],
            value_coefficient: [0.1, 1.0, 1.0, 1.0][at],
            ptx_coefficient: 0.0,
            max_kl_per_sequence: 200.0,
            max_kl_per_token: 5.0,
            samples_every: 5,
        }
    }

    #[test]
    fn every_setting_is_that_of_the_system() {
        for (at, preset) in Preset::ALL.into_iter().enumerate() {
            assert_eq!(PpoConfig::preset(preset), pinned(at), "{preset:?}");
        }
    }
}
