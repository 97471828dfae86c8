//! One request over the wire, tried again while that may help.

use crate::circuit::Circuit;
use crate::config::duration;
use crate::key::Key;
use crate::retry::{retry_after, wait};
use crate::retrying::Listener;
use crate::{BaseUrl, Config, Error, FailedRequest, Failure, presence};
use language_model::{item_seed, stream};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, Url};
use serde_json::Value;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{OnceCell, Semaphore};

/// The longest message of a server that is shown, in characters.
const SHOWN: usize = 300;

/// What all requests of a client share.
#[derive(Debug)]
pub(crate) struct Transport {
    pub(crate) base_url: BaseUrl,
    pub(crate) model: String,
    pub(crate) config: Config,
    pub(crate) circuit: Circuit,
    key: Key,
    http: reqwest::Client,
    /// One for each request that may be under way.
    pub(crate) slots: Semaphore,
    /// When the first request was sent.
    began: OnceLock<Instant>,
    last_failure: Mutex<Option<Failure>>,
    /// Hears of a server that does not answer.
    pub(crate) listener: OnceLock<Listener>,
    /// Set once the server is known to score echoes rightly.
    pub(crate) echo_checked: OnceCell<()>,
    /// Keeps two clients with the same prompts from waiting alike.
    salt: u64,
}

impl Transport {
    pub(crate) fn new(base_url: BaseUrl, model: String, config: Config) -> Result<Self, Error> {
        config.validate()?;
        let key = Key::from_environment(&config.key_variable)?;
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("rlaif/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(duration(config.connect_seconds))
            .timeout(duration(config.request_seconds))
            // The key must not follow to another host.
            .redirect(reqwest::redirect::Policy::none());
        if base_url.is_loopback() {
            builder = builder.no_proxy();
        }
        let http = builder
            .build()
            .map_err(|error| Error::Transport { message: chain(&error.without_url()) })?;
        Ok(Self {
            slots: Semaphore::new(config.concurrency),
            circuit: Circuit::new(config.circuit_failures),
            began: OnceLock::new(),
            last_failure: Mutex::new(None),
            listener: OnceLock::new(),
            echo_checked: OnceCell::new(),
            salt: rand::random(),
            base_url,
            model,
            config,
            key,
            http,
        })
    }

    pub(crate) fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// Text that a server wrote, without the key.
    pub(crate) fn scrub(&self, text: &str) -> String {
        self.key.scrub(text)
    }

    /// Sends `body` to `path` and reads the answer with `read`, again and again while that may help.
    pub(crate) async fn post<T>(
        &self,
        path: &str,
        body: &Value,
        read: impl Fn(&[u8]) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        self.ask(Method::POST, path, Some(body), read).await
    }

    /// Asks for `path` and reads the answer with `read`, again and again while that may help.
    pub(crate) async fn get<T>(
        &self,
        path: &str,
        read: impl Fn(&[u8]) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        self.ask(Method::GET, path, None, read).await
    }

    async fn ask<T>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        read: impl Fn(&[u8]) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let body = body.map(Value::to_string);
        let url = self.base_url.at(path);
        // Most requests need no second attempt, and no wait before it.
        let mut rng = None;
        for attempt in 0.. {
            let sent = self.attempt(method.clone(), url.clone(), body.clone());
            let outcome = self.unless_over(sent).await?;
            let failure = match outcome.and_then(|bytes| read(&bytes)) {
                Ok(answer) => {
                    self.circuit.success();
                    return Ok(answer);
                }
                // It may quote what the server sent.
                Err(Failure::Malformed(text)) => Failure::Malformed(self.shown(&text)),
                Err(failure) => failure,
            };
            self.count(&failure).await;
            if !failure.is_passing() || attempt + 1 >= self.config.attempts {
                return Err(self.failed(&url, attempt + 1, failure, body.is_some()).await);
            }
            let rng = rng.get_or_insert_with(|| {
                let body = body.as_deref().unwrap_or_default();
                stream(item_seed(self.salt, &[path, body]))
            });
            let pause = wait(&self.config, attempt, failure.retry_after(), rng);
            if self.left().is_some_and(|left| left <= pause) {
                return Err(self.out_of_time());
            }
            if let Some(listener) = self.listener.get().filter(|_| failure.is_absence()) {
                listener.hear(&self.base_url.to_string(), &failure, attempt, &self.config);
            }
            self.unless_over(tokio::time::sleep(pause)).await?;
        }
        Err(self.out_of_time())
    }

