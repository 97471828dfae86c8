//! Where requests come from.

use super::red_team::examples;
use super::{Error, Settings};
use ai_feedback::{concluding_question, reasoning_question};
use constitution::Constitution;
use critique_revision::Sought;
use dataset::read_prompts;
use dialogue::{Comparison, Dialogue};
use language_model::{item_seed, stream};
use model_organism::world::{Request, Split};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use training::Overlong;
use transformer::Codec;

/// Settings of the prompts.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `red_team` | drawn from the world | file of red-team prompts, see [`dataset::read_prompts`] |
/// | `helpful` | drawn from the world | file of helpful prompts |
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
        Ok(())
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
    /// # Errors
    /// If a file cannot be read, holds too few prompts, or a prompt is too long and may not be dropped.
    pub fn read(
        settings: &Settings,
        constitution: &Constitution,
        codec: &Codec,
    ) -> Result<Self, Error> {
        let prompts = &settings.prompts;
        let room = room(settings, constitution, codec)?;
        let kind = |file: &Option<PathBuf>, harmful: bool, count: usize| match file {
            Some(path) => from_file(path, settings, count, codec, room),
            None => from_world(harmful, count, settings, codec, room),
        };
        let (red_team, held_out_red_team) = kind(&prompts.red_team, true, prompts.red_team_count)?;
        let (helpful, held_out_helpful) = kind(&prompts.helpful, false, prompts.helpful_count)?;
        for (file, prompts) in [(&prompts.red_team, &red_team), (&prompts.helpful, &helpful)] {
            let file = file.as_deref().unwrap_or(Path::new(WORLD));
            let found = examples(prompts, &settings.red_team, codec)?.len();
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
fn from_file(
    path: &Path,
    Settings { seed, prompts: settings, red_team, .. }: &Settings,
    count: usize,
    codec: &Codec,
    room: usize,
) -> Result<(Vec<Dialogue>, Vec<Dialogue>), Error> {
    let mut dialogues = Vec::new();
    for dialogue in read_prompts(path)?.dialogues {
        match check_room(&dialogue, path, codec, room) {
            Ok(()) => dialogues.push(dialogue),
            Err(Error::PromptTooLong { .. }) if settings.overlong == Overlong::Drop => {}
            Err(error) => return Err(error),
        }
    }
    dialogues.shuffle(&mut stream(item_seed(*seed, &["prompts", "split"])));
    let bound = dialogues.len() as f64 * settings.held_out_share;
    let share = (0..dialogues.len()).take_while(|&index| (index as f64) < bound).count();
    let held_out = dialogues.split_off(dialogues.len() - share.min(settings.held_out));
    dialogues.truncate(count);
    enough(path, held_out.len(), "evaluation", 1)?;
    enough(path, dialogues.len(), "training", red_team.shots.max(2))?;
    Ok((dialogues, held_out))
}

/// The most tokens a prompt may have: what the longest text that a stage builds around it leaves of the context.
///
/// That is a revision (reply, critique and revision, with the two requests of a principle) or a question (two replies and
/// a principle).
fn room(settings: &Settings, constitution: &Constitution, codec: &Codec) -> Result<usize, Error> {
    let prompt = Dialogue::from_user("");
    let mut longest = 0;
    let revising = &settings.critique_revision;
    let shown = longest_examples(settings, codec)?;
    for principle in &constitution.critique_revision {
        let critique = (!revising.direct).then_some([principle.critique_request.as_str(), ""]);
        let sought = Sought::Revision { critique, request: &principle.revision_request };
        let text = revising.form.ask(&shown, &prompt, "", sought);
        longest = longest.max(codec.encode_prompt(&text)?.len() + revising_tokens(settings));
    }
    for principle in &constitution.comparison {
        let pair = Comparison { prompt: prompt.clone(), replies: Default::default() };
        let text = concluding_question(&reasoning_question(&pair, &principle.text), "");
        longest = longest.max(codec.encode_prompt(&text)?.len() + judging_tokens(settings));
    }
    Ok(codec.context().saturating_sub(longest + SLACK))
}

/// The worked examples that stand in front of a revision at most: all of them, or as many of the longest as are drawn.
fn longest_examples(settings: &Settings, codec: &Codec) -> Result<Vec<Dialogue>, Error> {
    let examples = settings.critique_revision.examples();
    let Some(shots) = settings.critique_revision.shots else { return Ok(examples) };
    let length = |example: Dialogue| Ok((codec.encode_prompt(&example)?.len(), example));
    let mut measured = examples.into_iter().map(length).collect::<Result<Vec<_>, Error>>()?;
    measured.sort_by_key(|(tokens, _)| std::cmp::Reverse(*tokens));
    Ok(measured.into_iter().take(shots).map(|(_, example)| example).collect())
}

/// Tokens by which texts put together may exceed the sum of their parts.
const SLACK: usize = 4;

/// The longest reply of any stage, in tokens.
fn reply_tokens(settings: &Settings) -> usize {
    let drawn = &settings.critique_revision;
    drawn.reply.max_tokens.max(drawn.revision.max_tokens).max(settings.ppo.max_tokens)
}

/// Tokens of a reply, its critique and its revision.
fn revising_tokens(settings: &Settings) -> usize {
    let drawn = &settings.critique_revision;
    let critique = if drawn.direct { 0 } else { drawn.critique.max_tokens };
    reply_tokens(settings) + critique + drawn.revision.max_tokens
}

/// Tokens of two replies and what a judge may think of them.
fn judging_tokens(settings: &Settings) -> usize {
    let thought = settings.ai_feedback.chain_of_thought.as_ref();
    2 * reply_tokens(settings) + thought.map_or(0, |thought| thought.sampling.max_tokens)
}
