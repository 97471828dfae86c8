//! What a client can fail with.

use crate::FailedRequest;
use std::path::PathBuf;
use std::time::Duration;

/// Why a server gave no answer, or none that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The base address cannot be used; it is not shown, since it may hold a secret.
    #[error("the server's address cannot be used: {reason}")]
    Url {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A setting is out of range.
    #[error("`{setting}` is {found}, expected {expected}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// What was found.
        found: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// The environment holds no key, or none that can be sent.
    #[error("the environment variable {variable}, which should hold the server's key, {reason}")]
    Key {
        /// The variable.
        variable: String,
        /// What is wrong with its value.
        reason: &'static str,
    },
    /// The transport cannot be set up.
    #[error("the transport cannot be set up: {message}")]
    Transport {
        /// What it says.
        message: String,
    },
    /// The thread that sends requests cannot be started, or has ended.
    #[error("the thread that sends requests: {source}")]
    Worker {
        /// What the system says.
        source: std::io::Error,
    },
    /// No model was named, and the server does not have exactly one.
    #[error("{url} serves {}; name one of them", listed(found))]
    WhichModel {
        /// The server.
        url: String,
        /// The models it serves.
        found: Vec<String>,
    },
    /// The server does not serve the model.
    #[error("{url} does not serve the model {model:?}, but {}", listed(found))]
    NoSuchModel {
        /// The server.
        url: String,
        /// The model asked for.
        model: String,
        /// The models it serves.
        found: Vec<String>,
    },
    /// A request failed for good.
    #[error(transparent)]
    Request(#[from] FailedRequest),
    /// Too many requests in a row have failed.
    #[error(
        "{url} counts as gone, since {failures} requests in a row have failed (`circuit_failures`){}; \
         see that it runs, then start again",
        last.as_ref().map(|failure| format!(", the last one because: {failure}")).unwrap_or_default()
    )]
    CircuitOpen {
        /// The server.
        url: String,
        /// How many failures it takes.
        failures: u32,
        /// What went wrong the last time.
        last: Option<Failure>,
    },
    /// The client has asked for as long as it may.
    #[error(
        "the client has asked {url} for {seconds} seconds (`total_seconds`); raise it or start again"
    )]
    OutOfTime {
        /// The server.
        url: String,
        /// The limit.
        seconds: f64,
    },
    /// The answer has no log-probabilities, although they were asked for.
    #[error(
        "{url} answered without log-probabilities for the model {model:?}, which are needed to choose ({detail}); \
         use a server that reports them for this interface (vLLM and SGLang do, llama_cpp.server unless --logits_all is False), \
         or another `api` or `scoring`"
    )]
    NoLogprobs {
        /// Where it was sent.
        url: String,
        /// The model.
        model: String,
        /// What is missing.
        detail: &'static str,
    },
    /// The answers cannot be weighed by what the server says.
    #[error("prompt {id} cannot be answered by {model:?}: {reason}")]
    Unweighable {
        /// [`dialogue::Dialogue::id`] of the prompt.
        id: String,
        /// The model.
        model: String,
        /// Why not.
        reason: crate::Unweighable,
    },
    /// A prompt ends in an unfinished assistant turn, and the settings say not to continue such turns.
    #[error(
        "prompt {id} ends in an unfinished assistant turn, and `continuation` is \"refuse\"; \
         choose another way that the server knows, or `api = \"completions\"`"
    )]
    Unfinished {
        /// [`dialogue::Dialogue::id`] of the prompt.
        id: String,
    },
    /// The server answers an unfinished assistant turn instead of continuing it.
    #[error(
        "{url} answers an unfinished assistant turn of {model:?} instead of continuing it (a turn of one token made the \
         prompt {grown} tokens longer); set `api = \"completions\"`, or `continuation = \"ask\"` for an approximation"
    )]
    NotContinued {
        /// The server.
        url: String,
        /// The model.
        model: String,
        /// Tokens by which a turn of one token lengthens the prompt.
        grown: u64,
    },
    /// The server says one thing about a token when it draws it, and another when it echoes it.
    #[error(
        "{url} scores an echo of {model:?} wrongly: {token:?} has the log-probability {when_drawn:.3} when it is drawn, but \
         {echoed:.3} in an echo of the same text; set `scoring = [\"top_logprobs\"]`"
    )]
    EchoedWrongly {
        /// The server.
        url: String,
        /// The model.
        model: String,
        /// A token that it drew.
        token: String,
        /// Its log-probability then.
        when_drawn: f64,
        /// Its log-probability in an echo.
        echoed: f64,
    },
    /// Kept answers cannot be read or written.
    #[error(transparent)]
    Kept(#[from] dataset::Error),
    /// A call ended before all of it was done.
    #[error("{source}; {done} of {total} answers are done and kept{}", place(kept.as_ref()))]
    Stopped {
        /// Answers that are there.
        done: usize,
        /// Answers that were asked for.
        total: usize,
        /// The file in which they are kept; without one the client holds them in memory.
        kept: Option<PathBuf>,
        /// What ended it.
        source: Box<Self>,
    },
}

