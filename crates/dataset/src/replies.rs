//! Sampled replies in any of the forms that files hold them in.

use crate::columns::ColumnMapping;
use crate::conversation::{Problem, dialogue, kind, prompt, whole_dialogue};
use crate::row_format::Column;
use crate::samples::sampled;
use dialogue::Dialogue;
use serde_json::{Map, Value};

pub(crate) const ACCEPTED: &str = concat!(
    r#"{"prompt": "text" or [messages], "replies": ["text"]} or {"prompt": ..., "reply": "text"}, where the prompt may be "#,
    r#"left out, or the paper's {"rl_prompt": "\n\nHuman: ...\n\nAssistant:", "sampled_answers": [{"sampled_string": "text"}]} "#,
    r#"or {"rl_prompt": ..., "cst": [{"revision": {"sample": "text"}}]}"#,
);

/// Replies to one prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replies {
    /// What was asked, if the file says it.
    pub prompt: Option<Dialogue>,
    /// The replies, without the marks that sampled texts end in; none where the row has a null in their place, since the
    /// prompt was refused.
    pub replies: Vec<String>,
}

pub(crate) fn read(columns: &ColumnMapping, row: &Value) -> Result<Replies, Problem> {
    match row {
        Value::Object(fields) => {
            Ok(Replies { prompt: asked(columns, fields)?, replies: replies(columns, fields)? })
        }
        _ => Err(Problem::new("the row", format!("is {}", kind(row)))),
    }
}

fn asked(
    columns: &ColumnMapping,
    fields: &Map<String, Value>,
) -> Result<Option<Dialogue>, Problem> {
    if let Some((name, value)) = columns.find(fields, Column::Samples) {
        return prompt(&name, whole_dialogue(&name, value)?).map(Some);
    }
    let Some((name, value)) = columns.find(fields, Column::Prompt) else { return Ok(None) };
    prompt(&name, dialogue(&name, value)?).map(Some)
}

fn replies(columns: &ColumnMapping, fields: &Map<String, Value>) -> Result<Vec<String>, Problem> {
    if columns.names_any(&[Column::Replies]) {
        let (name, value) = columns.get(fields, Column::Replies)?;
        return list(&name, value);
    }
    if let Some(scored) = sampled(fields)? {
        return Ok(scored.into_iter().map(|reply| reply.text).collect());
    }
    match (columns.find(fields, Column::Replies), fields.get("reply")) {
        (Some((name, value)), _) => list(&name, value),
        (None, Some(Value::Null)) => Ok(Vec::new()),
        (None, Some(one)) => Ok(vec![text("`reply`", "is", one)?]),
        (None, None) => Err(Problem::new("`replies`", "is missing, and so is any other reply")),
    }
}

fn list(field: &str, value: &Value) -> Result<Vec<String>, Problem> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(list) if list.is_empty() => Err(Problem::new(field, "holds no reply")),
        Value::Array(list) => list.iter().map(|one| text(field, "holds", one)).collect(),
        other => Err(Problem::new(field, format!("is {}, expected a list of texts", kind(other)))),
    }
}

fn text(field: &str, verb: &str, value: &Value) -> Result<String, Problem> {
    let problem = || Problem::new(field, format!("{verb} {}, expected a text", kind(value)));
    value.as_str().map(|text| text.trim().to_owned()).ok_or_else(problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read_one(row: Value) -> Result<Replies, String> {
        let found = read(&ColumnMapping::default(), &row);
        found.map_err(|problem| format!("{} {}", problem.field, problem.text))
    }

    #[test]
    fn every_form_is_read() {
        let transcript = "\n\nHuman: q\n\nAssistant:";
        let messages = json!([{"role": "user", "content": "q"}]);
        for (row, asked, replies) in [
            (
                json!({"rl_prompt": transcript, "sampled_answers": [{"sampled_string": " a\n\nHuman:"}, {"sampled_string": "b"}]}),
                Some("q"),
                &["a", "b"][..],
            ),
            (
                json!({"cst": [{"revision": {"sample": "c"}}, {"revision": {"sample": "d"}}]}),
                None,
                &["d"][..],
            ),
            (json!({"prompt": "q", "replies": ["e ", ""]}), Some("q"), &["e", ""][..]),
            (json!({"prompt": messages, "reply": "g", "id": 1}), Some("q"), &["g"][..]),
            (json!({"reply": "h"}), None, &["h"][..]),
            (json!({"prompt": "q", "reply": null}), Some("q"), &[][..]),
            (json!({"prompt": "q", "replies": null}), Some("q"), &[][..]),
        ] {
            let found = read_one(row).unwrap();
            assert_eq!(found.prompt, asked.map(Dialogue::from_user));
            assert_eq!(found.replies, replies);
        }
    }

    #[test]
    fn replies_may_be_in_a_column_of_another_name() {
        let replies = Some("out.texts".to_owned());
        let columns = ColumnMapping { replies, ..ColumnMapping::default() };
        let row = json!({"prompt": "q", "out": {"texts": ["a ", "b", "c"]}, "replies": ["no"]});
        assert_eq!(read(&columns, &row).unwrap().replies, ["a", "b", "c"]);
        for (row, expected) in [
            (json!({"replies": ["no"]}), "`out.texts` is missing"),
            (json!({"out": {"texts": "a"}}), "`out.texts` is a text, expected a list"),
            (json!({"out.texts": []}), "`out.texts` holds no reply"),
        ] {
            let problem = read(&columns, &row).unwrap_err();
            let message = format!("{} {}", problem.field, problem.text);
            assert!(message.contains(expected), "{message} lacks {expected}");
        }
    }

    #[test]
    fn a_bad_field_is_named() {
        for (row, expected) in [
            (json!("a"), "the row is a text"),
            (json!({"text": "a"}), "`replies` is missing"),
            (json!({"replies": []}), "`replies` holds no reply"),
            (json!({"replies": "a"}), "`replies` is a text, expected a list"),
            (json!({"replies": ["a", 1]}), "`replies` holds a number"),
            (json!({"reply": 1}), "`reply` is a number"),
            (json!({"cst": []}), "`cst` holds no reply"),
            (json!({"prompt": " ", "reply": "a"}), "`prompt` is blank"),
            (json!({"rl_prompt": "q", "reply": "a"}), "`rl_prompt` is not a transcript"),
        ] {
            let message = read_one(row).unwrap_err();
            assert!(message.contains(expected), "{message} lacks {expected}");
        }
    }
}
