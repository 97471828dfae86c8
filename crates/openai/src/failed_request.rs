//! A request that is given up.

use crate::Failure;

/// A request that failed for good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{url} gave no answer{}{}: {failure}{}; {}",
    to(prompt.as_deref()),
    after(*attempts),
    but(*answers_others),
    help(failure, *answers_others)
)]
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

/// What to do about it.
fn help(failure: &Failure, answers_others: bool) -> &'static str {
    if answers_others {
        return "look for the prompt in the log of the server, and leave it out or raise `attempts`";
    }
    match failure {
        Failure::Connection(_) => {
            "see that the server runs at this address, or raise `attempts` to wait for it longer"
        }
        Failure::TimedOut => "raise these settings, or lower `concurrency`",
        Failure::Status { status: 400 | 413 | 422, .. } => {
            "if the prompt is too long for the context of the server, shorten it or lower `max_tokens`"
        }
        Failure::Status { status: 451, .. } => {
            "a filter stops it: leave the prompt out, or change the filter of the server"
        }
        Failure::Status { status: 401 | 403, .. } => "give a key that the server takes",
        Failure::Status { status: 404 | 405, .. } => "see that address, `api` and model are right",
        Failure::Status { status: 429, .. } => {
            "lower `concurrency`, or raise `attempts` or `backoff_limit_seconds`"
        }
        Failure::Status { .. } => "see the log of the server, or raise `attempts`",
        Failure::Redirect { .. } => "most servers' addresses end in /v1",
        Failure::TooLong { .. } => "raise it, or lower `max_tokens`",
        Failure::Malformed(_) => {
            "see that the server speaks OpenAI's protocol at this address, or raise `attempts`"
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_to_do_about_every_failure() {
        let status = |status| Failure::Status { status, message: "no".into(), retry_after: None };
        let said = |failure, answers_others| {
            let (url, prompt) = ("http://h/v1".to_owned(), Some("p1".to_owned()));
            FailedRequest { url, prompt, attempts: 3, failure, answers_others }.to_string()
        };
        for (failure, help) in [
            (Failure::Connection("refused".into()), "see that the server runs"),
            (Failure::TimedOut, "(`connect_seconds`, `request_seconds`); raise these settings"),
            (status(400), "shorten it or lower `max_tokens`"),
            (status(401), "a key that the server takes"),
            (status(404), "`api`"),
            (status(429), "lower `concurrency`"),
            (status(451), "filter"),
            (status(500), "log of the server, or raise `attempts`"),
            (Failure::Redirect { status: 301 }, "/v1"),
            (Failure::TooLong { limit: 9 }, "(`response_limit`); raise it"),
            (Failure::Malformed("it is HTML".into()), "OpenAI's protocol"),
        ] {
            let said = said(failure, false);
            let start = "http://h/v1 gave no answer to prompt p1 after 3 attempts: ";
            assert!(said.starts_with(start) && said.contains(help), "{said}");
        }
        let said = said(status(500), true);
        assert!(said.contains("it answers other questions; look for the prompt"), "{said}");
    }
}
