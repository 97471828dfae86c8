//! The settings.

use crate::Error;
use serde::{Deserialize, Serialize};
use training::{OptimizerConfig, Overlong, Schedule, WarmUp};

/// Settings of supervised fine-tuning.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `epochs` | 1 | times that every example is seen |
/// | `max_steps` | none | stops after so many optimiser steps, if that is earlier |
/// | `tokens_per_step` | 2048 | tokens of an optimiser step, padding included |
/// | `tokens_per_micro_batch` | 2048 | tokens that go through the model at once, padding included; lower saves memory and changes nothing else |
/// | `overlong` | `"drop"` | `"drop"` or `"error"`: what becomes of an example longer than the context |
/// | `optimizer` | `learning_rate = 0.0003`, `beta_2 = 0.98` | see [`OptimizerConfig`] |
/// | `schedule` | cosine, `warm_up = { share = 0.03 }`, `floor = 0.1` | see [`Schedule`] |
///
/// A single example longer than `tokens_per_step` makes a step of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SftConfig {
    /// Times that every example is seen.
    pub epochs: u64,
    /// The most optimiser steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<u64>,
    /// Tokens of an optimiser step, padding included.
    pub tokens_per_step: usize,
    /// Tokens that go through the model at once, padding included.
    pub tokens_per_micro_batch: usize,
    /// What becomes of an example that is longer than the context.
    pub overlong: Overlong,
    /// The optimiser.
    pub optimizer: OptimizerConfig,
    /// How the learning rate moves.
    pub schedule: Schedule,
}

impl Default for SftConfig {
    fn default() -> Self {
        Self {
            epochs: 1,
            max_steps: None,
            tokens_per_step: 2048,
            tokens_per_micro_batch: 2048,
            overlong: Overlong::Drop,
            optimizer: OptimizerConfig { beta_2: 0.98, ..OptimizerConfig::default() },
            schedule: Schedule::cosine().with_warm_up(WarmUp::Share(0.03)).with_floor(0.1),
        }
    }
}

impl SftConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`training::Error::Setting`] names the first setting out of range.
    pub fn validate(&self) -> Result<(), Error> {
        at_least_one("epochs", self.epochs)?;
        at_least_one("max_steps", self.max_steps.unwrap_or(1))?;
        at_least_one("tokens_per_step", self.tokens_per_step as u64)?;
        at_least_one("tokens_per_micro_batch", self.tokens_per_micro_batch as u64)?;
        self.optimizer.validate()?;
        self.schedule.validate()?;
        Ok(())
    }
}

fn at_least_one(setting: &'static str, value: u64) -> Result<(), training::Error> {
    if value > 0 {
        return Ok(());
    }
    let expected = "a whole number of at least 1";
    Err(training::Error::Setting { setting, found: value.to_string(), expected })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_setting_out_of_range() {
        let good = SftConfig::default();
        let cases = [
            ("epochs", SftConfig { epochs: 0, ..good.clone() }),
            ("max_steps", SftConfig { max_steps: Some(0), ..good.clone() }),
            ("tokens_per_step", SftConfig { tokens_per_step: 0, ..good.clone() }),
            ("tokens_per_micro_batch", SftConfig { tokens_per_micro_batch: 0, ..good.clone() }),
            (
                "learning_rate",
                SftConfig {
                    optimizer: OptimizerConfig::default().with_learning_rate(-1.0),
                    ..good.clone()
                },
            ),
            ("floor", SftConfig { schedule: Schedule::cosine().with_floor(2.0), ..good.clone() }),
        ];
        for (name, config) in cases {
            let message = config.validate().unwrap_err().to_string();
            assert!(message.starts_with(&format!("`{name}` is ")), "{message}");
        }
        good.validate().unwrap();
    }
}
