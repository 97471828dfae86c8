//! The settings of a client.

use crate::Error;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::time::Duration;

/// Which of the two interfaces of a server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Api {
    /// `/chat/completions`: messages go in, the server applies its chat template.
    Chat,
    /// `/completions`: text goes in, made as [`PromptText`] says.
    Completions,
}

/// How an unfinished assistant turn is continued through the chat interface.
///
/// A server that does not know the way chosen would answer the turn instead, which nobody would notice. So the client
/// asks two short questions before it relies on one, and compares how many tokens the server counts; see
/// [`Error::NotContinued`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Continuation {
    /// By the fields `continue_final_message` and `add_generation_prompt`, which vLLM and SGLang know; servers that
    /// continue a closing assistant turn by themselves (llama.cpp's own, Ollama) do not mind them.
    ContinueFinalMessage,
    /// By the closing assistant turn alone, for servers that continue it and refuse fields they do not know.
    Trailing,
    /// By `"prefix": true` in the closing message (Mistral, DeepSeek).
    Prefix,
    /// By words: the user turn asks for a reply that begins so. An approximation, for servers that can do nothing else,
    /// such as OpenAI's.
    Ask,
    /// Not at all: such a prompt is an error.
    Refuse,
}

/// How a dialogue becomes the text of a completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptText {
    /// The paper's transcript, `\n\nHuman: … \n\nAssistant: …`; a reply ends where the human would speak.
    Transcript,
    /// The texts of all turns one after another, with nothing between or behind them.
    Raw,
}

/// How fixed answers are weighed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scoring {
    /// One token is drawn, and the answers are looked up among the most likely ones; where several answers begin with the same
    /// token, behind it once more.
    TopLogprobs,
    /// Prompt and answer are sent together and come back with a log-probability for each token. For answers of any
    /// length, one request an answer, [`Api::Completions`] only. Not every server that takes the field scores an echo
    /// rightly, so the first one is checked; see [`Error::EchoedWrongly`].
    Echo,
}

/// The settings of a client.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `api` | `"chat"` | `"chat"` or `"completions"` |
/// | `continuation` | `"continue_final_message"` | how the chat interface continues an unfinished reply: also `"trailing"`, `"prefix"`, `"ask"`, `"refuse"` |
/// | `prompt_text` | `"transcript"` | how a dialogue becomes the text of a completion: also `"raw"` |
/// | `scoring` | `["top_logprobs"]` | how answers are weighed, tried in this order; also `"echo"` with completions |
/// | `top_logprobs` | 20 | most likely tokens that are asked for, 1 to 1000; most servers refuse more than 20 |
/// | `concurrency` | 8 | requests at a time, 1 to 1024 |
/// | `attempts` | 8 | how often a request is sent before it counts as failed, at least 1 |
/// | `backoff_seconds` | 0.5 | longest wait before the second attempt; doubles with every further one |
/// | `backoff_limit_seconds` | 30 | longest wait between attempts |
/// | `retry_after_limit_seconds` | 120 | longest wait that a server may ask for |
/// | `connect_seconds` | 10 | longest wait for a connection |
/// | `request_seconds` | 300 | longest wait for a whole answer |
/// | `total_seconds` | none | how long the client may go on asking, counted from its first request |
/// | `circuit_failures` | 32 | failures in a row, over all requests, after which the server counts as gone |
/// | `response_limit` | 16777216 | longest answer, in bytes |
/// | `key_variable` | `"OPENAI_API_KEY"` | environment variable that holds the key; without a value none is sent |
/// | `extra` | none | further fields of every request, such as `chat_template_kwargs`; they replace fields of the same name |
///
/// `api` to `top_logprobs` and `extra` decide what is answered; the others only how the server is reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Which interface is spoken to.
    pub api: Api,
    /// How the chat interface continues an unfinished reply.
    pub continuation: Continuation,
    /// How a dialogue becomes the text of a completion.
    pub prompt_text: PromptText,
    /// How answers are weighed, tried in this order.
    pub scoring: Vec<Scoring>,
    /// Most likely tokens that are asked for.
    pub top_logprobs: u32,
    /// Requests at a time.
    pub concurrency: usize,
    /// How often a request is sent before it counts as failed.
    pub attempts: u32,
    /// Longest wait before the second attempt, in seconds.
    pub backoff_seconds: f64,
    /// Longest wait between attempts, in seconds.
    pub backoff_limit_seconds: f64,
    /// Longest wait that a server may ask for, in seconds.
    pub retry_after_limit_seconds: f64,
    /// Longest wait for a connection, in seconds.
    pub connect_seconds: f64,
    /// Longest wait for a whole answer, in seconds.
    pub request_seconds: f64,
    /// How long the client may go on asking, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_seconds: Option<f64>,
    /// Failures in a row after which the server counts as gone.
    pub circuit_failures: u32,
    /// Longest answer, in bytes.
    pub response_limit: usize,
    /// Environment variable that holds the key.
    pub key_variable: String,
    /// Further fields of every request.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

