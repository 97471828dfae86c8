//! Safe prompts that are refused and unsafe ones that are answered.

use super::columns::ColumnArgs;
use super::models::{Asking, JudgeArgs, ModelArgs, ReplyArgs, at_a_time};
use super::watch::Watch;
use super::{row_of_left_out, say_json, with_fields};
use crate::cli::{Failure, say};
use clap::Args;
use rlaif::dataset::{content_id, write_jsonl};
use rlaif::dialogue::Dialogue;
use rlaif::evals::{
    OverRefusal, Rate, Refusal, SafetyPrompt, draw_replies, judge_refusals, over_refusal,
    read_replies_to, read_safety_prompts, refusal,
};
use rlaif::jobs::{Basis, Model, Place};
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
    columns: ColumnArgs,
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

/// Where replies come from.
enum Source<'a> {
    Given(Vec<Option<String>>),
    Drawn(&'a dyn Model),
}

impl OverRefusalArgs {
    pub(super) fn run(&self, json: bool, server: &Config) -> Result<(), Failure> {
        if let Some(save) = &self.save {
            Place::check(save)?;
        }
        let prompts = read_safety_prompts(&self.data, &self.columns.reading()?)?;
        let given =
            self.replies.as_ref().map(|path| read_replies_to(path, &prompts)).transpose()?;
        let sampling = self.reply.sampling()?;
        let task = Task { args: self, prompts: &prompts, sampling: &sampling, server };
        let device = self.reply.device.device;
        let asking = Asking { device, server, kept: self.save.is_some() };
        let mut read = Read { replies: Vec::new(), classes: Vec::new() };
        // A judge that cannot be asked is told of before anything is drawn.
        self.judge.open_if_named(asking, |judge| {
            if let Some(replies) = given {
                read = task.read(Source::Given(replies), judge)?;
                return Ok(());
            }
            self.model.open(asking, "give `--model` or `--replies`", |model| {
                read = task.read(Source::Drawn(model), judge)?;
                Ok(())
            })
        })?;
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
    /// Draws replies unless they are given, reads them by words or with a judge, and saves both.
    fn read(&self, source: Source<'_>, judge: Option<&dyn Model>) -> Result<Read, Failure> {
        let place = self.place(&source, judge)?;
        let read = match (source, judge) {
            // Nobody is asked.
            (Source::Given(replies), None) => by_words(replies),
            (source, judge) => self.ask(source, judge)?,
        };
        self.args.save(self.prompts, &read)?;
        place.map_or(Ok(()), Place::finish)?;
        Ok(read)
    }

    /// Where the replies will be, if they are saved; until then what the models say is kept there.
    fn place(
        &self,
        source: &Source<'_>,
        judge: Option<&dyn Model>,
    ) -> Result<Option<Place>, Failure> {
        let Some(path) = &self.args.save else { return Ok(None) };
        let (model, given) = match source {
            Source::Drawn(model) => (Some(*model), None),
            Source::Given(replies) => (None, Some(replies)),
        };
        let about = |model: Option<&dyn Model>| model.map(Model::about);
        let rows = self
            .prompts
            .iter()
            .map(|SafetyPrompt { id, prompt, kind, safe }| json!([id, prompt, kind, safe]));
        let basis = Basis {
            job: "over-refusal".to_owned(),
            seed: self.args.reply.seed,
            model: json!({ "model": about(model), "judge": about(judge) }),
            settings: json!({ "sampling": self.sampling }),
            items: self.prompts.len() as u64,
            input: content_id(&json!([rows.collect::<Vec<Value>>(), given])),
        };
        let mut place = Place::claim(path, basis)?;
        for (model, role) in [(model, "model"), (judge, "judge")] {
            if let Some(model) = model {
                place.keep_answers(model, role)?;
            }
        }
        Ok(Some(place))
    }

    fn ask(&self, source: Source<'_>, judge: Option<&dyn Model>) -> Result<Read, Failure> {
        let asked = usize::from(matches!(source, Source::Drawn(_))) + usize::from(judge.is_some());
        let watch = Watch::start("over-refusal", asked * self.prompts.len())?;
        let replies = match source {
            Source::Given(replies) => replies,
            Source::Drawn(model) => self.draw(&watch, model)?,
        };
        let read = match judge {
            Some(judge) => {
                let mut read = Read { replies, classes: Vec::new() };
                // Whatever becomes of the judge, the replies are there to be read again.
                self.args.save(self.prompts, &read)?;
                read.classes = self.judged(&watch, judge, &read.replies)?;
                read
            }
            None => by_words(replies),
        };
        watch.finish()?;
        Ok(read)
    }

    fn draw(&self, watch: &Watch, model: &dyn Model) -> Result<Vec<Option<String>>, Failure> {
        let Self { args, sampling, server, .. } = self;
        let asked: Vec<Dialogue> =
            self.prompts.iter().map(|prompt| Dialogue::from_user(prompt.prompt.trim())).collect();
        let model = watch.model("model", model, at_a_time(args.model.model.as_ref(), server));
        Ok(draw_replies(&model, &asked, sampling, args.reply.seed, "over_refusal")?)
    }

    /// The classes by a judge of the replies that are there.
    fn judged(
        &self,
        watch: &Watch,
        judge: &dyn Model,
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
}

fn by_words(replies: Vec<Option<String>>) -> Read {
    let classes = replies.iter().map(|reply| reply.as_deref().map(refusal)).collect();
    Read { replies, classes }
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
    text += &row_of_left_out(refused, "prompts were refused");
    text + &row_of_left_out(found.without_class - refused, "replies the judge refused")
}
