//! Sampling settings on the wire, and what a server says about a reply.

use language_model::{Completion, Sampling, StopReason};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Characters of a token, roughly; for servers that do not count.
const CHARACTERS_PER_TOKEN: usize = 4;

/// Stop strings that every server takes; some refuse a request with more.
const MOST_STOPS: usize = 4;

/// Puts sampling settings into a request.
pub(crate) fn add_sampling(body: &mut Map<String, Value>, sampling: &Sampling, stops: &[&str]) {
    let mut add = |name: &str, value: Value| drop(body.insert(name.to_owned(), value));
    add("temperature", number(sampling.temperature));
    add("max_tokens", sampling.max_tokens.into());
    if let Some(top_p) = sampling.top_p {
        add("top_p", number(top_p));
    }
    if !stops.is_empty() {
        add("stop", most_general(stops).into());
    }
    // Beyond OpenAI's protocol, and so only if asked for; vLLM, SGLang and llama.cpp know them.
    if let Some(top_k) = sampling.top_k {
        add("top_k", top_k.into());
    }
    if let Some(min_p) = sampling.min_p {
        add("min_p", number(min_p));
    }
    if let Some(penalty) = sampling.repetition_penalty {
        add("repetition_penalty", number(penalty));
        // The name that llama.cpp gives to it.
        add("repeat_penalty", number(penalty));
    }
    if !sampling.stop_tokens.is_empty() {
        add("stop_token_ids", sampling.stop_tokens.clone().into());
    }
}

/// As many stop strings as a server takes: of too many, those that end most. What the others would have ended is cut when it
/// is there, see [`completion`].
fn most_general<'a>(stops: &[&'a str]) -> Vec<&'a str> {
    if stops.len() <= MOST_STOPS {
        return stops.to_vec();
    }
    let mut shortest = stops.to_vec();
    shortest.sort_by_key(|stop| stop.len());
    let mut sent: Vec<&str> = Vec::new();
    for stop in shortest {
        // Where one stands that holds another, the other stands as well.
        if sent.len() < MOST_STOPS && !sent.iter().any(|shorter| stop.contains(shorter)) {
            sent.push(stop);
        }
    }
    sent
}

/// A number as people write it: 0.2, not 0.200000003.
fn number(value: f32) -> Value {
    value.to_string().parse::<f64>().map_or(Value::Null, |value| json!(value))
}

/// The seed on the wire: 31 bits, since some servers hold it in a signed number of 32 bits.
pub(crate) fn wire_seed(seed: u64) -> u64 {
    seed & 0x7fff_ffff
}

/// What a request cost.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Usage {
    pub(crate) prompt_tokens: Option<u64>,
    pub(crate) completion_tokens: Option<u64>,
}

/// A reply as a server sent it, made into a completion.
///
/// It ends before the first stop string, even if the server does not know any. `length` and `content_filter` are reasons of
/// their own; all others count as a stop. Whatever the reason, the text up to there is the reply.
pub(crate) fn completion(
    mut text: String,
    finish_reason: Option<&str>,
    usage: Option<Usage>,
    sampling: &Sampling,
    stops: &[&str],
) -> Completion {
    let mut stopped = match finish_reason {
        Some("length" | "max_tokens") => StopReason::Length,
        Some("content_filter") => StopReason::Filtered,
        _ => StopReason::Stop,
    };
    let counted = usage.and_then(|usage| usize::try_from(usage.completion_tokens?).ok());
    let tokens = counted.unwrap_or_else(|| match stopped {
        StopReason::Length => sampling.max_tokens,
        StopReason::Stop | StopReason::Cancelled | StopReason::Filtered => {
            text.chars().count().div_ceil(CHARACTERS_PER_TOKEN)
        }
    });
    if let Some(end) = stops.iter().filter_map(|stop| text.find(stop)).min() {
        text.truncate(end);
        stopped = StopReason::Stop;
    }
    Completion { text, tokens, stopped }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sends_what_is_set() {
        let mut body = Map::new();
        add_sampling(&mut body, &Sampling::default().with_temperature(0.2), &[]);
        assert_eq!(Value::Object(body), json!({"temperature": 0.2, "max_tokens": 128}));
        let sampling = Sampling {
            temperature: 0.0,
            top_k: Some(5),
            top_p: Some(0.9),
            min_p: Some(0.1),
            repetition_penalty: Some(1.5),
            max_tokens: 7,
            stop_tokens: vec![3],
            ..Sampling::default()
        };
        let mut body = Map::new();
        add_sampling(&mut body, &sampling, &["x"]);
        let expected = json!({
            "temperature": 0.0, "max_tokens": 7, "top_p": 0.9, "stop": ["x"], "top_k": 5, "min_p": 0.1,
            "repetition_penalty": 1.5, "repeat_penalty": 1.5, "stop_token_ids": [3],
        });
        assert_eq!(Value::Object(body), expected);
    }

    #[test]
    fn no_more_stop_strings_are_sent_than_servers_take() {
        let sent = |stops: &[&str]| {
            let mut body = Map::new();
            add_sampling(&mut body, &Sampling::default(), stops);
            body["stop"].clone()
        };
        let four = ["\n\nHuman:", "\nHuman:", "x", "x"];
        assert_eq!(sent(&four), json!(four));
        let transcript = ["\nCritique Request:", "\nRevision Request:", "\nHuman:", "\nAssistant:"];
        let mut expected = transcript;
        expected.sort_by_key(|stop| stop.len());
        let more = [&transcript[..], &["\n\nHuman:"]].concat();
        assert_eq!(sent(&more), json!(expected));
        let more = [&transcript[..], &["!", "\nHuman:"]].concat();
        assert_eq!(sent(&more), json!(["!", "\nHuman:", "\nAssistant:", "\nCritique Request:"]));
        // What is not sent still ends a reply.
        let text = "Well.\nRevision Request: more".to_owned();
        let found = completion(text, None, None, &Sampling::default(), &more);
        assert_eq!(found.text, "Well.");
    }

    #[test]
    fn seeds_fit_any_server() {
        assert_eq!(wire_seed(u64::MAX), 2_147_483_647);
        assert_eq!(wire_seed(5), 5);
    }

    #[test]
    fn tells_why_a_reply_ended() {
        let sampling = Sampling::default().with_max_tokens(9);
        let ended = |reason| completion("text".to_owned(), reason, None, &sampling, &[]);
        assert_eq!(ended(Some("length")).stopped, StopReason::Length);
        assert_eq!(ended(Some("content_filter")).stopped, StopReason::Filtered);
        for reason in [None, Some("stop"), Some("eos")] {
            assert_eq!(ended(reason).stopped, StopReason::Stop);
        }
        // Without a count: the limit that was reached, or a guess.
        assert_eq!((ended(Some("length")).tokens, ended(None).tokens), (9, 1));
        let usage = Some(Usage { prompt_tokens: None, completion_tokens: Some(3) });
        assert_eq!(completion("text".to_owned(), None, usage, &sampling, &[]).tokens, 3);
    }

    #[test]
    fn cuts_at_the_first_stop_string() {
        let sampling = Sampling::default();
        let text = "one END two STOP".to_owned();
        let found = completion(text, Some("length"), None, &sampling, &["STOP", "END"]);
        assert_eq!((found.text.as_str(), found.stopped), ("one ", StopReason::Stop));
    }
}
