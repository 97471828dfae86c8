//! Absolute harmfulness, and the head that scores it.

use super::columns::ColumnArgs;
use super::models::{Asking, ModelArgs, at_a_time, with_reward};
use super::watch::Watch;
use super::{row_of_left_out, say_json, with_fields};
use crate::cli::device::Task;
use crate::cli::download::fetch;
use crate::cli::{DeviceArgs, Failure, say};
use burn::tensor::backend::AutodiffBackend;
use clap::Args;
use rlaif::dataset::{content_id, write_jsonl};
use rlaif::dialogue::Dialogue;
use rlaif::evals::{
    DrawnReplies, Harmfulness, HarmfulnessConfig, Rated, absolute_harmfulness,
    draw_for_harmfulness, read_rated,
};
use rlaif::jobs::{Basis, Model, Place};
use rlaif::openai::Config;
use rlaif::preference_model::{FittedRating, RatingConfig, RatingReport};
use rlaif::run::load_helpful_only;
use rlaif::training::{NoCheckpoints, Progress};
use serde_json::json;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Prompts, who replies, and what scores the replies.
#[derive(Debug, Clone, Args)]
pub(super) struct HarmfulnessArgs {
    /// Prompts: JSON lines (also `.jsonl.gz`), `.csv` or `.parquet`.
    #[arg(long, value_name = "FILE")]
    prompts: PathBuf,
    #[command(flatten)]
    columns: ColumnArgs,
    #[command(flatten)]
    model: ModelArgs,
    /// Folder of a head that `rlaif eval harmfulness-head` wrote.
    #[arg(long, value_name = "FOLDER")]
    head: PathBuf,
    /// Replies to each prompt at temperature 1.
    #[arg(long, value_name = "N", default_value_t = HarmfulnessConfig::default().replies)]
    replies: usize,
    /// Longest reply, in tokens.
    #[arg(long, value_name = "N", default_value_t = HarmfulnessConfig::default().max_tokens)]
    max_tokens: usize,
    /// Where the replies are written; until then those that were drawn are kept beside it, and a second call goes on.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Seed of every random stream.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    device: DeviceArgs,
}

impl HarmfulnessArgs {
    pub(super) fn run(&self, json: bool, server: &Config) -> Result<(), Failure> {
        if let Some(save) = &self.save {
            Place::check(save)?;
        }
        let prompts = self.prompts()?;
        let config = HarmfulnessConfig { replies: self.replies, max_tokens: self.max_tokens };
        config.validate()?;
        let device = self.device.device;
        let asking = Asking { device, server, kept: self.save.is_some() };
        // Each is drawn, and scored.
        let steps = 2 * prompts.len() * (config.replies + 1);
        let mut found = None;
        self.model.open(asking, "give `--model`, whose replies are scored", |model| {
            with_reward(&self.head, device, |head| {
                let place = self.place(&prompts, &config, model)?;
                let watch = Watch::start("harmfulness", steps)?.without_memory();
                let drawn = {
                    let size = at_a_time(self.model.model.as_ref(), server);
                    let model = watch.model("model", model, size);
                    draw_for_harmfulness(&model, &prompts, &config, self.seed)?
                };
                self.save(&prompts, &drawn)?;
                found = Some(absolute_harmfulness(&watch.head(head), &drawn, self.seed)?);
                watch.finish()?;
                Ok(place.map_or(Ok(()), Place::finish)?)
            })
        })?;
        found.map_or(Ok(()), |found| self.tell(&found, json))
    }

    /// The prompts, each once.
    fn prompts(&self) -> Result<Vec<Dialogue>, Failure> {
        let rows = self.columns.reading()?.prompts(&self.prompts)?;
        let mut prompts = rows.collect::<Result<Vec<Dialogue>, _>>()?;
        let mut seen = HashSet::new();
        prompts.retain(|prompt| seen.insert(prompt.id()));
        Ok(prompts)
    }

    /// Where the replies will be, if they are saved; until they are scored, what the model says is kept there.
    fn place(
        &self,
        prompts: &[Dialogue],
        config: &HarmfulnessConfig,
        model: &dyn Model,
    ) -> Result<Option<Place>, Failure> {
        let Some(path) = &self.save else { return Ok(None) };
        let basis = Basis {
            job: "harmfulness".to_owned(),
            seed: self.seed,
            model: json!({ "model": model.about() }),
            settings: json!(config),
            items: prompts.len() as u64,
            input: content_id(&json!(prompts)),
        };
        let mut place = Place::claim(path, basis)?;
        place.keep_answers(model, "model")?;
        Ok(Some(place))
    }

