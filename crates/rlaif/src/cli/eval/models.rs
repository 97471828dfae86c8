//! The models that an evaluation asks.

use crate::cli::device::{Device, Task};
use crate::cli::download::fetch;
use crate::cli::server::client;
use crate::cli::{DeviceArgs, Failure};
use burn::tensor::backend::AutodiffBackend;
use clap::Args;
use rlaif::jobs::{Alone, Model, Served};
use rlaif::language_model::{Reward, Sampling};
use rlaif::openai::Config;
use rlaif::preference_model::Ensemble;
use rlaif::run::{JudgeSource, fingerprint, load_helpful_only};
use serde_json::{Value, json};
use std::path::Path;

/// Where and how a model is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asking<'a> {
    pub(super) device: Device,
    /// How one on a server is asked.
    pub(super) server: &'a Config,
    /// Whether answers are kept, so that it must be known which model gave them.
    pub(super) kept: bool,
}

/// A model that is evaluated.
#[derive(Debug, Clone, Args)]
pub(super) struct ModelArgs {
    /// Folder of the model, its name on the hub, or the address of a server.
    #[arg(long, value_name = "MODEL|URL")]
    pub(super) model: Option<JudgeSource>,
    /// Name of the model on its server [default: the only one that it has].
    #[arg(long, value_name = "NAME", requires = "model")]
    pub(super) model_name: Option<String>,
}

/// A model that judges.
#[derive(Debug, Clone, Args)]
pub(super) struct JudgeArgs {
    /// Folder of the judge, its name on the hub, or the address of a server.
    #[arg(long, value_name = "MODEL|URL")]
    pub(super) judge: Option<JudgeSource>,
    /// Name of the judge on its server [default: the only one that it has].
    #[arg(long, value_name = "NAME", requires = "judge")]
    pub(super) judge_model: Option<String>,
}

/// How a model replies.
#[derive(Debug, Clone, Args)]
pub(super) struct ReplyArgs {
    /// Divides the logits; 0 takes the most likely token.
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    temperature: f32,
    /// Longest reply, in tokens.
    #[arg(long, value_name = "N", default_value_t = 256)]
    max_tokens: usize,
    /// Seed of every random stream.
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
    #[command(flatten)]
    pub(super) device: DeviceArgs,
}

impl ReplyArgs {
    /// The settings they stand for.
    pub(super) fn sampling(&self) -> Result<Sampling, Failure> {
        let sampling =
            Sampling::default().with_temperature(self.temperature).with_max_tokens(self.max_tokens);
        sampling.validate()?;
        Ok(sampling)
    }
}

impl ModelArgs {
    /// Hands the model to `then`; `without` is the error if none is named.
    pub(super) fn open(
        &self,
        asking: Asking<'_>,
        without: &str,
        then: impl FnOnce(&dyn Model) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Some(source) = &self.model else { return Err(without.into()) };
        with_model(source, ("model-name", self.model_name.as_deref()), asking, then)
    }
}

impl JudgeArgs {
    /// Hands the judge to `then`; `without` is the error if none is named.
    pub(super) fn open(
        &self,
        asking: Asking<'_>,
        without: &str,
        then: impl FnOnce(&dyn Model) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Some(source) = &self.judge else { return Err(without.into()) };
        with_model(source, ("judge-model", self.judge_model.as_deref()), asking, then)
    }

    /// The same, but it is no error if none is named.
    pub(super) fn open_if_named(
        &self,
        asking: Asking<'_>,
        then: impl FnOnce(Option<&dyn Model>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if self.judge.is_none() {
            return then(None);
        }
        self.open(asking, "give `--judge`", |judge| then(Some(judge)))
    }
}

/// Prompts that a model is asked at a time: enough to keep it busy, few enough to show how far it is.
pub(super) fn at_a_time(source: Option<&JudgeSource>, server: &Config) -> usize {
    match source {
        // While the last answers of one call come, nothing else is under way.
        Some(JudgeSource::Server(_)) => 2 * server.concurrency,
        _ => 64,
    }
}

/// Opens a model and hands it to `then`; `flag` names a model of a server.
pub(super) fn with_model(
    source: &JudgeSource,
    (flag, name): (&str, Option<&str>),
    asking: Asking<'_>,
    then: impl FnOnce(&dyn Model) -> Result<(), Failure>,
) -> Result<(), Failure> {
    match source {
        JudgeSource::Server(url) => {
            then(&Served::new(client(url, name, asking.server)?, asking.server))
        }
        JudgeSource::Folder(_) if name.is_some() => {
            Err(format!("`--{flag}` names a model of a server, but none is given").into())
        }
        JudgeSource::Folder(folder) => asking.device.run(WithModel { folder, asking, then }),
    }
}

/// A model of a folder and what is done with it.
struct WithModel<'a, F> {
    folder: &'a Path,
    asking: Asking<'a>,
    then: F,
}

impl<F: FnOnce(&dyn Model) -> Result<(), Failure>> Task for WithModel<'_, F> {
    fn run<B: AutodiffBackend>(self, device: &B::Device) -> Result<(), Failure> {
        let Self { folder, asking, then } = self;
        let folder = fetch(folder)?;
        let about = if asking.kept {
            json!({ "sha256": fingerprint(&folder)?, "device": asking.device.name() })
        } else {
            Value::Null
        };
        let model = load_helpful_only::<B::InnerBackend>(Some(folder.as_path()), device)?;
        then(&Alone::new(model, about))
    }
}

/// Opens a model that scores dialogues and hands it to `then`.
pub(super) fn with_reward(
    folder: &Path,
    device: Device,
    then: impl FnOnce(&dyn Reward) -> Result<(), Failure>,
) -> Result<(), Failure> {
    device.run(WithReward { folder, then })
}

/// A model with a score and what is done with it.
struct WithReward<'a, F> {
    folder: &'a Path,
    then: F,
}

impl<F: FnOnce(&dyn Reward) -> Result<(), Failure>> Task for WithReward<'_, F> {
    fn run<B: AutodiffBackend>(self, device: &B::Device) -> Result<(), Failure> {
        let folder = fetch(self.folder)?;
        (self.then)(&Ensemble::<B::InnerBackend>::from_folder(folder, device)?)
    }
}
