//! How well scores agree with soft labels.

use crate::{Error, Interval, LengthReport, Robustness, histogram};
use evals::{Bin, Forecast, Rate, accuracy, expected_calibration_error, log_loss, reliability};
use serde::{Deserialize, Serialize};

/// How well a preference model agrees with soft labels.
///
/// Its probability that the chosen reply is better is `sigmoid(score(chosen) - score(rejected))` with raw scores.
/// Calibration looks at every pair in both orders: since a pair is stored with its likelier reply first, the stored
/// order alone would make any model look too unsure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Pairs measured.
    pub pairs: usize,
    /// Share of the pairs that the model orders as their label does, a tie of scores counting half; pairs whose label is
    /// 0.5 are left out. None if no other is there.
    pub accuracy: Option<Rate>,
    /// Mean cross-entropy of labels and probabilities, in nats.
    pub log_loss: f64,
    /// Mean entropy of the labels, in nats: the least that `log_loss` can be.
    pub label_entropy: f64,
    /// Mean gap between probability and label in ten bins of equal width, weighted by their counts.
    pub expected_calibration_error: f64,
    /// The bins of the reliability diagram; every pair counts twice, once in each order.
    pub bins: Vec<Bin>,
    /// Mean of `score(chosen) - score(rejected)`, in nats of log-odds.
    pub mean_margin: f64,
    /// How these differences are spread.
    pub margins: Vec<Interval>,
    /// How scores go with the length of replies; none if only differences are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<LengthReport>,
    /// The same of every set of preferences alone, if several are mixed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceReport>,
    /// The members of an ensemble.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ensemble: Option<EnsembleReport>,
    /// Agreement of the two halves of the data, if the settings ask for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub robustness: Option<Robustness>,
}

/// What is measured of one set of preferences.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceReport {
    /// The name of the set.
    pub name: String,
    /// How well its pairs are ordered.
    pub report: Report,
}

/// What is measured of the members of an ensemble.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnsembleReport {
    /// Standard deviation of the members' rewards of a dialogue, the mean over all dialogues measured.
    pub disagreement: f64,
    /// How well each member orders the pairs alone.
    pub members: Vec<Report>,
}

impl Report {
    /// Measures margins of scores against the labels of the same pairs; none without pairs.
    ///
    /// # Errors
    /// [`Error::Evals`] if a margin is not a number or a label no probability.
    pub fn of(margins: &[f64], probabilities: &[f64]) -> Result<Option<Self>, Error> {
        let pairs = || margins.iter().zip(probabilities);
        let stored = forecasts(pairs().map(|(&margin, &label)| (sigmoid(margin), label)))?;
        let swapped = forecasts(pairs().map(|(&margin, &label)| (sigmoid(-margin), 1.0 - label)))?;
        let labels = forecasts(probabilities.iter().map(|&label| (label, label)))?;
        let decided = pairs().zip(&stored).filter(|((_, label), _)| label.total_cmp(&0.5).is_ne());
        let decided: Vec<Forecast> = decided.map(|(_, &forecast)| forecast).collect();
        let bins = reliability(&[stored.as_slice(), swapped.as_slice()].concat());
        let measured = log_loss(&stored).zip(log_loss(&labels));
        Ok(measured.zip(expected_calibration_error(&bins)).map(
            |((log_loss, label_entropy), expected_calibration_error)| Self {
                pairs: stored.len(),
                accuracy: accuracy(&decided),
                log_loss,
                label_entropy,
                expected_calibration_error,
                bins,
                mean_margin: margins.iter().sum::<f64>() / margins.len() as f64,
                margins: histogram(margins),
                length: None,
                sources: Vec::new(),
                ensemble: None,
                robustness: None,
            },
        ))
    }

    /// The names and values that a run records of held-out pairs.
    pub(crate) fn metrics(&self) -> Vec<(&'static str, f64)> {
        let mut metrics = vec![
            ("held_out_pairs", self.pairs as f64),
            ("held_out_log_loss", self.log_loss),
            ("held_out_label_entropy", self.label_entropy),
            ("held_out_calibration_error", self.expected_calibration_error),
            ("held_out_margin", self.mean_margin),
        ];
        metrics.extend(self.accuracy.map(|accuracy| ("held_out_accuracy", accuracy.value)));
        let length = self.length.as_ref().and_then(|length| length.pearson);
        metrics.extend(length.map(|found| ("held_out_length_correlation", found)));
        metrics
    }

    /// The names and values that a run records at its end, if it has fitted several models.
    pub(crate) fn metrics_of_all(&self) -> Vec<(&'static str, f64)> {
        let mut metrics = Vec::new();
        if let Some(ensemble) = &self.ensemble {
            metrics.push(("ensemble_log_loss", self.log_loss));
            metrics.push(("ensemble_disagreement", ensemble.disagreement));
            metrics.extend(self.accuracy.map(|accuracy| ("ensemble_accuracy", accuracy.value)));
        }
        if let Some(robustness) = &self.robustness {
            metrics.push(("robustness_agreement", robustness.agreement.value));
            let correlation = robustness.correlation;
            metrics.extend(correlation.map(|found| ("robustness_correlation", found)));
        }
        metrics
    }
}

