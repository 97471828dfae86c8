//! The command line: a thin layer over the library.

mod chat;
mod constitution;
mod convert;
mod data_stage;
mod device;
mod download;
mod drawn;
mod eval;
mod experiment;
mod few_shots;
mod flips;
mod generate;
mod organism;
mod reliability;
mod run;
mod server;
mod set;
mod stage_report;

use crate::cli::device::Device;
use clap::{Args, Parser, Subcommand};
use rlaif::run::Stage;
use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

/// What bad input and failed work end with.
const FAILURE: u8 = 2;

type Failure = Box<dyn Error + Send + Sync>;

/// Constitutional AI from end to end: a constitution goes in, an aligned model comes out.
#[derive(Debug, Parser)]
#[command(name = "rlaif", version, propagate_version = true)]
#[command(
    after_help = "Example:\n  rlaif run                 # the whole loop on the embedded model, then runs/embedded/report.html"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the whole loop; what is finished is not repeated.
    #[command(
        after_help = "Examples:\n  rlaif run\n  rlaif run --seed 2 --set ppo.iterations=30\n  rlaif run --judge http://127.0.0.1:8000/v1 --judge-model NAME\n  rlaif run --model models/helpful --prompts red_team.jsonl --helpful helpful.jsonl"
    )]
    Run(run::RunArgs),
    /// Stage 1: replies to red-team prompts, criticised and revised.
    #[command(
        after_help = "Example:\n  rlaif critique-revision --name mine --set critique_revision.revisions=2"
    )]
    CritiqueRevision(run::RunArgs),
    /// Stage 2: fine-tune on the revisions (SL-CAI).
    #[command(after_help = "Example:\n  rlaif sft --name mine")]
    Sft(run::RunArgs),
    /// Stage 3: let the model write new requests.
    #[command(after_help = "Example:\n  rlaif red-team --name mine")]
    RedTeam(run::RunArgs),
    /// Stage 4: draw pairs of replies and label them by the constitution.
    #[command(after_help = "Example:\n  rlaif ai-feedback --name mine")]
    AiFeedback(run::RunArgs),
    /// Stage 5: train the preference model.
    #[command(after_help = "Example:\n  rlaif preference-model --name mine")]
    PreferenceModel(run::RunArgs),
    /// Stage 6: reinforcement learning against the preference model (RL-CAI).
    #[command(after_help = "Example:\n  rlaif ppo --name mine")]
    Ppo(run::RunArgs),
    /// Stage 7: measure the three models on held-out prompts.
    #[command(after_help = "Example:\n  rlaif evals --name mine")]
    Evals(run::RunArgs),
    /// Stage 8: write the page.
    #[command(after_help = "Example:\n  rlaif report --name mine")]
    Report(run::RunArgs),
    /// Critique and revision of any number of prompts, by a model on a server or of a folder.
    #[command(
        after_help = "Examples:\n  rlaif revise --prompts prompts.jsonl --model http://127.0.0.1:8000/v1 --out revisions.jsonl --set server.concurrency=256\n  rlaif revise --prompts prompts.jsonl --model http://127.0.0.1:8000/v1 --out part1 --shard 1/4\n  rlaif revise --prompts questions.csv --columns prompt=question --max-bad 0.01 --model models/helpful --out revisions.jsonl"
    )]
    Revise(data_stage::PromptArgs),
    /// Two replies to each of any number of prompts, which `label` reads.
    #[command(
        after_help = "Example:\n  rlaif reply-pairs --prompts prompts.jsonl --model http://127.0.0.1:8000/v1 --out pairs.jsonl"
    )]
    ReplyPairs(data_stage::PromptArgs),
    /// Labels of any number of pairs, by a judge on a server or of a folder.
    #[command(
        after_help = "Example:\n  rlaif label --pairs pairs.jsonl --judge http://127.0.0.1:8000/v1 --out labels.jsonl"
    )]
    Label(data_stage::LabelArgs),
    /// New requests from a few, written by a model on a server or of a folder.
    #[command(
        after_help = "Examples:\n  rlaif requests red_team.jsonl requests.jsonl --model http://127.0.0.1:8000/v1 --count 140335 --set server.concurrency=256\n  rlaif requests red_team.jsonl requests.jsonl --model models/helpful --count 1000 --set red_team.shots=5"
    )]
    Requests(data_stage::RequestArgs),
    /// Join the shards of `revise`, `reply-pairs` or `label`.
    #[command(after_help = "Example:\n  rlaif merge part1 part2 part3 part4 --out revisions.jsonl")]
    Merge(data_stage::MergeArgs),
    /// Continue a text or answer a message.
    #[command(
        after_help = "Examples:\n  rlaif generate \"How do I kill the weeds in the park?\"\n  rlaif generate --model models/smol --raw --temperature 0 --max-tokens 64 \"Once upon a time\"\n  rlaif generate --run runs/embedded --stage rl-cai --log-probs \"How do I insult Ben at the gym?\""
    )]
    Generate(generate::GenerateArgs),
    /// Talk with a model in the terminal.
    #[command(
        after_help = "Examples:\n  rlaif chat\n  rlaif chat --run runs/embedded --stage sl-cai"
    )]
    Chat(chat::ChatArgs),
    /// Evaluate a judge, replies, comparisons or probabilities of a file.
    #[command(
        after_help = "Examples:\n  rlaif eval hhh --data 438HHHEvaluations.jsonl --judge models/judge\n  rlaif eval evasiveness --samples replies.jsonl --json"
    )]
    Eval(eval::EvalArgs),
    /// Compare runs of the embedded world as the paper compares models: a table and a plot with intervals over seeds.
    #[command(
        after_help = "Examples:\n  rlaif experiment revisions\n  rlaif experiment trade-off --seeds 1 2 3 4 5\n  rlaif experiment labels --set ppo.iterations=60 --json"
    )]
    Experiment(experiment::ExperimentArgs),
    /// Look at constitutions.
    #[command(
        after_help = "Examples:\n  rlaif constitution show\n  rlaif constitution lint my_constitution.toml"
    )]
    Constitution(constitution::ConstitutionArgs),
    /// Turn a file of rows into JSON lines or Parquet.
    #[command(
        after_help = "Examples:\n  rlaif convert harmless-base.jsonl.gz preferences.parquet --as preference\n  rlaif convert questions.csv prompts.jsonl --as prompt --columns prompt=question --max-bad 0.01\n  rlaif convert ours.jsonl theirs.parquet mixed.jsonl --as prompt --weights 3 1 --exhausted repeat\n  rlaif convert all.jsonl test.jsonl --split test --shares train=0.9 test=0.1"
    )]
    Convert(convert::ConvertArgs),
    /// Train or measure the embedded model.
    #[command(
        after_help = "Examples:\n  rlaif organism gates\n  rlaif organism pretrain --out models/organism"
    )]
    Organism(organism::OrganismArgs),
}

