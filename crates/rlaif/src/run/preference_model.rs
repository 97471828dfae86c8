//! The preference model: harmlessness labels by AI mixed with helpfulness labels by people (section 4.1).

use super::models::model_folder;
use super::{Checkpoint, Error, Session, Stage};
use burn::tensor::backend::AutodiffBackend;
use dataset::{read_jsonl, read_preferences, write_atomic};
use dialogue::Preference;
use preference_model::Source;
use training::{NoCheckpoints, Observe};

/// What `weights` of the settings and the report call the two sets.
const HARMLESSNESS: &str = "harmlessness";
const HELPFULNESS: &str = "helpfulness";

impl<B: AutodiffBackend> Session<B> {
    /// Writes the preference model, which begins as SL-CAI, and what is measured of it.
    pub(super) fn preference_model_stage(&self, observe: &mut dyn Observe) -> Result<(), Error> {
        let (stage, source) = (Stage::PreferenceModel, Stage::AiFeedback);
        let harmlessness = read_preferences(self.folder.file(source, "preferences.jsonl")?)?;
        let helpfulness: Vec<Preference> =
            read_jsonl(self.folder.file(source, "helpfulness.jsonl")?)?;
        let sources = [
            Source::new(HARMLESSNESS, &harmlessness),
            Source::new(HELPFULNESS, &helpfulness),
        ];
        let base = self.policy::<B>(Checkpoint::SlCai, &self.device)?;
        let mut watched = self.watched(stage, observe)?;
        let (config, seed) = (&self.settings.preference_model, self.settings.seed);
        let fitted =
            config.fit_ensemble(base, &sources, seed, &mut watched, &mut NoCheckpoints)?;
        if let Some(report) = &fitted.report {
            let text = format!("{:#}\n", serde_json::json!(report));
            write_atomic(self.folder.file(stage, "report.json")?, text.as_bytes())?;
        }
        Ok(fitted.model.save(model_folder(self.folder.path(), stage))?)
    }
}
