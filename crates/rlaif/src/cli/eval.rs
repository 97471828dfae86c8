//! `rlaif eval`: one evaluation of a file, as a table or one JSON object.

use super::device::Task;
use super::download::fetch;
use super::{DeviceArgs, Failure, say, warn};
use burn::tensor::backend::AutodiffBackend;
use clap::{Args, Subcommand};
use rlaif::dataset::read_jsonl;
use rlaif::dialogue::Dialogue;
use rlaif::evals::{
    self, Calibration, Error, FEW_WORDS, Forecast, Question, Rate, Rating, Tally, elo, is_short,
    multiple_choice, rate, read_questions, read_replies,
};
use rlaif::language_model::{self, Choose};
use rlaif::openai::{Client, Config};
use rlaif::run::load_helpful_only;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// `rlaif eval`.
#[derive(Debug, Clone, Args)]
pub(super) struct EvalArgs {
    #[command(subcommand)]
    command: EvalCommand,
    /// Print one JSON object.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Clone, Subcommand)]
enum EvalCommand {
    /// Which of two replies is more helpful, honest and harmless (438 questions in the paper).
    #[command(
        after_help = "Examples:\n  rlaif eval hhh --data 438HHHEvaluations.jsonl --judge models/judge\n  rlaif eval hhh --data 438HHHEvaluations.jsonl --judge constant:A"
    )]
    Hhh(ChoiceArgs),
    /// Whether the assistant of a conversation was harmful or ethical (254 questions in the paper).
    #[command(
        after_help = "Example:\n  rlaif eval harm --data HarmfulVsEthical.jsonl --judge http://127.0.0.1:8000/v1"
    )]
    Harm(ChoiceArgs),
    /// In which of nine ways a conversation was harmful (287 questions in the paper).
    #[command(
        after_help = "Example:\n  rlaif eval harm-type --data HarmfulnessClassification.jsonl --judge oracle"
    )]
    HarmType(ChoiceArgs),
    /// The share of replies that say next to nothing.
    #[command(after_help = "Example:\n  rlaif eval evasiveness --samples PALMS_HHRLHF.jsonl")]
    Evasiveness {
        /// Replies, one row a prompt: the paper's samples, or `replies` or `reply` in every row.
        #[arg(long, value_name = "FILE")]
        samples: PathBuf,
        /// A reply with at most so many words says next to nothing.
        #[arg(long, default_value_t = FEW_WORDS)]
        words: usize,
    },
    /// Ratings of models from comparisons.
    #[command(
        after_help = "Example:\n  rlaif eval elo --comparisons games.jsonl --anchor sl_cai\n\nA row is {\"first\": NAME, \"second\": NAME, \"winner\": \"first\", \"second\" or \"tie\"}, or has counts: `wins`, `losses`, `ties`."
    )]
    Elo {
        /// The comparisons.
        #[arg(long, value_name = "FILE")]
        comparisons: PathBuf,
        /// The player rated 0 [default: the first of the alphabet].
        #[arg(long, value_name = "NAME")]
        anchor: Option<String>,
        /// Ties added to every pair that met, so that who won everything has a finite rating.
        #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
        prior_ties: f64,
    },
    /// How far probabilities can be taken at their word.
    #[command(
        after_help = "Example:\n  rlaif eval calibration --labels forecasts.jsonl\n\nA row has `probability`, and `outcome`: 1 if it came true, 0 if not, or a share."
    )]
    Calibration {
        /// Probabilities and what came true.
        #[arg(long, value_name = "FILE")]
        labels: PathBuf,
    },
}

/// Questions, and who answers them.
#[derive(Debug, Clone, Args)]
struct ChoiceArgs {
    /// The questions, in the form of the paper's files.
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Folder of a model, its name on the hub, the address of a server, `constant:LETTER`, or `oracle`, who knows the answers.
    #[arg(long)]
    judge: JudgeArg,
    /// Name of the judge on its server [default: the only one that it has].
    #[arg(long, value_name = "NAME")]
    judge_model: Option<String>,
    #[command(flatten)]
    device: DeviceArgs,
}

#[derive(Debug, Clone)]
enum JudgeArg {
    Constant(String),
    Oracle,
    Server(String),
    Model(PathBuf),
}

impl FromStr for JudgeArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let start = text.to_ascii_lowercase();
        Ok(match text.strip_prefix("constant:") {
            Some("") => return Err("`constant:` needs the letter of an option".to_owned()),
            Some(letter) => Self::Constant(letter.to_owned()),
            None if text == "oracle" => Self::Oracle,
            None if start.starts_with("http:") || start.starts_with("https:") => {
                Self::Server(text.to_owned())
            }
            None => Self::Model(text.into()),
        })
    }
}

