//! `rlaif revise`, `rlaif label` and `rlaif merge`: data stages over any number of prompts.

use super::device::{Device, Task};
use super::download::fetch;
use super::set::{add_set, insert};
use super::{DeviceArgs, Failure, say, warn};
use burn::tensor::backend::AutodiffBackend;
use clap::Args;
use rlaif::constitution::Constitution;
use rlaif::jobs::{self, Alone, Done, Job, Model, Served, Shard};
use rlaif::openai::{Client, Config};
use rlaif::run::{JobSettings, JudgeSource, Settings, fingerprint, load_helpful_only};
use rlaif::training::Progress;
use serde_json::json;
use std::path::{Path, PathBuf};
use toml::Table;

/// What both stages take.
#[derive(Debug, Clone, Args)]
struct StageArgs {
    /// File of records to write; while the job is under way it is FILE.part.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Settings file (TOML): `seed`, `constitution`, `flow`, `server`, `critique_revision`, `ai_feedback`.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Change one setting, such as `server.concurrency=256`; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Seed of every random stream.
    #[arg(long)]
    seed: Option<u32>,
    /// Constitution (TOML) [default: the general one].
    #[arg(long, value_name = "FILE")]
    constitution: Option<PathBuf>,
    /// Work on one of N parts of the items, told by a hash of each; `rlaif merge` joins the parts.
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    #[command(flatten)]
    device: DeviceArgs,
}

/// `rlaif revise`.
#[derive(Debug, Clone, Args)]
pub(super) struct ReviseArgs {
    /// Prompts: JSON lines (also `.jsonl.gz`), `.csv` or `.parquet`.
    #[arg(long, value_name = "FILE")]
    prompts: PathBuf,
    /// The address of an OpenAI-compatible server, a Hugging Face folder, or its name on the hub, OWNER/NAME.
    #[arg(long, value_name = "URL|FOLDER|NAME")]
    model: String,
    /// Name of the model on its server [default: the only one that it has].
    #[arg(long, value_name = "NAME")]
    model_name: Option<String>,
    #[command(flatten)]
    stage: StageArgs,
}

/// `rlaif label`.
#[derive(Debug, Clone, Args)]
pub(super) struct LabelArgs {
    /// Pairs of replies: JSON lines, CSV or Parquet with `prompt` and `replies`, or `chosen` and `rejected`; or hh-rlhf.
    #[arg(long, value_name = "FILE")]
    pairs: PathBuf,
    /// The address of an OpenAI-compatible server, a Hugging Face folder, or its name on the hub, OWNER/NAME.
    #[arg(long, value_name = "URL|FOLDER|NAME")]
    judge: String,
    /// Name of the judge on its server [default: the only one that it has].
    #[arg(long, value_name = "NAME")]
    judge_model: Option<String>,
    #[command(flatten)]
    stage: StageArgs,
}

