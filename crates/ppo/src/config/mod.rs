//! The settings of a run.

mod check;
mod preset;

pub use preset::Preset;

use crate::{Advantage, Aggregation, KlEstimator, KlTarget, Over, ScorePlace, Variance, Whitening};
use serde::{Deserialize, Serialize};
use sft::SftConfig;
use training::{OptimizerConfig, Schedule};
use transformer::LoraConfig;

/// What estimates values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ValueModel {
    /// A head on the trunk of the policy; the value loss trains the trunk too.
    #[default]
    Shared,
    /// A head on the trunk of the policy; the value loss trains the head alone.
    Detached,
    /// A model of its own, with an optimiser of its own: [`crate::Inputs::value`], or else a copy of the policy with a
    /// head that says 0. All of its weights learn, also where the policy learns an adapter.
    Separate,
}

/// Where the KL penalty acts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KlPlace {
    /// In the reward of every token, as in the paper.
    #[default]
    Reward,
    /// In the loss, with a gradient of its own, as in GRPO (arXiv 2402.03300).
    Loss,
}

/// Fine-tuning on the best of several replies before the first round.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `samples` | 4 | replies a prompt, of which the one with the highest score, less [`PpoConfig::missing_end_penalty`] if it was cut, is learned; at least 2, and at most a million to `prompts_per_iteration` prompts |
/// | `prompts` | 256 | prompts, the first of the shuffled order; at least 1 |
/// | `sft` | see there | how they are learned, [`SftConfig`]; without `lora`, `weights` and `overlong`, which are refused |
///
/// What comes out is the policy that the rounds begin with, and their reference.
///
/// Replies are drawn to as many prompts at once as in a round, one record each time in the stage `ppo_best_of_n`: `replies`,
/// `score_mean` (before the penalty) and `best_score_mean` (of what is learned, after it). The fine-tuning is the stage
/// `ppo_best_of_n_sft`. A run that is interrupted in either goes on there, and draws nothing twice that was kept: states are
/// numbered through, the groups of prompts first, then the steps, then the rounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BestOfN {
    /// Replies a prompt.
    pub samples: usize,
    /// Prompts.
    pub prompts: usize,
    /// How the best are learned.
    pub sft: SftConfig,
}

impl Default for BestOfN {
    fn default() -> Self {
        Self { samples: 4, prompts: 256, sft: SftConfig::default() }
    }
}

/// The default of [`PpoConfig::whiten_rewards`]. Its mean stays, should it be whitened: it is what a reply is worth.
fn rewards_as_they_are() -> Whitening {
    Whitening { over: Over::Nothing, variance: Variance::Unbiased, shift_mean: false }
}

/// [`Whitening`] as it is read for rewards, whose defaults are others than those of advantages.
#[derive(Deserialize)]
#[serde(remote = "Whitening", deny_unknown_fields, default = "rewards_as_they_are")]
struct OfRewards {
    over: Over,
    variance: Variance,
    shift_mean: bool,
}

