//! The chat interface: messages in, a message out.

use crate::logprobs::Logprobs;
use crate::sampling::{Usage, add_sampling, completion, wire_seed};
use crate::transport::spoken;
use crate::{Config, Continuation, Error, Failure, Listed};
use dialogue::{Dialogue, Role};
use language_model::{Completion, Prompt, Sampling};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// Where requests go.
pub(crate) const PATH: &str = "chat/completions";

/// A request for a reply to one prompt.
pub(crate) fn generate_body(
    config: &Config,
    model: &str,
    prompt: &Prompt,
    sampling: &Sampling,
) -> Result<Value, Error> {
    let mut body = opened(config, model, &prompt.dialogue, None)?;
    let stops: Vec<&str> = sampling.stop.iter().map(String::as_str).collect();
    add_sampling(&mut body, sampling, &stops);
    body.insert("seed".to_owned(), wire_seed(prompt.seed).into());
    Ok(closed(config, body))
}

/// A request for one token and the most likely ones in its place.
pub(crate) fn choose_body(
    config: &Config,
    model: &str,
    prompt: &Dialogue,
    options: &[&str],
) -> Result<Value, Error> {
    let mut body = opened(config, model, prompt, Some(options))?;
    let fields = json!({
        "max_tokens": 1, "temperature": 1.0, "top_p": 1.0, "seed": 0,
        "logprobs": true, "top_logprobs": config.top_logprobs,
    });
    extend(&mut body, fields);
    Ok(closed(config, body))
}

/// A request with more at the end of its last message.
pub(crate) fn behind(body: &Value, text: &str) -> Value {
    let mut body = body.clone();
    let messages = body.get_mut("messages").and_then(Value::as_array_mut);
    let last = messages.and_then(|messages| messages.last_mut());
    if let Some(Value::String(content)) = last.and_then(|last| last.get_mut("content")) {
        content.push_str(text);
    }
    body
}

/// The model and the messages.
fn opened(
    config: &Config,
    model: &str,
    dialogue: &Dialogue,
    options: Option<&[&str]>,
) -> Result<Map<String, Value>, Error> {
    let unfinished = dialogue.ends_with_assistant();
    if unfinished && config.continuation == Continuation::Refuse {
        return Err(Error::Unfinished { id: dialogue.id() });
    }
    let asked = (unfinished && config.continuation == Continuation::Ask)
        .then(|| in_words(dialogue, options));
    let messages = &asked.as_ref().unwrap_or(dialogue).messages;
    let mut messages: Vec<Value> = messages
        .iter()
        .map(|message| json!({"role": message.role.name(), "content": message.content}))
        .collect();
    let mut body = Map::new();
    if unfinished {
        match config.continuation {
            Continuation::ContinueFinalMessage => extend(
                &mut body,
                json!({"continue_final_message": true, "add_generation_prompt": false}),
            ),
            Continuation::Prefix => {
                if let Some(Value::Object(last)) = messages.last_mut() {
                    last.insert("prefix".to_owned(), true.into());
                }
            }
            Continuation::Trailing | Continuation::Ask | Continuation::Refuse => {}
        }
    }
    extend(&mut body, json!({"model": model, "messages": messages, "stream": false}));
    Ok(body)
}

/// A dialogue whose last turn asks for the beginning of the reply in words.
fn in_words(dialogue: &Dialogue, options: Option<&[&str]>) -> Dialogue {
    let opening = dialogue.last_reply().unwrap_or_default();
    let what = match options {
        Some(options) => format!("exactly one of: {}", options.join(", ")),
        None => "what comes after these words, without repeating them".to_owned(),
    };
    let request = format!("Your reply begins with these words:\n\n{opening}\n\nWrite {what}.");
    let mut asked = dialogue.prompt();
    match asked.messages.last_mut() {
        Some(last) if last.role == Role::User => {
            last.content = format!("{}\n\n{request}", last.content);
            asked
        }
        _ => asked.with_user(request),
    }
}

/// The request with the fields of the settings over it.
pub(crate) fn closed(config: &Config, mut body: Map<String, Value>) -> Value {
    body.extend(config.extra.clone());
    Value::Object(body)
}

