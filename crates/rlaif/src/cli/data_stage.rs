//! `rlaif revise`, `rlaif reply-pairs`, `rlaif label`, `rlaif requests` and `rlaif merge`: data stages over any number of
//! prompts.

use super::convert::pair;
use super::device::{Device, Task};
use super::download::fetch;
use super::server::client;
use super::set::{add_set, insert};
use super::stage_report::{ending, merged};
use super::{DeviceArgs, Failure, say};
use burn::tensor::backend::AutodiffBackend;
use clap::Args;
use rlaif::jobs::{self, Alone, Job, Model, Prepared, Served, Shard};
use rlaif::run::{JobSettings, JudgeSource, Settings, fingerprint, load_helpful_only};
use rlaif::training::Progress;
use serde_json::json;
use std::path::PathBuf;
use toml::Table;

/// What all stages take.
#[derive(Debug, Clone, Args)]
struct StageArgs {
    /// Settings file (TOML): `seed`, `constitution`, `columns`, `rejected_share`, `failed_share`, `flow`, `server`,
    /// `critique_revision`, `ai_feedback`, `red_team`.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Change one setting, such as `server.concurrency=256`; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Seed of every random stream.
    #[arg(long)]
    seed: Option<u32>,
    /// Constitution: a TOML file, `general` or `world` [default: the general one].
    #[arg(long, value_name = "FILE|NAME")]
    constitution: Option<PathBuf>,
    /// Which columns of the input hold what, such as `prompt=question`, with dots into objects; `format=hh_rlhf` names a
    /// format.
    #[arg(long, value_name = "KEY=NAME", num_args = 1..)]
    columns: Vec<String>,
    /// Highest share of bad rows, which are left out and go to OUT.rejects.jsonl [default: 0, the first is an error].
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    max_bad: Option<f64>,
    /// Highest share of items that the model may refuse for good, which go to OUT.failures.jsonl [default: 0.1].
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    max_failed: Option<f64>,
    /// Ask once more for the items that have failed, and where OUT is finished also for those whose records were lost.
    #[arg(long)]
    retry_failed: bool,
    /// Work on one of N parts of the items, told by a hash of each; `rlaif merge` joins the parts.
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    #[command(flatten)]
    device: DeviceArgs,
}

/// `rlaif revise` and `rlaif reply-pairs`.
#[derive(Debug, Clone, Args)]
pub(super) struct PromptArgs {
    /// Prompts: JSON lines (also `.jsonl.gz`), `.csv` or `.parquet`.
    #[arg(long, value_name = "FILE")]
    prompts: PathBuf,
    /// The address of an OpenAI-compatible server, a Hugging Face folder, or its name on the hub, OWNER/NAME.
    #[arg(long, value_name = "URL|FOLDER|NAME")]
    model: String,
    /// Name of the model on its server [default: the only one that it has].
    #[arg(long, value_name = "NAME")]
    model_name: Option<String>,
    /// File of records to write; while the job is under way it is FILE.part.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    stage: StageArgs,
}

/// `rlaif requests`.
#[derive(Debug, Clone, Args)]
pub(super) struct RequestArgs {
    /// Prompts to draw examples from: JSON lines (also `.jsonl.gz`), `.csv` or `.parquet`. What each begins with is shown.
    seeds: PathBuf,
    /// File of requests to write; while the job is under way OUT.part holds what the model said.
    out: PathBuf,
    /// The address of an OpenAI-compatible server, a Hugging Face folder, or its name on the hub, OWNER/NAME.
    #[arg(long, value_name = "URL|FOLDER|NAME")]
    model: String,
    /// Name of the model on its server [default: the only one that it has].
    #[arg(long, value_name = "NAME")]
    model_name: Option<String>,
    /// Requests to find.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// Lists that the model continues at most [default: as many as requests].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_calls: Option<u32>,
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
    /// File of records to write; while the job is under way it is FILE.part.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
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
    ReplyPairs,
    Label,
    Requests,
}

/// What is done by whom, and where the records go.
#[derive(Debug)]
struct Work {
    what: What,
    input: PathBuf,
    out: PathBuf,
    model: String,
    /// Of the model on its server.
    name: Option<String>,
}

/// Criticises and revises replies to all prompts of a file.
pub(super) fn revise(args: PromptArgs) -> Result<(), Failure> {
    args.run(What::Revise)
}

/// Draws two replies to all prompts of a file.
pub(super) fn reply_pairs(args: PromptArgs) -> Result<(), Failure> {
    args.run(What::ReplyPairs)
}

