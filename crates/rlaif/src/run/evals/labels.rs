//! How good the labels of the judge are.

use super::super::world::{is_clear, share_for_a};
use super::super::{Error, Session, Stage};
use ai_feedback::{Label, summarise};
use burn::tensor::backend::AutodiffBackend;
use dataset::read_jsonl;
use evals::{Calibration, Forecast, accuracy};
use model_organism::taste;
use report::LabelQuality;

impl<B: AutodiffBackend> Session<B> {
    /// The labels of the run: their habits, and in the world their accuracy on clear pairs and their calibration against
    /// the raters of the taste that each principle names.
    pub(super) fn label_quality(&self) -> Result<Option<LabelQuality>, Error> {
        let labels: Vec<Label> = read_jsonl(self.folder.file(Stage::AiFeedback, "labels.jsonl")?)?;
        let position_bias = summarise(&labels).position_bias;
        if !self.in_world() {
            return Ok(Some(LabelQuality { position_bias, n: labels.len(), ..Default::default() }));
        }
        let mut all = Vec::new();
        let mut clear = Vec::new();
        for label in &labels {
            let principle = self.constitution.comparison.iter().find(|p| p.id == label.principle);
            let Some(share) = share_for_a(&label.pair, principle.and_then(taste)) else { continue };
            all.push(Forecast::new(label.probability_a, share)?);
            if is_clear(share) {
                clear.push(Forecast::new(label.probability_a, share.round())?);
            }
        }
        Ok(Calibration::of(&all).map(|calibration| LabelQuality {
            accuracy: accuracy(&clear).map(|accuracy| accuracy.value),
            ece: Some(calibration.expected_calibration_error),
            position_bias,
            n: clear.len(),
            reliability: calibration.bins,
        }))
    }
}