/// Settings of proximal policy optimisation.
///
/// Drawing:
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `iterations` | 15 | rounds of drawing replies and learning from them, at least 1 |
/// | `prompts_per_iteration` | 16 | prompts a round, at least 1 |
/// | `samples_per_prompt` | 4 | replies a prompt, at least 1; 2 for `rloo` and the groups; at most a million replies a round |
/// | `max_tokens` | 128 | longest reply, in tokens, its end-of-turn token included |
/// | `temperature` | 1.0 | of drawing, above 0; all log-probs and entropies are those at this temperature |
/// | `best_of_n_start` | none | see [`BestOfN`] |
///
/// Rewards and advantages:
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `kl_coefficient` | 0.05 | score units that one nat of KL from the reference costs, at least 0 |
/// | `kl_target` | none | moves the coefficient, by factors, so that it is above 0: `{ nats_per_sequence = K }` or `{ nats_per_token = K }`, see [`KlTarget`] |
/// | `kl_horizon` | 10000 | replies over which it moves by at most a fifth, above a fifth of the replies of a round; only with `kl_target` |
/// | `kl_place` | `"reward"` | `"reward"` or `"loss"`, see [`KlPlace`] |
/// | `kl_estimator` | `"k1"` | `"k1"`, `"k2"` or `"k3"`, see [`KlEstimator`]; in the loss `"k2"` or `"k3"` |
/// | `kl_clamp` | none | largest absolute KL of one token, in nats, above 0 |
/// | `score_place` | `"last"` | `"last"` or `"after_last"`, see [`ScorePlace`] |
/// | `score_clip` | none | largest absolute score, in score units, above 0; after the penalty and a group's baseline |
/// | `missing_end_penalty` | 1.0 | taken from the score of a reply that was cut at `max_tokens`, at least 0 |
/// | `whiten_rewards` | over nothing, unbiased, mean kept | see [`Whitening`], of which a given table keeps these where it says nothing; after the KL penalty |
/// | `advantage` | `"gae"` | `"gae"`, `"rloo"`, `"group_normalised"` or `"group_centred"`, see [`Advantage`] |
/// | `gamma` | 1.0 | discount a token, in \[0, 1\] |
/// | `lambda` | 0.95 | decay of generalised advantage estimation, in \[0, 1\]; only with `gae` |
/// | `whiten_advantages` | over the round, unbiased, to mean 0 | see [`Whitening`] |
///
/// Learning:
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `epochs` | 2 | passes over the replies of a round, at least 1; at most 100 million replies in all of them |
/// | `minibatches` | 2 | optimiser steps a pass, from 1 to the number of replies a round |
/// | `tokens_per_micro_batch` | 1024 | tokens that go through the model at once; lower saves memory and changes nothing but rounding |
/// | `optimizer` | `learning_rate = 0.0002` | of the policy, see [`OptimizerConfig`], whose own defaults hold for what a given table leaves out |
/// | `value_optimizer` | as `optimizer` | of a separate value model; only with one |
/// | `schedule` | constant | see [`Schedule`]; runs over all optimiser steps of all rounds |
/// | `lora` | none | learns an adapter instead of all weights, see [`LoraConfig`]; the reference is the policy without it |
/// | `clip_low`, `clip_high` | 0.2, 0.2 | largest rewarded moves of a token's probability ratio below and above 1, above 0, `clip_low` below 1 |
/// | `dual_clip` | none | times the advantage, the most that a token with a negative one may cost; above 1 (arXiv 1912.09729) |
/// | `aggregation` | `"token"` | `"token"`, `"sequence"`, `"round"` or `"length"`, see [`Aggregation`] |
/// | `entropy_coefficient` | 0.0 | weight of the entropy bonus, at least 0 |
/// | `rollout_correction` | none | cap of the importance weights that correct for what the engine drew from, above 0, see [`crate::importance_weights`] |
/// | `value_model` | `"shared"` | `"shared"`, `"detached"` or `"separate"`, see [`ValueModel`]; used by `gae` alone, as are the two below |
/// | `value_clip` | 0.2 | largest rewarded move of a value, in score units, above 0; a huge one turns clipping off |
/// | `value_coefficient` | 0.1 | weight of the value loss, at least 0 |
/// | `ptx_coefficient` | 0.0 | weight of the loss on [`crate::Inputs::ptx`], at least 0 |
///
/// Watching:
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `max_kl_per_sequence` | 200.0 | the run stops before it learns from a round whose mean KL a reply, in nats, is above, or as far below 0; above 0, a huge one turns this off |
/// | `max_kl_per_token` | 5.0 | the same where this times the mean length of the round's replies is smaller, in nats a token, so that short replies have a limit that they can reach; above 0, a huge one turns this off |
/// | `samples_every` | 5 | rounds between two that show some of their replies, at least 1 |
///
/// [`PpoConfig::preset`] gives the settings of other systems. What another setting leaves without effect is refused of
/// `lambda`, `value_clip`, `value_coefficient`, `value_optimizer`, `kl_horizon`, `kl_clamp`, `kl_estimator`, `kl_place` and
/// `schedule.floor`, unless the value is the default or that of a preset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the tables above describe every field")]
pub struct PpoConfig {
    pub iterations: usize,
    pub prompts_per_iteration: usize,
    pub samples_per_prompt: usize,
    pub max_tokens: usize,
    pub temperature: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best_of_n_start: Option<BestOfN>,

    pub kl_coefficient: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kl_target: Option<KlTarget>,
    pub kl_horizon: f64,
    pub kl_place: KlPlace,
    pub kl_estimator: KlEstimator,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kl_clamp: Option<f32>,
    pub score_place: ScorePlace,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score_clip: Option<f32>,
    pub missing_end_penalty: f32,
    #[serde(deserialize_with = "OfRewards::deserialize")]
    pub whiten_rewards: Whitening,
    pub advantage: Advantage,
    pub gamma: f32,
    pub lambda: f32,
    pub whiten_advantages: Whitening,

    pub epochs: usize,
    pub minibatches: usize,
    pub tokens_per_micro_batch: usize,
    pub optimizer: OptimizerConfig,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_optimizer: Option<OptimizerConfig>,
    pub schedule: Schedule,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraConfig>,
    pub clip_low: f32,
    pub clip_high: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dual_clip: Option<f32>,
    pub aggregation: Aggregation,
    pub entropy_coefficient: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout_correction: Option<f32>,
    pub value_model: ValueModel,
    pub value_clip: f32,
    pub value_coefficient: f32,
    pub ptx_coefficient: f32,

