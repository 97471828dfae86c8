//! `rlaif experiment`.

use super::device::Task;
use super::set::add_set;
use super::{DeviceArgs, Failure, say};
use burn::tensor::backend::AutodiffBackend;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use rlaif::experiments::{Experiment, Plan};
use rlaif::training::Progress;
use std::path::PathBuf;
use toml::Table;

/// What decides an experiment.
#[derive(Debug, Args)]
pub(super) struct ExperimentArgs {
    /// What is compared.
    #[arg(value_parser = PossibleValuesParser::new(Experiment::ALL.map(Experiment::name))
        .try_map(|name| name.parse::<Experiment>()))]
    name: Experiment,
    /// Seeds of the runs, at least three; intervals are over them.
    #[arg(long, num_args = 1.., default_values_t = [1_u32, 2, 3], value_name = "SEED")]
    seeds: Vec<u32>,
    /// Folder that holds the runs; those of experiments are in `experiments` under it.
    #[arg(long, default_value = "runs")]
    runs: PathBuf,
    /// Change one setting of all runs, such as `ppo.iterations=30`; may be repeated. What arms differ in is refused.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print one JSON object with every number of every run.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Does the runs that are missing, measures all, prints a table and draws a plot.
pub(super) fn experiment(args: &ExperimentArgs) -> Result<(), Failure> {
    let mut table = Table::new();
    add_set(&mut table, &args.set)?;
    let layers = [("command line".to_owned(), table)];
    let plan = Plan::new(args.name, &args.runs, &args.seeds, &layers)?;
    let device = args.device.device;
    device.run(Work { plan: &plan, device: device.name() })?;
    let found = args.name.findings(plan.observe()?, args.command());
    let plot = plan.write(&found)?;
    if args.json {
        return say(&format!("{}\n", serde_json::to_string_pretty(&found)?));
    }
    say(&format!("{}\nThe plot is {}\n", found.table(), plot.display()))
}

/// The runs of an experiment.
struct Work<'a> {
    plan: &'a Plan,
    device: &'static str,
}

impl Task for Work<'_> {
    fn run<B: AutodiffBackend>(self, device: &B::Device) -> Result<(), Failure> {
        Ok(self.plan.run_all::<B>(device, self.device, &mut Progress::new())?)
    }
}

impl ExperimentArgs {
    /// The command that repeats the experiment, wherever its runs are.
    fn command(&self) -> String {
        let mut words = vec!["rlaif experiment".to_owned(), self.name.to_string()];
        words.push("--seeds".to_owned());
        words.extend(self.seeds.iter().map(u32::to_string));
        words.extend(self.set.iter().map(|set| format!("--set {}", quoted(set))));
        words.join(" ")
    }
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._=-/,".contains(letter);
    if word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: ExperimentArgs,
    }

    fn parse(line: &str) -> Result<ExperimentArgs, clap::Error> {
        let words = std::iter::once("experiment").chain(line.split_whitespace());
        Ok(Line::try_parse_from(words)?.args)
    }

    #[test]
    fn the_command_repeats_the_experiment() {
        let args = parse("labels --set ppo.iterations=30 --set judge='a`b'").unwrap();
        assert_eq!(
            args.command(),
            "rlaif experiment labels --seeds 1 2 3 --set ppo.iterations=30 --set 'judge='\\''a`b'\\'''"
        );
        let args = parse("trade-off --seeds 4 5 6 7 --json").unwrap();
        assert_eq!(args.command(), "rlaif experiment trade-off --seeds 4 5 6 7");
    }

    #[test]
    fn other_names_are_refused() {
        let message = parse("label").unwrap_err().to_string();
        assert!(message.contains("chain-of-thought"), "{message}");
    }
}
