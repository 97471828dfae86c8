//! The settings of the preference model.

use super::Error;
use super::preference_pairs::PreferencePairs;
use dataset::ColumnMapping;
use preference_model::{EnsembleConfig, PreferenceModelConfig};
use serde::de::{self, DeserializeOwned};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use toml::{Table, Value};
use training::OptimizerConfig;

/// The key of the first pass among the settings of the second.
const PRETRAINING: &str = "pretraining";

/// Settings of the preference model: those of [`PreferenceModelConfig`] and beside them `pretraining`.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `pretraining` | none | an earlier pass over comparisons of a file, see [`Pretraining`] |
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PreferenceModelSettings {
    /// How it is fitted to the labels of the run.
    #[serde(flatten)]
    pub training: PreferenceModelConfig,
    /// What it is fitted to before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pretraining: Option<Pretraining>,
}

impl<'de> Deserialize<'de> for PreferenceModelSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // By hand, since `flatten` lets unknown keys pass.
        fn part<T: DeserializeOwned, E: de::Error>(value: Value) -> Result<T, E> {
            value
                .try_into()
                .map_err(|error: toml::de::Error| E::custom(error.to_string().trim_end()))
        }
        let mut table = Table::deserialize(deserializer)?;
        let pretraining: Result<Option<Pretraining>, D::Error> =
            table.remove(PRETRAINING).map(part).transpose();
        let named =
            |error: D::Error| <D::Error as de::Error>::custom(format!("`{PRETRAINING}`: {error}"));
        let pretraining = pretraining.map_err(named)?;
        let training = part::<_, D::Error>(Value::Table(table))?;
        Ok(Self { training, pretraining })
    }
}

impl PreferenceModelSettings {
    /// Checks every setting of the earlier pass, if there is one.
    pub(super) fn validate_pretraining(&self) -> Result<(), Error> {
        let Some(pretraining) = &self.pretraining else { return Ok(()) };
        pretraining.columns.validate()?;
        if let Some(rate) = pretraining.learning_rate {
            // By the key that it has here: the settings of the pass hold it in the table of the optimiser.
            OptimizerConfig::default().with_learning_rate(rate).validate()?;
        }
        Ok(pretraining.config(&self.training).validate()?)
    }
}

/// A pass over comparisons of a file, before the one over the labels of the run: preference model pretraining.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `file` | | preferences, see [`dataset::read_preferences`]; a column `margin` is heeded |
/// | `columns` | the usual names | which columns of the file hold what, see [`ColumnMapping`] |
/// | `epochs` | 1 | times that every pair is seen |
/// | `learning_rate` | that of the second pass | highest learning rate |
///
/// All else is as in the second pass, but that one model with one head is fitted, which all members of an ensemble begin
/// as.
///
/// # References
/// Askell et al. (2021), arXiv 2112.00861, section 4.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pretraining {
    /// File of preferences.
    pub file: PathBuf,
    /// Which of its columns hold what.
    #[serde(default, skip_serializing_if = "ColumnMapping::is_default")]
    pub columns: ColumnMapping,
    /// Times that every pair is seen.
    #[serde(default = "once")]
    pub epochs: u64,
    /// Highest learning rate; that of the second pass without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
}

fn once() -> u64 {
    1
}

impl Pretraining {
    /// How the pass is fitted, given the settings of the second.
    pub(super) fn config(&self, second: &PreferenceModelConfig) -> PreferenceModelConfig {
        let mut config = PreferenceModelConfig {
            epochs: self.epochs,
            weights: BTreeMap::new(),
            ensemble: EnsembleConfig::default(),
            robustness: false,
            ..second.clone()
        };
        if let Some(rate) = self.learning_rate {
            config.optimizer.learning_rate = rate;
        }
        config
    }