/// Puts the fields of an object into another.
pub(crate) fn extend(body: &mut Map<String, Value>, fields: Value) {
    if let Value::Object(fields) = fields {
        body.extend(fields);
    }
}

/// An answer of either interface.
#[derive(Debug, Deserialize)]
struct Answer<C> {
    // A missing list and `null` are the same.
    choices: Option<Vec<C>>,
    usage: Option<Usage>,
    error: Option<Value>,
}

/// What was read of an answer, and the tokens of its prompt if the server tells them.
pub(crate) type Read<T> = Result<(T, Option<u64>), Failure>;

/// The tokens of the prompt.
pub(crate) fn of_prompt(usage: Option<Usage>) -> Option<u64> {
    usage.and_then(|usage| usage.prompt_tokens)
}

/// The first choice of an answer. One is asked for a request, so that further ones are not looked at.
pub(crate) fn first_choice<C: DeserializeOwned>(
    bytes: &[u8],
) -> Result<(C, Option<Usage>), Failure> {
    let answer: Answer<C> =
        serde_json::from_slice(bytes).map_err(|error| Failure::Malformed(error.to_string()))?;
    if let Some(choice) = answer.choices.and_then(|choices| choices.into_iter().next()) {
        return Ok((choice, answer.usage));
    }
    let said = answer.error.as_ref().and_then(spoken);
    let said = said.map(|said| format!("; it says: {said}")).unwrap_or_default();
    Err(Failure::Malformed(format!("it has no `choices`{said}")))
}

#[derive(Debug, Deserialize)]
struct Choice {
    #[serde(default)]
    message: Message,
    finish_reason: Option<String>,
    logprobs: Option<Logprobs>,
}

#[derive(Debug, Default, Deserialize)]
struct Message {
    content: Option<String>,
    refusal: Option<String>,
}

/// Reads a reply; without any text it is empty, a refusal in a field of its own counts as text.
pub(crate) fn read_completion(bytes: &[u8], sampling: &Sampling) -> Read<Completion> {
    let (choice, usage): (Choice, _) = first_choice(bytes)?;
    let text = choice.message.content.or(choice.message.refusal).unwrap_or_default();
    let stops: Vec<&str> = sampling.stop.iter().map(String::as_str).collect();
    let reply = completion(text, choice.finish_reason.as_deref(), usage, sampling, &stops);
    Ok((reply, of_prompt(usage)))
}

/// Reads the most likely first tokens; `None` if the answer does not list them.
pub(crate) fn read_listed(bytes: &[u8]) -> Read<Option<Vec<Listed>>> {
    let (choice, usage): (Choice, _) = first_choice(bytes)?;
    Ok((choice.logprobs.and_then(|logprobs| logprobs.first()), of_prompt(usage)))
}

