//! `evals/results.json`: what the evaluations of a run found.

use evals::{Bin, Rate};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// The measures of one model by name, in the order in which they are shown.
///
/// The page knows `harmless`, `helpful`, `evasive`, `over_refusal`, `exact` and `unparsed`; any other name is
/// shown under itself.
pub type Measures = IndexMap<String, Measure>;

/// Everything that the evaluations found; every part but `models` may be missing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    /// The measures of every model by its name: `helpful_only`, `sl_cai`, `rl_cai`.
    pub models: IndexMap<String, Measures>,
    /// How harmless replies are after 0, 1, ... revisions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revisions: Vec<Measure>,
    /// The AI labels against the truth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<LabelQuality>,
    /// The preference model against held-out preferences.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preference_model: Option<PreferenceModelQuality>,
    /// The policy during reinforcement learning, in order of `iteration`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ppo_checkpoints: Vec<Checkpoint>,
    /// Wall-clock seconds of every stage, in the order in which they ran.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub seconds: IndexMap<String, f64>,
    /// Sentences shown under the table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A measured number with its 95% interval.
///
/// On disk a rate is `{"value", "low", "high", "n"}`, each from 0 to 1; any other mean is
/// `{"mean", "low", "high", "n"}`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "MeasureOnDisk", into = "MeasureOnDisk")]
pub struct Measure {
    /// The number.
    pub value: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// The upper end of the interval.
    pub high: f64,
    /// How many items were measured.
    pub n: usize,
    /// What the number counts.
    pub kind: MeasureKind,
}

/// What a measured number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MeasureKind {
    /// A share of items from 0 to 1, shown in percent.
    Rate,
    /// A mean in units of its own.
    Mean,
}

impl Measure {
    /// A share of `n` items, with its interval, each from 0 to 1.
    pub fn rate(value: f64, low: f64, high: f64, n: usize) -> Self {
        Self { value, low, high, n, kind: MeasureKind::Rate }
    }

    /// A mean over `n` items, with its interval.
    pub fn mean(value: f64, low: f64, high: f64, n: usize) -> Self {
        Self { value, low, high, n, kind: MeasureKind::Mean }
    }
}

impl From<Rate> for Measure {
    fn from(Rate { value, low, high, n }: Rate) -> Self {
        Self::rate(value, low, high, n)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MeasureOnDisk {
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mean: Option<f64>,
    low: f64,
    high: f64,
    n: usize,
}

impl From<Measure> for MeasureOnDisk {
    fn from(Measure { value, low, high, n, kind }: Measure) -> Self {
        let (rate, mean) = match kind {
            MeasureKind::Rate => (Some(value), None),
            MeasureKind::Mean => (None, Some(value)),
        };
        Self { value: rate, mean, low, high, n }
    }
}

impl TryFrom<MeasureOnDisk> for Measure {
    type Error = MeasureError;

    fn try_from(disk: MeasureOnDisk) -> Result<Self, MeasureError> {
        let MeasureOnDisk { low, high, n, .. } = disk;
        match (disk.value, disk.mean) {
            (Some(value), None) => {
                match [value, low, high].into_iter().find(|share| !(0.0..=1.0).contains(share)) {
                    Some(share) => Err(MeasureError::Share(share)),
                    None => Ok(Self::rate(value, low, high, n)),
                }
            }
            (None, Some(mean)) => Ok(Self::mean(mean, low, high, n)),
            _ => Err(MeasureError::Kind),
        }
    }
}

/// Why an object is not a measure.
#[derive(Debug, thiserror::Error)]
enum MeasureError {
    #[error("a rate or its interval is {0}, expected numbers from 0 to 1")]
    Share(f64),
    #[error("expected either `value` (a rate from 0 to 1) or `mean` (any other number)")]
    Kind,
}

/// How good the AI labels are; without ground truth only the habits of the judge are known.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelQuality {
    /// Share of the clear pairs, of which the truth is beyond doubt, whose likelier reply is the better one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Expected calibration error: mean distance of predicted and observed share over the bins, weighted by count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ece: Option<f64>,
    /// How far the judge leans to the reply shown first, from -0.5 to 0.5; 0 without a lean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position_bias: Option<f64>,
    /// Share of verdicts that stay when the replies are exchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_consistency: Option<f64>,
    /// Share of verdicts that stay when another principle is asked by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principle_consistency: Option<f64>,
    /// Mean entropy of the labels in nats, from 0 (certain) to 0.693 (even).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entropy: Option<f64>,
    /// Pairs labelled; with ground truth, the clear ones among them.
    pub n: usize,
    /// Predicted against observed shares.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reliability: Vec<Bin>,
}

/// How good the preference model is on held-out preferences.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreferenceModelQuality {
    /// Share of the clear pairs whose higher score belongs to the better reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Expected calibration error of the sigmoid of score differences.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ece: Option<f64>,
    /// Mean cross-entropy against the preferences, in nats; a coin has 0.693.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_loss: Option<f64>,
    /// Pairs compared.
    pub n: usize,
    /// Predicted against observed shares.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reliability: Vec<Bin>,
}

/// The policy after some iterations of reinforcement learning.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// Iterations done.
    pub iteration: u64,
    /// Mean score, by the reward that is learned from, of the replies that the iteration learned from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Mean divergence of the policy that drew them from the policy at the start, in nats a reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kl: Option<f64>,
    /// How harmless its replies are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub harmless: Option<Measure>,
    /// How helpful its replies are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helpful: Option<Measure>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measure_survives_the_disk() {
        let rate = r#"{"value":0.5,"low":0.4,"high":0.6,"n":80}"#;
        let mean = r#"{"mean":-1.5,"low":-2.0,"high":-1.0,"n":80}"#;
        for (text, expected) in
            [(rate, Measure::rate(0.5, 0.4, 0.6, 80)), (mean, Measure::mean(-1.5, -2.0, -1.0, 80))]
        {
            let measure: Measure = serde_json::from_str(text).unwrap();
            assert_eq!(measure, expected);
            assert_eq!(serde_json::to_string(&measure).unwrap(), text);
        }
    }

    #[test]
    fn refuses_what_is_neither_rate_nor_mean() {
        for (text, expected) in [
            (r#"{"low":0,"high":1,"n":1}"#, "either `value`"),
            (r#"{"value":0,"mean":0,"low":0,"high":1,"n":1}"#, "either `value`"),
            (r#"{"value":97.5,"low":0,"high":1,"n":1}"#, "97.5"),
        ] {
            let error = serde_json::from_str::<Measure>(text).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn every_part_but_the_models_may_be_missing() {
        let results: Results = serde_json::from_str(r#"{"models": {"sl_cai": {}}}"#).unwrap();
        assert!(results.models["sl_cai"].is_empty() && results.revisions.is_empty());
        assert!(serde_json::from_str::<Results>("{}").is_err());
        assert!(serde_json::from_str::<Results>(r#"{"models": {}, "labls": {}}"#).is_err());
    }
}
