//! Safe prompts that are refused and unsafe ones that are answered.

use super::models::{JudgeArgs, ModelArgs, ReplyArgs, at_a_time};
use super::watch::Watch;
use super::{forget, kept_for, row_of_refused, say_json, with_fields};
use crate::cli::{Failure, say};
use clap::Args;
use rlaif::ai_feedback::Judge;
use rlaif::dataset::write_jsonl;
use rlaif::dialogue::Dialogue;
use rlaif::evals::{
    OverRefusal, Rate, Refusal, SafetyPrompt, draw_replies, judge_refusals, over_refusal,
    read_replies_to, read_safety_prompts, refusal,
};
use rlaif::language_model::Sampling;
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
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["model", "model_name", "temperature", "max_tokens", "seed"],
        required_unless_present = "model"
    )]
    replies: Option<PathBuf>,
    /// Where the replies and their classes are written; until then what was drawn is kept beside it, and a second call goes
    /// on.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    #[command(flatten)]
    judge: JudgeArgs,
    #[command(flatten)]
    reply: ReplyArgs,
}

/// Replies to prompts, and what they are; none where one was refused.
struct Read {
    replies: Vec<Option<String>>,
    classes: Vec<Option<Refusal>>,
}

impl OverRefusalArgs {
    pub(super) fn run(&self, json: bool, server: &Config) -> Result<(), Failure> {
        let prompts = read_safety_prompts(&self.data)?;
        let given =
            self.replies.as_ref().map(|path| read_replies_to(path, &prompts)).transpose()?;
        let sampling = self.reply.sampling()?;
        let task = Task { args: self, prompts: &prompts, sampling: &sampling, server };
        let mut read = Read { replies: Vec::new(), classes: Vec::new() };
        if self.judge.judge.is_none() {
            read = task.read(given, None)?;
        } else {
            // A judge that cannot be asked is told of before anything is drawn.
            self.judge.open(self.reply.device.device, server, "give `--judge`", |judge| {
                read = task.read(given, Some(judge))?;
                Ok(())
            })?;
        }
        self.save(&prompts, &read)?;
        forget(self.save.as_deref());
        let found = over_refusal(&prompts, &read.classes)?;
        let refused = read.replies.iter().filter(|reply| reply.is_none()).count();
        if json {
            return say_json(&object(&found, prompts.len(), refused, self.judge.judge.is_some())?);
        }
        say(&table(&found, refused))
    }

    fn save(
        &self,
        prompts: &[SafetyPrompt],
        Read { replies, classes }: &Read,
    ) -> Result<(), Failure> {
        let Some(path) = &self.save else { return Ok(()) };
        let rows = prompts.iter().zip(replies).enumerate().map(|(place, (prompt, reply))| {
            let class = classes.get(place);
            json!({ "id": prompt.id, "prompt": prompt.prompt, "reply": reply, "class": class })
        });
        Ok(write_jsonl(path, rows)?)
    }
}

/// Prompts that wait for replies, or for somebody who reads them.
struct Task<'a> {
    args: &'a OverRefusalArgs,
    prompts: &'a [SafetyPrompt],
    sampling: &'a Sampling,
    server: &'a Config,
}

impl Task<'_> {
    /// Draws replies unless some are given, and reads them by words or with a judge.
    fn read(
        &self,
        given: Option<Vec<Option<String>>>,
        judge: Option<&dyn Judge>,
    ) -> Result<Read, Failure> {
        let by_words = |replies: &[Option<String>]| {
            replies.iter().map(|reply| reply.as_deref().map(refusal)).collect()
        };
        let (given, judge) = match (given, judge) {
            (Some(replies), None) => {
                let classes = by_words(&replies);
                return Ok(Read { replies, classes });
            }
            asked => asked,
        };
        let calls = usize::from(given.is_none()) + usize::from(judge.is_some());
        let kept = kept_for(self.args.save.as_deref(), &self.settings())?;
        let watch = Watch::start("over-refusal", calls * self.prompts.len(), kept)?;
        let replies = given.map_or_else(|| self.draw(&watch), Ok)?;
        let mut read = Read { replies, classes: Vec::new() };
        read.classes = match judge {
            Some(judge) => {
                // Whatever becomes of the judge, the replies are there to be read again.
                self.args.save(self.prompts, &read)?;
                self.judged(&watch, judge, &read.replies)?
            }
            None => by_words(&read.replies),
        };
        watch.finish()?;
        Ok(read)
    }

    fn draw(&self, watch: &Watch) -> Result<Vec<Option<String>>, Failure> {
        let Self { args, sampling, server, .. } = self;
        let asked: Vec<Dialogue> =
            self.prompts.iter().map(|prompt| Dialogue::from_user(prompt.prompt.trim())).collect();
        let mut replies = Vec::new();
        let without = "give `--model` or `--replies`";
        args.model.open(args.reply.device.device, server, without, |model| {
            let model = watch.model("model", model, at_a_time(args.model.model.as_ref(), server));
            replies = draw_replies(&model, &asked, sampling, args.reply.seed, "over_refusal")?;
            Ok(())
        })?;
        Ok(replies)
    }

    /// The classes by a judge of the replies that are there.
    fn judged(
        &self,
        watch: &Watch,
        judge: &dyn Judge,
        replies: &[Option<String>],
    ) -> Result<Vec<Option<Refusal>>, Failure> {
        let pairs = self.prompts.iter().zip(replies);
        let pairs: Vec<(&str, &str)> = pairs
            .filter_map(|(prompt, reply)| Some((&*prompt.prompt, reply.as_deref()?)))
            .collect();
        let size = at_a_time(self.args.judge.judge.as_ref(), self.server);
        let found = judge_refusals(&watch.model("judge", judge, size), &pairs)?;
        let mut found = found.into_iter();
        let class = |reply: &Option<String>| reply.as_ref().and_then(|_| found.next().flatten());
        Ok(replies.iter().map(class).collect())
    }

    /// All that decides what is kept.
    fn settings(&self) -> Value {
        let OverRefusalArgs { model, judge, reply, .. } = self.args;
        json!({
            "eval": "over-refusal", "model": model.model, "model_name": model.model_name,
            "judge": judge.judge, "judge_model": judge.judge_model,
            "sampling": self.sampling, "seed": reply.seed,
        })
    }
}

fn object(found: &OverRefusal, n: usize, refused: usize, by_judge: bool) -> Result<Value, Failure> {
    let interval = |rate: Option<Rate>| rate.map(|rate| [rate.low, rate.high]);
    let object = json!({
        "eval": "over-refusal", "n": n, "by": if by_judge { "judge" } else { "words" },
        "refused_share_of_safe": found.refused_safe.map(|rate| rate.value),
        "complied_share_of_unsafe": found.complied_unsafe.map(|rate| rate.value),
        "interval": interval(found.refused_safe),
        "interval_of_unsafe": interval(found.complied_unsafe),
        "refused_prompts": refused,
    });
    with_fields(object, found)
}

fn table(found: &OverRefusal, refused: usize) -> String {
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
    text += &row_of_refused("prompts were", refused);
    text + &row_of_refused("replies the judge", found.without_class - refused)
}
