//! One item of a call: what is asked, and what its answer is.

use crate::next_tokens::NextTokens;
use crate::transport::Transport;
use crate::{Api, Error, Listed, Scored, Scoring, chat, completions, echo_check, weigh_sequences};
use dialogue::Dialogue;
use language_model::{Answer, Completion, Prompt, Sampling};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What the server gave for an item.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) answer: Answer,
    /// Tokens of the prompt, in all requests that it took, if the server tells them.
    pub(crate) prompt_tokens: Option<u64>,
}

/// One item of a call.
#[derive(Debug)]
pub(crate) struct Task {
    /// A name made of all that decides the answer.
    pub(crate) id: String,
    /// [`Dialogue::id`] of its prompt.
    pub(crate) prompt: String,
    /// Whether the server must continue an unfinished turn of a chat.
    pub(crate) continues: bool,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    ChatReply { body: Value, sampling: Sampling },
    TextReply { body: Value, sampling: Sampling, unfinished: bool },
    ChatChoice { body: Value, options: Vec<String> },
    TextChoice { text: String, options: Vec<String> },
}

impl Task {
    /// A reply to a prompt.
    pub(crate) fn reply(
        transport: &Transport,
        prompt: &Prompt,
        sampling: &Sampling,
    ) -> Result<Self, Error> {
        let (config, model, sampling) = (&transport.config, &transport.model, sampling.clone());
        let unfinished = prompt.dialogue.ends_with_assistant();
        let kind = match config.api {
            Api::Chat => Kind::ChatReply {
                body: chat::generate_body(config, model, prompt, &sampling)?,
                sampling,
            },
            Api::Completions => Kind::TextReply {
                body: completions::generate_body(config, model, prompt, &sampling),
                sampling,
                unfinished,
            },
        };
        // The body holds only 31 bits of the seed.
        let seed = prompt.seed.to_string();
        let about = match &kind {
            Kind::ChatReply { body, .. } | Kind::TextReply { body, .. } => json!([body, seed]),
            Kind::ChatChoice { .. } | Kind::TextChoice { .. } => Value::Null,
        };
        let id = name(&json!(["reply", config.api, config.prompt_text, about]));
        let prompt = prompt.dialogue.id();
        Ok(Self { id, prompt, continues: config.api == Api::Chat && unfinished, kind })
    }

    /// The weights of options behind a prompt.
    pub(crate) fn choice(
        transport: &Transport,
        prompt: &Dialogue,
        options: &[&str],
    ) -> Result<Self, Error> {
        let (config, model) = (&transport.config, &transport.model);
        let owned = options.iter().map(|&option| option.to_owned()).collect();
        let text = completions::prompt_text(config.prompt_text, prompt);
        let (about, kind) = match config.api {
            Api::Chat => {
                let body = chat::choose_body(config, model, prompt, options)?;
                (body.clone(), Kind::ChatChoice { body, options: owned })
            }
            Api::Completions => (
                completions::choose_body(config, model, &text),
                Kind::TextChoice { text, options: owned },
            ),
        };
        let id = name(&json!(["choice", config.api, config.scoring, about, options]));
        let continues = config.api == Api::Chat && prompt.ends_with_assistant();
        Ok(Self { id, prompt: prompt.id(), continues, kind })
    }

    /// Asks the server.
    pub(crate) async fn answer(&self, transport: &Transport) -> Result<Given, Error> {
        match &self.kind {
            Kind::ChatReply { body, sampling } => {
                let read = |bytes: &[u8]| chat::read_completion(bytes, sampling);
                Ok(reply(transport, transport.post(chat::PATH, body, read).await?))
            }
            Kind::TextReply { body, sampling, unfinished } => {
                let kind = transport.config.prompt_text;
                let read =
                    |bytes: &[u8]| completions::read_completion(bytes, kind, *unfinished, sampling);
                Ok(reply(transport, transport.post(completions::PATH, body, read).await?))
            }
            Kind::ChatChoice { body, options } => {
                let can_follow = self.continues && transport.config.continues();
                let next = Next::Chat { body, can_follow };
                weigh_top(transport, &next, &self.prompt, options).await
            }
            Kind::TextChoice { text, options } => {
                in_turn(transport, text, &self.prompt, options).await
            }
        }
    }
}

/// A reply, without what nobody must see.
fn reply(transport: &Transport, found: (Completion, Option<u64>)) -> Given {
    let (mut completion, prompt_tokens) = found;
    completion.text = transport.scrub(&completion.text);
    Given { answer: Answer::Completion(completion), prompt_tokens }
}

