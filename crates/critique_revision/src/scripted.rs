//! A model for tests: it answers by a function.

use crate::CritiqueRevisionConfig;
use constitution::Constitution;
use language_model::{Completion, Generate, Prompt, Sampling, StopReason};
use std::cell::RefCell;

/// Answers by a function of the dialogue and the seed, and remembers what it was asked.
pub(crate) struct Scripted<F> {
    answer: F,
    pub(crate) calls: RefCell<Vec<Vec<Prompt>>>,
}

impl<F: Fn(&Prompt) -> String> Scripted<F> {
    pub(crate) fn new(answer: F) -> Self {
        Self { answer, calls: RefCell::default() }
    }
}

impl<F: Fn(&Prompt) -> String> Generate for Scripted<F> {
    fn generate(
        &self,
        prompts: &[Prompt],
        sampling: &Sampling,
    ) -> Result<Vec<Completion>, language_model::Error> {
        self.calls.borrow_mut().push(prompts.to_vec());
        let complete = |prompt| Completion {
            text: (self.answer)(prompt),
            tokens: sampling.max_tokens,
            stopped: StopReason::Stop,
        };
        Ok(prompts.iter().map(complete).collect())
    }
}

/// What the last turn of a prompt asks for.
pub(crate) enum Asked {
    Reply,
    Critique,
    Revision,
}

pub(crate) fn asked(constitution: &Constitution, prompt: &Prompt) -> Asked {
    let request = prompt.dialogue.last_request().unwrap_or_default();
    let principles = &constitution.critique_revision;
    if principles.iter().any(|principle| principle.critique_request == request) {
        Asked::Critique
    } else if principles.iter().any(|principle| principle.revision_request == request) {
        Asked::Revision
    } else {
        Asked::Reply
    }
}

/// A constitution of one principle.
pub(crate) fn single() -> Constitution {
    let text = "name = 's'\n[[critique_revision]]\nid = 'bees'\ncritique_request = 'What is bad \
                for bees?'\nrevision_request = 'Spare the bees.'";
    Constitution::from_toml(text).unwrap()
}

pub(crate) fn revisions(revisions: usize) -> CritiqueRevisionConfig {
    CritiqueRevisionConfig {
        revisions,
        reply: Sampling::default().with_max_tokens(1),
        critique: Sampling::default().with_max_tokens(2),
        revision: Sampling::default().with_max_tokens(3),
        ..CritiqueRevisionConfig::default()
    }
}
