//! `rlaif convert`: rows of one format into another.

use super::{Failure, say, warn};
use clap::{Args, ValueEnum};
use rlaif::dataset::{
    ColumnMapping, Error, Exhausted, Mixture, Part, Reading, RedTeamAttempt, Rejects, Splits,
    Stream, content_id, partial_conversations, write_rows,
};
use rlaif::dialogue::{Dialogue, Preference};
use serde::Serialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use toml::Table;

/// `rlaif convert`.
#[derive(Debug, Clone, Args)]
pub(super) struct ConvertArgs {
    /// What to read, and last what to write. Names say the format: `.csv`, `.parquet`, any other JSON lines; `.gz` is
    /// compressed. CSV is only read.
    #[arg(required = true, num_args = 2.., value_names = ["IN", "OUT"])]
    files: Vec<PathBuf>,
    /// What rows are to be [default: as they are].
    #[arg(long = "as", value_enum, value_name = "KIND")]
    kind: Option<Kind>,
    /// With `--as prompt` make a prompt of every turn of the user: each conversation up to there. Without it there is one,
    /// that ends in the last turn.
    #[arg(long)]
    every_turn: bool,
    /// Which columns hold what, such as `prompt=question`, with dots into objects; `format=hh_rlhf` names a format.
    #[arg(long, value_name = "KEY=NAME", num_args = 1..)]
    columns: Vec<String>,
    /// Highest share of bad rows that are left out.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, allow_negative_numbers = true)]
    max_bad: f64,
    /// Where they go, with place and reason [default: the name of OUT with `.rejects.jsonl` behind it].
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// How much of each file to take, beside the others [default: as much of each].
    #[arg(long, value_name = "WEIGHT", num_args = 1..)]
    weights: Vec<f64>,
    /// What happens when one of several files is at its end.
    #[arg(long, value_enum, default_value = "go-on")]
    exhausted: ExhaustedArg,
    /// Take only the rows of one part, which depends on nothing but the content of a row (with `--as`: on that of its
    /// prompt).
    #[arg(long, value_name = "PART")]
    split: Option<String>,
    /// The parts and their shares [default: train=0.9 validation=0.05 test=0.05].
    #[arg(long, value_name = "PART=SHARE", num_args = 1.., requires = "split")]
    shares: Vec<String>,
    /// Another salt is another split.
    #[arg(long, default_value = "", requires = "split")]
    salt: String,
}

/// What rows become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// `prompt`, `chosen`, `rejected` as lists of messages, `probability`, and `margin` where a row has one: TRL's
    /// conversational preferences.
    Preference,
    /// `prompt` as a list of messages.
    Prompt,
    /// `messages`: whole dialogues.
    Messages,
    /// `transcript` as a list of messages, `rating`, and what else is known of a red-team attempt.
    RedTeam,
}

/// What happens when a file is at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ExhaustedArg {
    /// The mixture ends.
    Stop,
    /// The others go on: every row is taken once.
    GoOn,
    /// It begins again, until all have been at their end.
    Repeat,
}

/// A row to be written, and the name of what decides its part.
struct Converted {
    id: String,
    row: Value,
}

/// A preference and the margin that its row has.
#[derive(Serialize)]
struct WithMargin {
    #[serde(flatten)]
    preference: Preference,
    #[serde(skip_serializing_if = "Option::is_none")]
    margin: Option<f64>,
}

impl From<(Preference, Option<f64>)> for WithMargin {
    fn from((preference, margin): (Preference, Option<f64>)) -> Self {
        Self { preference, margin }
    }
}

/// Writes the rows of files to another.
pub(super) fn convert(args: &ConvertArgs) -> Result<(), Failure> {
    let Some((output, inputs)) = args.files.split_last() else { return Ok(()) };
    if args.every_turn && args.kind != Some(Kind::Prompt) {
        return Err("`--every-turn` makes prompts; give `--as prompt`, or leave it out".into());
    }
    let weights = args.weights(inputs.len())?;
    let columns = mapping(&args.columns)?;
    let splits = args.splits()?;
    let readings: Vec<Reading> = (0..inputs.len())
        .map(|index| Reading { columns: columns.clone(), rejects: args.rejects(output, index) })
        .collect();
    let parts = inputs.iter().zip(&readings).zip(weights);
    let part = |((input, reading), weight): ((&PathBuf, &Reading), f64)| {
        let (input, reading) = (input.clone(), reading.clone());
        let (kind, every_turn) = (args.kind, args.every_turn);
        Part::new(weight, move || rows(kind, every_turn, &input, &reading))
    };
    let exhausted = match args.exhausted {
        ExhaustedArg::Stop => Exhausted::Stop,
        ExhaustedArg::GoOn => Exhausted::GoOn,
        ExhaustedArg::Repeat => Exhausted::Repeat,
    };
    let mixture = Mixture::new(parts.map(part).collect(), exhausted)?;
    let wanted = |row: &Result<Converted, Error>| match (row, &splits) {
        (Ok(row), Some((splits, part))) => splits.part(&row.id) == Some(*part),
        _ => true,
    };
    let count = write_rows(output, mixture.filter(wanted).map(|row| Ok(row?.row)))?;
    for rejects in readings.iter().filter_map(|reading| reading.rejects.as_ref()) {
        if rejects.file.exists() {
            warn(&format!("bad rows were left out, see {}", rejects.file.display()));
        }
    }
    say(&format!("{count} rows are in {}\n", output.display()))
}

