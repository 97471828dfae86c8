//! Where requests come from.

use super::red_team::example_requests;
use super::room::room;
use super::{Error, Settings};
use constitution::Constitution;
use dataset::{ColumnMapping, Reading, Rejects};
use dialogue::Dialogue;
use language_model::{item_seed, stream};
use model_organism::world::{Request, Split};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use training::Overlong;
use transformer::Codec;

/// Settings of the prompts.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `red_team` | drawn from the world | file of red-team prompts, see [`dataset::read_prompts`] |
/// | `helpful` | drawn from the world | file of helpful prompts |
/// | `red_team_columns`, `helpful_columns` | the usual names | which columns of the files hold what, see [`ColumnMapping`] |
/// | `rejected_share` | 0.0 | highest share of bad rows of a file that are left out and written to the run's folder; at 0 the first bad row is an error |
/// | `red_team_count` | 256 | most red-team prompts to learn from, at least 2 |
/// | `helpful_count` | 192 | most helpful prompts to learn from, at least 2 |
/// | `held_out` | 320 | most prompts of each kind to evaluate on, at least 1 |
/// | `held_out_share` | 0.2 | share of a file that is held out, drawn by the seed, in (0, 1) |
/// | `overlong` | `"error"` | `"error"` or `"drop"`: what becomes of a prompt that is too long |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PromptSettings {
    /// File of red-team prompts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub red_team: Option<PathBuf>,
    /// File of helpful prompts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub helpful: Option<PathBuf>,
    /// Which columns of the file of red-team prompts hold what.
    #[serde(skip_serializing_if = "ColumnMapping::is_default")]
    pub red_team_columns: ColumnMapping,
    /// Which columns of the file of helpful prompts hold what.
    #[serde(skip_serializing_if = "ColumnMapping::is_default")]
    pub helpful_columns: ColumnMapping,
    /// Highest share of bad rows of a file that are left out.
    pub rejected_share: f64,
    /// Most red-team prompts to learn from.
    pub red_team_count: usize,
    /// Most helpful prompts to learn from.
    pub helpful_count: usize,
    /// Most prompts of each kind to evaluate on.
    pub held_out: usize,
    /// Share of a file that is held out.
    pub held_out_share: f64,
    /// What becomes of a prompt that is too long.
    pub overlong: Overlong,
}

impl Default for PromptSettings {
    fn default() -> Self {
        Self {
            red_team: None,
            helpful: None,
            red_team_columns: ColumnMapping::default(),
            helpful_columns: ColumnMapping::default(),
            rejected_share: 0.0,
            red_team_count: 256,
            helpful_count: 192,
            held_out: 320,
            held_out_share: 0.2,
            overlong: Overlong::Error,
        }
    }
}

