//! The settings.

use crate::labels::smoothed;
use crate::{Combine, Error, Labels};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use training::{HIGHEST_WEIGHT, MOST_EPOCHS, OptimizerConfig, Overlong, Schedule, WarmUp};
use transformer::LoraConfig;

/// The most members, and the most heads of each, which is far beyond any use.
const MOST_SCORES: usize = 1000;

/// Settings of preference model training.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `epochs` | 1 | times that every pair is seen; more overfit quickly; from 1 to a million, and at most 100 million pairs in all, weights and members included |
/// | `tokens_per_step` | 2048 | tokens of an optimiser step, those of both dialogues of every pair |
/// | `tokens_per_micro_batch` | 2048 | tokens that go through the model at once; lower saves memory and changes nothing but rounding |
/// | `held_out` | 0.1 | share of the prompts, in \[0, 1), at least one unless it is 0, that are not trained on and measure the model at the end |
/// | `held_out_every` | 0 | steps between two looks at the held-out pairs; at 0 only at the end; only with `held_out` above 0 |
/// | `reference_dialogues` | 256 | dialogues whose scores get mean 0 and standard deviation 1, at least 2 |
/// | `overlong` | `"drop"` | `"drop"`, `"error"` or `"oldest_turns"`: what becomes of a pair longer than the context, see [`Overlong`] |
/// | `labels` | `"soft"` | `"soft"`, `"hard"` or `{ clamped = [LOW, HIGH] }`, see [`Labels`] |
/// | `label_smoothing` | 0 | probability, in \[0, 0.5), that a label is the wrong one, see [`smoothed`] |
/// | `margin` | 0 | nats by which the better reply should win, at least 0, see [`crate::bradley_terry_with_margin`] |
/// | `centring` | 0 | coefficient, at least 0, of [`crate::centring`]; 0.01 is usual |
/// | `weights` | 1 for each | how often pairs of a set are drawn, by its name, from 0 to a million, see [`crate::Source`] |
/// | `lora` | none | fits an adapter and the head, and adds the adapter to the weights at the end, see [`LoraConfig`] |
/// | `ensemble` | one score | several scores, see [`EnsembleConfig`] |
/// | `robustness` | false | fits two more models to halves of the data, see [`crate::Robustness`] and [`crate::Fitted::halves`]; about doubles the time |
/// | `optimizer` | `learning_rate = 0.0001`, `beta_2 = 0.98` | see [`OptimizerConfig`] |
/// | `schedule` | linear, `warm_up = { share = 0.03 }`, `floor = 0.1` | see [`Schedule`] |
///
/// A single pair longer than `tokens_per_step` makes a step of its own. Reports compare with labels as they are, whatever
/// `labels` and `label_smoothing` make of them for the loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PreferenceModelConfig {
    /// Times that every pair is seen.
    pub epochs: u64,
    /// Tokens of an optimiser step, those of both dialogues of every pair.
    pub tokens_per_step: usize,
    /// Tokens that go through the model at once.
    pub tokens_per_micro_batch: usize,
    /// Share of the prompts that only measure the model.
    pub held_out: f64,
    /// Steps between two looks at the held-out pairs; 0 for none before the end.
    pub held_out_every: u64,
    /// Dialogues that the scores are normalised on.
    pub reference_dialogues: usize,
    /// What becomes of a pair that is longer than the context.
    pub overlong: Overlong,
    /// How much of a soft label is kept.
    pub labels: Labels,
    /// Probability that a label is the wrong one.
    pub label_smoothing: f64,
    /// Nats by which the better reply should win, of pairs that have no margin of their own.
    pub margin: f64,
    /// Coefficient of the pull of scores towards 0.
    pub centring: f64,
    /// How often pairs are drawn, by the name of their set.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, f64>,
    /// The adapter that is fitted in place of all weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraConfig>,
    /// How many scores are fitted.
    pub ensemble: EnsembleConfig,
    /// Whether two more models are fitted, to halves of the data.
    pub robustness: bool,
    /// The optimiser.
    pub optimizer: OptimizerConfig,
    /// How the learning rate moves.
    pub schedule: Schedule,
}

/// How many scores are fitted, and how they become one reward.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `members` | 1 | models, each with a seed of its own, which decides its fresh heads and the order of its pairs; at most 1,000 |
/// | `heads` | 1 | heads on the trunk of each model; they cost nothing and differ less than members do; at most 1,000 |
/// | `combine` | `"mean"` | see [`Combine`]; of several scores alone |
///
/// # References
/// Heads that share a trunk agree more with each other than models that share nothing but their pretraining, and help
/// less against exploitation: Eisenstein et al. (2023), arXiv 2312.09244.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EnsembleConfig {
    /// Models.
    pub members: usize,
    /// Heads of each.
    pub heads: usize,
    /// How their scores become one reward.
    pub combine: Combine,
}

