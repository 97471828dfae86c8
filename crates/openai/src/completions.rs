//! The completions interface: text in, text out.

use crate::chat::{Read, closed, extend, first_choice, of_prompt};
use crate::logprobs::Logprobs;
use crate::sampling::{add_sampling, completion, wire_seed};
use crate::{Config, Failure, Listed, PromptText, Scored};
use dialogue::Dialogue;
use language_model::{Completion, Prompt, Sampling};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Where requests go.
pub(crate) const PATH: &str = "completions";

/// Where the human would speak, and the reply ends.
const HUMAN: &str = "\n\nHuman:";
/// Where the assistant begins to speak.
const ASSISTANT: &str = "\n\nAssistant:";

/// A dialogue as text, ready to be continued.
pub(crate) fn prompt_text(kind: PromptText, dialogue: &Dialogue) -> String {
    match kind {
        PromptText::Raw => dialogue.messages.iter().map(|turn| turn.content.as_str()).collect(),
        PromptText::Transcript => {
            let mut text = dialogue.to_transcript();
            if !dialogue.ends_with_assistant() {
                text.push_str(ASSISTANT);
            }
            text
        }
    }
}

/// The strings that end a reply.
pub(crate) fn stops(kind: PromptText, sampling: &Sampling) -> Vec<&str> {
    let own = (kind == PromptText::Transcript).then_some(HUMAN);
    sampling.stop.iter().map(String::as_str).chain(own).collect()
}

/// A request for a continuation of one prompt.
pub(crate) fn generate_body(
    config: &Config,
    model: &str,
    prompt: &Prompt,
    sampling: &Sampling,
) -> Value {
    let mut body = opened(model, &prompt_text(config.prompt_text, &prompt.dialogue));
    add_sampling(&mut body, sampling, &stops(config.prompt_text, sampling));
    body.insert("seed".to_owned(), wire_seed(prompt.seed).into());
    closed(config, body)
}

/// A request for one token and the most likely ones in its place.
pub(crate) fn choose_body(config: &Config, model: &str, text: &str) -> Value {
    let mut body = opened(model, text);
    let fields = json!({
        "max_tokens": 1, "temperature": 1.0, "top_p": 1.0, "seed": 0, "logprobs": config.top_logprobs,
    });
    extend(&mut body, fields);
    closed(config, body)
}

/// A request for the log-probabilities of a text. One token is drawn behind it, since not every server can draw none.
pub(crate) fn echo_body(config: &Config, model: &str, text: &str) -> Value {
    let mut body = opened(model, text);
    let fields = json!({
        "max_tokens": 1, "temperature": 1.0, "top_p": 1.0, "seed": 0, "logprobs": 1, "echo": true,
    });
    extend(&mut body, fields);
    closed(config, body)
}

fn opened(model: &str, text: &str) -> Map<String, Value> {
    let mut body = Map::new();
    extend(&mut body, json!({"model": model, "prompt": text, "stream": false}));
    body
}

#[derive(Debug, Deserialize)]
struct Choice {
    text: Option<String>,
    finish_reason: Option<String>,
    logprobs: Option<Logprobs>,
}

/// Reads a reply. The space behind `Assistant:` is no part of it.
pub(crate) fn read_completion(
    bytes: &[u8],
    kind: PromptText,
    unfinished: bool,
    sampling: &Sampling,
) -> Read<Completion> {
    let (choice, usage): (Choice, _) = first_choice(bytes)?;
    let mut text = choice.text.unwrap_or_default();
    if kind == PromptText::Transcript && !unfinished && text.starts_with(' ') {
        text.remove(0);
    }
    let finish_reason = choice.finish_reason.as_deref();
    let reply = completion(text, finish_reason, usage, sampling, &stops(kind, sampling));
    Ok((reply, of_prompt(usage)))
}

/// Reads the most likely first tokens; `None` if the answer does not list them.
pub(crate) fn read_listed(bytes: &[u8]) -> Read<Option<Vec<Listed>>> {
    let (choice, usage): (Choice, _) = first_choice(bytes)?;
    Ok((choice.logprobs.and_then(|logprobs| logprobs.first()), of_prompt(usage)))
}

/// Reads the token that was drawn; `None` if it is none or not scored.
pub(crate) fn read_drawn(bytes: &[u8]) -> Result<Option<Listed>, Failure> {
    let (choice, _): (Choice, _) = first_choice(bytes)?;
    let scored = choice.logprobs.and_then(|logprobs| logprobs.drawn());
    Ok(scored.filter(|token| !token.text.is_empty() && choice.text.as_ref() == Some(&token.text)))
}

/// Reads every token of an echo; `None` if the answer does not score them.
pub(crate) fn read_scored(bytes: &[u8]) -> Read<Option<Vec<Scored>>> {
    let (choice, usage): (Choice, _) = first_choice(bytes)?;
    Ok((choice.logprobs.and_then(|logprobs| logprobs.all()), of_prompt(usage)))
}

/// Characters of the sent text that its echo is compared by.
const COMPARED: usize = 200;