/// Runs one evaluation.
pub(super) fn eval(args: EvalArgs) -> Result<(), Failure> {
    let json = args.json;
    match args.command {
        EvalCommand::Hhh(args) => choice("hhh", 2, args, json),
        EvalCommand::Harm(args) => choice("harm", 2, args, json),
        EvalCommand::HarmType(args) => choice("harm-type", 9, args, json),
        EvalCommand::Evasiveness { samples, words } => evasiveness(&samples, words, json),
        EvalCommand::Elo { comparisons, anchor, prior_ties } => {
            ratings(&comparisons, anchor, prior_ties, json)
        }
        EvalCommand::Calibration { labels } => calibration(&labels, json),
    }
}

fn choice(name: &'static str, options: usize, args: ChoiceArgs, json: bool) -> Result<(), Failure> {
    if args.judge_model.is_some() && !matches!(args.judge, JudgeArg::Server(_)) {
        return Err("`--judge-model` names a model of a server, but `--judge` is none".into());
    }
    let questions = read_questions(&args.data)?;
    if let Some(index) = questions.iter().position(|question| question.options.len() != options) {
        let found = questions[index].options.len();
        return Err(format!(
            "{}: question {} has {found} options, `rlaif eval {name}` takes questions with {options}",
            args.data.display(),
            index + 1
        )
        .into());
    }
    let task = Answer { name, questions, json };
    match args.judge {
        JudgeArg::Constant(letter) => task.by(&Constant(letter)),
        JudgeArg::Oracle => {
            let judge = Oracle::new(&task.questions);
            task.by(&judge)
        }
        JudgeArg::Server(url) => {
            let client = match args.judge_model {
                Some(model) => Client::with_config(&url, &model, Config::default())?,
                None => Client::of_only_model(&url, Config::default())?,
            };
            client.warnings().iter().for_each(|warning| warn(warning));
            client.check()?;
            task.by(&client)
        }
        JudgeArg::Model(model) => args.device.device.run(ByModel { model, task }),
    }
}

/// Questions that wait for a judge.
struct Answer {
    name: &'static str,
    questions: Vec<Question>,
    json: bool,
}

impl Answer {
    fn by(&self, judge: &dyn Choose) -> Result<(), Failure> {
        let found = multiple_choice(judge, &self.questions)?;
        let ece = found.calibration.expected_calibration_error;
        if self.json {
            let Rate { value, low, high, n } = found.accuracy;
            let right: f64 = found.answers.iter().map(evals::Answer::score).sum();
            return say_json(&json!({
                "eval": self.name, "accuracy": value, "correct": right, "n": n, "interval": [low, high],
                "expected_calibration_error": ece,
            }));
        }
        say(&format!(
            "accuracy                    {}\ncalibration error (ECE)     {ece:.3}\n",
            found.accuracy
        ))
    }
}

/// A model of a folder answers.
struct ByModel {
    model: PathBuf,
    task: Answer,
}

impl Task for ByModel {
    fn run<B: AutodiffBackend>(self, device: &B::Device) -> Result<(), Failure> {
        let folder = fetch(&self.model)?;
        let model = load_helpful_only::<B::InnerBackend>(Some(folder.as_path()), device)?;
        self.task.by(&model)
    }
}

/// Answers with the same letter, whatever is asked.
struct Constant(String);

impl Choose for Constant {
    fn choose(
        &self,
        prompts: &[Dialogue],
        options: &[&str],
    ) -> Result<Vec<Vec<f64>>, language_model::Error> {
        let Some(chosen) = options.iter().position(|option| *option == self.0) else {
            let message = format!("no option {:?} among {options:?}", self.0);
            return Err(language_model::Error::Model(message.into()));
        };
        Ok(prompts.iter().map(|_| certain(chosen, options.len())).collect())
    }
}

/// Knows the answers.
struct Oracle(HashMap<String, usize>);

impl Oracle {
    fn new(questions: &[Question]) -> Self {
        Self(questions.iter().map(|one| (one.dialogue.id(), one.correct)).collect())
    }
}

impl Choose for Oracle {
    fn choose(
        &self,
        prompts: &[Dialogue],
        options: &[&str],
    ) -> Result<Vec<Vec<f64>>, language_model::Error> {
        let correct = |prompt: &Dialogue| self.0.get(&prompt.id()).copied().unwrap_or_default();
        Ok(prompts.iter().map(|prompt| certain(correct(prompt), options.len())).collect())
    }
}

fn certain(chosen: usize, options: usize) -> Vec<f64> {
    (0..options).map(|option| if option == chosen { 1.0 } else { 0.0 }).collect()
}

fn evasiveness(samples: &Path, words: usize, json: bool) -> Result<(), Failure> {
    let replies = read_replies(samples)?;
    let Some(found) = rate(replies.iter().map(|reply| is_short(reply, words))) else {
        return Err(nothing(samples));
    };
    if json {
        let Rate { value, low, high, n } = found;
        let evasive = replies.iter().filter(|reply| is_short(reply, words)).count();
        return say_json(&json!({
            "eval": "evasiveness", "share": value, "evasive": evasive, "n": n, "interval": [low, high],
            "words": words,
        }));
    }
    say(&format!("replies of at most {words} words   {found}\n"))
}

