//! Whether a model says what its user wants to hear.

use super::models::{Asking, JudgeArgs, ModelArgs, ReplyArgs, at_a_time};
use super::watch::Watch;
use super::{row_of_left_out, say_json, with_fields};
use crate::cli::{Failure, say};
use clap::Args;
use rlaif::evals::{Sycophancy, SycophancyItem, read_sycophancy_items, sycophancy};
use rlaif::openai::Config;
use serde_json::{Map, Value, json};
use std::fmt::{Display, Write as _};
use std::path::PathBuf;

/// Items, who is probed, and who compares feedback.
#[derive(Debug, Clone, Args)]
pub(super) struct SycophancyArgs {
    /// The items.
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    judge: JudgeArgs,
    #[command(flatten)]
    reply: ReplyArgs,
}

impl SycophancyArgs {
    pub(super) fn run(&self, json: bool, server: &Config) -> Result<(), Failure> {
        let items = read_sycophancy_items(&self.data)?;
        let feedback = items.iter().any(|item| matches!(item, SycophancyItem::Feedback(_)));
        if feedback && self.judge.judge.is_none() {
            return Err(format!(
                "{}: the items of `feedback` need a `--judge`, who compares feedback",
                self.data.display()
            )
            .into());
        }
        let (sampling, seed) = (self.reply.sampling()?, self.reply.seed);
        let asking = Asking { device: self.reply.device.device, server, kept: false };
        let watch = Watch::start("sycophancy", calls(&items))?;
        let mut found = None;
        self.model.open(asking, "give `--model`, which is probed", |model| {
            let model = watch.model("model", model, at_a_time(self.model.model.as_ref(), server));
            if !feedback {
                // Nobody is asked to judge.
                found = Some(sycophancy(&model, &model, &items, &sampling, seed)?);
                return Ok(());
            }
            self.judge.open(asking, "give `--judge`", |judge| {
                let size = at_a_time(self.judge.judge.as_ref(), server);
                let judge = watch.model("judge", judge, size);
                found = Some(sycophancy(&model, &judge, &items, &sampling, seed)?);
                Ok(())
            })
        })?;
        watch.finish()?;
        found.map_or(Ok(()), |found| tell(&found, items.len(), json))
    }
}

/// Prompts that items come to at most.
fn calls(items: &[SycophancyItem]) -> usize {
    let of = |item: &SycophancyItem| match item {
        // Five pieces of feedback, four of which are compared with the first in both orders.
        SycophancyItem::Feedback(_) => 5 + 4 * 2,
        SycophancyItem::AreYouSure(_) => 3,
        SycophancyItem::Answer(_) => 4,
        SycophancyItem::Mimicry(_) => 1,
    };
    items.iter().map(of).sum()
}

fn tell(found: &Sycophancy, n: usize, json: bool) -> Result<(), Failure> {
    if json {
        let object = json!({ "eval": "sycophancy", "n": n });
        return say_json(&with_fields(object, &with_intervals(found)?)?);
    }
    say(&table(found))
}

/// Every measure with `interval` beside its ends.
fn with_intervals(found: &Sycophancy) -> Result<Value, Failure> {
    let mut object = serde_json::to_value(found)?;
    for probe in object.as_object_mut().into_iter().flat_map(Map::values_mut) {
        for measure in probe.as_object_mut().into_iter().flat_map(Map::values_mut) {
            if measure.is_object() {
                measure["interval"] = json!([measure["low"], measure["high"]]);
            }
        }
    }
    Ok(object)
}

fn table(found: &Sycophancy) -> String {
    let mut text = String::new();
    let mut row = |name: &str, measure: &dyn Display| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<48}{measure}");
    };
    if let Some(found) = &found.feedback {
        row("feedback: favour if the user likes the text", &found.liked);
        row("feedback: favour if the user dislikes it", &found.disliked);
        row("feedback: favour if the user wrote it", &found.own);
        row("feedback: favour if somebody else wrote it", &found.foreign);
        row("feedback: sway by liking", &found.by_liking);
        row("feedback: sway by author", &found.by_author);
    }
    let none = "no right answer to doubt";
    if let Some(found) = &found.are_you_sure {
        row("are you sure: right before the doubt", &found.before);
        row("are you sure: right after it", &found.after);
        row("are you sure: answers changed", &found.changed);
        for (name, rate) in [
            ("are you sure: right answers given up", found.given_up),
            ("are you sure: mistakes admitted that were none", found.admits_mistake),
        ] {
            match rate {
                Some(rate) => row(name, &rate),
                None => row(name, &none),
            }
        }
    }
    if let Some(found) = &found.answer {
        row("answer: right if the user says nothing", &found.baseline);
        row("answer: right if the user believes in it", &found.right_suggested);
        row("answer: right if the user doubts it", &found.right_denied);
        row("answer: right if the user believes in another", &found.wrong_suggested);
        row("answer: sway", &found.sway);
    }
    if let Some(found) = &found.mimicry {
        row("mimicry: mistakes repeated", &found.repeated);
        row("mimicry: mistakes corrected", &found.corrected);
    }
    text + &row_of_left_out(found.refused, "items were refused")
}
