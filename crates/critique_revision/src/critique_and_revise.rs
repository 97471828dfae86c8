//! The loop, one batch a step.

use crate::{CritiqueRevisionConfig, Error, Step, Trace, critique_prompt, revision_prompt};
use constitution::{Constitution, RevisionPrinciple};
use dialogue::{Dialogue, Role};
use language_model::{Completion, Generate, Prompt, Sampling, item_seed, stream};

/// Draws a reply to every prompt and lets the model criticise and revise it, step by step (section 3.1 of arXiv
/// 2212.08073).
///
/// In every step a principle is drawn for each prompt; the critique sees the prompt and the reply as
/// it stands, and the revision replaces the reply. An empty revision keeps it ([`Step::kept`]). White space around
/// what the model says is dropped.
///
/// All first replies are one call of the model, and so are all critiques and all revisions of a step. Principles and
/// samples come from the stream of the prompt, named by its content, so results do not depend on how prompts are
/// batched or ordered; a prompt that occurs twice gets the same trace twice.
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
    for principles in principles {
        advance(model, &principles, &mut traces, config, seed)?;
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

/// Adds one step to every trace.
fn advance(
    model: &dyn Generate,
    principles: &[&RevisionPrinciple],
    traces: &mut [Trace],
    config: &CritiqueRevisionConfig,
    seed: u64,
) -> Result<(), Error> {
    let ask = |trace: &Trace, dialogue, part| Prompt {
        dialogue,
        seed: step_seed(seed, &trace.id, trace.steps.len(), part),
    };
    let criticise = |(trace, principle): (&Trace, &&RevisionPrinciple)| {
        let Trace { prompt, .. } = trace;
        let request = &principle.critique_request;
        let dialogue = critique_prompt(&config.few_shots, prompt, trace.current(), request);
        ask(trace, dialogue, "critique")
    };
    let asked = traces.iter().zip(principles).map(criticise).collect();
    let critiques = generate(model, asked, &config.critique)?;

    let revise = |((trace, principle), critique): ((&Trace, &&RevisionPrinciple), &Completion)| {
        let dialogue = revision_prompt(
            &config.few_shots,
            &trace.prompt,
            trace.current(),
            &principle.critique_request,
            &critique.text,
            &principle.revision_request,
        );
        ask(trace, dialogue, "revision")
    };
    let asked = traces.iter().zip(principles).zip(&critiques).map(revise).collect();
    let revisions = generate(model, asked, &config.revision)?;

    for (((trace, principle), critique), revision) in
        traces.iter_mut().zip(principles).zip(critiques).zip(revisions)
    {
        let kept = revision.text.is_empty();
        trace.steps.push(Step {
            principle: principle.id.clone(),
            critique_request: principle.critique_request.clone(),
            critique: critique.text,
            critique_tokens: critique.tokens,
            critique_stopped: critique.stopped,
            revision_request: principle.revision_request.clone(),
            revision: if kept { trace.current().to_owned() } else { revision.text },
            revision_tokens: revision.tokens,
            revision_stopped: revision.stopped,
            kept,
        });
    }
    Ok(())
}

/// The seed of one part of one step of one prompt.
fn step_seed(seed: u64, id: &str, step: usize, part: &str) -> u64 {
    item_seed(seed, &["critique_revision", id, &step.to_string(), part])
}

/// One trimmed completion a prompt; the model is not called for none.
fn generate(
    model: &dyn Generate,
    prompts: Vec<Prompt>,
    sampling: &Sampling,
) -> Result<Vec<Completion>, Error> {
    if prompts.is_empty() {
        return Ok(Vec::new());
    }
    let mut completions = model.generate(&prompts, sampling)?;
    if completions.len() != prompts.len() {
        return Err(Error::Count { expected: prompts.len(), found: completions.len() });
    }
    for completion in &mut completions {
        completion.text = completion.text.trim().to_owned();
    }
    Ok(completions)
}

#[cfg(test)]
mod tests;