impl PromptArgs {
    fn run(self, what: What) -> Result<(), Failure> {
        let Self { prompts: input, model, model_name: name, out, stage } = self;
        stage.run(Work { what, input, out, model, name })
    }
}

/// Lets a model write new requests.
pub(super) fn requests(args: RequestArgs) -> Result<(), Failure> {
    let RequestArgs { seeds: input, out, model, model_name: name, count, max_calls, stage } = args;
    let layer = |flag: &str, settings: &[(&str, u32)]| {
        let mut table = Table::new();
        for (key, number) in settings {
            insert(&mut table, key, i64::from(*number).into());
        }
        (flag.to_owned(), table)
    };
    // A settings file may say otherwise.
    let mut layers = vec![layer("--count", &[("red_team.max_calls", count)])];
    layers.extend(stage.layers()?);
    layers.push(layer("--count", &[("red_team.requests", count)]));
    if let Some(most) = max_calls {
        layers.push(layer("--max-calls", &[("red_team.max_calls", most)]));
    }
    stage.run_with(Work { what: What::Requests, input, out, model, name }, &layers)
}

/// Labels all pairs of a file.
pub(super) fn label(args: LabelArgs) -> Result<(), Failure> {
    let LabelArgs { pairs: input, judge: model, judge_model: name, out, stage } = args;
    stage.run(Work { what: What::Label, input, out, model, name })
}

/// Joins the shards of a job.
pub(super) fn merge(args: &MergeArgs) -> Result<(), Failure> {
    say(&merged(&jobs::merge(&args.parts, &args.out)?, &args.out))
}

impl StageArgs {
    fn run(self, work: Work) -> Result<(), Failure> {
        let layers = self.layers()?;
        self.run_with(work, &layers)
    }

    fn run_with(self, work: Work, layers: &[(String, Table)]) -> Result<(), Failure> {
        let Work { what, input, out, model, name } = work;
        let source = JudgeSource::from(model);
        if name.is_some() && source.folder().is_some() {
            return Err("the name of a model is given, but no server that would have it".into());
        }
        let defaults = match source {
            JudgeSource::Server(_) => JobSettings::served(),
            JudgeSource::Folder(_) => JobSettings::local(),
        };
        let settings = defaults.with_layers(layers)?;
        let constitution = settings.read_constitution()?;
        let (shard, retry_failed) = (self.shard, self.retry_failed);
        let job = Job { shard, retry_failed, ..settings.job(&input, &out) };
        // Whatever is wrong with the input shows before a model is waited for.
        let prepared = match what {
            What::Revise => jobs::revise(job, constitution, settings.critique_revision)?,
            What::ReplyPairs => jobs::reply_pairs(job, settings.critique_revision.reply)?,
            What::Label => jobs::label(job, constitution, settings.ai_feedback)?,
            What::Requests => jobs::requests(job, settings.red_team)?,
        };
        match source {
            JudgeSource::Server(url) => {
                let client = client(&url, name.as_deref(), &settings.server)?;
                finish(&prepared, &Served::new(client, &settings.server))
            }
            JudgeSource::Folder(model) => {
                let device = self.device.device;
                device.run(ByFolder { model, device, prepared })
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
        for text in &self.columns {
            let (key, name) = pair("--columns", text)?;
            insert(&mut table, &format!("columns.{key}"), name.into());
        }
        for (key, share) in [("rejected_share", self.max_bad), ("failed_share", self.max_failed)] {
            if let Some(share) = share {
                insert(&mut table, key, share.into());
            }
        }
        add_set(&mut table, &self.set)?;
        layers.push(("command line".to_owned(), table));
        Ok(layers)
    }
}

/// Does a job and tells what came of it.
fn finish(prepared: &Prepared, model: &dyn Model) -> Result<(), Failure> {
    let done = prepared.run(model, &mut Progress::new())?;
    say(&ending(&done, prepared.job()))
}

/// A model of a folder does the work.
struct ByFolder {
    model: PathBuf,
    device: Device,
    prepared: Prepared,
}

impl Task for ByFolder {
    fn run<B: AutodiffBackend>(self, device: &B::Device) -> Result<(), Failure> {
        let folder = fetch(&self.model)?;
        let about = json!({ "sha256": fingerprint(&folder)?, "device": self.device.name() });
        let model = load_helpful_only::<B::InnerBackend>(Some(folder.as_path()), device)?;
        finish(&self.prepared, &Alone::new(model, about))
    }
}
