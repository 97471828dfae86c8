//! The lines of `OUT.part`.

use crate::Error;
use dataset::AppendOnly;
use language_model::Completion;
use red_team::HarmTag;
use serde::{Deserialize, Serialize};

/// What the model said to a call, in the order of the calls; behind them the tags, in the order of the requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Answer {
    /// The continuation of a list.
    List { call: usize, completion: Completion },
    /// A list that the model refuses.
    Refused { call: usize, error: String },
    /// The kind of harm of a request.
    Tag { request: usize, tag: HarmTag },
    /// A request that the model refuses to tag.
    Untagged { request: usize, error: String },
}

/// The answers of a file, each with its line, counted from 1.
pub(super) fn answers(
    part: &AppendOnly,
) -> Result<impl Iterator<Item = Result<(u64, Answer), Error>>, Error> {
    let lines = (1_u64..).zip(part.lines()?);
    Ok(lines.map(move |(number, line)| -> Result<(u64, Answer), Error> {
        let answer = serde_json::from_slice(&line?)
            .map_err(|error| wrong(part, number, format!("is damaged: {error}")))?;
        Ok((number, answer))
    }))
}

/// What is wrong with a line.
pub(super) fn wrong(part: &AppendOnly, line: u64, problem: String) -> Error {
    Error::Record { path: part.path().to_owned(), line, problem }
}

#[cfg(test)]
mod tests {
    use super::*;
    use language_model::StopReason;

    #[test]
    fn is_read_as_it_is_written() {
        let completion = Completion { text: "3. a".into(), tokens: 4, stopped: StopReason::Stop };
        let tag = HarmTag { harm_type: "theft".into(), probability: 0.1 };
        let answers = [
            Answer::List { call: 0, completion },
            Answer::Refused { call: 1, error: "too long".into() },
            Answer::Tag { request: 0, tag },
            Answer::Untagged { request: 1, error: "no".into() },
        ];
        for answer in answers {
            let line = serde_json::to_string(&answer).unwrap();
            assert_eq!(serde_json::from_str::<Answer>(&line).unwrap(), answer);
        }
        let line = r#"{"refused":{"call":1,"error":"e"}}"#;
        assert!(matches!(serde_json::from_str(line).unwrap(), Answer::Refused { call: 1, .. }));
        serde_json::from_str::<Answer>(r#"{"list":{"call":1}}"#).unwrap_err();
    }
}
