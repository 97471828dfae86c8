//! The loop, one batch a step.

use crate::advance::Steps;
use crate::draw::generate;
use crate::{CritiqueRevisionConfig, Error, Trace};
use constitution::{Constitution, RevisionPrinciple};
use dialogue::{Dialogue, Role};
use language_model::{Generate, Prompt, item_seed, stream};

/// Draws a reply to every prompt and lets the model criticise and revise it, step by step (section 3.1 of arXiv
/// 2212.08073).
///
/// In every step a principle is drawn for each prompt; the critique sees the prompt and the reply as
/// it stands, and the revision replaces the reply. Texts that are not what they were asked to be are marked
/// ([`crate::Step::failures`]), and [`CritiqueRevisionConfig::failures`] says what becomes of them; by default an empty
/// revision keeps the reply ([`crate::Step::kept`]). White space around what the model says is dropped.
///
/// All first replies are one call of the model, and so are all critiques and all revisions of a step, and all that is
/// drawn again of them at an attempt. Principles and samples come from the stream of the prompt, named by its content, so
/// results do not depend on how prompts are batched or ordered; a prompt that occurs twice gets the same trace twice.
///
/// # Errors
/// If a setting or a prompt is not usable, the constitution has no principle to draw, or the model fails.
pub fn critique_and_revise(
    model: &dyn Generate,
    constitution: &Constitution,
    prompts: &[Dialogue],
    config: &CritiqueRevisionConfig,
    seed: u64,
) -> Result<Vec<Trace>, Error> {
    config.validate()?;
    let ids = prompts.iter().enumerate().map(checked_id).collect::<Result<Vec<_>, _>>()?;
    let mut principles = vec![Vec::with_capacity(ids.len()); config.revisions];
    for id in &ids {
        draw_principles(constitution, config, id, seed, &mut principles)?;
    }

    let asked = ids.iter().zip(prompts).map(|(id, prompt)| Prompt {
        dialogue: prompt.clone(),
        seed: item_seed(seed, &["critique_revision", id, "reply"]),
    });
    let replies = generate(model, asked.collect(), &config.reply)?;
    let prompts = prompts.iter().cloned();
    let mut traces: Vec<Trace> = ids
        .into_iter()
        .zip(prompts)
        .zip(replies)
        .map(|((id, prompt), reply)| Trace {
            id,
            prompt,
            reply: reply.text,
            reply_tokens: reply.tokens,
            reply_stopped: reply.stopped,
            steps: Vec::new(),
        })
        .collect();
    let steps = Steps { model, config, examples: config.examples(), seed };
    for principles in principles {
        steps.advance(&principles, &mut traces)?;
    }
    Ok(traces)
}

/// The id of a prompt that can be answered.
fn checked_id((index, prompt): (usize, &Dialogue)) -> Result<String, Error> {
    let id = prompt.id();
    match prompt.messages.last() {
        Some(message) if message.role == Role::User => Ok(id),
        _ => Err(Error::Prompt { index, id }),
    }
}

/// One principle a step of one prompt.
fn draw_principles<'a>(
    constitution: &'a Constitution,
    config: &CritiqueRevisionConfig,
    id: &str,
    seed: u64,
    steps: &mut [Vec<&'a RevisionPrinciple>],
) -> Result<(), Error> {
    if steps.is_empty() {
        return Ok(());
    }
    let mut draws = constitution.revisions(&config.principles)?;
    for (step, principles) in steps.iter_mut().enumerate() {
        let mut stream = stream(step_seed(seed, id, step, "principle"));
        principles.push(draws.draw(&mut stream));
    }
    Ok(())
}

/// The seed of one part of one step of one prompt.
pub(crate) fn step_seed(seed: u64, id: &str, step: usize, part: &str) -> u64 {
    item_seed(seed, &["critique_revision", id, &step.to_string(), part])
}

#[cfg(test)]
mod tests;
