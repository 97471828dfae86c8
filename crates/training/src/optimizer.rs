//! The settings of `AdamW`.

use crate::Error;
use serde::{Deserialize, Serialize};

/// Paths that the error about a group without parameters shows.
const EXAMPLES: usize = 6;

/// Settings of `AdamW` (arXiv 1711.05101) with gradient clipping.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `learning_rate` | 0.0003 | highest learning rate, above 0 |
/// | `beta_1` | 0.9 | decay of the mean of the gradients, in \[0, 1) |
/// | `beta_2` | 0.95 | decay of the mean of their squares, in \[0, 1) |
/// | `epsilon` | 1e-8 | added to the root of that mean, after the bias correction, above 0 |
/// | `weight_decay` | 0.0 | decoupled weight decay of matrices, at least 0 |
/// | `clip_norm` | 1.0 | highest Euclidean norm of all gradients together, above 0; a huge one turns clipping off |
/// | `groups` | none | parameters with settings of their own, see [`ParameterGroup`] |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerConfig {
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Decay of the mean of the gradients.
    pub beta_1: f64,
    /// Decay of the mean of the squared gradients.
    pub beta_2: f64,
    /// Added to the root of the mean of the squared gradients.
    pub epsilon: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Highest Euclidean norm of all gradients together.
    pub clip_norm: f64,
    /// Parameters with settings of their own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<ParameterGroup>,
}

/// Settings of some parameters.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `names` | none | parts of the paths of the parameters, such as `embedding`, `value_head` or `layers.0.` |
/// | `learning_rate_scale` | 1.0 | times the learning rate, at least 0; at 0 the parameters stay as they are |
/// | `weight_decay` | as for others | decoupled weight decay, at least 0; given here, it holds for vectors too |
///
/// A parameter belongs to the first group that names a part of its path. A group without a parameter that learns is an
/// error when a stage begins, see [`OptimizerConfig::check_groups`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ParameterGroup {
    /// Parts of the paths of the parameters.
    pub names: Vec<String>,
    /// Times the learning rate.
    pub learning_rate_scale: f64,
    /// Decoupled weight decay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
}

impl Default for ParameterGroup {
    fn default() -> Self {
        Self { names: Vec::new(), learning_rate_scale: 1.0, weight_decay: None }
    }
}

impl ParameterGroup {
    fn holds(&self, path: &str) -> bool {
        self.names.iter().any(|name| path.contains(name.as_str()))
    }
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
            groups: Vec::new(),
        }
    }
}

impl OptimizerConfig {
    /// The same with another learning rate.
    #[must_use]
    pub fn with_learning_rate(self, learning_rate: f64) -> Self {
        Self { learning_rate, ..self }
    }

    /// The first group that a parameter belongs to; `path` is that of the parameter in its module, joined by points.
    pub fn group(&self, path: &str) -> Option<&ParameterGroup> {
        self.groups.iter().find(|group| group.holds(path))
    }

