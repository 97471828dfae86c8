//! `rlaif run` and the stages.

use super::device::Task;
use super::download::fetch;
use super::set::{add_set, insert};
use super::{DeviceArgs, Failure, say, warn};
use burn::tensor::backend::AutodiffBackend;
use clap::Args;
use rlaif::report::table;
use rlaif::run::{
    Error, JudgeSource, RewardSource, RunFolder, Session, Settings, Stage, read_results,
    results_path,
};
use rlaif::training::Progress;
use std::path::PathBuf;
use std::time::Duration;
use toml::{Table, Value};

/// What decides a run.
#[derive(Debug, Clone, Args)]
pub(super) struct RunArgs {
    /// Settings file (TOML); the `run.toml` of any run shows the keys, but for those that are off.
    settings: Option<PathBuf>,
    /// Name of the run's folder [default: `embedded` or the name of the model's folder, with the seed unless it is 1].
    #[arg(long)]
    name: Option<String>,
    /// Folder that holds the runs.
    #[arg(long, default_value = "runs")]
    runs: PathBuf,
    /// Seed of every random stream.
    #[arg(long)]
    seed: Option<u32>,
    /// Hugging Face folder of the helpful-only model, or its name on the hub, OWNER/NAME [default: the embedded model].
    #[arg(long)]
    model: Option<PathBuf>,
    /// Model that labels pairs: a Hugging Face folder, its name on the hub, or the address of an OpenAI-compatible server
    /// such as `http://127.0.0.1:8000/v1`; its key, if any, is in `OPENAI_API_KEY` [default: the helpful-only model].
    #[arg(long, value_name = "FOLDER|NAME|URL")]
    judge: Option<PathBuf>,
    /// Name of the judge on its server [default: the only one that it has].
    #[arg(long, value_name = "NAME")]
    judge_model: Option<String>,
    /// Red-team prompts: JSON lines (also `.jsonl.gz`), `.csv` or `.parquet`.
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    /// Helpful prompts: JSON lines (also `.jsonl.gz`), `.csv` or `.parquet`.
    #[arg(long, value_name = "FILE")]
    helpful: Option<PathBuf>,
    /// Constitution: a TOML file, `general` or `world` [default: by the model].
    #[arg(long, value_name = "FILE|NAME")]
    constitution: Option<PathBuf>,
    /// Leave out prompts that are too long for the model instead of stopping.
    #[arg(long)]
    drop_overlong: bool,
    /// Change one setting, such as `ppo.iterations=30`; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Runs one stage, or all that are not finished.
pub(super) fn run(args: &RunArgs, stage: Option<Stage>) -> Result<(), Failure> {
    args.check()?;
    let mut layers = match &args.settings {
        Some(path) => vec![Settings::layer_from_file(path)?],
        None => Vec::new(),
    };
    layers.push(("command line".to_owned(), args.flags()?));
    let path = args.runs.join(args.folder_name(&layers));
    match (RunFolder::recorded(&path)?, stage) {
        // What is not asked for is as it was.
        (Some(recorded), _) => {
            layers.insert(0, (path.join("run.toml").display().to_string(), recorded));
        }
        (None, Some(stage)) => {
            if let Some(&needed) = stage.needs().first() {
                return Err(Error::NotReady { stage, needed, folder: path }.into());
            }
        }
        (None, None) => {}
    }
    let settings = Settings::resolve(&layers)?.with_judge_model()?;
    if let Some(judge) = settings.served_judge()? {
        judge.warnings().iter().for_each(|warning| warn(warning));
        let scores = settings.reward == RewardSource::Direct;
        let asks = |stage| stage == Stage::AiFeedback || (stage == Stage::Ppo && scores);
        let asked = match stage {
            Some(stage) => asks(stage),
            None => Stage::ALL
                .into_iter()
                .any(|stage| asks(stage) && !RunFolder::is_finished(&path, stage)),
        };
        if asked {
            judge.check()?;
        }
    }
    let judge = settings.judge.as_ref().and_then(JudgeSource::folder);
    for model in settings.model.as_deref().into_iter().chain(judge) {
        fetch(model)?;
    }
    let device = args.device.device;
    // What is wrong with the input must show before a folder is made.
    let check = Check { settings: settings.clone(), folder: path.clone() };
    device.run(check)?;
    let folder = RunFolder::open(&path, &settings, device.name())?;
    device.run(Work { settings, folder, stage })
}

/// Reads all input.
struct Check {
    settings: Settings,
    folder: PathBuf,
}

impl Task for Check {
    fn run<B: AutodiffBackend>(self, device: &B::Device) -> Result<(), Failure> {
        Ok(Session::<B>::check(&self.settings, &self.folder, device)?)
    }
}

/// A run, ready to begin.
struct Work {
    settings: Settings,
    folder: RunFolder,
    stage: Option<Stage>,
}

impl Task for Work {
    fn run<B: AutodiffBackend>(self, device: &B::Device) -> Result<(), Failure> {
        let session = Session::<B>::new(self.settings, self.folder, device.clone())?;
        let mut progress = Progress::new();
        match self.stage {
            Some(stage) => session.run(stage, &mut progress)?,
            None => session.run_all(&mut progress)?,
        }
        let shows_table = matches!(self.stage, None | Some(Stage::Evals));
        if shows_table { summary(session.folder()) } else { Ok(()) }
    }
}

/// Prints the table of the three models, and where everything is.
fn summary(folder: &RunFolder) -> Result<(), Failure> {
    let results = read_results(folder.path())?;
    say(&table(&results))?;
    let mut seconds = 0.0;
    for stage in Stage::ALL {
        seconds += folder.seconds(stage)?.unwrap_or_default();
    }
    let took = indicatif::FormattedDuration(Duration::from_secs_f64(seconds));
    let report = folder.path().join("report.html");
    if report.exists() {
        say(&format!("\nThe stages took {took}. The report is {}\n", report.display()))
    } else {
        say(&format!(
            "\nThe stages took {took}. The results are in {}\n",
            results_path(folder.path()).display()
        ))
    }
}

impl RunArgs {
    /// Refuses a name that is none.
    fn check(&self) -> Result<(), Error> {
        match &self.name {
            Some(name)
                if name.is_empty() || name.contains(['/', '\\']) || name.starts_with('.') =>
            {
                Err(Error::Settings {
                    source_name: "--name".to_owned(),
                    message: format!(
                        "{name:?} is no name for a folder; --runs says where runs are kept"
                    ),
                })
            }
            _ => Ok(()),
        }
    }

