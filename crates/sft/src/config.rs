//! The settings.

use crate::Error;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use training::{HIGHEST_WEIGHT, MOST_EPOCHS, OptimizerConfig, Overlong, Schedule, WarmUp};
use transformer::LoraConfig;

/// The most optimiser steps that may be asked for, which is far beyond any use: all of them are planned before the first.
const MOST_STEPS: u64 = 10_000_000;

/// Settings of supervised fine-tuning.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `epochs` | 1 | times that every example is seen, times the weight of its source; from 1 to a million, and at most 100 million examples in all, unless `max_steps` ends it |
/// | `max_steps` | none | stops after so many optimiser steps, if that is earlier; from 1 to 10 million |
/// | `tokens_per_step` | 2048 | tokens of an optimiser step |
/// | `tokens_per_micro_batch` | 2048 | tokens that go through the model at once; lower saves memory and changes nothing but rounding |
/// | `overlong` | `"drop"` | `"drop"`, `"error"` or `"oldest_turns"`: what becomes of what is longer than the context, see [`Overlong`] |
/// | `held_out` | 0.0 | share of the prompts, in \[0, 1), that are not learnt from and measure the model |
/// | `evaluate_every` | none | steps from one measurement on what is held out to the next, besides that after the last step |
/// | `patience` | none | stops after so many measurements in a row without a lower loss; the weights of the lowest are given back |
/// | `weights` | 1 each | of sources, by name: how often an epoch sees every example, from 0 to a million, not 0 of all; see [`SftConfig::fit_mixture`] |
/// | `lora` | none | trains an adapter instead of the weights, see [`LoraConfig`] |
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
    /// Tokens of an optimiser step.
    pub tokens_per_step: usize,
    /// Tokens that go through the model at once.
    pub tokens_per_micro_batch: usize,
    /// What becomes of an example that is longer than the context.
    pub overlong: Overlong,
    /// Share of the prompts that only measure the model.
    pub held_out: f64,
    /// Steps from one measurement on what is held out to the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluate_every: Option<u64>,
    /// Measurements without a lower loss that end the training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<u64>,
    /// How often an epoch sees every example of a source.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, f64>,
    /// The adapter that learns in the place of the weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraConfig>,
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
            held_out: 0.0,
            evaluate_every: None,
            patience: None,
            weights: BTreeMap::new(),
            lora: None,
            optimizer: OptimizerConfig { beta_2: 0.98, ..OptimizerConfig::default() },
            schedule: Schedule::cosine().with_warm_up(WarmUp::Share(0.03)).with_floor(0.1),
        }
    }
}

impl SftConfig {
    /// Checks every setting; those of `lora` are checked against the model when it is fitted.
    ///
    /// # Errors
    /// [`training::Error::Setting`], or in the table of the optimiser or the schedule [`training::Error::TableSetting`], names
    /// the first setting out of range.
    pub fn validate(&self) -> Result<(), Error> {
        if !(1..=MOST_EPOCHS).contains(&self.epochs) {
            return wrong("epochs", self.epochs.to_string(), "a whole number from 1 to 1,000,000");
        }
        if let Some(most) = self.max_steps.filter(|most| !(1..=MOST_STEPS).contains(most)) {
            return wrong("max_steps", most.to_string(), "a whole number from 1 to 10,000,000");
        }
        at_least_one("tokens_per_step", self.tokens_per_step as u64)?;
        at_least_one("tokens_per_micro_batch", self.tokens_per_micro_batch as u64)?;
        self.validate_evaluation()?;
        for (name, &weight) in &self.weights {
            if !(0.0..=HIGHEST_WEIGHT).contains(&weight) {
                return wrong(
                    "weights",
                    format!("{name} = {weight}"),
                    "numbers from 0 to 1,000,000",
                );
            }
        }
        self.optimizer.validate().map_err(|error| error.in_table("optimizer"))?;
        self.schedule.validate().map_err(|error| error.in_table("schedule"))?;
        self.schedule.validate_use(&[Self::default().schedule])?;
        Ok(())
    }

    /// Checks that `weights` name none but these sources.
    ///
    /// # Errors
    /// [`Error::UnknownSource`] names the first that is not among them; [`training::Error::Setting`] if all of them weigh 0.
    pub fn validate_sources(&self, sources: &[&str]) -> Result<(), Error> {
        if let Some(name) = self.weights.keys().find(|name| !sources.contains(&name.as_str())) {
            let (name, sources) = (name.clone(), sources.join("`, `"));
            return Err(Error::UnknownSource { name, sources });
        }
        let weighs_nothing = |name: &&str| self.weights.get(*name).is_some_and(|&w| w == 0.0);
        if !sources.is_empty() && sources.iter().all(weighs_nothing) {
            let found = "0 of every source".to_owned();
            return wrong("weights", found, "a number above 0 of at least one of them");
        }
        Ok(())
    }

    /// Checks every setting, and that none is for lists of examples alone.
    pub(crate) fn validate_for_stream(&self) -> Result<(), Error> {
        self.validate()?;
        if let Some(most) = self.max_steps {
            let expected = "none, since a stream is told its steps";
            return wrong("max_steps", most.to_string(), expected);
        }
        if self.held_out > 0.0 {
            let expected = "0, since nothing can be held out of a stream";
            return wrong("held_out", self.held_out.to_string(), expected);
        }
        if !self.weights.is_empty() {
            let expected = "none, since a stream is a single source";
            return wrong("weights", format!("{:?}", self.weights), expected);
        }
        Ok(())
    }