impl Default for EnsembleConfig {
    fn default() -> Self {
        Self { members: 1, heads: 1, combine: Combine::Mean }
    }
}

impl EnsembleConfig {
    fn validate(&self) -> Result<(), Error> {
        self.combine.validate()?;
        let is_used = self.members > 1 || self.heads > 1 || self.combine == Combine::Mean;
        let expected =
            "\"mean\" where there is but one score; raise `ensemble.members` or `ensemble.heads`";
        Ok(check("ensemble.combine", json!(self.combine), is_used, expected)?)
    }
}

impl Default for PreferenceModelConfig {
    fn default() -> Self {
        Self {
            epochs: 1,
            tokens_per_step: 2048,
            tokens_per_micro_batch: 2048,
            held_out: 0.1,
            held_out_every: 0,
            reference_dialogues: 256,
            overlong: Overlong::Drop,
            labels: Labels::Soft,
            label_smoothing: 0.0,
            margin: 0.0,
            centring: 0.0,
            weights: BTreeMap::new(),
            lora: None,
            ensemble: EnsembleConfig::default(),
            robustness: false,
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
    /// Checks every setting; those of an adapter need a model and are checked when fitting begins.
    ///
    /// # Errors
    /// [`training::Error::Setting`], or in the table of the optimiser or the schedule [`training::Error::TableSetting`], names
    /// the first setting out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let expected = "a whole number from 1 to 1,000,000";
        check("epochs", self.epochs, (1..=MOST_EPOCHS).contains(&self.epochs), expected)?;
        at_least("tokens_per_step", self.tokens_per_step as u64, 1)?;
        at_least("tokens_per_micro_batch", self.tokens_per_micro_batch as u64, 1)?;
        at_least("reference_dialogues", self.reference_dialogues as u64, 2)?;
        let expected = "a whole number from 1 to 1,000";
        for (setting, count) in
            [("ensemble.members", self.ensemble.members), ("ensemble.heads", self.ensemble.heads)]
        {
            check(setting, count, (1..=MOST_SCORES).contains(&count), expected)?;
        }
        let held_out = (0.0..1.0).contains(&self.held_out);
        check("held_out", self.held_out, held_out, "a number of at least 0 and below 1")?;
        let smoothing = (0.0..0.5).contains(&self.label_smoothing);
        let expected = "a number of at least 0 and below 0.5";
        check("label_smoothing", self.label_smoothing, smoothing, expected)?;
        not_negative("margin", self.margin)?;
        not_negative("centring", self.centring)?;
        let expected = "numbers from 0 to 1,000,000";
        self.weights.iter().try_for_each(|(name, weight)| {
            let in_range = (0.0..=HIGHEST_WEIGHT).contains(weight);
            check("weights", format!("{name} = {weight}"), in_range, expected)
        })?;
        let measured = self.held_out > 0.0;
        let expected = "false, or `held_out` above 0";
        check("robustness", self.robustness, !self.robustness || measured, expected)?;
        let expected = "0 where nothing is held out; set `held_out`, such as 0.1";
        let looks = self.held_out_every > 0;
        check("held_out_every", self.held_out_every, !looks || measured, expected)?;
        self.labels.validate()?;
        self.ensemble.validate()?;
        self.optimizer.validate().map_err(|error| error.in_table("optimizer"))?;
        self.schedule.validate().map_err(|error| error.in_table("schedule"))?;
        self.schedule.validate_use(&[Self::default().schedule])?;
        Ok(())
    }

    /// Checks that `weights` name none but these sets.
    ///
    /// # Errors
    /// [`Error::UnknownSource`] names the first that is not among them.
    pub fn validate_sources(&self, sources: &[&str]) -> Result<(), Error> {
        match self.weights.keys().find(|name| !sources.contains(&name.as_str())) {
            Some(name) => {
                Err(Error::UnknownSource { name: name.clone(), sources: sources.join("`, `") })
            }
            None => Ok(()),
        }
    }

    /// What the loss takes for the probability that the chosen reply is better.
    pub(crate) fn target(&self, probability: f64) -> f64 {
        smoothed(self.labels.target(probability), self.label_smoothing)
    }
}

fn at_least(setting: &'static str, value: u64, least: u64) -> Result<(), training::Error> {
    let expected =
        if least == 1 { "a whole number of at least 1" } else { "a whole number of at least 2" };
    check(setting, value, value >= least, expected)
}

fn not_negative(setting: &'static str, value: f64) -> Result<(), training::Error> {
    check(setting, value, value.is_finite() && value >= 0.0, "a number of at least 0")
}

fn check(
    setting: &'static str,
    value: impl ToString,
    in_range: bool,
    expected: &'static str,
) -> Result<(), training::Error> {
    if in_range {
        return Ok(());
    }
    Err(training::Error::Setting { setting, found: value.to_string(), expected })
}

#[cfg(test)]
mod tests {
    use super::*;
    use training::Decay;

