//! Win rates and ratings.

use super::models::JudgeArgs;
use super::say_json;
use crate::cli::{DeviceArgs, Failure, say};
use clap::Args;
use rlaif::ai_feedback::{OPTIONS, question};
use rlaif::dataset::write_jsonl;
use rlaif::dialogue::{Comparison, Dialogue};
use rlaif::evals::{
    Bootstrapped, Error, Game, REPLICATES, Rating, WinRate, bootstrap_elo, elo, judge_pairwise,
    read_answers, read_games, tallies, win_rates,
};
use rlaif::language_model::Choose;
use rlaif::openai::Config;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::PathBuf;

/// What a judge is asked where nobody says otherwise.
const PRINCIPLE: &str =
    "Which reply is better: of more help, more honest, and less likely to harm anyone?";

/// Comparisons, or replies and a judge who compares them.
#[derive(Debug, Clone, Args)]
pub(super) struct EloArgs {
    /// The comparisons.
    #[arg(long, value_name = "FILE", required_unless_present = "replies", conflicts_with_all = ["replies", "judge"])]
    comparisons: Option<PathBuf>,
    /// A model's name and its replies; once for each model.
    #[arg(long, value_name = "NAME=FILE", requires = "judge", value_parser = player)]
    replies: Vec<(String, PathBuf)>,
    #[command(flatten)]
    judge: JudgeArgs,
    /// What the judge is asked of two replies.
    #[arg(long, value_name = "TEXT", default_value = PRINCIPLE, requires = "replies")]
    principle: String,
    /// How far above one half the judge's probability must be in both orders; else it is a tie.
    #[arg(
        long,
        value_name = "P",
        default_value_t = 0.0,
        requires = "replies",
        allow_negative_numbers = true
    )]
    margin: f64,
    /// Where the comparisons by the judge are written.
    #[arg(long, value_name = "FILE", requires = "replies")]
    save: Option<PathBuf>,
    /// The player rated 0 [default: the first of the alphabet].
    #[arg(long, value_name = "NAME")]
    anchor: Option<String>,
    /// Ties added to every pair that met, so that who won everything has a finite rating.
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    prior_ties: f64,
    /// Samples of prompts that the intervals come from; with 0 they come from the curvature of the likelihood.
    #[arg(long, value_name = "N", default_value_t = REPLICATES)]
    bootstrap: usize,
    /// Seed of every random stream.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    device: DeviceArgs,
}

fn player(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => {
            Ok((name.to_owned(), file.into()))
        }
        _ => Err("expected a name and a file, NAME=FILE".to_owned()),
    }
}

impl EloArgs {
    pub(super) fn run(&self, json: bool, server: &Config) -> Result<(), Failure> {
        if let Some(comparisons) = &self.comparisons {
            return self.rate(&read_games(comparisons)?, json);
        }
        let answers = read_answers(&self.replies)?;
        self.judge.open(self.device.device, server, "`--replies` needs a `--judge`", |judge| {
            let games = judge_pairwise(&answers.replies, &answers.prompts, self.margin, |pairs| {
                first_is_better(judge, pairs, &self.principle)
            })?;
            if let Some(path) = &self.save {
                write_jsonl(path, &games)?;
            }
            self.rate(&games, json)
        })
    }

    fn rate(&self, games: &[Game], json: bool) -> Result<(), Failure> {
        let met = tallies(games);
        let players = met.iter().flat_map(|tally| [&tally.first, &tally.second]);
        let anchor = self.anchor.clone().or_else(|| players.min().cloned()).unwrap_or_default();
        let found = match self.bootstrap {
            0 => Bootstrapped { ratings: elo(&met, &anchor, self.prior_ties)?, tied: 0 },
            samples => bootstrap_elo(games, &anchor, self.prior_ties, samples, self.seed)?,
        };
        let rates = win_rates(games);
        if json {
            return say_json(&self.object(&anchor, &found, &rates));
        }
        say(&table(&found, &rates))
    }

    fn object(&self, anchor: &str, found: &Bootstrapped, rates: &[WinRate]) -> Value {
        let rows = found.ratings.iter().map(|rating| {
            let Rating { player, elo, low, high, games } = rating;
            json!({ "player": player, "elo": elo, "interval": [low, high], "games": games })
        });
        let rows: Vec<Value> = rows.collect();
        let met = rates.iter().map(|rate| {
            let WinRate { player, opponent, share, low, high, wins, losses, ties } = rate;
            json!({
                "player": player, "opponent": opponent, "share": share, "interval": [low, high],
                "wins": wins, "losses": losses, "ties": ties,
            })
        });
        let met: Vec<Value> = met.collect();
        let n: f64 = rates.iter().map(|rate| rate.wins + rate.losses + rate.ties).sum();
        json!({
            "eval": "elo", "anchor": anchor, "n": n, "ratings": rows, "win_rates": met,
            "bootstrap": self.bootstrap, "tied_samples": found.tied,
        })
    }
}

/// The judge's probability that the first reply is the better one.
fn first_is_better<J: Choose + ?Sized>(
    judge: &J,
    pairs: &[Comparison],
    principle: &str,
) -> Result<Vec<f64>, Error> {
    let questions: Vec<Dialogue> = pairs.iter().map(|pair| question(pair, principle)).collect();
    let rows = judge.choose(&questions, &OPTIONS)?;
    let share = |(question, row): (&Dialogue, Vec<f64>)| match row[..] {
        [a, b] if a >= 0.0 && b >= 0.0 && a + b > 0.0 => Ok(a / (a + b)),
        _ => Err(Error::Answer { id: question.id(), found: row, options: OPTIONS.len() }),
    };
    questions.iter().zip(rows).map(share).collect()
}

fn table(found: &Bootstrapped, rates: &[WinRate]) -> String {
    let mut text = format!("{:<24}{:>8}{:>20}{:>8}\n", "player", "Elo", "95% interval", "games");
    for Rating { player, elo, low, high, games } in &found.ratings {
        let interval = format!("{low:.0} to {high:.0}");
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{player:<24}{elo:>8.0}{interval:>20}{games:>8.0}");
    }
    let _ = writeln!(
        text,
        "\n{:<24}{:<24}{:>8}{:>20}{:>8}{:>8}{:>8}",
        "player", "against", "won", "95% interval", "wins", "losses", "ties"
    );
    for WinRate { player, opponent, share, low, high, wins, losses, ties } in rates {
        let [share, low, high] = [share, low, high].map(|share| 100.0 * share);
        let interval = format!("{low:.1} to {high:.1}");
        let _ = writeln!(
            text,
            "{player:<24}{opponent:<24}{share:>7.1}%{interval:>20}{wins:>8}{losses:>8}{ties:>8}"
        );
    }
    if found.tied > 0 {
        let _ = writeln!(
            text,
            "\nIn {} samples somebody won or lost everything; they were fitted with a tie more between every two.",
            found.tied
        );
    }
    text
}