/// The tokens of `text` alone, out of its echo with at most one drawn token behind it; `None` if it is not in there.
///
/// What stands before `text`, such as a token that begins every text, stays. A token that is no whole character has no
/// text to compare by, so only what follows the last of them is compared.
pub(crate) fn without_drawn(mut tokens: Vec<Scored>, text: &str) -> Option<Vec<Scored>> {
    let drawn = [1, 0].into_iter().find(|&drawn| {
        let kept = tokens.len().checked_sub(drawn).map(|kept| &tokens[..kept]).unwrap_or_default();
        ends_like(kept, text)
    })?;
    tokens.truncate(tokens.len() - drawn);
    Some(tokens)
}

fn ends_like(tokens: &[Scored], text: &str) -> bool {
    let mut tail = String::new();
    let mut cut = false;
    for token in tokens.iter().rev() {
        let undecodable = token.text.contains('\u{fffd}') || token.text.starts_with("bytes:");
        if undecodable || tail.len() >= COMPARED {
            cut = true;
            break;
        }
        tail.insert_str(0, &token.text.replace(['▁', 'Ġ'], " ").replace('Ċ', "\n"));
    }
    // Some tokenizers add a space at the beginning of every text, or show none there.
    let (text, all) = (text.trim_start(), tail.trim_start());
    !all.is_empty() && (all.ends_with(text) || (cut && text.ends_with(&tail)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_dialogue_becomes_the_papers_transcript() {
        let asked = Dialogue::from_user("hi");
        let text = |dialogue: &Dialogue| prompt_text(PromptText::Transcript, dialogue);
        assert_eq!(text(&asked), "\n\nHuman: hi\n\nAssistant:");
        let opened = asked.clone().with_assistant("The answer is: (");
        assert_eq!(text(&opened), "\n\nHuman: hi\n\nAssistant: The answer is: (");
        assert_eq!(prompt_text(PromptText::Raw, &opened), "hiThe answer is: (");
        let sampling = Sampling { stop: vec!["x".to_owned()], ..Sampling::default() };
        assert_eq!(stops(PromptText::Transcript, &sampling), ["x", "\n\nHuman:"]);
        assert_eq!(stops(PromptText::Raw, &sampling), ["x"]);
    }

    #[test]
    fn a_request_is_made_by_the_protocol() {
        let prompt = Prompt { dialogue: Dialogue::from_user("hi"), seed: 9 };
        let found = generate_body(&Config::default(), "m", &prompt, &Sampling::default());
        let expected = json!({
            "model": "m", "prompt": "\n\nHuman: hi\n\nAssistant:", "stream": false,
            "temperature": 1.0, "max_tokens": 128, "stop": ["\n\nHuman:"], "seed": 9,
        });
        assert_eq!(found, expected);
        let found = echo_body(&Config::default(), "m", "text");
        assert_eq!((&found["echo"], &found["logprobs"]), (&json!(true), &json!(1)));
    }

    #[test]
    fn a_reply_begins_behind_the_space() {
        let answer = json!({"choices": [{"text": " Hello.\n\nHuman: and"}]}).to_string();
        let read = |kind, unfinished| {
            let read = read_completion(answer.as_bytes(), kind, unfinished, &Sampling::default());
            read.unwrap().0.text
        };
        assert_eq!(read(PromptText::Transcript, false), "Hello.");
        assert_eq!(read(PromptText::Transcript, true), " Hello.");
        assert_eq!(read(PromptText::Raw, false), " Hello.\n\nHuman: and");
    }

    fn tokens(texts: &[&str]) -> Vec<Scored> {
        texts.iter().map(|text| Scored { text: (*text).to_owned(), log_prob: -1.0 }).collect()
    }

    #[test]
    fn the_drawn_token_is_left_out() {
        let count = |texts: &[&str], text| without_drawn(tokens(texts), text).map(|t| t.len());
        assert_eq!(count(&["Is", " it", " (", "A", ")"], "Is it (A"), Some(4));
        assert_eq!(count(&["Is", " it", " (", "A"], "Is it (A"), Some(4));
        // The drawn token repeats the option: the longer text decides.
        assert_eq!(count(&["x", "A", "A"], "xA"), Some(2));
        assert_eq!(count(&["<s>", "▁Is", "▁it", "▁(", "A", ")"], "Is it (A"), Some(5));
        assert_eq!(count(&["h\u{fffd}", "\u{fffd}", " (A", "\n"], "hé (A"), Some(3));
        assert_eq!(count(&["other", "text"], "Is it (A"), None);
        assert_eq!(count(&[], "Is it (A"), None);
    }

    proptest! {
        #[test]
        fn cuts_any_echo_where_the_text_ends(
            texts in prop::collection::vec("[a-c ]{1,3}", 1..8),
            drawn in prop::option::of("[x-z]"),
        ) {
            let sent = texts.concat();
            prop_assume!(!sent.trim().is_empty());
            let all: Vec<&str> = texts.iter().map(String::as_str).chain(drawn.as_deref()).collect();
            prop_assert_eq!(without_drawn(tokens(&all), &sent).map(|t| t.len()), Some(texts.len()));
        }
    }
}