    fn save(&self, prompts: &[Dialogue], drawn: &[Option<DrawnReplies>]) -> Result<(), Failure> {
        let Some(path) = &self.save else { return Ok(()) };
        let rows = prompts.iter().zip(drawn).map(|(prompt, drawn)| {
            let (replies, greedy) = drawn.as_ref().map(|it| (&it.sampled, &it.greedy)).unzip();
            json!({ "prompt": prompt, "replies": replies, "greedy": greedy })
        });
        Ok(write_jsonl(path, rows)?)
    }

    fn tell(&self, found: &Harmfulness, json: bool) -> Result<(), Failure> {
        if json {
            let sampled = found.sampled;
            let object = json!({
                "eval": "harmfulness", "harmfulness": sampled.value, "n": sampled.n,
                "interval": [sampled.low, sampled.high], "replies": self.replies,
            });
            return say_json(&with_fields(object, found)?);
        }
        let left_out = [
            (found.refused, "prompts were refused"),
            (found.unscored_replies, "replies have no score"),
            (found.unscored_prompts, "prompts have too few scores"),
        ]
        .map(|(count, why)| row_of_left_out(count, why))
        .concat();
        say(&format!(
            "harmfulness, 0 to 4        prompts\nat temperature 1   {}\nat temperature 0   {}\n{left_out}",
            found.sampled, found.greedy
        ))
    }
}

/// Rated dialogues, and the model that a head is put on.
#[derive(Debug, Clone, Args)]
pub(super) struct HeadArgs {
    /// Dialogues with their ratings.
    #[arg(long, value_name = "FILE")]
    ratings: PathBuf,
    #[command(flatten)]
    columns: ColumnArgs,
    /// Folder of the language model that is fitted, or its name on the hub [default: the embedded model].
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// Where the fitted model is written: a folder that is not there yet.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Times that every dialogue is seen.
    #[arg(long, value_name = "N", default_value_t = RatingConfig::default().epochs)]
    epochs: u64,
    /// Highest learning rate.
    #[arg(long, value_name = "X", default_value_t = RatingConfig::default().optimizer.learning_rate)]
    learning_rate: f64,
    /// Share of the dialogues, at least one unless it is 0, that is not trained on and measures the head.
    #[arg(long, value_name = "SHARE", default_value_t = RatingConfig::default().held_out)]
    held_out: f64,
    /// Seed of every random stream.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    device: DeviceArgs,
}

impl HeadArgs {
    pub(super) fn run(self, json: bool) -> Result<(), Failure> {
        check_free(&self.out)?;
        let rated = read_rated(&self.ratings, &self.columns.reading()?)?;
        let mut config = RatingConfig {
            epochs: self.epochs,
            held_out: self.held_out,
            ..RatingConfig::default()
        };
        config.optimizer.learning_rate = self.learning_rate;
        config.validate()?;
        self.device.device.run(Fit { args: self, config, rated, json })
    }
}

/// Refuses a place where something is, before a head is fitted for it; an empty folder is free.
fn check_free(out: &Path) -> Result<(), Failure> {
    let free = match std::fs::read_dir(out) {
        Ok(mut entries) => entries.next().is_none(),
        Err(_) => !out.exists(),
    };
    if free {
        return Ok(());
    }
    let out = out.display();
    Err(format!("{out} exists already; choose another folder for `--out`, or remove it").into())
}

struct Fit {
    args: HeadArgs,
    config: RatingConfig,
    rated: Vec<Rated>,
    json: bool,
}

impl Task for Fit {
    fn run<B: AutodiffBackend>(self, device: &B::Device) -> Result<(), Failure> {
        let Self { args, config, rated, json } = self;
        let folder = args.model.as_deref().map(fetch).transpose()?;
        let base = load_helpful_only::<B>(folder.as_deref(), device)?;
        let (mut progress, mut states) = (Progress::new(), NoCheckpoints);
        let FittedRating { model, report } =
            config.fit(base, &rated, args.seed, &mut progress, &mut states)?;
        model.save(&args.out)?;
        tell(report, json)
    }
}

fn tell(report: Option<RatingReport>, json: bool) -> Result<(), Failure> {
    if json {
        let object = json!({ "eval": "harmfulness-head" });
        return say_json(&match report {
            Some(report) => with_fields(object, &report)?,
            None => with_fields(object, &json!({ "n": 0 }))?,
        });
    }
    let Some(report) = report else { return say("no dialogue was held out to measure the head\n") };
    let shown = |found: Option<f64>| found.map_or("none".to_owned(), |found| format!("{found:.3}"));
    say(&format!(
        "held-out dialogues     {}\nsquared error          {:.4}\n  of the mean rating   {:.4}\ncorrelation            {}\n  of ranks             {}\n",
        report.n,
        report.mean_squared_error,
        report.of_the_mean,
        shown(report.pearson),
        shown(report.spearman)
    ))
}
