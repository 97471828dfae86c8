//! The settings of `AdamW`.

use crate::Error;
use serde::{Deserialize, Serialize};

/// Settings of `AdamW` (arXiv 1711.05101) with gradient clipping.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `learning_rate` | 0.0003 | highest learning rate, above 0 |
/// | `beta_1` | 0.9 | decay of the mean of the gradients, in \[0, 1) |
/// | `beta_2` | 0.95 | decay of the mean of their squares, in \[0, 1) |
/// | `epsilon` | 1e-8 | added to the root of that mean, above 0 |
/// | `weight_decay` | 0.0 | decoupled weight decay, at least 0 |
/// | `clip_norm` | 1.0 | highest Euclidean norm of all gradients together, above 0; a huge one turns clipping off |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerConfig {
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Decay of the mean of the gradients.
    pub beta_1: f32,
    /// Decay of the mean of the squared gradients.
    pub beta_2: f32,
    /// Added to the root of the mean of the squared gradients.
    pub epsilon: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// Highest Euclidean norm of all gradients together.
    pub clip_norm: f32,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            learning_rate: 3e-4,
            beta_1: 0.9,
            beta_2: 0.95,
            epsilon: 1e-8,
            weight_decay: 0.0,
            clip_norm: 1.0,
        }
    }
}

impl OptimizerConfig {
    /// The same with another learning rate.
    #[must_use]
    pub fn with_learning_rate(self, learning_rate: f64) -> Self {
        Self { learning_rate, ..self }
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Setting`] names the first setting out of range.
    pub fn validate(&self) -> Result<(), Error> {
        positive("learning_rate", self.learning_rate)?;
        share("beta_1", self.beta_1)?;
        share("beta_2", self.beta_2)?;
        positive("epsilon", f64::from(self.epsilon))?;
        check(
            "weight_decay",
            f64::from(self.weight_decay),
            self.weight_decay.is_finite() && self.weight_decay >= 0.0,
            "a number of at least 0",
        )?;
        positive("clip_norm", f64::from(self.clip_norm))
    }
}

fn positive(setting: &'static str, value: f64) -> Result<(), Error> {
    check(setting, value, value.is_finite() && value > 0.0, "a number above 0")
}

fn share(setting: &'static str, value: f32) -> Result<(), Error> {
    let in_range = (0.0..1.0).contains(&value);
    check(setting, f64::from(value), in_range, "a number of at least 0 and below 1")
}

fn check(
    setting: &'static str,
    value: f64,
    in_range: bool,
    expected: &'static str,
) -> Result<(), Error> {
    if in_range {
        return Ok(());
    }
    Err(Error::Setting { setting, found: value.to_string(), expected })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_setting_out_of_range() {
        let good = OptimizerConfig::default();
        let cases = [
            ("learning_rate", good.clone().with_learning_rate(0.0)),
            ("learning_rate", good.clone().with_learning_rate(f64::NAN)),
            ("beta_1", OptimizerConfig { beta_1: 1.0, ..good.clone() }),
            ("beta_2", OptimizerConfig { beta_2: -0.1, ..good.clone() }),
            ("epsilon", OptimizerConfig { epsilon: 0.0, ..good.clone() }),
            ("weight_decay", OptimizerConfig { weight_decay: f32::INFINITY, ..good.clone() }),
            ("clip_norm", OptimizerConfig { clip_norm: 0.0, ..good.clone() }),
        ];
        for (name, config) in cases {
            let message = config.validate().unwrap_err().to_string();
            assert!(message.starts_with(&format!("`{name}` is ")), "{message}");
        }
        good.validate().unwrap();
    }

    #[test]
    fn fills_in_defaults_and_refuses_the_unknown() {
        let config: OptimizerConfig = serde_json::from_str(r#"{"learning_rate":0.001}"#).unwrap();
        assert_eq!(config, OptimizerConfig::default().with_learning_rate(1e-3));
        assert!(serde_json::from_str::<OptimizerConfig>(r#"{"lr":0.001}"#).is_err());
    }
}
