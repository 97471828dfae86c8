//! The shapes in which servers report log-probabilities.

use crate::{Listed, Scored};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The `logprobs` of a choice: `content` as in the chat interface, or the lists of the completions interface. Some
/// servers use either shape in either place.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Logprobs {
    content: Option<Vec<Entry>>,
    tokens: Option<Vec<String>>,
    #[serde(rename = "token_logprobs")]
    drawn: Option<Vec<Option<f64>>>,
    #[serde(rename = "top_logprobs")]
    top: Option<Vec<Option<Top>>>,
}

/// The most likely tokens in one place, by their text.
type Top = BTreeMap<String, Option<f64>>;

#[derive(Debug, Deserialize)]
struct Entry {
    token: String,
    logprob: Option<f64>,
    #[serde(default)]
    bytes: Value,
    #[serde(default)]
    top_logprobs: Option<Vec<Self>>,
}

impl Entry {
    /// The token's bytes if they are whole characters, or else its text as the server shows it.
    fn text(&self) -> String {
        let bytes = self.bytes.as_array().and_then(|bytes| {
            bytes.iter().map(|byte| u8::try_from(byte.as_u64()?).ok()).collect::<Option<Vec<u8>>>()
        });
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        text.filter(|text| !text.is_empty()).unwrap_or_else(|| self.token.clone())
    }
}

fn listed(text: String, log_prob: Option<f64>) -> Listed {
    // A number that JSON cannot hold is sent as `null`.
    Listed { text, log_prob: log_prob.unwrap_or(f64::NEG_INFINITY) }
}

impl Logprobs {
    /// The most likely tokens in the first place of the reply, likeliest first; `None` if they are not reported.
    pub(crate) fn first(&self) -> Option<Vec<Listed>> {
        let (mut list, drawn) = match (&self.content, &self.top) {
            (Some(content), _) => {
                let first = content.first()?;
                let top = first.top_logprobs.as_ref()?;
                let list: Vec<_> =
                    top.iter().map(|entry| listed(entry.text(), entry.logprob)).collect();
                (list, Some(listed(first.text(), first.logprob)))
            }
            (None, Some(top)) => {
                let top = top.first()?.as_ref()?;
                let list = top.iter().map(|(text, log_prob)| listed(text.clone(), *log_prob));
                (list.collect(), self.first_drawn())
            }
            (None, None) => return None,
        };
        if list.is_empty() {
            return None;
        }
        // The token that was drawn may not be among the likeliest.
        list.extend(drawn.filter(|drawn| list.iter().all(|token| token.text != drawn.text)));
        list.sort_by(|a, b| b.log_prob.total_cmp(&a.log_prob));
        Some(list)
    }

    /// The token that was drawn in the first place; `None` if it is not reported.
    pub(crate) fn drawn(&self) -> Option<Listed> {
        match &self.content {
            Some(content) => content.first().map(|entry| listed(entry.text(), entry.logprob)),
            None => self.first_drawn(),
        }
    }

    fn first_drawn(&self) -> Option<Listed> {
        let text = self.tokens.as_ref()?.first()?.clone();
        Some(listed(text, *self.drawn.as_ref()?.first()?))
    }

    /// Every token with its log-probability, in order; `None` if they are not reported.
    pub(crate) fn all(&self) -> Option<Vec<Scored>> {
        if let Some(content) = &self.content {
            let score = |entry: &Entry| listed(entry.text(), entry.logprob);
            return Some(scored(content.iter().map(score)));
        }
        let (texts, log_probs) = (self.tokens.as_ref()?, self.drawn.as_ref()?);
        if texts.len() != log_probs.len() || texts.is_empty() {
            return None;
        }
        let tokens = texts.iter().zip(log_probs);
        Some(scored(tokens.map(|(text, log_prob)| listed(text.clone(), *log_prob))))
    }
}

/// The first token has nothing before it, and so no log-probability.
fn scored(tokens: impl Iterator<Item = Listed>) -> Vec<Scored> {
    let mut tokens: Vec<Scored> =
        tokens.map(|Listed { text, log_prob }| Scored { text, log_prob }).collect();
    if let Some(first) = tokens.first_mut().filter(|first| first.log_prob == f64::NEG_INFINITY) {
        first.log_prob = 0.0;
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn first(value: Value) -> Option<Vec<(String, f64)>> {
        let logprobs: Logprobs = serde_json::from_value(value).unwrap();
        Some(logprobs.first()?.into_iter().map(|token| (token.text, token.log_prob)).collect())
    }

    #[test]
    fn reads_the_shape_of_chat() {
        let found = first(json!({"content": [{
        "token": "B", "logprob": -3.0, "bytes": [66], "top_logprobs": [
            {"token": "A", "logprob": -1.0, "bytes": [65]},
            {"token": "x", "logprob": -0.5, "bytes": [32, 65]},
            {"token": "y", "logprob": null, "bytes": [255]},
            {"token": "z", "logprob": -9.0, "bytes": null},
        ]}]}));
        let expected =
            [(" A", -0.5), ("A", -1.0), ("B", -3.0), ("z", -9.0), ("y", f64::NEG_INFINITY)];
        assert_eq!(found.unwrap(), expected.map(|(text, p)| (text.to_owned(), p)));
    }

    #[test]
    fn reads_the_shape_of_completions() {
        let found = first(json!({
            "tokens": ["C"], "token_logprobs": [-4.0], "text_offset": [0],
            "top_logprobs": [{"A": -0.5, "B": -1.0}],
        }));
        let expected = [("A", -0.5), ("B", -1.0), ("C", -4.0)];
        assert_eq!(found.unwrap(), expected.map(|(text, p)| (text.to_owned(), p)));
    }

    #[test]
    fn what_is_missing_is_missing() {
        for value in [
            json!({}),
            json!({"content": null}),
            json!({"content": []}),
            json!({"content": [{"token": "A", "logprob": -1.0}]}),
            json!({"content": [{"token": "A", "logprob": -1.0, "top_logprobs": []}]}),
            json!({"top_logprobs": [null]}),
            json!({"tokens": ["A"], "token_logprobs": [-1.0], "top_logprobs": null}),
        ] {
            assert_eq!(first(value.clone()), None, "{value}");
        }
        let uneven: Logprobs =
            serde_json::from_value(json!({"tokens": ["A", "B"], "token_logprobs": [-1.0]}))
                .unwrap();
        assert_eq!(uneven.all(), None);
    }

    #[test]
    fn only_the_first_token_may_have_no_log_probability() {
        let logprobs: Logprobs = serde_json::from_value(
            json!({"tokens": ["a", "b", "c"], "token_logprobs": [null, -1.5, null]}),
        )
        .unwrap();
        let found: Vec<f64> = logprobs.all().unwrap().iter().map(|token| token.log_prob).collect();
        assert_eq!(found, [0.0, -1.5, f64::NEG_INFINITY]);
    }

    proptest! {
        #[test]
        fn never_panics(text in "[\\[\\]{}:,\"a-z0-9.-]{0,60}") {
            if let Ok(logprobs) = serde_json::from_str::<Logprobs>(&text) {
                let _ = (logprobs.first(), logprobs.all());
            }
        }
    }
}
