//! The parts of a generation, for those who ask the model in their own way.

use crate::parse::normalised;
use crate::screen::{Screen, Screened};
use crate::{Collector, Error, GenerationConfig, request_list};
use language_model::{Completion, Prompt, item_seed, stream};
use rand::seq::IndexedRandom;

/// What a generation asks, and how it reads what comes back: all of it that does not depend on earlier answers, so that any
/// number of lists may be under way at a time.
///
/// The outcome is that of [`crate::generate_requests`] if the completions of prompts 0, 1, 2 … are read and handed to
/// [`Collector::take`] in this order, until it is complete or `max_calls` times `batch` of them were taken.
#[derive(Debug)]
pub struct Generation {
    seeds: Vec<String>,
    config: GenerationConfig,
    seed: u64,
    screen: Screen,
}

/// What a completion holds, line by line.
#[derive(Debug, Clone, PartialEq)]
pub struct Entries(pub(crate) Vec<Screened>);

impl Generation {
    /// A generation from `seeds`, whose random streams come from `seed`.
    ///
    /// # Errors
    /// If a setting is out of range, a seed holds no word, or there are fewer seeds than shots.
    pub fn new(seeds: Vec<String>, config: &GenerationConfig, seed: u64) -> Result<Self, Error> {
        check(&seeds, config)?;
        let screen = Screen::new(&seeds, config)?;
        Ok(Self { seeds, config: config.clone(), seed, screen })
    }

    /// The prompt of the given number: a list of its own examples, drawn without replacement from a stream of its own.
    pub fn prompt(&self, number: usize) -> Prompt {
        let number = number.to_string();
        let mut stream = stream(item_seed(self.seed, &["red_team", &number, "examples"]));
        let examples: Vec<&String> =
            self.seeds.choose_multiple(&mut stream, self.config.shots).collect();
        Prompt {
            dialogue: request_list(&examples),
            seed: item_seed(self.seed, &["red_team", &number, "completion"]),
        }
    }

    /// Reads a completion. This is most of the work that an answer makes, and none of it depends on another answer.
    pub fn read(&self, completion: &Completion) -> Entries {
        Entries(self.screen.read(completion))
    }

    /// What takes in all that was read.
    pub fn collector(&self) -> Collector {
        Collector::new(&self.seeds, &self.config)
    }

    /// The settings.
    pub fn config(&self) -> &GenerationConfig {
        &self.config
    }
}

/// Refuses settings and seeds that cannot be used.
fn check(seeds: &[String], config: &GenerationConfig) -> Result<(), Error> {
    config.validate()?;
    if seeds.len() < config.shots {
        return Err(Error::TooFewSeeds { found: seeds.len(), shots: config.shots });
    }
    match seeds.iter().position(|text| normalised(text).is_empty()) {
        Some(index) => Err(Error::EmptySeed { index }),
        None => Ok(()),
    }
}
