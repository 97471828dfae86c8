//! How long and how varied replies are.

use super::columns::ColumnArgs;
use super::{row_of_left_out, say_json, with_fields};
use crate::cli::{Failure, say};
use clap::Args;
use rlaif::evals::{Diversity, RepliesByPrompt, diversity, read_replies};
use serde_json::json;
use std::path::PathBuf;

/// Replies, and how many of them are measured.
#[derive(Debug, Clone, Args)]
pub(super) struct DiversityArgs {
    /// Replies, one row a prompt: the paper's samples, or `replies` or `reply` in every row.
    #[arg(long, value_name = "FILE")]
    replies: PathBuf,
    #[command(flatten)]
    columns: ColumnArgs,
    /// Measure so many of them, drawn by the seed, since only samples of one size can be compared [default: all].
    #[arg(long, value_name = "N")]
    sample: Option<usize>,
    /// Seed of every random stream.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl DiversityArgs {
    pub(super) fn run(&self, json: bool) -> Result<(), Failure> {
        let RepliesByPrompt { prompts, refused } =
            read_replies(&self.replies, &self.columns.reading()?)?;
        let found = diversity(&prompts, self.sample, self.seed)?;
        if json {
            let object = json!({
                "eval": "diversity", "mean_words": found.words.value,
                "interval": [found.words.low, found.words.high], "refused": refused,
            });
            return say_json(&with_fields(object, &found)?);
        }
        say(&(table(&found) + &row_of_left_out(refused, "prompts were refused")))
    }
}

fn table(found: &Diversity) -> String {
    let share = |share: Option<f64>| share.map_or("none".to_owned(), |share| format!("{share:.3}"));
    let [one, two, three] = found.distinct.map(share);
    format!(
        "replies           {}\nwords, mean       {}\nwords, median     {}\ndistinct-1        {one}\ndistinct-2        {two}\ndistinct-3        {three}\nself-BLEU         {}\n",
        found.n,
        found.words,
        found.median_words,
        share(found.self_bleu)
    )
}
