//! Drawing requests until enough are new.

use crate::{Error, Generation, GenerationConfig};
use language_model::{Completion, Generate, Prompt};
use serde::{Deserialize, Serialize};

/// New requests, and what was thrown away on the way to them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Generated {
    /// The new requests, in the order in which they were found; fewer than asked for if `max_calls` was reached.
    pub requests: Vec<String>,
    /// Completions read.
    pub drawn: usize,
    /// Lines that are no entry of a numbered list.
    pub unparsed: usize,
    /// Last lines of completions that hit their longest length.
    pub cut_off: usize,
    /// Entries that are too short, too long or without a letter or digit.
    pub wrong_length: usize,
    /// Entries that are surely in a language that is not asked for.
    pub wrong_language: usize,
    /// Entries that equal a seed or an earlier entry but for case, white space and punctuation.
    pub duplicates: usize,
    /// Entries that are near a seed, if those are dropped.
    pub near_seeds: usize,
    /// Entries that are near an earlier request, if those are dropped.
    pub near_requests: usize,
    /// How new the valid entries are.
    pub novelty: Novelty,
}

/// How far entries are from the seeds; an entry that equals a seed or an earlier entry counts, too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Novelty {
    /// Entries of the right length and language.
    pub valid: usize,
    /// Those of them that are near no seed.
    pub novel: usize,
    /// The sum of their highest similarities with a seed.
    pub nearest_seed: f64,
}

/// Lets a model continue lists of seed requests until enough new ones are found (the few-shot generation of red-team
/// prompts in section 3.2 of arXiv 2212.08073; helpful prompts are generated alike, from other seeds).
///
/// Every prompt shows other seeds, drawn without replacement from a stream of its own; a batch of prompts is one call.
/// Completions are read in order up to the request that completes the number, so the outcome does not depend on the
/// size of a batch, unless `max_calls` is reached first.
///
/// # Errors
/// If a setting or a seed is not usable, or the model fails. Finding too few requests is no error.
pub fn generate_requests(
    model: &dyn Generate,
    seeds: &[String],
    config: &GenerationConfig,
    seed: u64,
) -> Result<Generated, Error> {
    generate_requests_and_tell(model, seeds, config, seed, &mut |_| Ok(()))
}

/// [`generate_requests`] that hands what there is so far to `tell` after every call of the model.
///
/// # Errors
/// Those of [`generate_requests`], and those of `tell`, at the first of which it ends.
pub fn generate_requests_and_tell<E: From<Error>>(
    model: &dyn Generate,
    seeds: &[String],
    config: &GenerationConfig,
    seed: u64,
    tell: &mut dyn FnMut(&Generated) -> Result<(), E>,
) -> Result<Generated, E> {
    let generation = Generation::new(seeds.to_vec(), config, seed)?;
    let mut collector = generation.collector();
    for call in 0..config.max_calls {
        if collector.is_complete() {
            break;
        }
        let numbers = call * config.batch..(call + 1) * config.batch;
        let prompts: Vec<Prompt> = numbers.map(|number| generation.prompt(number)).collect();
        for completion in &draw(model, &prompts, config)? {
            collector.take(generation.read(completion));
        }
        tell(collector.generated())?;
    }
    Ok(collector.into_generated())
}

/// One completion a prompt.
fn draw(
    model: &dyn Generate,
    prompts: &[Prompt],
    config: &GenerationConfig,
) -> Result<Vec<Completion>, Error> {
    let completions = model.generate(prompts, &config.sampling)?;
    let (expected, found) = (prompts.len(), completions.len());
    if found == expected { Ok(completions) } else { Err(Error::Count { expected, found }) }
}

#[cfg(test)]
mod tests;
