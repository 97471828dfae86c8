//! The settings of a run.

use crate::{Error, KlEstimator};
use serde::{Deserialize, Serialize};
use training::{OptimizerConfig, Schedule};

/// What the value head reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ValueTrunk {
    /// The trunk of the policy; the value loss trains it too.
    #[default]
    Shared,
    /// The trunk of the policy as it is; the value loss trains the head alone.
    Detached,
}

/// Settings of proximal policy optimisation.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `iterations` | 15 | rounds of drawing replies and learning from them, at least 1 |
/// | `prompts_per_iteration` | 16 | prompts a round, at least 1 |
/// | `samples_per_prompt` | 4 | replies a prompt, at least 1 |
/// | `max_tokens` | 128 | longest reply, in tokens, its end-of-turn token included |
/// | `epochs` | 2 | passes over the replies of a round, at least 1 |
/// | `minibatches` | 2 | optimiser steps a pass, from 1 to the number of replies a round |
/// | `tokens_per_micro_batch` | 2048 | tokens that go through the model at once, padding included; lower saves memory and changes nothing but rounding |
/// | `optimizer` | `learning_rate = 0.0002` | see [`OptimizerConfig`], whose own defaults hold for what a given table leaves out |
/// | `schedule` | constant | see [`Schedule`]; runs over all optimiser steps of all rounds |
/// | `kl_coefficient` | 0.05 | score units that one nat of KL from the reference costs, at least 0 |
/// | `kl_estimator` | `"k1"` | `"k1"`, `"k2"` or `"k3"`, see [`KlEstimator`] |
/// | `kl_clamp` | none | largest absolute KL of one token in the reward, in nats, above 0 |
/// | `missing_end_penalty` | 1.0 | taken from the score of a reply that was cut at `max_tokens`, at least 0 |
/// | `gamma` | 1.0 | discount a token, in \[0, 1\] |
/// | `lambda` | 0.95 | decay of generalised advantage estimation, in \[0, 1\] |
/// | `whiten_advantages` | true | mean 0, variance 1 (unbiased) over all reply tokens of a round |
/// | `clip` | 0.2 | largest rewarded move of a token's probability ratio away from 1, in (0, 1) |
/// | `value_clip` | 0.2 | largest rewarded move of a value, in score units, above 0 |
/// | `value_coefficient` | 0.1 | weight of the value loss, at least 0 |
/// | `value_trunk` | `"shared"` | `"shared"` or `"detached"`, see [`ValueTrunk`] |
/// | `entropy_coefficient` | 0.0 | weight of the entropy bonus, at least 0 |
/// | `max_kl_per_sequence` | none | the run ends without learning from a round whose mean KL a reply, in nats, is above |
///
/// Replies are drawn at temperature 1 from the whole distribution, as in the paper, so that the log-probs of rollout,
/// reference and update are those of the distribution that was drawn from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PpoConfig {
    /// Rounds of drawing replies and learning from them.
    pub iterations: usize,
    /// Prompts a round.
    pub prompts_per_iteration: usize,
    /// Replies a prompt.
    pub samples_per_prompt: usize,
    /// Longest reply, in tokens.
    pub max_tokens: usize,
    /// Passes over the replies of a round.
    pub epochs: usize,
    /// Optimiser steps a pass.
    pub minibatches: usize,
    /// Tokens that go through the model at once, padding included.
    pub tokens_per_micro_batch: usize,
    /// The optimiser.
    pub optimizer: OptimizerConfig,
    /// How the learning rate moves over all optimiser steps.
    pub schedule: Schedule,
    /// Score units that one nat of KL costs.
    pub kl_coefficient: f32,
    /// The estimator in the reward.
    pub kl_estimator: KlEstimator,
    /// Largest absolute KL of one token in the reward, in nats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kl_clamp: Option<f32>,
    /// Taken from the score of a reply that was cut.
    pub missing_end_penalty: f32,
    /// Discount a token.
    pub gamma: f32,
    /// Decay of generalised advantage estimation.
    pub lambda: f32,
    /// Whether advantages are whitened over a round.
    pub whiten_advantages: bool,
    /// Clip range of the probability ratio.
    pub clip: f32,
    /// Clip range of the value, in score units.
    pub value_clip: f32,
    /// Weight of the value loss.
    pub value_coefficient: f32,
    /// What the value head reads.
    pub value_trunk: ValueTrunk,
    /// Weight of the entropy bonus.
    pub entropy_coefficient: f32,
    /// Mean KL a reply, in nats, at which the run ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_kl_per_sequence: Option<f32>,
}

impl Default for PpoConfig {
    fn default() -> Self {
        Self {
            iterations: 15,
            prompts_per_iteration: 16,
            samples_per_prompt: 4,
            max_tokens: 128,
            epochs: 2,
            minibatches: 2,
            tokens_per_micro_batch: 2048,
            optimizer: OptimizerConfig::default().with_learning_rate(2e-4),
            schedule: Schedule::default(),
            kl_coefficient: 0.05,
            kl_estimator: KlEstimator::default(),
            kl_clamp: None,
            missing_end_penalty: 1.0,
            gamma: 1.0,
            lambda: 0.95,
            whiten_advantages: true,
            clip: 0.2,
            value_clip: 0.2,
            value_coefficient: 0.1,
            value_trunk: ValueTrunk::default(),
            entropy_coefficient: 0.0,
            max_kl_per_sequence: None,
        }
    }
}