/// The rows of a file as what they are to be.
fn rows(
    kind: Option<Kind>,
    every_turn: bool,
    path: &Path,
    reading: &Reading,
) -> Result<Stream<'static, Converted>, Error> {
    Ok(match kind {
        None => Box::new(reading.values(path)?.map(|row| -> Result<Converted, Error> {
            let row = row?;
            Ok(Converted { id: content_id(&row), row })
        })),
        Some(Kind::Preference) => {
            let record = record::<WithMargin>(path, |row| row.preference.prompt.id());
            let rows = reading.preferences_with_margins(path)?;
            Box::new(rows.map(move |row| record(row.map(WithMargin::from))))
        }
        Some(Kind::RedTeam) => {
            let record = record::<RedTeamAttempt>(path, |row| row.transcript.prompt().id());
            Box::new(reading.red_team_attempts(path)?.map(record))
        }
        Some(Kind::Prompt) if every_turn => Box::new(reading.prompts(path)?.flat_map(turns)),
        Some(Kind::Prompt) => Box::new(reading.prompts(path)?.map(dialogue("prompt"))),
        Some(Kind::Messages) => Box::new(reading.dialogues(path)?.map(dialogue("messages"))),
    })
}

/// The prompts of all turns of a conversation. What it begins with decides their part, so that they stay together.
fn turns(row: Result<Dialogue, Error>) -> Stream<'static, Converted> {
    let prompts = match row {
        Ok(conversation) => partial_conversations(conversation),
        Err(error) => return Box::new(std::iter::once(Err(error))),
    };
    let mut prompts = prompts.peekable();
    let id = prompts.peek().map(Dialogue::id).unwrap_or_default();
    let converted = move |prompt: Dialogue| {
        let row = json!({ "prompt": prompt });
        Converted { id: id.clone(), row }
    };
    Box::new(prompts.map(converted).map(Ok))
}

/// A record as a row of its fields; `id` names what decides its part.
fn record<T: Serialize>(
    path: &Path,
    id: fn(&T) -> String,
) -> impl Fn(Result<T, Error>) -> Result<Converted, Error> + use<T> {
    let path = path.to_owned();
    move |row| {
        let row = row?;
        let encoded = serde_json::to_value(&row);
        let wrong = |reason| Error::Encode { path: path.clone(), reason };
        Ok(Converted { id: id(&row), row: encoded.map_err(wrong)? })
    }
}

/// A dialogue as the only column of a row.
fn dialogue(column: &'static str) -> impl Fn(Result<Dialogue, Error>) -> Result<Converted, Error> {
    move |row| {
        let row = row?;
        Ok(Converted { id: row.prompt().id(), row: json!({ column: row }) })
    }
}

impl ConvertArgs {
    fn weights(&self, inputs: usize) -> Result<Vec<f64>, Failure> {
        match self.weights.len() {
            0 => Ok(vec![1.0; inputs]),
            given if given == inputs => Ok(self.weights.clone()),
            given => Err(format!("--weights: {given} weights for {inputs} files").into()),
        }
    }

    /// The splits and the part of them that is asked for.
    fn splits(&self) -> Result<Option<(Splits, &str)>, Failure> {
        let Some(part) = &self.split else { return Ok(None) };
        let mut splits = Splits { salt: self.salt.clone(), ..Splits::default() };
        if !self.shares.is_empty() {
            splits.shares.clear();
        }
        for text in &self.shares {
            let (name, share) = pair("--shares", text)?;
            let share =
                share.parse::<f64>().map_err(|_| format!("--shares: {share:?} is no number"))?;
            splits.shares.insert(name.to_owned(), share);
        }
        splits.validate()?;
        if !splits.shares.contains_key(part) {
            let names: Vec<&str> = splits.shares.keys().map(String::as_str).collect();
            return Err(
                format!("--split: no part is {part:?}; there are {}", names.join(", ")).into()
            );
        }
        Ok(Some((splits, part.as_str())))
    }

    /// Where the bad rows of an input go; the first of several has the name itself.
    fn rejects(&self, output: &Path, input: usize) -> Option<Rejects> {
        if self.max_bad == 0.0 && self.rejects.is_none() {
            return None;
        }
        let mut file = self.rejects.clone().unwrap_or_else(|| {
            let mut name = output.as_os_str().to_owned();
            name.push(".rejects.jsonl");
            name.into()
        });
        if input > 0 {
            file.as_mut_os_string().push(format!(".{}", input + 1));
        }
        Some(Rejects::new(file, self.max_bad))
    }
}

/// The columns that `--columns` names.
pub(super) fn mapping(columns: &[String]) -> Result<ColumnMapping, Failure> {
    let mut table = Table::new();
    for text in columns {
        let (key, name) = pair("--columns", text)?;
        table.insert(key.to_owned(), name.into());
    }
    let mapping = toml::Value::Table(table).try_into();
    mapping.map_err(|error: toml::de::Error| format!("--columns: {}", error.message()).into())
}

/// The two sides of `KEY=VALUE`.
pub(super) fn pair<'a>(flag: &str, text: &'a str) -> Result<(&'a str, &'a str), Failure> {
    let parts = text.split_once('=');
    parts.ok_or_else(|| format!("{flag}: {text:?} is not of the form KEY=VALUE").into())
}