    #[test]
    fn names_the_setting_out_of_range() {
        type Config = PreferenceModelConfig;
        type Change = fn(&mut Config);
        let cases: [(&str, Change); 28] = [
            ("epochs", |config| config.epochs = 0),
            ("epochs", |config| config.epochs = 100_000_000),
            ("tokens_per_step", |config| config.tokens_per_step = 0),
            ("tokens_per_micro_batch", |config| config.tokens_per_micro_batch = 0),
            ("held_out", |config| config.held_out = 1.0),
            ("held_out", |config| config.held_out = f64::NAN),
            ("reference_dialogues", |config| config.reference_dialogues = 1),
            ("ensemble.members", |config| config.ensemble.members = 0),
            ("ensemble.heads", |config| config.ensemble.heads = 0),
            ("ensemble.members", |config| config.ensemble.members = 1_000_000_000),
            ("ensemble.heads", |config| config.ensemble.heads = 1_000_000_000),
            ("ensemble.combine.mean_minus_std", |config| {
                config.ensemble.combine = Combine::MeanMinusStd(-1.0);
            }),
            ("ensemble.combine", |config| config.ensemble.combine = Combine::Minimum),
            ("held_out_every", |config| {
                config.held_out_every = 10;
                config.held_out = 0.0;
            }),
            ("label_smoothing", |config| config.label_smoothing = 0.5),
            ("label_smoothing", |config| config.label_smoothing = -0.1),
            ("labels.clamped", |config| config.labels = Labels::Clamped([0.6, 0.4])),
            ("margin", |config| config.margin = -0.1),
            ("margin", |config| config.margin = f64::INFINITY),
            ("centring", |config| config.centring = -0.1),
            ("centring", |config| config.centring = f64::NAN),
            ("weights", |config| config.weights = [("people".to_owned(), -1.0)].into()),
            ("weights", |config| config.weights = [("people".to_owned(), f64::NAN)].into()),
            ("weights", |config| config.weights = [("people".to_owned(), 1e12)].into()),
            ("robustness", |config| {
                config.robustness = true;
                config.held_out = 0.0;
            }),
            ("optimizer.learning_rate", |config| config.optimizer.learning_rate = -1.0),
            ("schedule.floor", |config| config.schedule.floor = 2.0),
            ("schedule.floor", |config| config.schedule = Schedule::constant().with_floor(0.2)),
        ];
        for (name, change) in cases {
            let mut config = Config::default();
            change(&mut config);
            let message = config.validate().unwrap_err().to_string();
            assert!(message.starts_with(&format!("`{name}` is ")), "{message}");
        }
        Config::default().validate().unwrap();
        // The floor is that of the default: nobody has set it.
        let mut constant = Config::default();
        constant.schedule.decay = Decay::Constant;
        constant.validate().unwrap();
    }

    #[test]
    fn a_weight_out_of_range_is_named_with_its_set() {
        let weights = [("ai".to_owned(), 2.0), ("people".to_owned(), -1.0)].into();
        let config = PreferenceModelConfig { weights, ..PreferenceModelConfig::default() };
        let message = config.validate().unwrap_err().to_string();
        assert!(message.starts_with("`weights` is people = -1, expected "), "{message}");
    }

    #[test]
    fn reads_what_it_writes_and_refuses_the_unknown() {
        let json = r#"{"labels":{"clamped":[0.4,0.6]},"weights":{"people":2.0},"lora":{"rank":4},
            "ensemble":{"heads":3,"combine":{"mean_minus_std":0.5}},"centring":0.01}"#;
        let config: PreferenceModelConfig = serde_json::from_str(json).unwrap();
        config.validate().unwrap();
        assert_eq!((config.ensemble.members, config.ensemble.heads), (1, 3));
        assert_eq!(config.lora.as_ref().map(|lora| lora.rank), Some(4));
        let written = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<PreferenceModelConfig>(&written).unwrap(), config);
        for wrong in [r#"{"labels":"firm"}"#, r#"{"ensemble":{"seeds":3}}"#, r#"{"centering":0.1}"#]
        {
            assert!(serde_json::from_str::<PreferenceModelConfig>(wrong).is_err(), "{wrong}");
        }
    }
}
