//! Models of ratings: a scalar head fitted to numbers by least squares.

mod fit;
mod items;
mod learner;
mod report;
#[cfg(test)]
mod tests;

pub use report::RatingReport;

use crate::{Error, PreferenceModel};
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};
use training::{MOST_EPOCHS, OptimizerConfig, Overlong, Schedule, WarmUp};
use transformer::LoraConfig;

/// Settings of a model of ratings, such as how harmful the assistant of a dialogue was on a scale from 0 to 4.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `epochs` | 1 | times that every dialogue is seen; from 1 to a million, and at most 100 million dialogues in all |
/// | `tokens_per_step` | 2048 | tokens of an optimiser step |
/// | `tokens_per_micro_batch` | 2048 | tokens that go through the model at once; lower saves memory and changes nothing but rounding |
/// | `held_out` | 0.1 | share of the dialogues, in \[0, 1), at least one unless it is 0, that are not trained on and measure the model at the end |
/// | `overlong` | `"drop"` | what becomes of a dialogue longer than the context, see [`Overlong`] |
/// | `lora` | none | fits an adapter and the head, and adds the adapter to the weights at the end, see [`LoraConfig`] |
/// | `optimizer` | `learning_rate = 0.0001`, `beta_2 = 0.98` | see [`OptimizerConfig`] |
/// | `schedule` | linear, `warm_up = { share = 0.03 }`, `floor = 0.1` | see [`Schedule`] |
///
/// # References
/// Constitutional AI (arXiv 2212.08073), section 4.5.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RatingConfig {
    /// Times that every dialogue is seen.
    pub epochs: u64,
    /// Tokens of an optimiser step.
    pub tokens_per_step: usize,
    /// Tokens that go through the model at once.
    pub tokens_per_micro_batch: usize,
    /// Share of the dialogues that only measure the model.
    pub held_out: f64,
    /// What becomes of a dialogue that is longer than the context.
    pub overlong: Overlong,
    /// The adapter that is fitted in place of all weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraConfig>,
    /// The optimiser.
    pub optimizer: OptimizerConfig,
    /// How the learning rate moves.
    pub schedule: Schedule,
}

impl Default for RatingConfig {
    fn default() -> Self {
        Self {
            epochs: 1,
            tokens_per_step: 2048,
            tokens_per_micro_batch: 2048,
            held_out: 0.1,
            overlong: Overlong::Drop,
            lora: None,
            optimizer: OptimizerConfig {
                learning_rate: 1e-4,
                beta_2: 0.98,
                ..OptimizerConfig::default()
            },
            schedule: Schedule::linear().with_warm_up(WarmUp::Share(0.03)).with_floor(0.1),
        }
    }
}

impl RatingConfig {
    /// Checks every setting; those of an adapter need a model and are checked when fitting begins.
    ///
    /// # Errors
    /// [`training::Error::Setting`], or in the table of the optimiser or the schedule [`training::Error::TableSetting`], names
    /// the first setting out of range.
    pub fn validate(&self) -> Result<(), Error> {
        if self.epochs > MOST_EPOCHS {
            let (setting, found) = ("epochs", self.epochs.to_string());
            let expected = "a whole number from 1 to 1,000,000";
            return Err(training::Error::Setting { setting, found, expected }.into());
        }
        let at_least_one = [
            ("epochs", self.epochs),
            ("tokens_per_step", self.tokens_per_step as u64),
            ("tokens_per_micro_batch", self.tokens_per_micro_batch as u64),
        ];
        for (setting, value) in at_least_one {
            if value == 0 {
                let (found, expected) = ("0".to_owned(), "a whole number of at least 1");
                return Err(training::Error::Setting { setting, found, expected }.into());
            }
        }
        if !(0.0..1.0).contains(&self.held_out) {
            let (setting, found) = ("held_out", self.held_out.to_string());
            let expected = "a number of at least 0 and below 1";
            return Err(training::Error::Setting { setting, found, expected }.into());
        }
        self.optimizer.validate().map_err(|error| error.in_table("optimizer"))?;
        self.schedule.validate().map_err(|error| error.in_table("schedule"))?;
        self.schedule.validate_use(&[Self::default().schedule])?;
        Ok(())
    }
}

/// What fitting to ratings gives.
#[derive(Debug, Clone)]
pub struct FittedRating<B: Backend> {
    /// Its reward is the rating that it predicts, in the unit of the ratings.
    pub model: PreferenceModel<B>,
    /// How it does on the dialogues that were held out; none if none were.
    pub report: Option<RatingReport>,
}