    /// The settings that the flags stand for.
    fn flags(&self) -> Result<Table, Error> {
        let mut table = Table::new();
        let mut set = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                insert(&mut table, key, value);
            }
        };
        let path = |path: &Option<PathBuf>| {
            path.as_ref().map(|path| Value::from(path.to_string_lossy().into_owned()))
        };
        set("seed", self.seed.map(|seed| i64::from(seed).into()));
        set("model", path(&self.model));
        set("judge", path(&self.judge));
        set("judge_model", self.judge_model.clone().map(Value::from));
        set("constitution", path(&self.constitution));
        set("prompts.red_team", path(&self.prompts));
        set("prompts.helpful", path(&self.helpful));
        set("prompts.overlong", self.drop_overlong.then(|| "drop".into()));
        add_set(&mut table, &self.set)?;
        Ok(table)
    }

    /// The name of the run's folder.
    fn folder_name(&self, layers: &[(String, Table)]) -> String {
        if let Some(name) = &self.name {
            return name.clone();
        }
        let last = |key: &str| layers.iter().rev().find_map(|(_, layer)| layer.get(key));
        let model = self.model.clone().or_else(|| Some(last("model")?.as_str()?.into()));
        let model = model.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
        let seed = self.seed.map(i64::from).or_else(|| last("seed")?.as_integer()).unwrap_or(1);
        let name = model.unwrap_or_else(|| "embedded".to_owned());
        if seed == 1 { name } else { format!("{name}-seed{seed}") }
    }
}