    /// The pairs of the file; those without a margin of their own get `margin`.
    ///
    /// # Errors
    /// [`Error::PretrainingFile`] if the file cannot be read or is empty, or for the first row that is no preference.
    pub(super) fn pairs(&self, margin: f64) -> Result<PreferencePairs, Error> {
        PreferencePairs::read(&self.file, &self.columns, margin).map_err(|error| match error {
            Error::Dataset(error) => Error::PretrainingFile(error),
            other => other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Settings;
    use std::path::Path;

    fn resolve(text: &str) -> Result<PreferenceModelSettings, Error> {
        let layer = ("my.toml".to_owned(), text.parse().unwrap());
        Settings::resolve(&[layer]).map(|settings| settings.preference_model)
    }

    #[test]
    fn a_first_pass_is_as_the_second_but_for_what_is_said() {
        let text = "[preference_model]\nepochs = 3\nmargin = 0.5\nweights.helpfulness = 2.0\nrobustness = true\n\
            ensemble.heads = 3\n[preference_model.pretraining]\nfile = 'a.csv'\nlearning_rate = 0.001\n\
            columns.margin = 'strength'";
        let settings = resolve(text).unwrap();
        let pretraining = settings.pretraining.as_ref().unwrap();
        assert_eq!((pretraining.epochs, settings.training.epochs), (1, 3));
        let config = pretraining.config(&settings.training);
        let mut expected = settings.training.clone();
        expected.epochs = 1;
        expected.weights.clear();
        expected.robustness = false;
        expected.ensemble = EnsembleConfig::default();
        expected.optimizer.learning_rate = 0.001;
        assert_eq!(config, expected);
        // It is written as it is read.
        let mut all = Settings::embedded();
        all.preference_model = settings.clone();
        let table = all.to_table().unwrap();
        let again = Settings::resolve(&[("run.toml".to_owned(), table)]).unwrap();
        assert_eq!(again.preference_model, settings);
    }

    #[test]
    fn without_a_first_pass_nothing_is_written_of_it() {
        let settings = PreferenceModelSettings::default();
        let written = Table::try_from(&settings).unwrap();
        assert_eq!(written, Table::try_from(&settings.training).unwrap());
        assert_eq!(resolve("seed = 1").unwrap().pretraining, None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, expected) in [
            ("preference_model.pretraining.epochs = 2", "missing field `file`"),
            ("preference_model.pretraining = { flie = 'a' }", "flie"),
            ("preference_model.pretraining = { file = 'a', columns.choosen = 'b' }", "choosen"),
            ("preference_model.pretraining = { file = 'a', columns.chosen = '' }", "`chosen`"),
            ("preference_model.pretraining = { file = 'a', epochs = 0 }", "`epochs` is 0"),
            (
                "preference_model.pretraining = { file = 'a', learning_rate = -1.0 }",
                "[preference_model.pretraining] `learning_rate` is -1, expected",
            ),
            ("preference_model.epoch = 1", "epoch"),
            ("preference_model.optimizer.rate = 1", "rate"),
        ] {
            let message = resolve(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
            let named = if text.contains("pretraining") { "pretraining" } else { "my.toml" };
            assert!(message.contains(named), "{message}");
        }
    }

    #[test]
    fn a_setting_of_a_table_within_is_named_with_it() {
        let message = resolve("preference_model.schedule.floor = 2.0").unwrap_err().to_string();
        let expected = "[preference_model] `schedule.floor` is 2, expected";
        assert!(message.starts_with(expected), "{message}");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named_with_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let (none, bad) = (folder.path().join("none.jsonl"), folder.path().join("bad.jsonl"));
        std::fs::write(&bad, "{}").unwrap();
        let message = |file: &Path| {
            let columns = ColumnMapping::default();
            let (file, learning_rate) = (file.to_owned(), None);
            let pretraining = Pretraining { file, columns, epochs: 1, learning_rate };
            pretraining.pairs(0.0).unwrap_err().to_string()
        };
        let key = "`preference_model.pretraining.file`: ";
        let found = message(&none);
        assert!(
            found.starts_with(&format!("{key}cannot open {}; name", none.display())),
            "{found}"
        );
        let found = message(&bad);
        assert!(found.starts_with(&format!("{key}{}, line 1: ", bad.display())), "{found}");
        assert!(found.contains(r#""margin": number"#), "{found}");
    }
}
