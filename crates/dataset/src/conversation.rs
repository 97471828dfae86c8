//! Dialogues in a row, as text, transcript or list of messages.

use dialogue::{Dialogue, Role};
use serde::Deserialize;
use serde_json::Value;

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Problem {
    /// The field in backquotes, or `the row`.
    pub(crate) field: String,
    pub(crate) text: String,
}

impl Problem {
    pub(crate) fn new(field: impl Into<String>, text: impl Into<String>) -> Self {
        Self { field: field.into(), text: text.into() }
    }
}

/// A dialogue from a list of messages, a transcript, or any other text, which is one user turn.
pub(crate) fn dialogue(field: &str, value: &Value) -> Result<Dialogue, Problem> {
    match value {
        Value::String(text) if text.trim().is_empty() => Err(Problem::new(field, "is blank")),
        Value::String(text) if text.starts_with("\n\nHuman:") => transcript(field, text),
        Value::String(text) => Ok(Dialogue::from_user(text.trim())),
        Value::Array(_) => messages(field, value),
        _ => Err(wrong_type(field, value)),
    }
}

/// A dialogue from a list of messages or a transcript.
pub(crate) fn whole_dialogue(field: &str, value: &Value) -> Result<Dialogue, Problem> {
    match value {
        Value::String(text) => transcript(field, text),
        Value::Array(_) => messages(field, value),
        _ => Err(wrong_type(field, value)),
    }
}

/// A dialogue without its closing assistant turns, if a user turn that says something stands before them.
///
/// hh-rlhf holds a few replies that are two turns of the assistant.
pub(crate) fn prompt(field: &str, mut dialogue: Dialogue) -> Result<Dialogue, Problem> {
    while dialogue.ends_with_assistant() {
        dialogue.messages.pop();
    }
    match dialogue.messages.last() {
        Some(last) if last.role != Role::User => {
            Err(Problem::new(field, "does not end in a user turn"))
        }
        Some(last) if last.content.trim().is_empty() => {
            Err(Problem::new(field, "ends in a blank user turn"))
        }
        Some(_) => Ok(dialogue),
        None => Err(Problem::new(field, "has no user turn")),
    }
}

/// What a JSON value is called in a message.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A reply that stands apart from its prompt.
pub(crate) fn reply(field: &str, value: &Value) -> Result<String, Problem> {
    match value {
        Value::String(text) => Ok(text.trim().to_owned()),
        Value::Array(_) => match whole_dialogue(field, value)?.messages.as_slice() {
            [only] if only.role == Role::Assistant => Ok(only.content.clone()),
            _ => Err(Problem::new(field, "must hold one assistant message beside `prompt`")),
        },
        _ => Err(wrong_type(field, value)),
    }
}

fn wrong_type(field: &str, value: &Value) -> Problem {
    Problem::new(field, format!("is {}, expected a text or a list of messages", kind(value)))
}

fn transcript(field: &str, text: &str) -> Result<Dialogue, Problem> {
    Dialogue::from_transcript(text)
        .map_err(|error| Problem::new(field, format!("is not a transcript: {error}")))
}

fn messages(field: &str, value: &Value) -> Result<Dialogue, Problem> {
    Dialogue::deserialize(value).map_err(|error| {
        let expected = "a list of messages with `role` and `content`";
        Problem::new(field, format!("is not {expected}: {error}"))
    })
}
