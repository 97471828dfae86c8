//! The preference model: harmlessness labels by AI mixed with helpfulness labels by people (section 4.1).

use super::models::model_folder;
use super::{Checkpoint, Error, Session, Stage};
use burn::tensor::backend::AutodiffBackend;
use dataset::read_preferences;
use training::Observe;

impl<B: AutodiffBackend> Session<B> {
    /// Writes the preference model, which begins as SL-CAI.
    pub(super) fn preference_model_stage(&self, observe: &mut dyn Observe) -> Result<(), Error> {
        let source = Stage::AiFeedback;
        let mut preferences = read_preferences(self.folder.file(source, "preferences.jsonl")?)?;
        let helpfulness = self.folder.file(source, "helpfulness.jsonl")?;
        preferences.extend(dataset::read_jsonl::<dialogue::Preference>(helpfulness)?);
        let base = self.policy::<B>(Checkpoint::SlCai, &self.device)?;
        let mut watched = self.watched(Stage::PreferenceModel, observe)?;
        let config = &self.settings.preference_model;
        let model = config.fit(base, &preferences, self.settings.seed, &mut watched)?;
        Ok(model.save(model_folder(self.folder.path(), Stage::PreferenceModel))?)
    }
}
