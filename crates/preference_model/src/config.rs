//! The settings.

use crate::Error;
use serde::{Deserialize, Serialize};
use training::{OptimizerConfig, Overlong, Schedule, WarmUp};

/// Settings of preference model training.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `epochs` | 1 | times that every pair is seen; more overfit quickly |
/// | `tokens_per_step` | 2048 | tokens of an optimiser step, both dialogues of every pair and padding included |
/// | `tokens_per_micro_batch` | 2048 | tokens that go through the model at once; lower saves memory and changes nothing else |
/// | `held_out` | 0.1 | share of the prompts, in \[0, 1), that are not trained on and measure the model at the end |
/// | `reference_dialogues` | 256 | dialogues whose scores get mean 0 and standard deviation 1, at least 2 |
/// | `overlong` | `"drop"` | `"drop"` or `"error"`: what becomes of a pair longer than the context |
/// | `optimizer` | `learning_rate = 0.0001`, `beta_2 = 0.98` | see [`OptimizerConfig`] |
/// | `schedule` | linear, `warm_up = { share = 0.03 }`, `floor = 0.1` | see [`Schedule`] |
///
/// A single pair longer than `tokens_per_step` makes a step of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PreferenceModelConfig {
    /// Times that every pair is seen.
    pub epochs: u64,
    /// Tokens of an optimiser step, padding included.
    pub tokens_per_step: usize,
    /// Tokens that go through the model at once, padding included.
    pub tokens_per_micro_batch: usize,
    /// Share of the prompts that only measure the model.
    pub held_out: f64,
    /// Dialogues that the scores are normalised on.
    pub reference_dialogues: usize,
    /// What becomes of a pair that is longer than the context.
    pub overlong: Overlong,
    /// The optimiser.
    pub optimizer: OptimizerConfig,
    /// How the learning rate moves.
    pub schedule: Schedule,
}

impl Default for PreferenceModelConfig {
    fn default() -> Self {
        Self {
            epochs: 1,
            tokens_per_step: 2048,
            tokens_per_micro_batch: 2048,
            held_out: 0.1,
            reference_dialogues: 256,
            overlong: Overlong::Drop,
            optimizer: OptimizerConfig {
                learning_rate: 1e-4,
                beta_2: 0.98,
                ..OptimizerConfig::default()
            },
            schedule: Schedule::linear().with_warm_up(WarmUp::Share(0.03)).with_floor(0.1),
        }
    }
}

impl PreferenceModelConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`training::Error::Setting`] names the first setting out of range.
    pub fn validate(&self) -> Result<(), Error> {
        at_least("epochs", self.epochs, 1, "a whole number of at least 1")?;
        for (setting, value) in [
            ("tokens_per_step", self.tokens_per_step),
            ("tokens_per_micro_batch", self.tokens_per_micro_batch),
        ] {
            at_least(setting, value as u64, 1, "a whole number of at least 1")?;
        }
        let references = self.reference_dialogues as u64;
        at_least("reference_dialogues", references, 2, "a whole number of at least 2")?;
        if !(0.0..1.0).contains(&self.held_out) {
            return Err(training::Error::Setting {
                setting: "held_out",
                found: self.held_out.to_string(),
                expected: "a number of at least 0 and below 1",
            }
            .into());
        }
        self.optimizer.validate()?;
        self.schedule.validate()?;
        Ok(())
    }
}

fn at_least(
    setting: &'static str,
    value: u64,
    least: u64,
    expected: &'static str,
) -> Result<(), training::Error> {
    if value >= least {
        return Ok(());
    }
    Err(training::Error::Setting { setting, found: value.to_string(), expected })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_setting_out_of_range() {
        let good = PreferenceModelConfig::default();
        let cases = [
            ("epochs", PreferenceModelConfig { epochs: 0, ..good.clone() }),
            ("tokens_per_step", PreferenceModelConfig { tokens_per_step: 0, ..good.clone() }),
            (
                "tokens_per_micro_batch",
                PreferenceModelConfig { tokens_per_micro_batch: 0, ..good.clone() },
            ),
            ("held_out", PreferenceModelConfig { held_out: 1.0, ..good.clone() }),
            ("held_out", PreferenceModelConfig { held_out: f64::NAN, ..good.clone() }),
            (
                "reference_dialogues",
                PreferenceModelConfig { reference_dialogues: 1, ..good.clone() },
            ),
            (
                "learning_rate",
                PreferenceModelConfig {
                    optimizer: OptimizerConfig::default().with_learning_rate(-1.0),
                    ..good.clone()
                },
            ),
            (
                "floor",
                PreferenceModelConfig {
                    schedule: Schedule::linear().with_floor(2.0),
                    ..good.clone()
                },
            ),
        ];
        for (name, config) in cases {
            let message = config.validate().unwrap_err().to_string();
            assert!(message.starts_with(&format!("`{name}` is ")), "{message}");
        }
        good.validate().unwrap();
    }
}
