//! Drawing texts, and drawing those again that failed.

use crate::trace::{Draft, Part};
use crate::{Error, Failure, FailurePolicies};
use dialogue::Dialogue;
use language_model::{Completion, Generate, Prompt, Sampling, item_seed};

/// A text to draw: one part of one step of one prompt.
pub(crate) struct Asked<'a> {
    /// What the model reads.
    pub(crate) dialogue: Dialogue,
    /// [`Dialogue::id`] of the prompt.
    pub(crate) id: &'a str,
    /// The step, counted from 0.
    pub(crate) step: usize,
    /// What is drawn.
    pub(crate) part: Part,
}

impl Asked<'_> {
    /// Every attempt has a stream of its own; the name of the first is that of a text that is drawn once.
    fn prompt(&self, seed: u64, attempt: usize) -> Prompt {
        let (step, attempt) = (self.step.to_string(), attempt.to_string());
        let name = ["critique_revision", self.id, &step, self.part.name(), &attempt];
        let parts = if attempt == "0" { &name[..4] } else { &name };
        Prompt { dialogue: self.dialogue.clone(), seed: item_seed(seed, parts) }
    }
}

/// The last attempt at a text, and those before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Drawn {
    /// What the model read.
    pub(crate) prompt: Dialogue,
    pub(crate) completion: Completion,
    /// What is wrong with it.
    pub(crate) failures: Vec<Failure>,
    pub(crate) redrawn: Vec<Draft>,
}

/// Draws every text, and those again that the policies say: in every round one call of the model for all that are left.
///
/// `find` says what is wrong with a completion of the text at a place.
pub(crate) fn draw(
    model: &dyn Generate,
    asked: &[Asked<'_>],
    sampling: &Sampling,
    policies: &FailurePolicies,
    seed: u64,
    find: impl Fn(usize, &Completion) -> Vec<Failure>,
) -> Result<Vec<Drawn>, Error> {
    let prompts = asked.iter().map(|asked| asked.prompt(seed, 0)).collect();
    let first = |(index, (asked, completion)): (usize, (&Asked<'_>, Completion))| {
        let (prompt, failures) = (asked.dialogue.clone(), find(index, &completion));
        Drawn { prompt, completion, failures, redrawn: Vec::new() }
    };
    let completions = generate(model, prompts, sampling)?;
    let mut drawn: Vec<Drawn> = asked.iter().zip(completions).enumerate().map(first).collect();
    for attempt in 1..policies.attempts {
        let failed = |index: &usize| policies.draws_again(&drawn[*index].failures, attempt);
        let again: Vec<usize> = (0..drawn.len()).filter(failed).collect();
        if again.is_empty() {
            break;
        }
        let prompts = again.iter().map(|&index| asked[index].prompt(seed, attempt)).collect();
        for (index, completion) in again.iter().copied().zip(generate(model, prompts, sampling)?) {
            drawn[index].replace(completion, asked[index].part, |new| find(index, new));
        }
    }
    Ok(drawn)
}

impl Drawn {
    fn replace(&mut self, new: Completion, part: Part, find: impl Fn(&Completion) -> Vec<Failure>) {
        let failures = std::mem::replace(&mut self.failures, find(&new));
        let Completion { text, tokens, stopped } = std::mem::replace(&mut self.completion, new);
        self.redrawn.push(Draft { part, failures, text, tokens, stopped });
    }
}

/// One trimmed completion a prompt; the model is not called for none.
pub(crate) fn generate(
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
