//! A request that is given up.

use crate::Failure;

/// A request that failed for good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{url} gave no answer{}{}: {failure}{}", to(prompt.as_deref()), after(*attempts), but(*answers_others))]
pub struct FailedRequest {
    /// Where it was sent.
    pub url: String,
    /// [`dialogue::Dialogue::id`] of the prompt, if it was one.
    pub prompt: Option<String>,
    /// How often it was sent.
    pub attempts: u32,
    /// What went wrong the last time.
    pub failure: Failure,
    /// Whether the server answered a short question afterwards, so that it is not gone.
    pub answers_others: bool,
}

impl FailedRequest {
    /// Whether it is about its prompt, so that others may well be answered.
    pub(crate) fn is_refusal(&self) -> bool {
        self.prompt.is_some() && (self.answers_others || self.failure.is_refusal())
    }
}

fn to(prompt: Option<&str>) -> String {
    prompt.map(|id| format!(" to prompt {id}")).unwrap_or_default()
}

fn after(attempts: u32) -> String {
    if attempts > 1 { format!(" after {attempts} attempts") } else { String::new() }
}

fn but(answers_others: bool) -> &'static str {
    if answers_others { "; it answers other questions" } else { "" }
}
