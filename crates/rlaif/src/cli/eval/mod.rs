//! `rlaif eval`: one evaluation, as a table or one JSON object.

mod aligned;
mod calibration;
mod columns;
mod diversity;
mod elo;
mod evasiveness;
mod harmfulness;
mod models;
mod over_refusal;
mod questions;
mod stand_ins;
mod sycophancy;
mod watch;

use super::server::ServerArgs;
use super::{Failure, say};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::Value;
use std::path::Path;

/// `rlaif eval`.
#[derive(Debug, Clone, Args)]
pub(super) struct EvalArgs {
    #[command(subcommand)]
    command: EvalCommand,
    /// Print one JSON object.
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Clone, Subcommand)]
enum EvalCommand {
    /// Which of two replies is more helpful, honest and harmless (438 questions in the paper).
    #[command(
        after_help = "Examples:\n  rlaif eval hhh --data 438HHHEvaluations.jsonl --judge models/judge\n  rlaif eval hhh --data 438HHHEvaluations.jsonl --judge models/judge --by chain-of-thought --samples 5 --shots 4\n  rlaif eval hhh --data 438HHHEvaluations.jsonl --judge runs/embedded/preference_model/model --by preference-model\n  rlaif eval hhh --data 438HHHEvaluations.jsonl --judge constant:A"
    )]
    Hhh(questions::QuestionArgs),
    /// Whether the assistant of a conversation was harmful or ethical (254 questions in the paper).
    #[command(
        after_help = "Example:\n  rlaif eval harm --data HarmfulVsEthical.jsonl --judge http://127.0.0.1:8000/v1 --set server.concurrency=32"
    )]
    Harm(questions::QuestionArgs),
    /// In which of nine ways a conversation was harmful (287 questions in the paper).
    #[command(
        after_help = "Example:\n  rlaif eval harm-type --data HarmfulnessClassification.jsonl --judge oracle"
    )]
    HarmType(questions::QuestionArgs),
    /// The share of replies that say next to nothing.
    #[command(after_help = "Example:\n  rlaif eval evasiveness --samples PALMS_HHRLHF.jsonl")]
    Evasiveness(evasiveness::EvasivenessArgs),
    /// Safe prompts that are refused and unsafe ones that are answered (`XSTest`).
    #[command(
        after_help = "Examples:\n  rlaif eval over-refusal --data xstest_prompts.csv --model models/mine\n  rlaif eval over-refusal --data xstest_prompts.csv --replies replies.jsonl --judge http://127.0.0.1:8000/v1\n\nA row of replies is {\"id\": ID or \"prompt\": TEXT, \"reply\": TEXT}."
    )]
    OverRefusal(over_refusal::OverRefusalArgs),
    /// Win rates and ratings of models, from comparisons or by a judge of their replies.
    #[command(
        after_help = "Examples:\n  rlaif eval elo --comparisons games.jsonl --anchor sl_cai\n  rlaif eval elo --replies sl_cai=sl.jsonl --replies rl_cai=rl.jsonl --judge models/judge --save games.jsonl\n\nA row of comparisons is {\"first\": NAME, \"second\": NAME, \"winner\": \"first\", \"second\" or \"tie\"}, or has counts: `wins`, `losses`, `ties`; `prompt` may say what was answered. A row of replies is {\"prompt\": TEXT, \"reply\": TEXT}."
    )]
    Elo(elo::EloArgs),
    /// How far probabilities can be taken at their word.
    #[command(
        after_help = "Examples:\n  rlaif eval calibration --labels forecasts.jsonl\n  rlaif eval calibration --labels labels.jsonl --truth pairs.jsonl\n  rlaif eval calibration --labels labels.jsonl.report.json\n\nA row of forecasts has `probability`, and `outcome`: 1 if it came true, 0 if not, or a share."
    )]
    Calibration(calibration::CalibrationArgs),
    /// How harmful replies are, from 0 to 4, at temperatures 1 and 0.
    #[command(
        after_help = "Example:\n  rlaif eval harmfulness --prompts held_out.jsonl --model models/mine --head models/harmfulness --save replies.jsonl"
    )]
    Harmfulness(harmfulness::HarmfulnessArgs),
    /// Fit the head that `harmfulness` scores with to dialogues that people rated from 0 to 4.
    #[command(
        after_help = "Example:\n  rlaif eval harmfulness-head --ratings red_team_attempts.jsonl --model models/base --out models/harmfulness\n\nA row is {\"transcript\": TEXT or \"messages\": LIST, \"rating\": 0 to 4}."
    )]
    HarmfulnessHead(harmfulness::HeadArgs),
    /// Whether a model says what its user wants to hear.
    #[command(
        after_help = "Example:\n  rlaif eval sycophancy --data items.jsonl --model models/mine\n\nA row is one of\n  {\"probe\": \"feedback\", \"kind\": \"poem\", \"text\": TEXT}\n  {\"probe\": \"are_you_sure\", \"question\": TEXT, \"options\": [TEXT, …], \"correct\": TEXT}\n  {\"probe\": \"answer\", \"question\": TEXT, \"options\": [TEXT, …], \"correct\": TEXT, \"mistaken\": TEXT}\n  {\"probe\": \"mimicry\", \"request\": TEXT, \"mistaken\": TEXT, \"correct\": TEXT}"
    )]
    Sycophancy(sycophancy::SycophancyArgs),
    /// How long and how varied replies are.
    #[command(after_help = "Example:\n  rlaif eval diversity --replies PALMS_RLMADISON.jsonl")]
    Diversity(diversity::DiversityArgs),
}

/// Runs one evaluation.
pub(super) fn eval(args: EvalArgs) -> Result<(), Failure> {
    let json = args.json;
    let server = &args.server.resolve()?;
    match args.command {
        EvalCommand::Hhh(args) => args.run("hhh", 2, json, server),
        EvalCommand::Harm(args) => args.run("harm", 2, json, server),
        EvalCommand::HarmType(args) => args.run("harm-type", 9, json, server),
        EvalCommand::Evasiveness(args) => args.run(json),
        EvalCommand::OverRefusal(args) => args.run(json, server),
        EvalCommand::Elo(args) => args.run(json, server),
        EvalCommand::Calibration(args) => args.run(json),
        EvalCommand::Harmfulness(args) => args.run(json, server),
        EvalCommand::HarmfulnessHead(args) => args.run(json),
        EvalCommand::Sycophancy(args) => args.run(json, server),
        EvalCommand::Diversity(args) => args.run(json),
    }
}

fn nothing(file: &Path) -> Failure {
    format!("{}: no row to evaluate", file.display()).into()
}

/// A row of a table: how many were left out, if any were, and why.
fn row_of_left_out(count: usize, why: &str) -> String {
    match count {
        0 => String::new(),
        count => format!("\n{count} {why}; they are in none of the figures above\n"),
    }
}

fn say_json(value: &Value) -> Result<(), Failure> {
    say(&format!("{value}\n"))
}

/// The fields of a record behind those of an object.
fn with_fields(mut object: Value, record: &impl Serialize) -> Result<Value, Failure> {
    if let (Some(fields), Value::Object(more)) =
        (object.as_object_mut(), serde_json::to_value(record)?)
    {
        fields.extend(more);
    }
    Ok(object)
}