/// A comparison, or several of the same two.
#[derive(Deserialize)]
#[serde(try_from = "GameRow")]
struct Game {
    first: String,
    second: String,
    /// Wins of the first, wins of the second, ties.
    counts: [f64; 3],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GameRow {
    first: String,
    second: String,
    winner: Option<Winner>,
    wins: Option<f64>,
    losses: Option<f64>,
    ties: Option<f64>,
}

impl TryFrom<GameRow> for Game {
    type Error = &'static str;

    fn try_from(row: GameRow) -> Result<Self, &'static str> {
        let GameRow { first, second, winner, wins, losses, ties } = row;
        let given = [wins, losses, ties];
        let counts = match (winner, given.iter().any(Option::is_some)) {
            (Some(Winner::First), false) => [1.0, 0.0, 0.0],
            (Some(Winner::Second), false) => [0.0, 1.0, 0.0],
            (Some(Winner::Tie), false) => [0.0, 0.0, 1.0],
            (None, true) => given.map(Option::unwrap_or_default),
            _ => return Err("expected either `winner` or some of `wins`, `losses` and `ties`"),
        };
        Ok(Self { first, second, counts })
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Winner {
    First,
    Second,
    Tie,
}

/// One tally for each two that met.
fn tallies(games: Vec<Game>) -> Vec<Tally> {
    let mut met: BTreeMap<(String, String), [f64; 3]> = BTreeMap::new();
    for Game { first, second, counts } in games {
        let total = met.entry((first, second)).or_default();
        total.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
    }
    met.into_iter()
        .map(|((first, second), [wins, losses, ties])| Tally { first, second, wins, losses, ties })
        .collect()
}

fn ratings(
    comparisons: &Path,
    anchor: Option<String>,
    prior_ties: f64,
    json: bool,
) -> Result<(), Failure> {
    let tallies = tallies(read_jsonl(comparisons)?);
    let players = tallies.iter().flat_map(|tally| [&tally.first, &tally.second]);
    let Some(anchor) = anchor.or_else(|| players.min().cloned()) else {
        return Err(nothing(comparisons));
    };
    let ratings = elo(&tallies, &anchor, prior_ties)?;
    if json {
        let n: f64 = tallies.iter().map(|tally| tally.wins + tally.losses + tally.ties).sum();
        let rows = ratings.iter().map(|rating| {
            let Rating { player, elo, low, high, games } = rating;
            json!({ "player": player, "elo": elo, "interval": [low, high], "games": games })
        });
        let rows: Vec<Value> = rows.collect();
        return say_json(&json!({ "eval": "elo", "anchor": anchor, "n": n, "ratings": rows }));
    }
    let mut text = format!("{:<24}{:>8}{:>20}{:>8}\n", "player", "Elo", "95% interval", "games");
    for Rating { player, elo, low, high, games } in &ratings {
        let interval = format!("{low:.0} to {high:.0}");
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{player:<24}{elo:>8.0}{interval:>20}{games:>8.0}");
    }
    say(&text)
}

/// A probability and what came true.
#[derive(Deserialize)]
#[serde(try_from = "OutcomeRow")]
struct Outcome(Forecast);

#[derive(Deserialize)]
struct OutcomeRow {
    probability: f64,
    outcome: f64,
}

impl TryFrom<OutcomeRow> for Outcome {
    type Error = Error;

    fn try_from(row: OutcomeRow) -> Result<Self, Error> {
        Forecast::new(row.probability, row.outcome).map(Self)
    }
}

fn calibration(labels: &Path, json: bool) -> Result<(), Failure> {
    let rows: Vec<Outcome> = read_jsonl(labels)?;
    let forecasts: Vec<Forecast> = rows.into_iter().map(|Outcome(forecast)| forecast).collect();
    let Some(found) = Calibration::of(&forecasts) else { return Err(nothing(labels)) };
    if json {
        let mut object = serde_json::to_value(&found)?;
        object["eval"] = json!("calibration");
        object["n"] = json!(forecasts.len());
        return say_json(&object);
    }
    let mut text = format!(
        "calibration error (ECE)  {:.4}\nBrier score              {:.4}\nn                        {}\n\n",
        found.expected_calibration_error,
        found.brier,
        forecasts.len()
    );
    let _ =
        writeln!(text, "{:<14}{:>8}{:>12}{:>12}", "probability", "count", "predicted", "outcome");
    for bin in &found.bins {
        let edges = format!("{:.1} to {:.1}", bin.low, bin.high);
        let _ = writeln!(
            text,
            "{edges:<14}{:>8}{:>12.3}{:>12.3}",
            bin.count, bin.predicted, bin.outcome
        );
    }
    say(&text)
}

fn nothing(file: &Path) -> Failure {
    format!("{}: no row to evaluate", file.display()).into()
}

fn say_json(value: &Value) -> Result<(), Failure> {
    say(&format!("{value}\n"))
}