/// Why one attempt at a request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// No connection, or it broke.
    #[error("the connection failed: {0}")]
    Connection(String),
    /// It took too long.
    #[error("no whole answer came in time (`connect_seconds`, `request_seconds`)")]
    TimedOut,
    /// The server says no.
    #[error("HTTP status {status}{}{}", said(message), advice(*status))]
    Status {
        /// The status.
        status: u16,
        /// What the server says, shortened.
        message: String,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// The server points elsewhere, which is not followed, since the key would go there too.
    #[error(
        "it sends requests on to another address (HTTP status {status}); give that one as the server's"
    )]
    Redirect {
        /// The status.
        status: u16,
    },
    /// The answer is longer than allowed.
    #[error("the answer is longer than {limit} bytes (`response_limit`)")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// The answer is no JSON, or JSON of another shape.
    #[error("the answer is not what the protocol says: {0}")]
    Malformed(String),
}

impl Failure {
    /// Whether another attempt may help.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Connection(_) | Self::TimedOut | Self::Malformed(_) => true,
            Self::Status { status, .. } => {
                matches!(status, 408 | 409 | 425 | 429 | 500 | 502 | 503 | 504 | 529)
            }
            Self::Redirect { .. } | Self::TooLong { .. } => false,
        }
    }

    /// Whether the server seems to be gone. One that asks to slow down is not, nor is one that refuses.
    pub(crate) fn is_absence(&self) -> bool {
        self.is_passing() && !matches!(self, Self::Status { status: 409 | 425 | 429, .. })
    }

    /// Whether it is about what was asked: a prompt that is too long or caught by a filter, an answer that has no end.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::Status { status, .. } => matches!(status, 400 | 413 | 422 | 451),
            Self::TooLong { .. } => true,
            _ => false,
        }
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

fn listed(models: &[String]) -> String {
    match models {
        [] => "no model".to_owned(),
        // A server may list hundreds.
        _ => {
            models.iter().take(10).map(|model| format!("{model:?}")).collect::<Vec<_>>().join(", ")
        }
    }
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

fn advice(status: u16) -> &'static str {
    match status {
        401 | 403 => " (see `key_variable` for where the key comes from)",
        404 | 405 => " (most servers' addresses end in /v1; the model must be one that it serves)",
        _ => "",
    }
}

fn place(kept: Option<&PathBuf>) -> String {
    kept.map(|path| format!(" in {}", path.display())).unwrap_or_default()
}

impl Error {
    /// The error with the prompt that it belongs to.
    pub(crate) fn about(mut self, id: &str) -> Self {
        if let Self::Request(failed) = &mut self {
            failed.prompt = Some(id.to_owned());
        }
        self
    }

    /// Whether it is about one prompt, so that others may well be answered: the server refuses it for good, or answers
    /// another question after all attempts at this one have failed.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Request(failed) => failed.is_refusal(),
            Self::Unweighable { reason, .. } => *reason != crate::Unweighable::NotEchoed,
            Self::Stopped { source, .. } => source.is_refusal(),
            _ => false,
        }
    }
}

impl From<Error> for language_model::Error {
    fn from(error: Error) -> Self {
        if error.is_refusal() {
            Self::Refused(Box::new(error))
        } else {
            Self::Model(Box::new(error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16) -> Failure {
        Failure::Status { status, message: String::new(), retry_after: None }
    }

    #[test]
    fn tries_again_what_may_pass() {
        for passing in [408, 409, 425, 429, 500, 502, 503, 504] {
            assert!(status(passing).is_passing(), "{passing}");
        }
        for lasting in [400, 401, 403, 404, 422, 501] {
            assert!(!status(lasting).is_passing(), "{lasting}");
        }
        assert!(Failure::TimedOut.is_passing() && !Failure::TooLong { limit: 1 }.is_passing());
    }

    #[test]
    fn a_busy_server_is_not_gone() {
        assert!(!status(429).is_absence() && !status(400).is_absence());
        assert!(status(503).is_absence() && Failure::TimedOut.is_absence());
    }

    #[test]
    fn what_concerns_one_prompt_is_told_from_what_concerns_all() {
        let request = |prompt: Option<&str>, failure| {
            let (url, prompt) = ("http://h/v1".to_owned(), prompt.map(str::to_owned));
            let answers_others = false;
            let failed = FailedRequest { url, prompt, attempts: 1, failure, answers_others };
            Error::Stopped { done: 0, total: 1, kept: None, source: Box::new(failed.into()) }
        };
        for refused in [status(400), status(413), status(422), Failure::TooLong { limit: 1 }] {
            let error = language_model::Error::from(request(Some("id"), refused));
            assert!(error.concerns_one_prompt(), "{error}");
        }
        for lasting in [status(401), status(403), status(404), status(500), Failure::TimedOut] {
            let error = language_model::Error::from(request(Some("id"), lasting));
            assert!(!error.concerns_one_prompt(), "{error}");
        }
        // A question of the client's own.
        assert!(!request(None, status(400)).is_refusal());
        let unweighable = |reason| Error::Unweighable { id: "1".into(), model: "m".into(), reason };
        let impossible = crate::Unweighable::Impossible { options: Vec::new() };
        assert!(unweighable(impossible).is_refusal());
        assert!(!unweighable(crate::Unweighable::NotEchoed).is_refusal());
    }

    #[test]
    fn says_what_is_done_and_where() {
        let source =
            Box::new(Error::CircuitOpen { url: "http://h/v1".to_owned(), failures: 3, last: None });
        let error =
            Error::Stopped { done: 5, total: 9, kept: Some("runs/judge.journal".into()), source };
        let message = error.to_string();
        assert!(message.contains("5 of 9 answers are done and kept in runs/judge.journal"));
        assert!(message.contains("3 requests in a row"), "{message}");
    }
}
