//! Replies to prompts, each from a stream of its own.

use crate::Error;
use dialogue::Dialogue;
use language_model::{Generate, Prompt, Sampling, item_seed};

/// One reply to each prompt, in their order.
///
/// A reply is drawn from the stream that `seed`, `purpose` and the prompt's content name, so that it does not depend on the
/// other prompts.
///
/// # Errors
/// If the model fails, or gives another number of replies.
pub fn draw_replies<M: Generate + ?Sized>(
    model: &M,
    prompts: &[Dialogue],
    sampling: &Sampling,
    seed: u64,
    purpose: &str,
) -> Result<Vec<String>, Error> {
    let prompts = prompts.iter().map(|dialogue| Prompt {
        dialogue: dialogue.clone(),
        seed: item_seed(seed, &["evals", purpose, &dialogue.id()]),
    });
    complete(model, &prompts.collect::<Vec<_>>(), sampling)
}

/// What a model says to prompts that have their seeds.
pub(crate) fn complete<M: Generate + ?Sized>(
    model: &M,
    prompts: &[Prompt],
    sampling: &Sampling,
) -> Result<Vec<String>, Error> {
    if prompts.is_empty() {
        return Ok(Vec::new());
    }
    let replies = model.generate(prompts, sampling)?;
    let (expected, found) = (prompts.len(), replies.len());
    if found != expected {
        return Err(Error::Count { what: "replies", expected, found });
    }
    Ok(replies.into_iter().map(|reply| reply.text).collect())
}