/// `rlaif merge`.
#[derive(Debug, Clone, Args)]
pub(super) struct MergeArgs {
    /// The files of all shards, each with its FILE.job beside it.
    #[arg(required = true, value_name = "PART")]
    parts: Vec<PathBuf>,
    /// File to write: that of the job in one, byte for byte.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// What is done with the items.
#[derive(Debug, Clone, Copy)]
enum What {
    Revise,
    Label,
}

/// Criticises and revises replies to all prompts of a file.
pub(super) fn revise(args: ReviseArgs) -> Result<(), Failure> {
    let ReviseArgs { prompts, model, model_name, stage } = args;
    stage.run(What::Revise, prompts, model, model_name)
}

/// Labels all pairs of a file.
pub(super) fn label(args: LabelArgs) -> Result<(), Failure> {
    let LabelArgs { pairs, judge, judge_model, stage } = args;
    stage.run(What::Label, pairs, judge, judge_model)
}

/// Joins the shards of a job.
pub(super) fn merge(args: &MergeArgs) -> Result<(), Failure> {
    let merged = jobs::merge(&args.parts, &args.out)?;
    say(&format!(
        "{} records of {} parts in {}\n",
        merged.records,
        merged.parts,
        args.out.display()
    ))
}

impl StageArgs {
    fn run(
        self,
        what: What,
        input: PathBuf,
        model: String,
        name: Option<String>,
    ) -> Result<(), Failure> {
        let source = JudgeSource::from(model);
        let defaults = match source {
            JudgeSource::Server(_) => JobSettings::served(),
            JudgeSource::Folder(_) => JobSettings::local(),
        };
        let settings = defaults.with_layers(&self.layers()?)?;
        let constitution = settings.read_constitution()?;
        let job = Job {
            input,
            out: self.out,
            shard: self.shard,
            seed: settings.seed,
            flow: settings.flow.clone(),
        };
        let work = Work { what, job, settings, constitution };
        match source {
            JudgeSource::Server(url) => {
                let client = client(&url, name, &work.settings.server)?;
                work.by(&Served::new(client, &work.settings.server))
            }
            JudgeSource::Folder(_) if name.is_some() => {
                Err("the name of a model is given, but no server that would have it".into())
            }
            JudgeSource::Folder(model) => {
                let device = self.device.device;
                device.run(ByFolder { model, device, work })
            }
        }
    }

    /// The settings that the file and the flags stand for.
    fn layers(&self) -> Result<Vec<(String, Table)>, Failure> {
        let mut layers = Vec::new();
        if let Some(path) = &self.config {
            layers.push(Settings::layer_from_file(path)?);
        }
        let mut table = Table::new();
        if let Some(seed) = self.seed {
            insert(&mut table, "seed", i64::from(seed).into());
        }
        if let Some(path) = &self.constitution {
            insert(&mut table, "constitution", path.to_string_lossy().into_owned().into());
        }
        add_set(&mut table, &self.set)?;
        layers.push(("command line".to_owned(), table));
        Ok(layers)
    }
}

/// A client of a server that is there and has the model.
fn client(url: &str, name: Option<String>, config: &Config) -> Result<Client, Failure> {
    let client = match name {
        Some(name) => Client::with_config(url, name, config.clone())?,
        None => Client::of_only_model(url, config.clone())?,
    };
    client.warnings().iter().for_each(|warning| warn(warning));
    client.check()?;
    Ok(client)
}

/// A job that waits for its model.
struct Work {
    what: What,
    job: Job,
    settings: JobSettings,
    constitution: Constitution,
}

impl Work {
    fn by(&self, model: &dyn Model) -> Result<(), Failure> {
        let Self { job, settings, constitution, .. } = self;
        let mut progress = Progress::new();
        let done = match self.what {
            What::Revise => {
                let config = &settings.critique_revision;
                jobs::revise(job, model, constitution, config, &mut progress)?
            }
            What::Label => {
                jobs::label(job, model, constitution, &settings.ai_feedback, &mut progress)?
            }
        };
        say(&summary(&done, &job.out))
    }
}

fn summary(done: &Done, out: &Path) -> String {
    let before = match done.before {
        0 => String::new(),
        before => format!(", {before} of them were there before"),
    };
    let duplicates = match done.duplicates {
        0 => String::new(),
        rows => format!("; {rows} rows repeat others and were left out"),
    };
    format!("{} records in {}{before}{duplicates}\n", done.records, out.display())
}

/// A model of a folder does the work.
struct ByFolder {
    model: PathBuf,
    device: Device,
    work: Work,
}

impl Task for ByFolder {
    fn run<B: AutodiffBackend>(self, device: &B::Device) -> Result<(), Failure> {
        let folder = fetch(&self.model)?;
        let about = json!({ "sha256": fingerprint(&folder)?, "device": self.device.name() });
        let model = load_helpful_only::<B::InnerBackend>(Some(folder.as_path()), device)?;
        self.work.by(&Alone::new(model, about))
    }
}