    /// Waits for `work`, but not longer than the circuit is closed and there is time left.
    async fn unless_over<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
        if self.circuit.is_open() {
            return Err(self.circuit_open());
        }
        let Some(left) = self.left() else {
            return tokio::select! {
                done = work => Ok(done),
                () = self.circuit.opened() => Err(self.circuit_open()),
            };
        };
        tokio::select! {
            done = work => Ok(done),
            () = self.circuit.opened() => Err(self.circuit_open()),
            () = tokio::time::sleep(left) => Err(self.out_of_time()),
        }
    }

    /// The time that the client may go on asking; `None` for any time.
    fn left(&self) -> Option<Duration> {
        let total = duration(self.config.total_seconds?);
        Some(total.saturating_sub(self.began.get_or_init(Instant::now).elapsed()))
    }

    fn out_of_time(&self) -> Error {
        let seconds = self.config.total_seconds.unwrap_or_default();
        Error::OutOfTime { url: self.base_url.to_string(), seconds }
    }

    fn circuit_open(&self) -> Error {
        let last = self.last_failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let failures = self.config.circuit_failures;
        Error::CircuitOpen { url: self.base_url.to_string(), failures, last }
    }

    /// The error of a request that is given up; `asks` if it is one for an answer of the model.
    async fn failed(&self, url: &Url, attempts: u32, failure: Failure, asks: bool) -> Error {
        let answers_others = asks && failure.is_absence() && self.is_there().await;
        if self.circuit.is_open() {
            return self.circuit_open();
        }
        let (url, prompt) = (url.to_string(), None);
        FailedRequest { url, prompt, attempts, failure, answers_others }.into()
    }

    /// Tells the circuit, which opens only if the server does not even answer a short question: a few prompts on which it
    /// breaks down fail as often, and are no reason to leave the others.
    async fn count(&self, failure: &Failure) {
        if !failure.is_absence() {
            self.circuit.success();
            return;
        }
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure.clone());
        if !self.circuit.failure() {
            return;
        }
        if self.is_there().await {
            self.circuit.success();
        } else {
            self.circuit.open();
        }
    }

    async fn is_there(&self) -> bool {
        self.unless_over(presence::is_there(self)).await.unwrap_or_default()
    }

    /// Sends `body` to `path` once.
    pub(crate) async fn post_once(&self, path: &str, body: &Value) -> Result<Vec<u8>, Failure> {
        self.attempt(Method::POST, self.base_url.at(path), Some(body.to_string())).await
    }

    /// Sends a request once and reads the whole answer.
    async fn attempt(
        &self,
        method: Method,
        url: Url,
        body: Option<String>,
    ) -> Result<Vec<u8>, Failure> {
        let mut request: RequestBuilder = self.http.request(method, url);
        if let Some(header) = self.key.header() {
            request = request.header(AUTHORIZATION, header);
        }
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let response = request.send().await.map_err(|error| self.broken(error))?;
        let status = response.status();
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|header| retry_after(header.to_str().ok()?, SystemTime::now()));
        if status.is_redirection() {
            return Err(Failure::Redirect { status: status.as_u16() });
        }
        let body = self.body(response).await;
        if status.is_success() {
            return body;
        }
        // A refusal counts as such even if its reason cannot be read.
        let message = body.map(|bytes| self.message(&bytes)).unwrap_or_default();
        Err(Failure::Status { status: status.as_u16(), message, retry_after })
    }

    /// Reads a body piece by piece, so that an endless one does not fill the memory.
    async fn body(&self, mut response: Response) -> Result<Vec<u8>, Failure> {
        let limit = self.config.response_limit;
        let mut bytes = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.broken(error))? {
            if piece.len() > limit - bytes.len() {
                return Err(Failure::TooLong { limit });
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    fn broken(&self, error: reqwest::Error) -> Failure {
        if error.is_timeout() {
            return Failure::TimedOut;
        }
        Failure::Connection(self.shown(&chain(&error.without_url())))
    }

    /// What a server says about a failure: the message of its JSON, or else its text.
    fn message(&self, body: &[u8]) -> String {
        let text = String::from_utf8_lossy(body);
        let said = serde_json::from_slice::<Value>(body).ok().and_then(|value| spoken(&value));
        self.shown(said.as_deref().unwrap_or(&text))
    }

    /// A text from elsewhere, fit to be shown: without the key, on one line, shortened.
    pub(crate) fn shown(&self, text: &str) -> String {
        let text = self.key.scrub(text);
        let words = text.split(|c: char| c.is_whitespace() || c.is_control());
        let line = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
        match line.char_indices().nth(SHOWN) {
            Some((end, _)) => format!("{} …", &line[..end]),
            None => line,
        }
    }
}

/// The message in the JSON of an error.
pub(crate) fn spoken(value: &Value) -> Option<String> {
    let error = value.get("error").unwrap_or(value);
    let message = error.get("message").or_else(|| error.get("detail")).unwrap_or(error);
    match message {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// An error with all that caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn transport() -> Transport {
        let config = Config { key_variable: "CARGO_MANIFEST_DIR".to_owned(), ..Config::default() };
        Transport::new("http://127.0.0.1:1/v1".parse().unwrap(), "m".to_owned(), config).unwrap()
    }

    #[test]
    fn finds_the_message_of_an_error() {
        for (body, expected) in [
            (json!({"error": {"message": "no such model"}}), "no such model"),
            (json!({"error": "busy"}), "busy"),
            (json!({"detail": "Not Found"}), "Not Found"),
            (json!({"detail": [{"msg": "x"}]}), "[{\"msg\":\"x\"}]"),
            (json!({"message": "m"}), "m"),
        ] {
            assert_eq!(spoken(&body).as_deref(), Some(expected));
        }
        assert_eq!(spoken(&json!({"error": null})), None);
    }

    #[test]
    fn what_is_shown_is_short_and_has_no_key() {
        let transport = transport();
        let key = env!("CARGO_MANIFEST_DIR");
        let long = format!("wrong key {key}\n\u{1b}[31m{}", "x ".repeat(1000));
        let shown = transport.shown(&long);
        assert!(shown.starts_with("wrong key [key] [31mx x") && !shown.contains('\u{1b}'));
        assert_eq!(shown.chars().count(), SHOWN + 2);
        assert!(!format!("{transport:?}").contains(key));
    }
}
