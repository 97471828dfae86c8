//! A run in progress.

use super::json_file::write_json;
use super::models::{find_model, load_helpful_only};
use super::{Checkpoint, Error, JudgeSource, Prompts, RewardSource, RunFolder, Settings, Stage};
use burn::tensor::backend::AutodiffBackend;
use constitution::Constitution;
use dataset::write_atomic;
use dialogue::Dialogue;
use serde::Serialize;
use std::path::Path;
use std::time::Instant;
use training::{Checkpoints, JsonLines, Observe, TensorBoard};
use transformer::Transformer;

/// Replies that are drawn, revised or judged between two records in a journal: enough to keep a batch full, few enough
/// that a killed process loses little.
pub(super) const CHUNK: usize = 64;

/// A run on a device: its settings, its folder and what all stages read.
#[derive(Debug)]
pub struct Session<B: AutodiffBackend> {
    pub(super) settings: Settings,
    pub(super) folder: RunFolder,
    pub(super) device: B::Device,
    pub(super) constitution: Constitution,
    pub(super) prompts: Prompts,
}

impl<B: AutodiffBackend> Session<B> {
    /// Reads everything that the settings name, so that what is wrong shows before a run begins in `folder`.
    ///
    /// Nothing is written but rows of prompts that are bad, where the settings let them be left out.
    ///
    /// # Errors
    /// If the model, the judge, the constitution, the prompts or the comparisons to pretrain on cannot be read or do not
    /// fit each other, an adapter does not fit the model, or a group of an optimiser has no parameter.
    pub fn check(settings: &Settings, folder: &Path, device: &B::Device) -> Result<(), Error> {
        let constitution = settings.read_constitution()?;
        constitution.revisions(&settings.critique_revision.principles)?;
        constitution.comparisons(&settings.ai_feedback.principles)?;
        if settings.reward == RewardSource::Direct {
            constitution.comparisons(&settings.direct_reward.principles)?;
        }
        if let Some(client) = settings.served_judge()? {
            drop(client);
        } else if let Some(judge) = settings.judge.as_ref().and_then(JudgeSource::folder) {
            Transformer::<B::InnerBackend>::from_folder(find_model(judge)?, device)?;
        }
        // By the backend that learns, which alone knows what does.
        let model = load_helpful_only::<B>(settings.model.as_deref(), device)?;
        if let Some(pretraining) = &settings.preference_model.pretraining {
            drop(pretraining.pairs(0.0)?);
        }
        settings.check_optimizers(&model)?;
        Prompts::read(settings, &constitution, &model.codec, folder).map(drop)
    }

    /// Opens a run.
    ///
    /// # Errors
    /// As for [`Session::check`], or if the folder cannot be written to.
    pub fn new(settings: Settings, folder: RunFolder, device: B::Device) -> Result<Self, Error> {
        let constitution = settings.read_constitution()?;
        let model = load_helpful_only::<B::InnerBackend>(settings.model.as_deref(), &device)?;
        let prompts = Prompts::read(&settings, &constitution, &model.codec, folder.path())?;
        let text = constitution.to_toml()?;
        write_atomic(folder.path().join("constitution.toml"), text.as_bytes())?;
        Ok(Self { settings, folder, device, constitution, prompts })
    }

    /// The folder of the run.
    pub fn folder(&self) -> &RunFolder {
        &self.folder
    }

    /// Runs the stages that are not finished, in order.
    ///
    /// # Errors
    /// The first error of a stage; what was finished stays finished.
    pub fn run_all(&self, observe: &mut dyn Observe) -> Result<(), Error> {
        self.run_missing(self.settings.stages(), observe)
    }

    /// Runs the stages that are not finished, in order, of those that `last` needs and itself.
    ///
    /// # Errors
    /// Those of [`Session::run_all`].
    pub fn run_to(&self, last: Stage, observe: &mut dyn Observe) -> Result<(), Error> {
        self.run_missing(last.requirements(), observe)
    }

