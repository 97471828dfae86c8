//! Pairs of replies that wait for a judge.

use crate::columns::{ColumnMapping, Field};
use crate::conversation::{Problem, dialogue, kind, prompt, reply};
use crate::preferences;
use crate::row_format::Column;
use dialogue::Comparison;
use serde::Serialize;
use serde_json::{Map, Value};

pub(crate) const ACCEPTED: &str = concat!(
    r#"{"prompt": "text" or [messages], "replies": [reply, reply]}, the same with "reply_a": reply, "reply_b": reply, "#,
    r#"{"prompt": "text" or [messages], "chosen": reply, "rejected": reply} "#,
    r#"with replies as text or a list of one assistant message, or {"chosen": dialogue, "rejected": dialogue} "#,
    r#"with dialogues as "\n\nHuman: ...\n\nAssistant: ..." or [messages]"#,
);

/// A pair of replies that waits for a judge, and what its row says about it.
///
/// | row | pair |
/// |---|---|
/// | `{"prompt": …, "replies": [a, b]}` | (A) and (B) as they stand, as a [`Comparison`] is written |
/// | `{"prompt": …, "reply_a": a, "reply_b": b}` | (A) and (B) |
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
    let (comparison, probability) = match replies(columns, fields)? {
        Some(replies) => (as_they_stand(columns, fields, replies)?, probability),
        None => (preferences::comparison(columns, fields)?, Some(probability.unwrap_or(1.0))),
    };
    Ok(Pair { comparison, probability })
}

/// Two replies of which the row does not say that one was chosen; `None` if it does.
fn replies(
    columns: &ColumnMapping,
    fields: &Map<String, Value>,
) -> Result<Option<[String; 2]>, Problem> {
    let two = [Column::ReplyA, Column::ReplyB];
    if columns.names_any(&[Column::Chosen, Column::Rejected]) {
        return Ok(None);
    }
    let named = columns.names_any(&[Column::Replies]);
    if columns.names_any(&two)
        || (!named && two.iter().all(|column| columns.find(fields, *column).is_some()))
    {
        let [a, b] = two.map(|column| one(columns, fields, column));
        return Ok(Some([a?, b?]));
    }
    if named || columns.find(fields, Column::Replies).is_some() {
        return listed(columns.get(fields, Column::Replies)?).map(Some);
    }
    Ok(None)
}

fn one(
    columns: &ColumnMapping,
    fields: &Map<String, Value>,
    column: Column,
) -> Result<String, Problem> {
    let (name, value) = columns.get(fields, column)?;
    reply(&name, value)
}

fn listed((name, value): Field<'_>) -> Result<[String; 2], Problem> {
    let Value::Array(list) = value else {
        return Err(Problem::new(name, format!("is {}, expected a list", kind(value))));
    };
    let [a, b] = list.as_slice() else {
        return Err(Problem::new(name, format!("has {} entries, expected 2", list.len())));
    };
    Ok([reply(&name, a)?, reply(&name, b)?])
}

fn as_they_stand(
    columns: &ColumnMapping,
    fields: &Map<String, Value>,
    replies: [String; 2],
) -> Result<Comparison, Problem> {
    let (name, asked) = columns.get(fields, Column::Prompt)?;
    Ok(Comparison { prompt: prompt(&name, dialogue(&name, asked)?)?, replies })
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
    fn replies_in_columns_of_any_name_are_not_judged_yet() {
        let columns = |setting: &str| -> ColumnMapping {
            serde_json::from_str(&format!("{{{setting}}}")).unwrap()
        };
        let pair = |setting: &str, row: &str| {
            let row: Value = serde_json::from_str(row).unwrap();
            super::read(&columns(setting), &row)
                .map(|pair| (pair.comparison.replies.join(" "), pair.probability))
                .map_err(|problem| format!("{} {}", problem.field, problem.text))
        };
        let found = |text: &str, probability| Ok((text.to_owned(), probability));
        let row =
            r#"{"prompt": "q", "reply_a": "yes", "reply_b": "no", "both": ["1", "2"], "p": 0.25}"#;
        assert_eq!(pair("", row), found("yes no", None));
        assert_eq!(
            pair(r#""reply_a": "reply_b", "reply_b": "reply_a""#, row),
            found("no yes", None)
        );
        assert_eq!(pair(r#""replies": "both""#, row), found("1 2", None));
        assert_eq!(pair(r#""replies": "both", "probability": "p""#, row), found("1 2", Some(0.25)));
        // Whoever names a chosen reply means that it is known to be better.
        let chosen = r#""chosen": "reply_a", "rejected": "reply_b""#;
        assert_eq!(pair(chosen, row), found("yes no", Some(1.0)));
        let missing = pair(r#""reply_a": "x""#, row).unwrap_err();
        assert!(missing.starts_with("`x` is missing"), "{missing}");
        let known = r#""chosen": "reply_a", "rejected": "reply_b", "probability": "x""#;
        for unknown in [r#""probability": "x""#, known] {
            let missing = pair(unknown, row).unwrap_err();
            assert!(missing.starts_with("`x` is missing"), "{missing}");
        }
        let missing = pair(r#""replies": "x""#, row).unwrap_err();
        assert!(missing.starts_with("`x` is missing"), "{missing}");
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