    /// Checks that every group has a parameter; `table` is what the optimiser is called among the settings of the stage, and
    /// `paths` are those of all parameters that learn.
    ///
    /// # Errors
    /// [`Error::EmptyGroup`] shows the first group without one, and some of the paths.
    pub fn check_groups(&self, table: &'static str, paths: &[String]) -> Result<(), Error> {
        for group in &self.groups {
            let is_this = |path: &String| self.group(path).is_some_and(|found| found == group);
            if !paths.iter().any(is_this) {
                let names = group.names.clone();
                return Err(Error::EmptyGroup { table, names, paths: some_of(paths) });
            }
        }
        Ok(())
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Setting`] names the first setting out of range.
    pub fn validate(&self) -> Result<(), Error> {
        positive("learning_rate", self.learning_rate)?;
        share("beta_1", self.beta_1)?;
        share("beta_2", self.beta_2)?;
        positive("epsilon", self.epsilon)?;
        not_negative("weight_decay", self.weight_decay)?;
        positive("clip_norm", self.clip_norm)?;
        for group in &self.groups {
            if group.names.is_empty() || group.names.iter().any(String::is_empty) {
                let found = format!("{:?}", group.names);
                let expected = "parts of the paths of parameters, at least one";
                return Err(Error::Setting { setting: "groups.names", found, expected });
            }
            not_negative("groups.learning_rate_scale", group.learning_rate_scale)?;
            not_negative("groups.weight_decay", group.weight_decay.unwrap_or(0.0))?;
        }
        Ok(())
    }
}

/// A few of the paths, from all over the module; the last is among them.
fn some_of(paths: &[String]) -> Vec<String> {
    let apart = paths.len().div_ceil(EXAMPLES).max(1);
    let mut some: Vec<String> = paths.iter().rev().step_by(apart).cloned().collect();
    some.reverse();
    some
}

fn positive(setting: &'static str, value: f64) -> Result<(), Error> {
    check(setting, value, value.is_finite() && value > 0.0, "a number above 0")
}

fn not_negative(setting: &'static str, value: f64) -> Result<(), Error> {
    check(setting, value, value.is_finite() && value >= 0.0, "a number of at least 0")
}

fn share(setting: &'static str, value: f64) -> Result<(), Error> {
    let in_range = (0.0..1.0).contains(&value);
    check(setting, value, in_range, "a number of at least 0 and below 1")
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

    fn heads() -> ParameterGroup {
        ParameterGroup { names: vec!["head".to_owned()], ..ParameterGroup::default() }
    }

    fn with_group(group: ParameterGroup) -> OptimizerConfig {
        OptimizerConfig { groups: vec![group], ..OptimizerConfig::default() }
    }

    #[test]
    fn a_parameter_belongs_to_the_first_group_that_names_it() {
        let config: OptimizerConfig = serde_json::from_str(
            r#"{"groups":[{"names":["head","norm"],"learning_rate_scale":2.0},{"names":["layers.0."],"weight_decay":0.1}]}"#,
        )
        .unwrap();
        config.validate().unwrap();
        let scale = |path| config.group(path).map(|group| group.learning_rate_scale);
        assert_eq!(scale("value_head.weight"), Some(2.0));
        assert_eq!(scale("decoder.layers.0.norm.scale"), Some(2.0));
        assert_eq!(scale("decoder.layers.0.attention.query.weight"), Some(1.0));
        assert_eq!(scale("decoder.layers.10.attention.query.weight"), None);
    }

    #[test]
    fn a_group_without_a_parameter_is_an_error_that_shows_some_paths() {
        let layers = (0..40).map(|layer| format!("layers.{layer}.norm.scale"));
        let paths: Vec<String> = layers.chain(["value_head.weight".to_owned()]).collect();
        let named = |name: &str| ParameterGroup { names: vec![name.to_owned()], ..heads() };
        with_group(heads()).check_groups("optimizer", &paths).unwrap();
        OptimizerConfig::default().check_groups("optimizer", &[]).unwrap();
        let message = with_group(named("embeding"))
            .check_groups("optimizer", &paths)
            .unwrap_err()
            .to_string();
        assert!(message.starts_with("`optimizer.groups`: "), "{message}");
        assert!(message.contains(r#""embeding""#), "{message}");
        assert!(message.ends_with(", value_head.weight"), "{message}");
        assert_eq!(message.matches(".scale").count(), EXAMPLES - 1, "{message}");
        // What an earlier group has taken is not left for a later one.
        let groups = vec![heads(), named("value_head")];
        let config = OptimizerConfig { groups, ..OptimizerConfig::default() };
        let message = config.check_groups("optimizer", &paths).unwrap_err().to_string();
        assert!(message.contains(r#"["value_head"]"#), "{message}");
        assert!(with_group(heads()).check_groups("optimizer", &[]).is_err());
    }

    #[test]
    fn names_the_setting_out_of_range() {
        let good = OptimizerConfig::default();
        let cases = [
            ("learning_rate", good.clone().with_learning_rate(0.0)),
            ("learning_rate", good.clone().with_learning_rate(f64::NAN)),
            ("beta_1", OptimizerConfig { beta_1: 1.0, ..good.clone() }),
            ("beta_2", OptimizerConfig { beta_2: -0.1, ..good.clone() }),
            ("epsilon", OptimizerConfig { epsilon: 0.0, ..good.clone() }),
            ("weight_decay", OptimizerConfig { weight_decay: f64::INFINITY, ..good.clone() }),
            ("clip_norm", OptimizerConfig { clip_norm: 0.0, ..good.clone() }),
            ("groups.names", with_group(ParameterGroup::default())),
            (
                "groups.learning_rate_scale",
                with_group(ParameterGroup { learning_rate_scale: -1.0, ..heads() }),
            ),
            (
                "groups.weight_decay",
                with_group(ParameterGroup { weight_decay: Some(f64::NAN), ..heads() }),
            ),
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