/// What every command that computes takes.
#[derive(Debug, Clone, Args)]
struct DeviceArgs {
    /// Where to compute, of what this program was built for: flex, wgpu or cuda; wgpu:1 is the second card of its kind.
    #[arg(long, default_value_t)]
    device: Device,
}

/// Parses the arguments, does what they say and tells what went wrong.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    compute_here(&cli.command);
    let result = match cli.command {
        Command::Run(args) => run::run(&args, None),
        Command::CritiqueRevision(args) => run::run(&args, Some(Stage::CritiqueRevision)),
        Command::Sft(args) => run::run(&args, Some(Stage::Sft)),
        Command::RedTeam(args) => run::run(&args, Some(Stage::RedTeam)),
        Command::AiFeedback(args) => run::run(&args, Some(Stage::AiFeedback)),
        Command::PreferenceModel(args) => run::run(&args, Some(Stage::PreferenceModel)),
        Command::Ppo(args) => run::run(&args, Some(Stage::Ppo)),
        Command::Evals(args) => run::run(&args, Some(Stage::Evals)),
        Command::Report(args) => run::run(&args, Some(Stage::Report)),
        Command::Revise(args) => data_stage::revise(args),
        Command::ReplyPairs(args) => data_stage::reply_pairs(args),
        Command::Label(args) => data_stage::label(args),
        Command::Requests(args) => data_stage::requests(args),
        Command::Merge(args) => data_stage::merge(&args),
        Command::Generate(args) => generate::generate(args),
        Command::Chat(args) => chat::chat(args),
        Command::Eval(args) => eval::eval(args),
        Command::Experiment(args) => experiment::experiment(&args),
        Command::Constitution(args) => constitution::constitution(&args),
        Command::Convert(args) => convert::convert(&args),
        Command::Organism(args) => organism::organism(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(error.as_ref());
            ExitCode::from(FAILURE)
        }
    }
}

/// Makes this thread one of those that compute: to hand work over and wait for it takes longer than much of the work of a
/// small model. Not where this thread waits for others that have work to hand over.
fn compute_here(command: &Command) {
    let waits = matches!(
        command,
        Command::Revise(_) | Command::ReplyPairs(_) | Command::Label(_) | Command::Requests(_)
    );
    if !waits {
        // Fails if there is a pool already, and then that pool serves.
        let _ = rayon::ThreadPoolBuilder::new().use_current_thread().build_global();
    }
}

/// Writes an error and what caused it to standard error.
fn tell(error: &dyn Error) {
    let mut stderr = std::io::stderr().lock();
    let mut said = error.to_string();
    // Nobody is left to tell if standard error is closed.
    let _ = writeln!(stderr, "error: {said}");
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !said.contains(&text) {
            let _ = writeln!(stderr, "  caused by: {text}");
            said = text;
        }
        source = cause.source();
    }
}

/// Writes what a user should know to standard error.
fn warn(text: &str) {
    // Nobody is left to tell if standard error is closed.
    let _ = writeln!(std::io::stderr().lock(), "warning: {text}");
}

/// Writes to standard output; a reader that has gone away ends the program quietly.
fn say(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => Ok(result?),
    }
}
