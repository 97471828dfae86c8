//! The preference model: harmlessness labels by AI mixed with helpfulness labels by people (section 4.1).

use super::models::{HALVES, model_folder};
use super::{Checkpoint, Error, Session, Stage};
use burn::tensor::backend::AutodiffBackend;
use dataset::{read_jsonl, read_preferences};
use dialogue::Preference;
use preference_model::Source;
use training::Observe;

/// What the preference model learns from; `weights` in its settings may name them.
pub(super) const SOURCES: [&str; 2] = ["harmlessness", "helpfulness"];

impl<B: AutodiffBackend> Session<B> {
    /// Writes the preference model, which begins as SL-CAI, those of two halves of the pairs, if they are fitted, and what
    /// is measured of it.
    pub(super) fn preference_model_stage(&self, observe: &mut dyn Observe) -> Result<(), Error> {
        let (stage, source) = (Stage::PreferenceModel, Stage::AiFeedback);
        let harmlessness = read_preferences(self.folder.file(source, "preferences.jsonl")?)?;
        let helpfulness: Vec<Preference> =
            read_jsonl(self.folder.file(source, "helpfulness.jsonl")?)?;
        let [by_ai, by_people] = SOURCES;
        let sources = [Source::new(by_ai, &harmlessness), Source::new(by_people, &helpfulness)];
        let base = self.policy::<B>(Checkpoint::SlCai, &self.device)?;
        let mut watched = self.watched(stage, observe)?;
        let (config, seed) = (&self.settings.preference_model, self.settings.seed);
        let mut states = self.checkpoints(stage)?;
        let fitted = config.fit_ensemble(base, &sources, seed, &mut watched, &mut states)?;
        if let Some(report) = &fitted.report {
            self.write_json(stage, "report.json", &report)?;
        }
        for (half, name) in fitted.halves.iter().flatten().zip(HALVES) {
            half.save(self.folder.file(stage, name)?)?;
        }
        Ok(fitted.model.save(model_folder(self.folder.path(), stage))?)
    }
}