/// The environment variable that holds the key unless another is named.
pub(crate) const KEY_VARIABLE: &str = "OPENAI_API_KEY";

impl Default for Config {
    fn default() -> Self {
        Self {
            api: Api::Chat,
            continuation: Continuation::ContinueFinalMessage,
            prompt_text: PromptText::Transcript,
            scoring: vec![Scoring::TopLogprobs],
            top_logprobs: 20,
            concurrency: 8,
            attempts: 8,
            backoff_seconds: 0.5,
            backoff_limit_seconds: 30.0,
            retry_after_limit_seconds: 120.0,
            connect_seconds: 10.0,
            request_seconds: 300.0,
            total_seconds: None,
            circuit_failures: 32,
            response_limit: 16 << 20,
            key_variable: KEY_VARIABLE.to_owned(),
            extra: Map::new(),
        }
    }
}

/// A longer time than anybody waits, in seconds: a year.
const LONGEST: f64 = 365.0 * 24.0 * 3600.0;

impl Config {
    /// The settings that say how the server is reached, and not what it answers.
    pub const TRANSPORT: [&str; 11] = [
        "concurrency",
        "attempts",
        "backoff_seconds",
        "backoff_limit_seconds",
        "retry_after_limit_seconds",
        "connect_seconds",
        "request_seconds",
        "total_seconds",
        "circuit_failures",
        "response_limit",
        "key_variable",
    ];

