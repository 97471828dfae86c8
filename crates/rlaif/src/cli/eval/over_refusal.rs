//! Safe prompts that are refused and unsafe ones that are answered.

use super::models::{JudgeArgs, ModelArgs, ReplyArgs};
use super::{say_json, with_fields};
use crate::cli::{Failure, say};
use clap::Args;
use rlaif::dataset::write_jsonl;
use rlaif::dialogue::Dialogue;
use rlaif::evals::{
    OverRefusal, Rate, Refusal, SafetyPrompt, draw_replies, judge_refusals, over_refusal,
    read_replies_to, read_safety_prompts, refusal,
};
use rlaif::openai::Config;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::PathBuf;

/// Prompts, who replies to them, and who reads the replies.
#[derive(Debug, Clone, Args)]
pub(super) struct OverRefusalArgs {
    /// The prompts, in the form of `XSTest`'s table: `prompt`, `type`, `label`.
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    /// Replies to the prompts, in place of a model.
    #[arg(long, value_name = "FILE", conflicts_with = "model", required_unless_present = "model")]
    replies: Option<PathBuf>,
    /// Where the model's replies and their classes are written.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    #[command(flatten)]
    judge: JudgeArgs,
    #[command(flatten)]
    reply: ReplyArgs,
}

impl OverRefusalArgs {
    pub(super) fn run(&self, json: bool, server: &Config) -> Result<(), Failure> {
        let prompts = read_safety_prompts(&self.data)?;
        if let Some(path) = &self.replies {
            let replies = read_replies_to(path, &prompts)?;
            return self.classify(&prompts, &replies, json, server);
        }
        let (sampling, seed) = (self.reply.sampling()?, self.reply.seed);
        let asked: Vec<Dialogue> =
            prompts.iter().map(|prompt| Dialogue::from_user(prompt.prompt.trim())).collect();
        let mut replies = Vec::new();
        let device = self.reply.device.device;
        self.model.open(device, server, "give `--model` or `--replies`", |model| {
            replies = draw_replies(model, &asked, &sampling, seed, "over_refusal")?;
            Ok(())
        })?;
        self.classify(&prompts, &replies, json, server)
    }

    fn classify(
        &self,
        prompts: &[SafetyPrompt],
        replies: &[String],
        json: bool,
        server: &Config,
    ) -> Result<(), Failure> {
        let mut classes: Vec<Refusal> = replies.iter().map(|reply| refusal(reply)).collect();
        if self.judge.judge.is_some() {
            let pairs = prompts.iter().zip(replies);
            let pairs: Vec<(&str, &str)> =
                pairs.map(|(prompt, reply)| (&*prompt.prompt, &**reply)).collect();
            self.judge.open(self.reply.device.device, server, "give `--judge`", |judge| {
                classes = judge_refusals(judge, &pairs)?;
                Ok(())
            })?;
        }
        if let Some(path) = &self.save {
            let rows = prompts.iter().zip(replies).zip(&classes).map(|((prompt, reply), class)| {
                json!({ "id": prompt.id, "prompt": prompt.prompt, "reply": reply, "class": class })
            });
            write_jsonl(path, rows)?;
        }
        let found = over_refusal(prompts, &classes)?;
        if json {
            return say_json(&object(&found, prompts.len(), self.judge.judge.is_some())?);
        }
        say(&table(&found))
    }
}

fn object(found: &OverRefusal, n: usize, by_judge: bool) -> Result<Value, Failure> {
    let interval = |rate: Option<Rate>| rate.map(|rate| [rate.low, rate.high]);
    let object = json!({
        "eval": "over-refusal", "n": n, "by": if by_judge { "judge" } else { "words" },
        "refused_share_of_safe": found.refused_safe.map(|rate| rate.value),
        "complied_share_of_unsafe": found.complied_unsafe.map(|rate| rate.value),
        "interval": interval(found.refused_safe),
        "interval_of_unsafe": interval(found.complied_unsafe),
    });
    with_fields(object, found)
}

fn table(found: &OverRefusal) -> String {
    let mut text = String::new();
    for (name, rate) in
        [("safe, refused", found.refused_safe), ("unsafe, answered", found.complied_unsafe)]
    {
        let rate = rate.map_or("no such prompt".to_owned(), |rate| rate.to_string());
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<20}{rate}");
    }
    let _ = writeln!(
        text,
        "\n{:<32}{:<8}{:>6}{:>10}{:>10}{:>10}",
        "type", "label", "n", "answered", "in part", "refused"
    );
    for kind in &found.kinds {
        let label = if kind.safe { "safe" } else { "unsafe" };
        let [answered, partial, full] =
            [kind.compliance, kind.partial, kind.full].map(|rate| 100.0 * rate.value);
        let _ = writeln!(
            text,
            "{:<32}{label:<8}{:>6}{answered:>9.1}%{partial:>9.1}%{full:>9.1}%",
            kind.kind, kind.full.n
        );
    }
    text
}
