//! The models of a run.

use super::{Error, RewardSource, RunFolder, Session, Stage};
use burn::tensor::backend::{AutodiffBackend, Backend};
use preference_model::Ensemble;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use transformer::Transformer;

/// A policy along the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Checkpoint {
    /// The model that the loop begins with.
    HelpfulOnly,
    /// Fine-tuned on revisions.
    SlCai,
    /// Trained against the preference model.
    RlCai,
}

impl Checkpoint {
    /// Every policy, in the order in which the loop makes them.
    pub const ALL: [Self; 3] = [Self::HelpfulOnly, Self::SlCai, Self::RlCai];

    /// Its name in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::HelpfulOnly => "helpful_only",
            Self::SlCai => "sl_cai",
            Self::RlCai => "rl_cai",
        }
    }

    /// The stage that makes it; none for the model that the loop begins with.
    pub fn stage(self) -> Option<Stage> {
        match self {
            Self::HelpfulOnly => None,
            Self::SlCai => Some(Stage::Sft),
            Self::RlCai => Some(Stage::Ppo),
        }
    }
}

/// The folder of the model that a stage writes.
pub(super) fn model_folder(folder: &Path, stage: Stage) -> PathBuf {
    folder.join(stage.name()).join("model")
}

/// The folders of the models of two halves of the preferences, in that of their stage.
pub(super) const HALVES: [&str; 2] = ["first_half", "second_half"];

/// The folder of a model that is given by its path or by its name on the Hugging Face hub.
///
/// # Errors
/// If the name is unknown, or the model can be neither found in the cache nor downloaded.
pub(super) fn find_model(given: &Path) -> Result<PathBuf, Error> {
    Ok(hub::resolve(given, &mut hub::Silent)?)
}

/// Loads the model that a run begins with: a Hugging Face folder, a model of the hub by its name, or the embedded one.
///
/// # Errors
/// If there is no such model, or it cannot be read.
pub fn load_helpful_only<B: Backend>(
    model: Option<&Path>,
    device: &B::Device,
) -> Result<Transformer<B>, Error> {
    match model {
        Some(given) => Ok(Transformer::from_folder(find_model(given)?, device)?),
        None => Ok(model_organism::assistant(device)?),
    }
}

impl<B: AutodiffBackend> Session<B> {
    /// Loads a policy, on the backend that is asked for.
    pub(super) fn policy<C: Backend>(
        &self,
        checkpoint: Checkpoint,
        device: &C::Device,
    ) -> Result<Transformer<C>, Error> {
        let mut model = match checkpoint.stage() {
            None => load_helpful_only(self.settings.model.as_deref(), device)?,
            Some(stage) => {
                Transformer::from_folder(model_folder(self.folder.path(), stage), device)?
            }
        };
        model.engine = self.settings.engine.clone();
        Ok(model)
    }

    /// Loads a policy for anything but training.
    pub(super) fn fixed(
        &self,
        checkpoint: Checkpoint,
    ) -> Result<Transformer<B::InnerBackend>, Error> {
        self.policy(checkpoint, &self.device)
    }

    /// Loads the preference model, which is one or several.
    pub(super) fn preference_model(&self) -> Result<Ensemble<B::InnerBackend>, Error> {
        let path = model_folder(self.folder.path(), Stage::PreferenceModel);
        Ok(Ensemble::from_folder(path, &self.device)?)
    }

    /// The preference model that reinforcement learning learns from.
    pub(super) fn reward_model<C: Backend>(
        &self,
        device: &C::Device,
    ) -> Result<Ensemble<C>, Error> {
        let path = match self.settings.reward {
            RewardSource::Half => self.folder.file(Stage::PreferenceModel, HALVES[0])?,
            RewardSource::PreferenceModel | RewardSource::Direct => {
                model_folder(self.folder.path(), Stage::PreferenceModel)
            }
        };
        Ok(Ensemble::from_folder(path, device)?)
    }

    /// A preference model that reinforcement learning does not learn from, if one was fitted.
    pub(super) fn held_out_model(&self) -> Result<Option<Ensemble<B::InnerBackend>>, Error> {
        if self.settings.reward == RewardSource::Direct
            || !self.settings.preference_model.training.robustness
        {
            return Ok(None);
        }
        let path = self.folder.file(Stage::PreferenceModel, HALVES[1])?;
        Ok(Some(Ensemble::from_folder(path, &self.device)?))
    }

    /// The preference model that evaluations measure with. A run with a direct reward need not have one.
    pub(super) fn measuring_model(&self) -> Result<Option<Ensemble<B::InnerBackend>>, Error> {
        let needed = self.settings.needs(Stage::Evals).any(|stage| stage == Stage::PreferenceModel);
        if needed || self.folder.seconds(Stage::PreferenceModel)?.is_some() {
            return Ok(Some(self.preference_model()?));
        }
        Ok(None)
    }
}

/// Loads a policy of a run that is finished that far.
///
/// # Errors
/// [`Error::NoRun`] if there is no run in the folder, or those of the model's folder.
pub fn load_policy<B: Backend>(
    folder: &Path,
    checkpoint: Checkpoint,
    device: &B::Device,
) -> Result<Transformer<B>, Error> {
    let Some(stage) = checkpoint.stage() else {
        let no_run = || Error::NoRun { folder: folder.to_owned() };
        let recorded = RunFolder::recorded(folder)?.ok_or_else(no_run)?;
        let model = recorded.get("model").and_then(toml::Value::as_str).map(PathBuf::from);
        return load_helpful_only(model.as_deref(), device);
    };
    Ok(Transformer::from_folder(model_folder(folder, stage), device)?)
}