impl PpoConfig {
    /// Replies a round.
    pub fn replies_per_iteration(&self) -> usize {
        self.prompts_per_iteration.saturating_mul(self.samples_per_prompt)
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`training::Error::Setting`] names the first setting out of range.
    pub fn validate(&self) -> Result<(), Error> {
        for (setting, count) in [
            ("iterations", self.iterations),
            ("prompts_per_iteration", self.prompts_per_iteration),
            ("samples_per_prompt", self.samples_per_prompt),
            ("max_tokens", self.max_tokens),
            ("epochs", self.epochs),
            ("tokens_per_micro_batch", self.tokens_per_micro_batch),
        ] {
            check(setting, count, count >= 1, "a whole number of at least 1")?;
        }
        check(
            "minibatches",
            self.minibatches,
            (1..=self.replies_per_iteration()).contains(&self.minibatches),
            "a whole number from 1 to prompts_per_iteration x samples_per_prompt",
        )?;
        self.optimizer.validate()?;
        self.schedule.validate()?;
        for (setting, number) in [
            ("kl_coefficient", self.kl_coefficient),
            ("missing_end_penalty", self.missing_end_penalty),
            ("value_coefficient", self.value_coefficient),
            ("entropy_coefficient", self.entropy_coefficient),
        ] {
            check(setting, number, number.is_finite() && number >= 0.0, "a number of at least 0")?;
        }
        for (setting, number) in [("gamma", self.gamma), ("lambda", self.lambda)] {
            check(setting, number, (0.0..=1.0).contains(&number), "a number from 0 to 1")?;
        }
        check(
            "clip",
            self.clip,
            self.clip > 0.0 && self.clip < 1.0,
            "a number above 0 and below 1",
        )?;
        for (setting, number) in [
            ("value_clip", Some(self.value_clip)),
            ("kl_clamp", self.kl_clamp),
            ("max_kl_per_sequence", self.max_kl_per_sequence),
        ] {
            let Some(number) = number else { continue };
            check(setting, number, number.is_finite() && number > 0.0, "a number above 0")?;
        }
        Ok(())
    }
}

fn check(
    setting: &'static str,
    found: impl ToString,
    in_range: bool,
    expected: &'static str,
) -> Result<(), Error> {
    if in_range {
        return Ok(());
    }
    Err(training::Error::Setting { setting, found: found.to_string(), expected }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_setting_out_of_range() {
        type Break = fn(&mut PpoConfig);
        let cases: [(&str, Break); 20] = [
            ("iterations", |c| c.iterations = 0),
            ("prompts_per_iteration", |c| c.prompts_per_iteration = 0),
            ("samples_per_prompt", |c| c.samples_per_prompt = 0),
            ("max_tokens", |c| c.max_tokens = 0),
            ("epochs", |c| c.epochs = 0),
            ("minibatches", |c| c.minibatches = 0),
            ("minibatches", |c| c.minibatches = 65),
            ("tokens_per_micro_batch", |c| c.tokens_per_micro_batch = 0),
            ("learning_rate", |c| c.optimizer.learning_rate = -1.0),
            ("floor", |c| c.schedule.floor = 2.0),
            ("kl_coefficient", |c| c.kl_coefficient = -0.1),
            ("kl_clamp", |c| c.kl_clamp = Some(0.0)),
            ("missing_end_penalty", |c| c.missing_end_penalty = f32::NAN),
            ("gamma", |c| c.gamma = 1.01),
            ("lambda", |c| c.lambda = f32::NAN),
            ("clip", |c| c.clip = 1.0),
            ("value_clip", |c| c.value_clip = 0.0),
            ("value_coefficient", |c| c.value_coefficient = f32::INFINITY),
            ("entropy_coefficient", |c| c.entropy_coefficient = -1.0),
            ("max_kl_per_sequence", |c| c.max_kl_per_sequence = Some(-2.0)),
        ];
        PpoConfig::default().validate().unwrap();
        for (name, spoil) in cases {
            let mut config = PpoConfig::default();
            spoil(&mut config);
            let message = config.validate().unwrap_err().to_string();
            assert!(message.starts_with(&format!("`{name}` is ")), "{message}");
        }
    }

    #[test]
    fn reads_what_it_writes_and_refuses_the_unknown() {
        let json = r#"{"value_trunk":"detached","kl_estimator":"k3","optimizer":{"beta_2":0.99}}"#;
        let config: PpoConfig = serde_json::from_str(json).unwrap();
        assert_eq!(config.value_trunk, ValueTrunk::Detached);
        assert_eq!(config.kl_estimator, KlEstimator::K3);
        assert_eq!(
            config.optimizer,
            OptimizerConfig { beta_2: 0.99, ..OptimizerConfig::default() }
        );
        assert_eq!(config.clip.to_bits(), 0.2_f32.to_bits());
        let written = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<PpoConfig>(&written).unwrap(), config);
        assert!(serde_json::from_str::<PpoConfig>(r#"{"kl_coef":0.1}"#).is_err());
    }
}