    /// Runs those of the stages that are not finished.
    fn run_missing(
        &self,
        stages: impl IntoIterator<Item = Stage>,
        observe: &mut dyn Observe,
    ) -> Result<(), Error> {
        for stage in stages {
            if self.folder.seconds(stage)?.is_none() {
                self.run(stage, observe)?;
            } else {
                // What a process left that was killed when it had finished the stage.
                self.checkpoints(stage)?.clear()?;
            }
        }
        Ok(())
    }

    /// Runs one stage. If it was finished before, it begins anew, and what other stages made of its files is discarded.
    ///
    /// # Errors
    /// [`Error::NotReady`] if a stage that it needs is not finished, or those of the stage.
    pub fn run(&self, stage: Stage, observe: &mut dyn Observe) -> Result<(), Error> {
        for needed in self.settings.needs(stage) {
            if self.folder.seconds(needed)?.is_none() {
                let folder = self.folder.path().to_owned();
                return Err(Error::NotReady { stage, needed, folder });
            }
        }
        if self.folder.seconds(stage)?.is_some() {
            self.check_models(stage)?;
            self.folder.discard(stage)?;
        }
        let start = Instant::now();
        self.work(stage, observe)
            .map_err(|error| error.with_the_way_on(stage, self.folder.path(), &self.settings))?;
        self.folder.finish(stage, start.elapsed().as_secs_f64())?;
        // What is finished is not gone on with.
        Ok(self.checkpoints(stage)?.clear()?)
    }

    /// Does what a stage does.
    fn work(&self, stage: Stage, observe: &mut dyn Observe) -> Result<(), Error> {
        match stage {
            Stage::CritiqueRevision => self.critique_revision(observe),
            Stage::Sft => self.sft(observe),
            Stage::RedTeam => self.red_team(observe),
            Stage::AiFeedback => self.ai_feedback(observe),
            Stage::PreferenceModel => self.preference_model_stage(observe),
            Stage::Ppo => self.ppo(observe),
            Stage::Evals => self.evals(observe),
            Stage::Report => {
                observe.start(stage.name(), 1, 0)?;
                report::write(self.folder.path())?;
                observe.record(1, &[])?;
                Ok(observe.finish()?)
            }
        }
    }

    /// Loads the models that a stage needs, so that nothing is discarded for a stage that cannot begin.
    fn check_models(&self, stage: Stage) -> Result<(), Error> {
        for needed in self.settings.needs(stage) {
            match needed {
                Stage::Sft => drop(self.fixed(Checkpoint::SlCai)?),
                Stage::PreferenceModel => {
                    drop(self.preference_model()?);
                    if stage == Stage::Ppo {
                        drop(self.reward_model::<B::InnerBackend>(&self.device)?);
                        drop(self.held_out_model()?);
                    }
                }
                Stage::Ppo => drop(self.fixed(Checkpoint::RlCai)?),
                _ => {}
            }
        }
        Ok(())
    }

    /// True if every request is one of the world's, so that there is a ground truth.
    pub(super) fn in_world(&self) -> bool {
        self.settings.in_world()
    }

    /// Writes a JSON file of a stage, at once or not at all.
    pub(super) fn write_json(
        &self,
        stage: Stage,
        name: &str,
        value: &impl Serialize,
    ) -> Result<(), Error> {
        write_json(&self.folder.file(stage, name)?, value)
    }

    /// Where a training stage keeps its state.
    pub(super) fn checkpoints(&self, stage: Stage) -> Result<Checkpoints, Error> {
        let folder = self.folder.file(stage, "states")?;
        Ok(Checkpoints::from_config(folder, &self.settings.checkpoints))
    }

    /// Watches a training stage on the screen, in its `metrics.jsonl`, and for `tensorboard`.
    pub(super) fn watched<'a>(
        &self,
        stage: Stage,
        observe: &'a mut dyn Observe,
    ) -> Result<Vec<Box<dyn Observe + 'a>>, Error> {
        let metrics = JsonLines::create(self.folder.file(stage, "metrics.jsonl")?)?;
        let board = TensorBoard::new(self.folder.path().join("tensorboard"));
        Ok(vec![Box::new(observe), Box::new(metrics), Box::new(board)])
    }
}

/// The ids of dialogues, in order.
pub(super) fn ids(dialogues: &[Dialogue]) -> Vec<String> {
    dialogues.iter().map(Dialogue::id).collect()
}
