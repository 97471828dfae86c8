//! Pairs of replies that wait for a judge.

use crate::columns::ColumnMapping;
use crate::conversation::{Problem, dialogue, kind, prompt, reply};
use crate::row_format::Column;
use crate::{Error, Reading, Rows, preferences};
use dialogue::Comparison;
use serde_json::Value;
use std::path::Path;

pub(crate) const ACCEPTED: &str = concat!(
    r#"{"prompt": "text" or [messages], "replies": [reply, reply]}, "#,
    r#"{"prompt": "text" or [messages], "chosen": reply, "rejected": reply} "#,
    r#"with replies as text or a list of one assistant message, or {"chosen": dialogue, "rejected": dialogue} "#,
    r#"with dialogues as "\n\nHuman: ...\n\nAssistant: ..." or [messages]"#,
);

/// Reads pairs of replies from a file of any format that [`Reading`] knows, row by row.
///
/// | row | pair |
/// |---|---|
/// | `{"prompt": …, "replies": [a, b]}` | (A) and (B) as they stand, as a [`Comparison`] is written |
/// | a row of [`crate::read_preferences`] | `chosen` is (A), `rejected` is (B); `probability` is not looked at |
///
/// # Errors
/// [`Error::Open`]; an item is an error of [`crate::read_preferences`].
pub fn comparisons(path: impl AsRef<Path>) -> Result<Rows<Comparison>, Error> {
    Reading::default().comparisons(path)
}

pub(crate) fn read(columns: &ColumnMapping, row: &Value) -> Result<Comparison, Problem> {
    let Value::Object(fields) = row else {
        return Err(Problem::new("the row", format!("is {}", kind(row))));
    };
    let Some(replies) = fields.get("replies") else {
        return preferences::comparison(columns, fields);
    };
    let (name, asked) = columns.get(fields, Column::Prompt)?;
    let Value::Array(list) = replies else {
        return Err(Problem::new("`replies`", format!("is {}, expected a list", kind(replies))));
    };
    let [a, b] = list.as_slice() else {
        return Err(Problem::new("`replies`", format!("has {} entries, expected 2", list.len())));
    };
    Ok(Comparison {
        prompt: prompt(&name, dialogue(&name, asked)?)?,
        replies: [reply("`replies`", a)?, reply("`replies`", b)?],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dialogue::Dialogue;

    fn read(text: &str) -> Result<Vec<Comparison>, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pairs.jsonl");
        std::fs::write(&path, text).unwrap();
        comparisons(&path)?.collect()
    }

    #[test]
    fn every_shape_gives_the_same_pair() {
        let expected = Comparison {
            prompt: Dialogue::from_user("q"),
            replies: ["yes".to_owned(), "no".to_owned()],
        };
        let written = serde_json::to_string(&expected).unwrap();
        for row in [
            written.as_str(),
            r#"{"prompt": "q", "replies": ["yes", [{"role":"assistant","content":"no"}]]}"#,
            r#"{"prompt": "q", "chosen": "yes", "rejected": "no", "probability": 0.1}"#,
            r#"{"chosen": "\n\nHuman: q\n\nAssistant: yes", "rejected": "\n\nHuman: q\n\nAssistant: no"}"#,
        ] {
            assert_eq!(read(row).unwrap(), std::slice::from_ref(&expected), "{row}");
        }
    }

    #[test]
    fn a_bad_row_is_named_by_file_line_and_field() {
        for (row, expected) in [
            ("3", "the row is a number"),
            (r#"{"replies": ["a", "b"]}"#, "`prompt` is missing"),
            (r#"{"prompt": "q", "replies": "a"}"#, "`replies` is a text, expected a list"),
            (r#"{"prompt": "q", "replies": ["a"]}"#, "`replies` has 1 entries, expected 2"),
            (r#"{"prompt": "q", "replies": ["a", 1]}"#, "`replies` is a number"),
            (r#"{"prompt": "q"}"#, "`chosen` is missing"),
        ] {
            let good = r#"{"prompt": "q", "replies": ["a", "b"]}"#;
            let message = read(&format!("{good}\n{row}\n")).unwrap_err().to_string();
            assert!(message.contains("pairs.jsonl, line 2: "), "{message}");
            assert!(message.contains(expected), "{message} lacks {expected}");
        }
        assert!(matches!(read("\n"), Err(Error::Empty { .. })));
    }
}
