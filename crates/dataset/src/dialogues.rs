//! Whole dialogues.

use crate::columns::ColumnMapping;
use crate::conversation::{Problem, dialogue, kind, prompt, reply, whole_dialogue};
use crate::preferences::comparison;
use crate::row_format::{Column, RowFormat};
use crate::samples::read_samples;
use dialogue::Dialogue;
use serde_json::{Map, Value};

pub(crate) const ACCEPTED: &str = concat!(
    r#"{"prompt": "text" or [messages], "completion": reply}, {"messages": [messages]}, "#,
    r#"{"chosen": dialogue, "rejected": dialogue}, {"transcript": "\n\nHuman: ..."}, {"text": "text"} or "text""#,
);

/// The formats of rows, those first that hold a reply.
const FORMATS: [RowFormat; 8] = [
    RowFormat::PromptCompletion,
    RowFormat::Messages,
    RowFormat::Preference,
    RowFormat::HhRlhf,
    RowFormat::RedTeam,
    RowFormat::Samples,
    RowFormat::Prompt,
    RowFormat::Text,
];

pub(crate) fn read(columns: &ColumnMapping, row: &Value) -> Result<Dialogue, Problem> {
    match row {
        Value::Object(fields) => from_fields(columns, fields),
        Value::String(_) => dialogue("the row", row),
        _ => Err(Problem::new("the row", format!("is {}", kind(row)))),
    }
}

fn from_fields(columns: &ColumnMapping, fields: &Map<String, Value>) -> Result<Dialogue, Problem> {
    let whole = |column: Column| {
        let (name, value) = columns.get(fields, column)?;
        let found = dialogue(&name, value)?;
        if found.messages.is_empty() {
            return Err(Problem::new(name, "holds no message"));
        }
        Ok(found)
    };
    match columns.recognise(fields, &FORMATS, Column::Messages)? {
        RowFormat::PromptCompletion => {
            let (name, value) = columns.get(fields, Column::Completion)?;
            let (asked_name, asked) = columns.get(fields, Column::Prompt)?;
            let asked = prompt(&asked_name, dialogue(&asked_name, asked)?)?;
            Ok(asked.with_assistant(reply(&name, value)?))
        }
        RowFormat::Preference | RowFormat::HhRlhf => Ok(comparison(columns, fields)?.dialogue(0)),
        RowFormat::RedTeam => {
            let (name, value) = columns.get(fields, Column::Transcript)?;
            whole_dialogue(&name, value)
        }
        RowFormat::Samples => {
            let samples = read_samples(columns, fields)?;
            let middle = samples.replies.len() / 2;
            let text = samples.replies.get(middle).map(|reply| reply.text.clone());
            Ok(samples.prompt.with_assistant(text.unwrap_or_default()))
        }
        RowFormat::Messages => whole(Column::Messages),
        RowFormat::Prompt => whole(Column::Prompt),
        RowFormat::Text => whole(Column::Text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read_one(row: Value) -> Result<Dialogue, String> {
        let found = read(&ColumnMapping::default(), &row);
        found.map_err(|problem| format!("{} {}", problem.field, problem.text))
    }

    #[test]
    fn every_format_gives_the_same_dialogue() {
        let expected = Dialogue::from_user("q").with_assistant("yes");
        let (q, yes) = (
            json!({"role": "user", "content": "q"}),
            json!({"role": "assistant", "content": "yes"}),
        );
        for row in [
            json!({"prompt": "q", "completion": " yes"}),
            json!({"prompt": [q], "completion": [yes]}),
            json!({"prompt": "q", "messages": [q, yes]}),
            json!({"messages": "\n\nHuman: q\n\nAssistant: yes"}),
            json!({"prompt": "q", "chosen": "yes", "rejected": "no"}),
            json!({"chosen": "\n\nHuman: q\n\nAssistant: yes", "rejected": "\n\nHuman: q\n\nAssistant: no"}),
            json!({"transcript": "\n\nHuman: q\n\nAssistant: yes", "rating": 1.0}),
            json!({"rl_prompt": "\n\nHuman: q\n\nAssistant:", "sampled_answers": [
                {"sampled_string": " a"}, {"sampled_string": " yes\n\nHuman:"}, {"sampled_string": "b"},
            ]}),
            json!({"text": "\n\nHuman: q\n\nAssistant: yes"}),
        ] {
            assert_eq!(read_one(row.clone()), Ok(expected.clone()), "{row}");
        }
        assert_eq!(read_one(json!("q")), Ok(Dialogue::from_user("q")));
        assert_eq!(read_one(json!({"prompt": "q"})), Ok(Dialogue::from_user("q")));
    }

    #[test]
    fn a_bad_row_is_named_by_its_field() {
        for (row, expected) in [
            (json!({"question": 1}), "`messages` is missing and the row has `question`"),
            (json!({"messages": []}), "`messages` holds no message"),
            (json!({"prompt": "q", "completion": 1}), "`completion` is a number"),
            (json!({"transcript": "q"}), "`transcript` is not a transcript"),
            (json!(1), "the row is a number"),
        ] {
            let message = read_one(row).unwrap_err();
            assert!(message.contains(expected), "{message} lacks {expected}");
        }
    }
}
