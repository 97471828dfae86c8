//! The preference model: harmlessness labels by AI mixed with helpfulness labels by people (section 4.1), if asked after
//! a first pass over comparisons from elsewhere.

use super::folder::discard_folder;
use super::json_file::write_json;
use super::models::{HALVES, model_folder};
use super::preference_pairs::PreferencePairs;
use super::{Checkpoint, Error, Pretraining, Session, Stage, fingerprint};
use burn::tensor::backend::AutodiffBackend;
use dataset::{ColumnMapping, write_atomic};
use preference_model::{PreferenceModel, Start};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use training::{Checkpoints, Fingerprint, JsonLines, Observe, TensorBoard};
use transformer::Transformer;

/// What the preference model learns from; `weights` in its settings may name them.
pub(super) const SOURCES: [&str; 2] = ["harmlessness", "helpfulness"];

/// The folder of the first pass within that of the stage, and what its pairs are called.
const PRETRAINING: &str = "pretraining";

/// The file of that folder that says what all else in it belongs to.
const BELONGS_TO: &str = "fingerprint.txt";

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
        let folder = self.pretraining_folder(pretraining)?;
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

    /// The folder of the first pass; what is in it of another model, file or setting is removed.
    fn pretraining_folder(&self, pretraining: &Pretraining) -> Result<PathBuf, Error> {
        let folder = self.folder.file(Stage::PreferenceModel, PRETRAINING)?;
        let mark = folder.join(BELONGS_TO);
        let expected = format!("{}\n", self.pretraining_fingerprint(pretraining)?);
        match fs::read(&mark) {
            Ok(found) if found == expected.as_bytes() => return Ok(folder),
            Err(source) if source.kind() != ErrorKind::NotFound => {
                return Err(Error::Io { action: "read", path: mark, source });
            }
            _ => {}
        }
        discard_folder(&folder)?;
        fs::create_dir_all(&folder).map_err(|source| Error::Io {
            action: "create",
            path: folder.clone(),
            source,
        })?;
        write_atomic(mark, expected.as_bytes())?;
        Ok(folder)
    }

    /// A hash of all that decides the first pass.
    fn pretraining_fingerprint(&self, pretraining: &Pretraining) -> Result<String, Error> {
        let config = pretraining.config(&self.settings.preference_model.training);
        let base = fingerprint(&model_folder(self.folder.path(), Stage::Sft))?;
        let all = Fingerprint::default()
            .with("settings", &config)
            .with("seed", &self.settings.seed)
            .with("base", &base)
            .with("columns", &pretraining.columns)
            .with("pairs", &fingerprint(&pretraining.file)?);
        Ok(all.finish())
    }

    /// Takes the first pass and keeps its model in `folder`, which is there.
    fn pretrain(
        &self,
        base: Transformer<B>,
        pretraining: &Pretraining,
        folder: &Path,
        observe: &mut dyn Observe,
    ) -> Result<(), Error> {
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
        let fitted = config
            .fit_mixture(base, &sources, settings.seed, &mut watched, states)
            .map_err(Error::Pretraining)?;
        if let Some(report) = &fitted.report {
            write_json(&folder.join("report.json"), report)?;
        }
        Ok(fitted.model.save(folder.join("model"))?)
    }
}
