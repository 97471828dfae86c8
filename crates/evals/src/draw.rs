//! Replies to prompts, each from a stream of its own.

use crate::{Error, ask_each};
use dialogue::Dialogue;
use language_model::{Generate, Prompt, Sampling, item_seed};

/// One reply to each prompt, in their order; none to one that the model refuses.
///
/// A reply is drawn from the stream that `seed`, `purpose` and the prompt's content name, so that it does not depend on the
/// other prompts.
///
/// # Errors
/// Those of [`ask_each`].
pub fn draw_replies<M: Generate + ?Sized>(
    model: &M,
    prompts: &[Dialogue],
    sampling: &Sampling,
    seed: u64,
    purpose: &str,
) -> Result<Vec<Option<String>>, Error> {
    let prompts = prompts.iter().map(|dialogue| Prompt {
        dialogue: dialogue.clone(),
        seed: item_seed(seed, &["evals", purpose, &dialogue.id()]),
    });
    complete(model, &prompts.collect::<Vec<_>>(), sampling)
}

/// What a model says to prompts that have their seeds; none to one that it refuses.
pub(crate) fn complete<M: Generate + ?Sized>(
    model: &M,
    prompts: &[Prompt],
    sampling: &Sampling,
) -> Result<Vec<Option<String>>, Error> {
    let replies = ask_each("replies", prompts, |prompts| model.generate(prompts, sampling))?;
    Ok(replies.into_iter().map(|reply| reply.map(|reply| reply.text)).collect())
}