    fn validate_evaluation(&self) -> Result<(), Error> {
        if !(0.0..1.0).contains(&self.held_out) {
            let found = self.held_out.to_string();
            return wrong("held_out", found, "a number of at least 0 and below 1");
        }
        at_least_one("evaluate_every", self.evaluate_every.unwrap_or(1))?;
        at_least_one("patience", self.patience.unwrap_or(1))?;
        match (self.evaluate_every, self.patience) {
            (Some(every), _) if self.held_out == 0.0 => {
                let expected = "none where nothing is held out; set `held_out`, such as 0.1";
                wrong("evaluate_every", every.to_string(), expected)
            }
            (None, Some(patience)) => {
                let expected =
                    "none where nothing is measured before the end; set `evaluate_every`";
                wrong("patience", patience.to_string(), expected)
            }
            _ => Ok(()),
        }
    }
}

fn at_least_one(setting: &'static str, value: u64) -> Result<(), Error> {
    if value > 0 {
        return Ok(());
    }
    wrong(setting, value.to_string(), "a whole number of at least 1")
}

fn wrong(setting: &'static str, found: String, expected: &'static str) -> Result<(), Error> {
    Err(training::Error::Setting { setting, found, expected }.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use training::Decay;

    #[test]
    fn names_the_setting_out_of_range() {
        let good = SftConfig::default();
        let measured = measured();
        let cases = [
            ("epochs", SftConfig { epochs: 0, ..good.clone() }),
            ("epochs", SftConfig { epochs: 100_000_000, ..good.clone() }),
            ("max_steps", SftConfig { max_steps: Some(0), ..good.clone() }),
            ("max_steps", SftConfig { max_steps: Some(1_000_000_000), ..good.clone() }),
            ("tokens_per_step", SftConfig { tokens_per_step: 0, ..good.clone() }),
            ("tokens_per_micro_batch", SftConfig { tokens_per_micro_batch: 0, ..good.clone() }),
            ("held_out", SftConfig { held_out: 1.0, ..good.clone() }),
            ("held_out", SftConfig { held_out: f64::NAN, ..good.clone() }),
            ("evaluate_every", SftConfig { evaluate_every: Some(0), ..measured.clone() }),
            ("evaluate_every", SftConfig { held_out: 0.0, ..measured.clone() }),
            ("patience", SftConfig { patience: Some(0), ..measured.clone() }),
            ("patience", SftConfig { evaluate_every: None, ..measured.clone() }),
            ("weights", weighing(-1.0)),
            ("weights", weighing(f64::INFINITY)),
            ("weights", weighing(f64::NAN)),
            ("weights", weighing(1e9)),
            (
                "optimizer.learning_rate",
                SftConfig {
                    optimizer: OptimizerConfig::default().with_learning_rate(-1.0),
                    ..good.clone()
                },
            ),
            (
                "schedule.floor",
                SftConfig { schedule: Schedule::cosine().with_floor(2.0), ..good.clone() },
            ),
            (
                "schedule.floor",
                SftConfig { schedule: Schedule::constant().with_floor(0.2), ..good.clone() },
            ),
        ];
        for (name, config) in cases {
            let message = config.validate().unwrap_err().to_string();
            assert!(message.starts_with(&format!("`{name}` is ")), "{message}");
        }
        for good in [good, measured, weighing(0.0)] {
            good.validate().unwrap();
        }
        // The floor is that of the default: nobody has set it.
        let mut constant = SftConfig::default();
        constant.schedule.decay = Decay::Constant;
        constant.validate().unwrap();
    }

    #[test]
    fn names_a_source_that_there_is_not() {
        let config = weighing(2.0);
        config.validate_sources(&["revisions", "helpful"]).unwrap();
        let message = config.validate_sources(&["a", "b"]).unwrap_err().to_string();
        assert!(message.contains("`helpful`") && message.contains("`a`, `b`"), "{message}");
    }

    #[test]
    fn weights_leave_a_source_to_learn_from() {
        weighing(0.0).validate_sources(&["revisions", "helpful"]).unwrap();
        let message = weighing(0.0).validate_sources(&["helpful"]).unwrap_err().to_string();
        assert!(message.starts_with("`weights` is 0 of every source"), "{message}");
    }

    #[test]
    fn what_is_off_is_not_written() {
        let written = serde_json::to_value(SftConfig::default()).unwrap();
        for name in ["max_steps", "evaluate_every", "patience", "weights", "lora"] {
            assert!(written.get(name).is_none(), "{name}");
        }
        for config in [SftConfig::default(), measured(), weighing(0.25)] {
            let written = serde_json::to_string(&config).unwrap();
            assert_eq!(serde_json::from_str::<SftConfig>(&written).unwrap(), config);
        }
    }

    fn measured() -> SftConfig {
        let (evaluate_every, patience) = (Some(10), Some(3));
        SftConfig { held_out: 0.1, evaluate_every, patience, ..SftConfig::default() }
    }

    fn weighing(helpful: f64) -> SftConfig {
        SftConfig { weights: [("helpful".to_owned(), helpful)].into(), ..SftConfig::default() }
    }
}