    /// Whether the server goes on with an unfinished text or turn itself, not merely as well as words can ask for it: only
    /// then can it be asked what comes behind the first token of an answer.
    pub fn continues(&self) -> bool {
        let in_words = matches!(self.continuation, Continuation::Ask | Continuation::Refuse);
        self.api == Api::Completions || !in_words
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Setting`] names the first one out of range.
    pub fn validate(&self) -> Result<(), Error> {
        self.validate_scoring()?;
        whole(
            "top_logprobs",
            u64::from(self.top_logprobs),
            1,
            1000,
            "a whole number of 1 to 1000",
        )?;
        whole("concurrency", self.concurrency as u64, 1, 1024, "a whole number of 1 to 1024")?;
        let positive = "a whole number of at least 1";
        whole("attempts", u64::from(self.attempts), 1, u64::MAX, positive)?;
        whole("circuit_failures", u64::from(self.circuit_failures), 1, u64::MAX, positive)?;
        whole("response_limit", self.response_limit as u64, 1, u64::MAX, positive)?;
        for (setting, value) in [
            ("backoff_seconds", self.backoff_seconds),
            ("backoff_limit_seconds", self.backoff_limit_seconds),
            ("retry_after_limit_seconds", self.retry_after_limit_seconds),
        ] {
            seconds(setting, value, value >= 0.0, "a number of at least 0 and at most a year")?;
        }
        for (setting, value) in [
            ("connect_seconds", Some(self.connect_seconds)),
            ("request_seconds", Some(self.request_seconds)),
            ("total_seconds", self.total_seconds),
        ] {
            let value = value.unwrap_or(1.0);
            seconds(setting, value, value > 0.0, "a number above 0 and at most a year")?;
        }
        self.validate_key_variable()
    }

    fn validate_scoring(&self) -> Result<(), Error> {
        if self.scoring.is_empty() {
            return Err(Error::Setting {
                setting: "scoring",
                found: "empty".to_owned(),
                expected: "at least one of \"top_logprobs\" and \"echo\"",
            });
        }
        if self.api == Api::Chat && self.scoring.contains(&Scoring::Echo) {
            return Err(Error::Setting {
                setting: "scoring",
                found: "\"echo\" with the chat interface".to_owned(),
                expected: "[\"top_logprobs\"], since chat servers do not echo; or set `api = \"completions\"`",
            });
        }
        Ok(())
    }

    /// A name of an environment variable; what it is instead is not shown, since it may be the key itself.
    fn validate_key_variable(&self) -> Result<(), Error> {
        let letter = |c: char| c.is_ascii_uppercase() || c == '_';
        let name = &self.key_variable;
        if name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit()) {
            return Ok(());
        }
        Err(Error::Setting {
            setting: "key_variable",
            found: "no such name (not shown, in case it is a key)".to_owned(),
            expected: "the name of an environment variable in capitals, such as OPENAI_API_KEY",
        })
    }
}

fn whole(
    setting: &'static str,
    found: u64,
    least: u64,
    most: u64,
    expected: &'static str,
) -> Result<(), Error> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    Err(Error::Setting { setting, found: found.to_string(), expected })
}

fn seconds(
    setting: &'static str,
    found: f64,
    in_range: bool,
    expected: &'static str,
) -> Result<(), Error> {
    if in_range && found <= LONGEST {
        return Ok(());
    }
    Err(Error::Setting { setting, found: found.to_string(), expected })
}

/// A checked number of seconds.
pub(crate) fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.clamp(0.0, LONGEST)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_in_range_and_reads_back() {
        let config = Config::default();
        config.validate().unwrap();
        let text = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<Config>(&text).unwrap(), config);
        for name in Config::TRANSPORT.into_iter().filter(|name| *name != "total_seconds") {
            assert!(text.contains(&format!("{name} = ")), "{name}");
        }
        assert!(toml::from_str::<Config>("key = 'sk-1'").is_err());
    }

    #[test]
    fn names_the_setting_out_of_range() {
        let cases = [
            "top_logprobs = 0",
            "concurrency = 0",
            "attempts = 0",
            "circuit_failures = 0",
            "response_limit = 0",
            "backoff_seconds = -1",
            "backoff_limit_seconds = nan",
            "retry_after_limit_seconds = inf",
            "connect_seconds = 0",
            "request_seconds = nan",
            "total_seconds = 0",
            "scoring = []",
            "scoring = ['echo']",
            "key_variable = ''",
            "key_variable = '1A'",
        ];
        for text in cases {
            let config: Config = toml::from_str(text).unwrap();
            let message = config.validate().unwrap_err().to_string();
            assert!(message.contains(text.split(' ').next().unwrap()), "{text}: {message}");
        }
    }

    #[test]
    fn only_what_is_asked_in_words_is_not_continued() {
        for (text, continues) in [
            ("", true),
            ("continuation = 'trailing'", true),
            ("continuation = 'ask'", false),
            ("continuation = 'ask'\napi = 'completions'", true),
        ] {
            assert_eq!(toml::from_str::<Config>(text).unwrap().continues(), continues, "{text}");
        }
    }

    #[test]
    fn a_key_in_the_wrong_place_is_not_shown() {
        let config = Config { key_variable: "sk-123".to_owned(), ..Config::default() };
        let message = config.validate().unwrap_err().to_string();
        assert!(!message.contains("123"), "{message}");
    }
}