impl PromptSettings {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Setting`] names the first one out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let at_least = |setting, found: usize, least: usize, expected| {
            if found >= least {
                return Ok(());
            }
            Err(Error::Setting { setting, found: found.to_string(), expected })
        };
        at_least("prompts.red_team_count", self.red_team_count, 2, "a whole number of at least 2")?;
        at_least("prompts.helpful_count", self.helpful_count, 2, "a whole number of at least 2")?;
        at_least("prompts.held_out", self.held_out, 1, "a whole number of at least 1")?;
        if !(self.held_out_share > 0.0 && self.held_out_share < 1.0) {
            return Err(Error::Setting {
                setting: "prompts.held_out_share",
                found: self.held_out_share.to_string(),
                expected: "a number above 0 and below 1",
            });
        }
        if !(0.0..1.0).contains(&self.rejected_share) {
            return Err(Error::Setting {
                setting: "prompts.rejected_share",
                found: self.rejected_share.to_string(),
                expected: "a number of at least 0 and below 1",
            });
        }
        self.red_team_columns.validate()?;
        Ok(self.helpful_columns.validate()?)
    }
}

/// The requests of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompts {
    /// Harmful requests to learn from.
    pub red_team: Vec<Dialogue>,
    /// Benign requests to learn from.
    pub helpful: Vec<Dialogue>,
    /// Harmful requests to evaluate on.
    pub held_out_red_team: Vec<Dialogue>,
    /// Benign requests to evaluate on.
    pub held_out_helpful: Vec<Dialogue>,
}

impl Prompts {
    /// Reads or draws the prompts that the settings name; `codec` measures how long they are.
    ///
    /// Where bad rows may be left out, they are written to `rejected_red_team.jsonl` and `rejected_helpful.jsonl` in
    /// `folder`.
    ///
    /// # Errors
    /// If a file cannot be read, holds too few prompts or too many bad rows, or a prompt is too long and may not be dropped.
    pub fn read(
        settings: &Settings,
        constitution: &Constitution,
        codec: &Codec,
        folder: &Path,
    ) -> Result<Self, Error> {
        let prompts = &settings.prompts;
        let room = room(settings, constitution, codec)?;
        let reading = |columns: &ColumnMapping, rejects: &str| {
            let share = prompts.rejected_share;
            let rejects = (share > 0.0).then(|| Rejects::new(folder.join(rejects), share));
            Reading { columns: columns.clone(), rejects }
        };
        let kind = |file: &Option<PathBuf>, reading: Reading, harmful, count| match file {
            Some(path) => from_file(path, &reading, settings, count, codec, room),
            None => from_world(harmful, count, settings, codec, room),
        };
        let red_team = reading(&prompts.red_team_columns, "rejected_red_team.jsonl");
        let helpful = reading(&prompts.helpful_columns, "rejected_helpful.jsonl");
        let (red_team, held_out_red_team) =
            kind(&prompts.red_team, red_team, true, prompts.red_team_count)?;
        let (helpful, held_out_helpful) =
            kind(&prompts.helpful, helpful, false, prompts.helpful_count)?;
        for (file, prompts) in [(&prompts.red_team, &red_team), (&prompts.helpful, &helpful)] {
            let file = file.as_deref().unwrap_or(Path::new(WORLD));
            let found = example_requests(prompts, &settings.red_team, codec)?.len();
            enough(file, found, "lists of examples that fit the context", settings.red_team.shots)?;
        }
        Ok(Self { red_team, helpful, held_out_red_team, held_out_helpful })
    }
}

/// Distinct requests of the world: `count` to learn from and `held_out` to evaluate on.
fn from_world(
    harmful: bool,
    count: usize,
    settings: &Settings,
    codec: &Codec,
    room: usize,
) -> Result<(Vec<Dialogue>, Vec<Dialogue>), Error> {
    let draw = |split: Split, count: usize| -> Result<Vec<Dialogue>, Error> {
        let name = format!("{split:?} {harmful}");
        let mut rng = stream(item_seed(settings.seed, &["prompts", &name]));
        let mut seen = HashSet::new();
        let prompts: Vec<Dialogue> = (0..WORLD_DRAWS)
            .map(|_| Request::draw(split, harmful, &mut rng).text())
            .filter(|text| seen.insert(text.clone()))
            .take(count)
            .map(Dialogue::from_user)
            .collect();
        for prompt in &prompts {
            check_room(prompt, Path::new(WORLD), codec, room)?;
        }
        enough(WORLD, prompts.len(), "this many distinct requests", count)?;
        Ok(prompts)
    };
    Ok((draw(Split::Training, count)?, draw(Split::HeldOut, settings.prompts.held_out)?))
}

/// Where prompts come from that no file holds.
const WORLD: &str = "the embedded world";

/// Requests that are drawn from the world before it counts as exhausted.
const WORLD_DRAWS: usize = 100_000;

/// An error if a prompt leaves too little of the context.
fn check_room(prompt: &Dialogue, file: &Path, codec: &Codec, room: usize) -> Result<(), Error> {
    let tokens = codec.encode_prompt(prompt)?.len();
    if tokens <= room {
        return Ok(());
    }
    let start = prompt.last_request().unwrap_or_default().chars().take(40).collect();
    let (file, context, id) = (file.to_owned(), codec.context(), prompt.id());
    Err(Error::PromptTooLong { file, id, start, tokens, room, context })
}

/// An error if there are fewer prompts than a purpose needs.
fn enough(
    file: impl AsRef<Path>,
    found: usize,
    purpose: &'static str,
    least: usize,
) -> Result<(), Error> {
    if found >= least {
        return Ok(());
    }
    Err(Error::TooFewPrompts { file: file.as_ref().to_owned(), found, purpose, least })
}

/// A random part of a file to learn from and another to evaluate on.
///
/// The file is read twice, first to choose rows and then to keep those chosen, so that a long file is never in memory.
fn from_file(
    path: &Path,
    reading: &Reading,
    Settings { seed, prompts: settings, red_team, .. }: &Settings,
    count: usize,
    codec: &Codec,
    room: usize,
) -> Result<(Vec<Dialogue>, Vec<Dialogue>), Error> {
    let mut seen = HashSet::new();
    let mut rows = Vec::new();
    for (row, dialogue) in reading.prompts(path)?.enumerate() {
        let dialogue = dialogue?;
        if !seen.insert(dialogue.id()) {
            continue;
        }
        match check_room(&dialogue, path, codec, room) {
            Ok(()) => rows.push(row),
            Err(Error::PromptTooLong { .. }) if settings.overlong == Overlong::Drop => {}
            Err(error) => return Err(error),
        }
    }
    rows.shuffle(&mut stream(item_seed(*seed, &["prompts", "split"])));
    let bound = rows.len() as f64 * settings.held_out_share;
    let share = (0..rows.len()).take_while(|&index| (index as f64) < bound).count();
    let held_out = rows.split_off(rows.len() - share.min(settings.held_out));
    rows.truncate(count);
    enough(path, held_out.len(), "evaluation", 1)?;
    enough(path, rows.len(), "training", red_team.shots.max(2))?;
    let mut chosen = rows_of(path, reading, rows.iter().chain(&held_out))?;
    let mut take = |rows: &[usize]| rows.iter().filter_map(|row| chosen.remove(row)).collect();
    Ok((take(&rows), take(&held_out)))
}

/// The prompts of the given rows of a file.
fn rows_of<'a>(
    path: &Path,
    reading: &Reading,
    rows: impl Iterator<Item = &'a usize>,
) -> Result<HashMap<usize, Dialogue>, Error> {
    let rows: HashSet<&usize> = rows.collect();
    let mut found = HashMap::new();
    for (row, dialogue) in reading.prompts(path)?.enumerate() {
        let dialogue = dialogue?;
        if rows.contains(&row) {
            found.insert(row, dialogue);
        }
    }
    Ok(found)
}