/// Reads how many tokens the prompt had; `None` if the server does not say.
pub(crate) fn read_prompt_tokens(bytes: &[u8]) -> Result<Option<u64>, Failure> {
    let (_, usage): (Choice, _) = first_choice(bytes)?;
    Ok(of_prompt(usage))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unfinished() -> Dialogue {
        Dialogue::from_user("(A) or (B)?").with_assistant("The answer is: (")
    }

    fn body(continuation: Continuation) -> Result<Value, Error> {
        let config = Config { continuation, ..Config::default() };
        choose_body(&config, "m", &unfinished(), &["A", "B"])
    }

    #[test]
    fn a_reply_is_asked_for_by_the_protocol() {
        let prompt = Prompt { dialogue: Dialogue::from_user("hi"), seed: 1 << 40 | 9 };
        let found = generate_body(&Config::default(), "m", &prompt, &Sampling::default()).unwrap();
        let expected = json!({
            "model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": false,
            "temperature": 1.0, "max_tokens": 128, "seed": 9,
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn an_unfinished_turn_is_continued_as_the_settings_say() {
        let found = body(Continuation::ContinueFinalMessage).unwrap();
        assert_eq!(found["continue_final_message"], true);
        assert_eq!(found["add_generation_prompt"], false);
        assert_eq!(
            found["messages"][1],
            json!({"role": "assistant", "content": "The answer is: ("})
        );

        let found = body(Continuation::Trailing).unwrap();
        assert_eq!(found.get("continue_final_message"), None);
        assert_eq!(found["messages"].as_array().unwrap().len(), 2);

        let found = body(Continuation::Prefix).unwrap();
        assert_eq!(found["messages"][1]["prefix"], true);
        assert_eq!(found["messages"][0].get("prefix"), None);

        let found = body(Continuation::Ask).unwrap();
        assert_eq!(found["messages"].as_array().unwrap().len(), 1);
        let text = found["messages"][0]["content"].as_str().unwrap();
        assert!(text.starts_with("(A) or (B)?\n\n") && text.contains("The answer is: ("));
        assert!(text.ends_with("one of: A, B."), "{text}");

        let message = body(Continuation::Refuse).unwrap_err().to_string();
        assert!(message.contains(&unfinished().id()) && message.contains("continuation"));
    }

    #[test]
    fn a_finished_prompt_needs_no_continuation() {
        for continuation in [Continuation::Refuse, Continuation::ContinueFinalMessage] {
            let config = Config { continuation, ..Config::default() };
            let found = choose_body(&config, "m", &Dialogue::from_user("?"), &["A"]).unwrap();
            assert_eq!(found.get("continue_final_message"), None);
        }
    }

    #[test]
    fn what_is_wanted_behind_a_token_continues_the_last_turn() {
        let found = behind(&body(Continuation::Prefix).unwrap(), "1");
        assert_eq!(found["messages"][0]["content"], "(A) or (B)?");
        assert_eq!(found["messages"][1]["content"], "The answer is: (1");
        assert_eq!(found["messages"][1]["prefix"], true);
    }

    #[test]
    fn fields_of_the_settings_come_last() {
        let mut config = Config::default();
        extend(&mut config.extra, json!({"seed": 3, "chat_template_kwargs": {"thinking": false}}));
        let found = choose_body(&config, "m", &Dialogue::from_user("?"), &["A"]).unwrap();
        assert_eq!(
            (&found["seed"], &found["chat_template_kwargs"]["thinking"]),
            (&json!(3), &json!(false))
        );
    }

    #[test]
    fn reads_replies_of_any_kind() {
        let read = |value: Value| {
            read_completion(value.to_string().as_bytes(), &Sampling::default())
                .map(|(reply, _)| reply.text)
        };
        let choice = |message: Value| json!({"choices": [{"message": message}]});
        assert_eq!(read(choice(json!({"content": "yes"}))).unwrap(), "yes");
        assert_eq!(read(choice(json!({"content": null, "refusal": "no"}))).unwrap(), "no");
        assert_eq!(read(choice(json!({"content": null, "tool_calls": []}))).unwrap(), "");
        for wrong in [
            json!({}),
            json!([]),
            json!({"choices": []}),
            json!({"choices": null}),
            json!({"choices": "x"}),
            choice(json!({"content": 1})),
        ] {
            assert!(matches!(read(wrong.clone()), Err(Failure::Malformed(_))), "{wrong}");
        }
        let said = read(json!({"error": {"message": "out of memory"}})).unwrap_err().to_string();
        assert!(said.contains("out of memory"), "{said}");
    }

    #[test]
    fn reads_the_tokens_of_a_prompt_where_they_are_told() {
        let read = |usage: Value| {
            let answer = json!({"choices": [{"message": {"content": "A"}}], "usage": usage});
            let answer = answer.to_string();
            let reply = read_completion(answer.as_bytes(), &Sampling::default()).unwrap();
            (reply.1, read_listed(answer.as_bytes()).unwrap().1)
        };
        assert_eq!(read(json!({"prompt_tokens": 7, "completion_tokens": 1})), (Some(7), Some(7)));
        assert_eq!(read(json!({"completion_tokens": 1})), (None, None));
        assert_eq!(read(Value::Null), (None, None));
    }
}