    pub max_kl_per_sequence: f32,
    pub max_kl_per_token: f32,
    pub samples_every: usize,
}

impl Default for PpoConfig {
    fn default() -> Self {
        Self {
            iterations: 15,
            prompts_per_iteration: 16,
            samples_per_prompt: 4,
            max_tokens: 128,
            temperature: 1.0,
            best_of_n_start: None,
            kl_coefficient: 0.05,
            kl_target: None,
            kl_horizon: 10_000.0,
            kl_place: KlPlace::default(),
            kl_estimator: KlEstimator::default(),
            kl_clamp: None,
            score_place: ScorePlace::default(),
            score_clip: None,
            missing_end_penalty: 1.0,
            whiten_rewards: rewards_as_they_are(),
            advantage: Advantage::default(),
            gamma: 1.0,
            lambda: 0.95,
            whiten_advantages: Whitening::default(),
            epochs: 2,
            minibatches: 2,
            tokens_per_micro_batch: 1024,
            optimizer: OptimizerConfig::default().with_learning_rate(2e-4),
            value_optimizer: None,
            schedule: Schedule::default(),
            lora: None,
            clip_low: 0.2,
            clip_high: 0.2,
            dual_clip: None,
            aggregation: Aggregation::default(),
            entropy_coefficient: 0.0,
            rollout_correction: None,
            value_model: ValueModel::default(),
            value_clip: 0.2,
            value_coefficient: 0.1,
            ptx_coefficient: 0.0,
            max_kl_per_sequence: 200.0,
            max_kl_per_token: 5.0,
            samples_every: 5,
        }
    }
}

impl PpoConfig {
    /// Replies a round.
    pub(crate) fn replies_per_iteration(&self) -> usize {
        self.prompts_per_iteration.saturating_mul(self.samples_per_prompt)
    }

    /// Optimiser steps of all rounds.
    pub(crate) fn optimizer_steps(&self) -> u64 {
        (self.iterations as u64)
            .saturating_mul(self.epochs as u64)
            .saturating_mul(self.minibatches as u64)
    }

    /// The settings of the optimiser of a separate value model.
    pub(crate) fn value_optimizer(&self) -> &OptimizerConfig {
        self.value_optimizer.as_ref().unwrap_or(&self.optimizer)
    }

    /// True if advantages are taken from values.
    pub(crate) fn has_values(&self) -> bool {
        self.advantage == Advantage::Gae
    }

    /// True if the value model has a trunk of its own.
    pub fn has_separate_values(&self) -> bool {
        self.has_values() && self.value_model == ValueModel::Separate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_refuses_the_unknown() {
        let json = r#"{"value_model":"detached","kl_estimator":"k3","optimizer":{"beta_2":0.99},
            "kl_target":{"nats_per_sequence":6.0},"whiten_advantages":{"over":"minibatch","variance":"biased"}}"#;
        let config: PpoConfig = serde_json::from_str(json).unwrap();
        assert_eq!(config.value_model, ValueModel::Detached);
        assert_eq!(config.kl_estimator, KlEstimator::K3);
        assert_eq!(config.kl_target, Some(KlTarget::NatsPerSequence(6.0)));
        assert_eq!(config.whiten_advantages.variance, Variance::Biased);
        assert!(config.whiten_advantages.shift_mean);
        let expected = OptimizerConfig { beta_2: 0.99, ..OptimizerConfig::default() };
        assert_eq!(config.optimizer, expected);
        assert_eq!(config.clip_low.to_bits(), 0.2_f32.to_bits());
        let written = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<PpoConfig>(&written).unwrap(), config);
        assert!(serde_json::from_str::<PpoConfig>(r#"{"kl_coef":0.1}"#).is_err());
    }

    #[test]
    fn whitening_of_rewards_keeps_its_own_defaults() {
        let read = |table: &str| {
            let json = format!(r#"{{"whiten_rewards":{table}}}"#);
            serde_json::from_str::<PpoConfig>(&json).map(|config| config.whiten_rewards)
        };
        let default = PpoConfig::default().whiten_rewards;
        assert!(!default.shift_mean);
        assert_eq!(read("{}").unwrap(), default);
        let over_the_round = Whitening { over: Over::Round, ..default };
        assert_eq!(read(r#"{"over":"round"}"#).unwrap(), over_the_round);
        let centred = Whitening { shift_mean: true, ..default };
        assert_eq!(read(r#"{"shift_mean":true}"#).unwrap(), centred);
        assert!(read(r#"{"mean":true}"#).is_err());
    }
}
