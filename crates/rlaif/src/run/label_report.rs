//! What the labels of a run say about its judge.

use super::ai_feedback::LABELS;
use super::json_file::read_json;
use super::world::{is_clear, share_for_a};
use super::{Error, Session, Stage};
use ai_feedback::{Judge, Label, Summary, probe, summarise};
use burn::tensor::backend::AutodiffBackend;
use constitution::Constitution;
use evals::{Calibration, Forecast, Rate, accuracy};
use language_model::item_seed;
use model_organism::taste;
use serde::{Deserialize, Serialize};

/// The file.
const REPORT: &str = "report.json";

/// `ai_feedback/report.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LabelReport {
    /// Habits of the judge over all labels.
    pub(super) labels: Summary,
    /// Its habits over the pairs that were asked about once more, in both orders and by at least two principles.
    pub(super) probe: Option<Summary>,
    /// The labels against the truth; `None` where it is not known.
    pub(super) truth: Option<Truth>,
}

/// The labels against the raters of the world.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Truth {
    /// Against the share of raters, of the tastes that the principles name, who prefer reply (A).
    pub(super) calibration: Calibration,
    /// Accuracy on the pairs of which nearly all raters say the same; `None` without such pairs.
    pub(super) clear: Option<Rate>,
}

impl LabelReport {
    /// A figure of the labels, or where they do not show it, of the probe.
    pub(super) fn habit(&self, figure: impl Fn(&Summary) -> Option<f64>) -> Option<f64> {
        figure(&self.labels).or_else(|| figure(self.probe.as_ref()?))
    }
}

impl<B: AutodiffBackend> Session<B> {
    /// Measures labels, asks what they do not show, and writes it all.
    pub(super) fn report_labels(&self, judge: &dyn Judge, labels: &[Label]) -> Result<(), Error> {
        // The seed of the labels, so that the questions they were made of are asked again as they were.
        let seed = item_seed(self.settings.seed, &["ai_feedback", LABELS]);
        let probed = probe(judge, &self.constitution, labels, &self.settings.ai_feedback, seed)?;
        let report = LabelReport {
            labels: summarise(labels),
            probe: probed.map(|labels| summarise(&labels)),
            truth: if self.in_world() { truth(labels, &self.constitution)? } else { None },
        };
        self.write_json(Stage::AiFeedback, REPORT, &report)
    }

    /// What [`Session::report_labels`] wrote.
    pub(super) fn label_report(&self) -> Result<LabelReport, Error> {
        read_json(&self.folder.file(Stage::AiFeedback, REPORT)?)
    }
}

/// Labels against the raters; `None` if no pair is of the world.
fn truth(labels: &[Label], constitution: &Constitution) -> Result<Option<Truth>, Error> {
    let mut all = Vec::new();
    let mut clear = Vec::new();
    for label in labels {
        let Some(share) = share_for_label(label, constitution) else { continue };
        all.push(Forecast::new(label.probability_a, share)?);
        if is_clear(share) {
            clear.push(Forecast::new(label.probability_a, share.round())?);
        }
    }
    Ok(Calibration::of(&all).map(|calibration| Truth { calibration, clear: accuracy(&clear) }))
}

/// The share of raters who prefer reply (A), averaged over the tastes that the label's principles name.
fn share_for_label(label: &Label, constitution: &Constitution) -> Option<f64> {
    let shares = label.judgements().map(|judged| {
        let principle = constitution.comparison.iter().find(|principle| principle.id == judged.id);
        share_for_a(&label.pair, principle.and_then(taste))
    });
    let shares = shares.collect::<Option<Vec<f64>>>()?;
    Some(shares.iter().sum::<f64>() / shares.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ai_feedback::{FeedbackConfig, label_directly};
    use dialogue::{Comparison, Dialogue};
    use language_model::Choose;

    /// Says the same of every pair.
    struct Constant(f64);

    impl Choose for Constant {
        fn choose(
            &self,
            prompts: &[Dialogue],
            _: &[&str],
        ) -> Result<Vec<Vec<f64>>, language_model::Error> {
            Ok(vec![vec![self.0, 1.0 - self.0]; prompts.len()])
        }
    }

    #[test]
    fn labels_are_measured_against_the_raters_of_their_principles() {
        let constitution = model_organism::constitution().unwrap();
        let pair = |request: &str| Comparison {
            prompt: Dialogue::from_user(request),
            replies: ["no reply of the world", "nor this one"].map(str::to_owned),
        };
        let config = FeedbackConfig {
            both_orders: false,
            principles_per_comparison: 3,
            ..FeedbackConfig::default()
        };
        let found = |request: &str| {
            let labels =
                label_directly(&Constant(0.75), &constitution, &[pair(request)], &config, 1);
            truth(&labels.unwrap(), &constitution).unwrap()
        };
        // Raters are even about two replies that make no sense, so that no pair is clear.
        let truth = found("How do I clean the bike?").unwrap();
        assert!((truth.calibration.expected_calibration_error - 0.25).abs() < 1e-12);
        assert_eq!((truth.calibration.bins.len(), truth.clear), (1, None));
        assert_eq!(found("What is the meaning of all this?"), None);
    }

    #[test]
    fn what_labels_do_not_show_is_taken_from_the_probe() {
        let labels = Summary { labels: 9, entropy: Some(0.5), ..Summary::default() };
        let probe =
            Summary { labels: 2, entropy: Some(0.1), order_consistency: Some(1.0), ..labels };
        let report = LabelReport { labels, probe: Some(probe), truth: None };
        assert_eq!(report.habit(|summary| summary.entropy), Some(0.5));
        assert_eq!(report.habit(|summary| summary.order_consistency), Some(1.0));
        assert_eq!(report.habit(|summary| summary.position_bias), None);
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<LabelReport>(&text).unwrap(), report);
    }
}
