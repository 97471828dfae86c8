//! How good the labels of the judge are.

use super::super::{Error, Session};
use burn::tensor::backend::AutodiffBackend;
use report::LabelQuality;

impl<B: AutodiffBackend> Session<B> {
    /// The labels of the run: their habits, and in the world their accuracy on clear pairs and their calibration against
    /// the raters of the taste that each principle names.
    pub(super) fn label_quality(&self) -> Result<LabelQuality, Error> {
        let report = self.label_report()?;
        let quality = LabelQuality {
            position_bias: report.habit(|summary| summary.position_bias),
            order_consistency: report.habit(|summary| summary.order_consistency),
            principle_consistency: report.habit(|summary| summary.principle_consistency),
            entropy: report.labels.entropy,
            n: report.labels.labels,
            ..LabelQuality::default()
        };
        let Some(truth) = report.truth else { return Ok(quality) };
        Ok(LabelQuality {
            accuracy: truth.clear.map(|rate| rate.value),
            ece: Some(truth.calibration.expected_calibration_error),
            n: truth.clear.map_or(0, |rate| rate.n),
            reliability: truth.calibration.bins,
            ..quality
        })
    }
}
