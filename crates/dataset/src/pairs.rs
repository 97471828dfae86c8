//! Pairs of replies that wait for a judge.

use crate::columns::ColumnMapping;
use crate::conversation::{Problem, dialogue, kind, prompt, reply};
use crate::preferences;
use crate::row_format::Column;
use dialogue::Comparison;
use serde::Serialize;
use serde_json::{Map, Value};

pub(crate) const ACCEPTED: &str = concat!(
    r#"{"prompt": "text" or [messages], "replies": [reply, reply]}, "#,
    r#"{"prompt": "text" or [messages], "chosen": reply, "rejected": reply} "#,
    r#"with replies as text or a list of one assistant message, or {"chosen": dialogue, "rejected": dialogue} "#,
    r#"with dialogues as "\n\nHuman: ...\n\nAssistant: ..." or [messages]"#,
);

/// A pair of replies that waits for a judge, and what its row says about it.
///
/// | row | pair |
/// |---|---|
/// | `{"prompt": …, "replies": [a, b]}` | (A) and (B) as they stand, as a [`Comparison`] is written |
/// | a row of [`crate::read_preferences`] | `chosen` is (A), `rejected` is (B) |
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pair {
    /// What is to be judged.
    #[serde(flatten)]
    pub comparison: Comparison,
    /// The probability in \[0, 1\] that (A) is better, if it is known: the column `probability`; without it 1 where (A) is
    /// the chosen reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
}

pub(crate) fn read(columns: &ColumnMapping, row: &Value) -> Result<Pair, Problem> {
    let Value::Object(fields) = row else {
        return Err(Problem::new("the row", format!("is {}", kind(row))));
    };
    let probability = preferences::probability(columns, fields)?;
    match fields.get("replies") {
        Some(replies) => {
            Ok(Pair { comparison: as_they_stand(columns, fields, replies)?, probability })
        }
        None => Ok(Pair {
            comparison: preferences::comparison(columns, fields)?,
            probability: Some(probability.unwrap_or(1.0)),
        }),
    }
}

fn as_they_stand(
    columns: &ColumnMapping,
    fields: &Map<String, Value>,
    replies: &Value,
) -> Result<Comparison, Problem> {
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
    use crate::{Error, Reading};
    use dialogue::Dialogue;

    fn read(text: &str) -> Result<Vec<Pair>, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pairs.jsonl");
        std::fs::write(&path, text).unwrap();
        Reading::default().pairs(&path)?.collect()
    }

    #[test]
    fn every_shape_gives_the_same_pair() {
        let comparison = Comparison {
            prompt: Dialogue::from_user("q"),
            replies: ["yes".to_owned(), "no".to_owned()],
        };
        let pair = |probability| Pair { comparison: comparison.clone(), probability };
        let [as_compared, known] =
            [serde_json::to_string(&comparison), serde_json::to_string(&pair(Some(0.25)))]
                .map(Result::unwrap);
        for (row, probability) in [
            (as_compared.as_str(), None),
            (&known, Some(0.25)),
            (r#"{"prompt": "q", "replies": ["yes", [{"role":"assistant","content":"no"}]]}"#, None),
            (
                r#"{"prompt": "q", "chosen": "yes", "rejected": "no", "probability": 0.1}"#,
                Some(0.1),
            ),
            (
                r#"{"chosen": "\n\nHuman: q\n\nAssistant: yes", "rejected": "\n\nHuman: q\n\nAssistant: no"}"#,
                Some(1.0),
            ),
        ] {
            assert_eq!(read(row).unwrap(), [pair(probability)], "{row}");
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
            (
                r#"{"prompt": "q", "replies": ["a", "b"], "probability": 2}"#,
                "`probability` is 2, expected a number from 0 to 1",
            ),
        ] {
            let good = r#"{"prompt": "q", "replies": ["a", "b"]}"#;
            let message = read(&format!("{good}\n{row}\n")).unwrap_err().to_string();
            assert!(message.contains("pairs.jsonl, line 2: "), "{message}");
            assert!(message.contains(expected), "{message} lacks {expected}");
        }
        assert!(matches!(read("\n"), Err(Error::Empty { .. })));
    }
}
