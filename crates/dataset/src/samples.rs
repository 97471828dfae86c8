//! Sampled replies with their scores.

use crate::columns::ColumnMapping;
use crate::conversation::{Problem, kind, prompt, whole_dialogue};
use crate::row_format::Column;
use dialogue::Dialogue;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

pub(crate) const ACCEPTED: &str = concat!(
    r#"{"rl_prompt": "\n\nHuman: ...\n\nAssistant:", "sampled_answers": [{"sampled_string": "text", "#,
    r#""pm_scores": [{"pm_score": number}]}]} or {"rl_prompt": ..., "cst": [{"revision": {"sample": "text"}}]}"#,
);

/// The replies that a model gave to a prompt, as published with arXiv 2212.08073.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Samples {
    /// What was asked.
    pub prompt: Dialogue,
    /// The replies, from the highest score of a preference model to the lowest; of a chain of critiques the last revision.
    pub replies: Vec<ScoredReply>,
}

/// A reply and what a preference model makes of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoredReply {
    /// The reply, without the marks at its end.
    pub text: String,
    /// The score, where the file has one; scores of different files are not of one scale.
    pub score: Option<f64>,
}

/// What a sampled text may end in that is no part of the reply.
const ENDS: [&str; 3] = ["<EOT>", "Human:", "Assistant:"];

#[derive(Deserialize)]
struct Sampled {
    sampled_string: String,
    #[serde(default)]
    pm_scores: Vec<Score>,
}

#[derive(Deserialize)]
struct Score {
    pm_score: f64,
}

#[derive(Deserialize)]
struct Step {
    revision: Sample,
}

#[derive(Deserialize)]
struct Sample {
    sample: String,
}

pub(crate) fn read(columns: &ColumnMapping, row: &Value) -> Result<Samples, Problem> {
    match row {
        Value::Object(fields) => read_samples(columns, fields),
        _ => Err(Problem::new("the row", format!("is {}", kind(row)))),
    }
}

pub(crate) fn read_samples(
    columns: &ColumnMapping,
    fields: &Map<String, Value>,
) -> Result<Samples, Problem> {
    let (name, asked) = columns.get(fields, Column::Samples)?;
    let prompt = prompt(&name, whole_dialogue(&name, asked)?)?;
    let missing = || Problem::new("`sampled_answers`", "is missing, and so is `cst`");
    Ok(Samples { prompt, replies: sampled(fields)?.ok_or_else(missing)? })
}

/// The replies of a row, at least one; `None` if it is not one of the paper's.
pub(crate) fn sampled(fields: &Map<String, Value>) -> Result<Option<Vec<ScoredReply>>, Problem> {
    let (name, replies): (_, Vec<ScoredReply>) =
        match (fields.get("sampled_answers"), fields.get("cst")) {
            (Some(answers), _) => {
                let answers: Vec<Sampled> = parse("`sampled_answers`", answers)?;
                ("`sampled_answers`", answers.into_iter().map(ScoredReply::from).collect())
            }
            (None, Some(steps)) => {
                let mut steps: Vec<Step> = parse("`cst`", steps)?;
                let last = steps.pop().map(|step| reply(&step.revision.sample, None));
                ("`cst`", last.into_iter().collect())
            }
            (None, None) => return Ok(None),
        };
    if replies.is_empty() {
        return Err(Problem::new(name, "holds no reply"));
    }
    Ok(Some(replies))
}

impl From<Sampled> for ScoredReply {
    fn from(sampled: Sampled) -> Self {
        reply(&sampled.sampled_string, sampled.pm_scores.first().map(|score| score.pm_score))
    }
}

fn parse<T: DeserializeOwned>(name: &str, value: &Value) -> Result<Vec<T>, Problem> {
    Vec::deserialize(value)
        .map_err(|error| Problem::new(name, format!("is not a list of samples: {error}")))
}

fn reply(text: &str, score: Option<f64>) -> ScoredReply {
    let mut text = text.trim();
    while let Some(rest) = ENDS.iter().find_map(|end| text.strip_suffix(end)) {
        text = rest.trim_end();
    }
    ScoredReply { text: text.to_owned(), score }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read_one(row: Value) -> Result<Samples, String> {
        let found = read(&ColumnMapping::default(), &row);
        found.map_err(|problem| format!("{} {}", problem.field, problem.text))
    }

    #[test]
    fn replies_are_read_with_their_scores_and_without_marks() {
        let samples = read_one(json!({
            "rl_prompt": "\n\nHuman: q\n\nAssistant:",
            "sampled_answers": [
                {"sampled_string": " a\n\nHuman:", "pm_scores": [{"pm_score": 1.5}]},
                {"sampled_string": "b<EOT>"},
            ],
        }));
        let samples = samples.unwrap();
        assert_eq!(samples.prompt, Dialogue::from_user("q"));
        let expected = [("a", Some(1.5)), ("b", None)];
        let expected = expected.map(|(text, score)| ScoredReply { text: text.to_owned(), score });
        assert_eq!(samples.replies, expected);
        let chain = read_one(json!({
            "rl_prompt": "\n\nHuman: q\n\nAssistant:",
            "cst": [{"revision": {"sample": "c"}}, {"revision": {"sample": " d\n\nHuman:"}}],
        }));
        assert_eq!(chain.unwrap().replies[0].text, "d");
    }

    #[test]
    fn a_bad_field_is_named() {
        let asked = "\n\nHuman: q\n\nAssistant:";
        for (row, expected) in [
            (json!({"rl_prompt": asked}), "`sampled_answers` is missing, and so is `cst`"),
            (json!({"rl_prompt": asked, "cst": []}), "`cst` holds no reply"),
            (
                json!({"rl_prompt": asked, "sampled_answers": [1]}),
                "`sampled_answers` is not a list",
            ),
            (json!({"rl_prompt": "q", "cst": []}), "`rl_prompt` is not a transcript"),
            (json!({"cst": []}), "`rl_prompt` is missing"),
        ] {
            let message = read_one(row).unwrap_err();
            assert!(message.contains(expected), "{message} lacks {expected}");
        }
    }
}
