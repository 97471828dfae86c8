//! Replies that say next to nothing.

use super::columns::ColumnArgs;
use super::{nothing, row_of_left_out, say_json};
use crate::cli::{Failure, say};
use clap::Args;
use rlaif::evals::{FEW_WORDS, Rate, RepliesByPrompt, is_short, rate_by_prompt, read_replies};
use serde_json::json;
use std::path::PathBuf;

/// Replies and a bound.
#[derive(Debug, Clone, Args)]
pub(super) struct EvasivenessArgs {
    /// Replies, one row a prompt: the paper's samples, or `replies` or `reply` in every row.
    #[arg(long, value_name = "FILE")]
    samples: PathBuf,
    #[command(flatten)]
    columns: ColumnArgs,
    /// A reply with at most so many words says next to nothing.
    #[arg(long, default_value_t = FEW_WORDS)]
    words: usize,
}

impl EvasivenessArgs {
    pub(super) fn run(&self, json: bool) -> Result<(), Failure> {
        let RepliesByPrompt { prompts, refused } =
            read_replies(&self.samples, &self.columns.reading()?)?;
        let words = self.words;
        let short = |replies: &Vec<String>| -> Vec<bool> {
            replies.iter().map(|reply| is_short(reply, words)).collect()
        };
        let Some(found) = rate_by_prompt(prompts.iter().map(short)) else {
            return Err(nothing(&self.samples));
        };
        if json {
            let Rate { value, low, high, n } = found;
            let evasive = prompts.iter().flat_map(short).filter(|short| *short).count();
            return say_json(&json!({
                "eval": "evasiveness", "share": value, "evasive": evasive, "n": n, "prompts": prompts.len(),
                "interval": [low, high], "words": words, "refused": refused,
            }));
        }
        let refused = row_of_left_out(refused, "prompts were refused");
        say(&format!(
            "replies of at most {words} words   {found}, to {} prompts\n{refused}",
            prompts.len()
        ))
    }
}