fn forecasts(pairs: impl Iterator<Item = (f64, f64)>) -> Result<Vec<Forecast>, Error> {
    pairs.map(|(probability, label)| Ok(Forecast::new(probability, label)?)).collect()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array1;
    use proptest::prelude::*;

    fn report(margins: &[f64], probabilities: &[f64]) -> Report {
        Report::of(margins, probabilities).unwrap().unwrap()
    }

    /// The margin at which the model says `probability`.
    fn logit(probability: f64) -> f64 {
        (probability / (1.0 - probability)).ln()
    }

    #[test]
    fn measures_known_margins() {
        let found = report(&[logit(0.8), logit(0.4), 0.0, 3.0], &[0.8, 1.0, 0.9, 0.5]);
        assert_eq!(found.pairs, 4);
        // Right, wrong, a tie; the pair with an even label has no right order.
        let accuracy = found.accuracy.unwrap();
        assert_eq!(accuracy.n, 3);
        assert!((accuracy.value - 0.5).abs() < 1e-12);
        let entropy = |p: f64| -(p * p.ln() + (1.0 - p) * (1.0 - p).ln());
        let entropies = entropy(0.8) + entropy(0.9) + entropy(0.5);
        assert!((found.label_entropy - entropies / 4.0).abs() < 1e-9);
        let even = 0.5 * ((1.0 + (-3.0_f64).exp()).ln() + (1.0 + 3.0_f64.exp()).ln());
        let losses = entropy(0.8) - 0.4_f64.ln() + 2.0_f64.ln() + even;
        assert!((found.log_loss - losses / 4.0).abs() < 1e-9);
        assert!((found.mean_margin - (logit(0.8) + logit(0.4) + 3.0) / 4.0).abs() < 1e-12);
    }

    #[test]
    fn a_calibrated_model_has_no_calibration_error_on_hard_labels() {
        // It says 0.75 and is right three times in four; every pair is stored with the label's choice first.
        let (right, wrong) = (logit(0.75), logit(0.25));
        let found = report(&[right, right, right, wrong], &[1.0; 4]);
        assert!(found.expected_calibration_error < 1e-9, "{found:?}");
        assert!((found.accuracy.unwrap().value - 0.75).abs() < 1e-12);
        // An overconfident one says 0.95 and is right as often.
        let found = report(&[logit(0.95), logit(0.95), logit(0.95), logit(0.05)], &[1.0; 4]);
        assert!((found.expected_calibration_error - 0.2).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn survives_the_disk_and_leaves_out_what_there_is_not() {
        let found = report(&[0.5, -0.3], &[0.8, 0.9]);
        assert_eq!(found.margins.iter().map(|interval| interval.count).sum::<usize>(), 2);
        let whole = Report {
            sources: vec![SourceReport { name: "a".to_owned(), report: found.clone() }],
            ensemble: Some(EnsembleReport { disagreement: 0.1, members: vec![found.clone()] }),
            robustness: Robustness::of(&[0.5, -0.3], &[0.1, 0.2]),
            ..found.clone()
        };
        for report in [&found, &whole] {
            let json = serde_json::to_string(report).unwrap();
            assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), *report);
            assert_eq!(json.contains("robustness"), report.robustness.is_some());
        }
    }

    #[test]
    fn nothing_is_measured_without_pairs_and_nonsense_is_named() {
        assert!(Report::of(&[], &[]).unwrap().is_none());
        assert!(report(&[1.0], &[0.5]).accuracy.is_none());
        assert!(Report::of(&[f64::NAN], &[0.5]).is_err());
        assert!(Report::of(&[0.0], &[1.5]).is_err());
    }

    proptest! {
        /// How a pair is stored does not matter, and the log-loss is that of double precision.
        #[test]
        fn swapping_pairs_turns_margins_alone(
            pairs in prop::collection::vec((-8.0..8.0_f64, 0.0..=1.0_f64), 1..30),
        ) {
            let (margins, labels): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
            let stored = report(&margins, &labels);
            let turned = |values: &[f64], turn: fn(f64) -> f64| -> Vec<f64> {
                values.iter().copied().map(turn).collect()
            };
            let swapped = report(&turned(&margins, |d| -d), &turned(&labels, |p| 1.0 - p));
            let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
            prop_assert!(close(stored.log_loss, swapped.log_loss));
            prop_assert!(close(stored.label_entropy, swapped.label_entropy));
            prop_assert!(close(stored.mean_margin, -swapped.mean_margin));
            let value = |report: &Report| report.accuracy.map(|accuracy| accuracy.value);
            match (value(&stored), value(&swapped)) {
                (Some(a), Some(b)) => prop_assert!(close(a, b)),
                (a, b) => prop_assert_eq!(a, b),
            }
            let (d, p) = (Array1::from_vec(margins), Array1::from_vec(labels));
            let softplus = |x: &f64| x.exp().ln_1p();
            let losses = &p * &(-&d).map(softplus) + (1.0 - &p) * d.map(softplus);
            prop_assert!(close(stored.log_loss, losses.mean().unwrap()));
            prop_assert!(stored.label_entropy <= stored.log_loss + 1e-9);
            let term = |p: f64| if p > 0.0 { -p * p.ln() } else { 0.0 };
            let entropies = p.map(|&p| term(p) + term(1.0 - p));
            prop_assert!(close(stored.label_entropy, entropies.mean().unwrap()));
            prop_assert!(close(stored.mean_margin, d.mean().unwrap()));
        }
    }
}
