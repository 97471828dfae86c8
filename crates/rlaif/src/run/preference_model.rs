//! The preference model: harmlessness labels by AI mixed with helpfulness labels by people (section 4.1), if asked after
//! a first pass over comparisons from elsewhere.

use super::json_file::write_json;
use super::models::{HALVES, model_folder};
use super::preference_pairs::PreferencePairs;
use super::{Checkpoint, Error, Pretraining, Session, Stage};
use burn::tensor::backend::AutodiffBackend;
use dataset::ColumnMapping;
use preference_model::{PreferenceModel, Start};
use std::fs;
use std::path::Path;
use training::{Checkpoints, JsonLines, Observe, TensorBoard};
use transformer::Transformer;

/// What the preference model learns from; `weights` in its settings may name them.
pub(super) const SOURCES: [&str; 2] = ["harmlessness", "helpfulness"];

/// The folder of the first pass within that of the stage, and what its pairs are called.
const PRETRAINING: &str = "pretraining";

impl<B: AutodiffBackend> Session<B> {
    /// Writes the preference model, which begins as SL-CAI, those of two halves of the pairs, if they are fitted, and what
    /// is measured of it.
    pub(super) fn preference_model_stage(&self, observe: &mut dyn Observe) -> Result<(), Error> {
        let (stage, source) = (Stage::PreferenceModel, Stage::AiFeedback);
        let (config, seed) = (&self.settings.preference_model.training, self.settings.seed);
        let (of_ai, of_people) = (
            self.folder.file(source, "preferences.jsonl")?,
            self.folder.file(source, "helpfulness.jsonl")?,
        );
        let columns = ColumnMapping::default();
        let harmlessness = PreferencePairs::read(&of_ai, &columns, config.margin)?;
        let helpfulness = PreferencePairs::read_any(&of_people, &columns, config.margin)?;
        let [by_ai, by_people] = SOURCES;
        let sources = [harmlessness.source(by_ai), helpfulness.source(by_people)];
        let start = self.preference_model_start(observe)?;
        let mut watched = self.watched(stage, observe)?;
        let mut states = self.checkpoints(stage)?;
        let fitted = config.fit_ensemble(start, &sources, seed, &mut watched, &mut states)?;
        if let Some(report) = &fitted.report {
            self.write_json(stage, "report.json", &report)?;
        }
        for (half, name) in fitted.halves.iter().flatten().zip(HALVES) {
            half.save(self.folder.file(stage, name)?)?;
        }
        Ok(fitted.model.save(model_folder(self.folder.path(), stage))?)
    }

    /// What the preference model begins as: SL-CAI, or what the first pass makes of it.
    fn preference_model_start(&self, observe: &mut dyn Observe) -> Result<Start<B>, Error> {
        let settings = &self.settings.preference_model;
        let base = || self.policy::<B>(Checkpoint::SlCai, &self.device);
        let Some(pretraining) = &settings.pretraining else { return Ok(base()?.into()) };
        let folder = self.folder.file(Stage::PreferenceModel, PRETRAINING)?;
        let model = folder.join("model");
        // Put in place as a whole, so that it is finished if it is there.
        if !model.exists() {
            self.pretrain(base()?, pretraining, &folder, observe)?;
        }
        Checkpoints::new(folder.join("states")).clear()?;
        let start = Start::<B>::from(PreferenceModel::<B>::from_folder(model, &self.device)?);
        let several = settings.training.ensemble.heads > 1;
        Ok(if several { start.with_fresh_heads() } else { start })
    }

    /// Takes the first pass and keeps its model in `folder`.
    fn pretrain(
        &self,
        base: Transformer<B>,
        pretraining: &Pretraining,
        folder: &Path,
        observe: &mut dyn Observe,
    ) -> Result<(), Error> {
        fs::create_dir_all(folder).map_err(|source| Error::Io {
            action: "create",
            path: folder.to_owned(),
            source,
        })?;
        let settings = &self.settings;
        let config = pretraining.config(&settings.preference_model.training);
        let pairs = pretraining.pairs(config.margin)?;
        let (count, file) = (pairs.len(), pretraining.file.display());
        observe
            .note(&format!("preference_model: pretraining on the pairs of {file}, {count} in all"));
        let metrics = JsonLines::create(folder.join("metrics.jsonl"))?;
        let board = TensorBoard::new(self.folder.path().join("tensorboard").join(PRETRAINING));
        let mut watched: Vec<Box<dyn Observe + '_>> =
            vec![Box::new(observe), Box::new(metrics), Box::new(board)];
        let states = &mut Checkpoints::from_config(folder.join("states"), &settings.checkpoints);
        let sources = [pairs.source(PRETRAINING)];
        let fitted = config.fit_mixture(base, &sources, settings.seed, &mut watched, states)?;
        if let Some(report) = &fitted.report {
            write_json(&folder.join("report.json"), report)?;
        }
        Ok(fitted.model.save(folder.join("model"))?)
    }
}