/// Weighs options in the ways of the settings, until one of them can tell.
async fn in_turn(
    transport: &Transport,
    text: &str,
    prompt: &str,
    options: &[String],
) -> Result<Given, Error> {
    let mut ways = transport.config.scoring.iter().peekable();
    while let Some(way) = ways.next() {
        let outcome = match way {
            Scoring::TopLogprobs => weigh_top(transport, &Next::Text(text), prompt, options).await,
            Scoring::Echo => echo(transport, text, prompt, options).await,
        };
        match outcome {
            Err(Error::Unweighable { .. } | Error::NoLogprobs { .. }) if ways.peek().is_some() => {}
            outcome => return outcome,
        }
    }
    // Settings without any way do not pass their check.
    Err(missing(transport, completions::PATH, "`scoring` is empty"))
}

/// Where the most likely next tokens are asked for.
enum Next<'a> {
    /// Behind a chat, and if `can_follow`, behind more of its last turn.
    Chat { body: &'a Value, can_follow: bool },
    /// Behind a text, and behind more of it.
    Text(&'a str),
}

impl Next<'_> {
    fn path(&self) -> &'static str {
        match self {
            Self::Chat { .. } => chat::PATH,
            Self::Text(_) => completions::PATH,
        }
    }

    fn can_follow(&self) -> bool {
        match self {
            Self::Chat { can_follow, .. } => *can_follow,
            Self::Text(_) => true,
        }
    }

    /// The most likely tokens behind `more`, if the server lists them, and the tokens of the prompt.
    async fn list(
        &self,
        transport: &Transport,
        more: &str,
    ) -> Result<(Option<Vec<Listed>>, Option<u64>), Error> {
        match self {
            Self::Chat { body, .. } => {
                let body = chat::behind(body, more);
                transport.post(self.path(), &body, chat::read_listed).await
            }
            Self::Text(text) => {
                let (config, model) = (&transport.config, &transport.model);
                let body = completions::choose_body(config, model, &format!("{text}{more}"));
                transport.post(self.path(), &body, completions::read_listed).await
            }
        }
    }
}

async fn echo(
    transport: &Transport,
    text: &str,
    prompt: &str,
    options: &[String],
) -> Result<Given, Error> {
    transport.echo_checked.get_or_try_init(|| echo_check::check(transport, text)).await?;
    let mut sequences: Vec<Vec<Scored>> = Vec::with_capacity(options.len());
    let mut prompt_tokens = None;
    for option in options {
        // Behind `Assistant:` an answer stands after a space, as in any transcript.
        let space = if text.ends_with(':') && !option.starts_with(' ') { " " } else { "" };
        let whole = format!("{text}{space}{option}");
        let body = completions::echo_body(&transport.config, &transport.model, &whole);
        let (scored, read) =
            transport.post(completions::PATH, &body, completions::read_scored).await?;
        prompt_tokens = read.map(|read| prompt_tokens.unwrap_or(0) + read).or(prompt_tokens);
        let scored = scored.ok_or_else(|| {
            missing(transport, completions::PATH, "no `tokens` and `token_logprobs` for an echo")
        })?;
        let scored = completions::without_drawn(scored, &whole)
            .ok_or_else(|| unweighable(transport, prompt, crate::Unweighable::NotEchoed))?;
        sequences.push(scored);
    }
    weigh_sequences(&borrowed(options), &sequences)
        .map(|row| Given { answer: Answer::Probabilities(row), prompt_tokens })
        .map_err(|reason| unweighable(transport, prompt, reason))
}

async fn weigh_top(
    transport: &Transport,
    next: &Next<'_>,
    prompt: &str,
    options: &[String],
) -> Result<Given, Error> {
    let failed = |reason| unweighable(transport, prompt, reason);
    let mut weighing = NextTokens::new(&borrowed(options), next.can_follow());
    let mut prompt_tokens = None;
    while let Some(begun) = weighing.wanted() {
        let (listed, read) = next.list(transport, &begun.text).await?;
        prompt_tokens = read.map(|read| prompt_tokens.unwrap_or(0) + read).or(prompt_tokens);
        let mut listed = listed.ok_or_else(|| {
            let detail = "no list of the most likely tokens beside the first one drawn";
            missing(transport, next.path(), detail)
        })?;
        for token in &mut listed {
            token.text = transport.scrub(&token.text);
        }
        weighing.tell(&begun, &listed).map_err(failed)?;
    }
    let row = weighing.row().map_err(failed)?;
    Ok(Given { answer: Answer::Probabilities(row), prompt_tokens })
}

fn borrowed(options: &[String]) -> Vec<&str> {
    options.iter().map(String::as_str).collect()
}

fn unweighable(transport: &Transport, prompt: &str, reason: crate::Unweighable) -> Error {
    Error::Unweighable { id: prompt.to_owned(), model: transport.model.clone(), reason }
}

fn missing(transport: &Transport, path: &str, detail: &'static str) -> Error {
    let url = transport.base_url.at(path).to_string();
    Error::NoLogprobs { url, model: transport.model.clone(), detail }
}

/// 128 bits of a hash, in hexadecimal digits.
fn name(about: &Value) -> String {
    format!("{:.32x}", Sha256::digest(about.to_string()))
}
