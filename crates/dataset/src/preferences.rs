//! Judged pairs of replies.

use crate::conversation::{Problem, dialogue, kind, lacking, prompt, whole_dialogue, wrong_type};
use crate::{Error, Rows};
use dialogue::{Comparison, Dialogue, Preference, Role};
use serde_json::{Map, Value};
use std::path::Path;

const ACCEPTED: &str = concat!(
    r#"{"prompt": "text" or [messages], "chosen": reply, "rejected": reply, "probability": number} "#,
    r#"with replies as text or a list of one assistant message, or {"chosen": dialogue, "rejected": dialogue} "#,
    r#"with dialogues as "\n\nHuman: ...\n\nAssistant: ..." or [messages]"#,
);

/// Reads preferences from a JSONL or `.jsonl.gz` file.
///
/// | row | meaning |
/// |---|---|
/// | `{"prompt": …, "chosen": …, "rejected": …}` | prompt and two replies, each as text or messages, as in TRL |
/// | `{"chosen": …, "rejected": …}` | two dialogues that differ in the last assistant turn, as in hh-rlhf |
///
/// `probability`, that `chosen` is better, is 1 where it is missing; below 0.5 the replies change places.
///
/// # Errors
/// [`Error::Open`], [`Error::Read`], [`Error::Json`], [`Error::Row`] for the first row of another shape, or
/// [`Error::Empty`].
pub fn read_preferences(path: impl AsRef<Path>) -> Result<Vec<Preference>, Error> {
    Rows::open(path.as_ref(), ACCEPTED, read_preference)?.collect()
}

fn read_preference(row: &Value) -> Result<Preference, Problem> {
    let Value::Object(fields) = row else {
        return Err(Problem::new("the row", format!("is {}", kind(row))));
    };
    Ok(Preference::from_comparison(pair(fields)?, probability(fields)?))
}

/// The two replies of a row, `chosen` first.
pub(crate) fn pair(fields: &Map<String, Value>) -> Result<Comparison, Problem> {
    let chosen = fields.get("chosen").ok_or_else(|| lacking("`chosen`", fields))?;
    let rejected = fields.get("rejected").ok_or_else(|| lacking("`rejected`", fields))?;
    match fields.get("prompt") {
        Some(asked) => Ok(Comparison {
            prompt: prompt("`prompt`", dialogue("`prompt`", asked)?)?,
            replies: [reply("`chosen`", chosen)?, reply("`rejected`", rejected)?],
        }),
        None => split(whole_dialogue("`chosen`", chosen)?, whole_dialogue("`rejected`", rejected)?),
    }
}

fn probability(fields: &Map<String, Value>) -> Result<f64, Problem> {
    let Some(value) = fields.get("probability") else { return Ok(1.0) };
    value.as_f64().filter(|probability| (0.0..=1.0).contains(probability)).ok_or_else(|| {
        Problem::new("`probability`", format!("is {value}, expected a number from 0 to 1"))
    })
}

/// A reply that stands apart from its prompt.
pub(crate) fn reply(field: &'static str, value: &Value) -> Result<String, Problem> {
    match value {
        Value::String(text) => Ok(text.trim().to_owned()),
        Value::Array(_) => match whole_dialogue(field, value)?.messages.as_slice() {
            [only] if only.role == Role::Assistant => Ok(only.content.clone()),
            _ => Err(Problem::new(field, "must hold one assistant message beside `prompt`")),
        },
        _ => Err(wrong_type(field, value)),
    }
}

/// What two whole dialogues share, up to its last user turn, and what each says after it.
///
/// A dialogue that ends there has the empty reply, of which hh-rlhf holds a few; two assistant turns are one reply.
fn split(chosen: Dialogue, rejected: Dialogue) -> Result<Comparison, Problem> {
    let pairs = chosen.messages.iter().zip(&rejected.messages);
    let shared = pairs.take_while(|(chosen, rejected)| chosen == rejected).count();
    if shared == chosen.messages.len() && shared == rejected.messages.len() {
        return Err(Problem::new("`rejected`", "is the same as `chosen`"));
    }
    let common = Dialogue::new(chosen.messages[..shared].to_vec());
    let asked = prompt("the common part of `chosen` and `rejected`", common)?;
    let replies = [
        rest("`chosen`", &chosen, asked.messages.len())?,
        rest("`rejected`", &rejected, asked.messages.len())?,
    ];
    Ok(Comparison { prompt: asked, replies })
}

fn rest(field: &'static str, dialogue: &Dialogue, asked: usize) -> Result<String, Problem> {
    let turns = &dialogue.messages[asked..];
    if turns.iter().any(|message| message.role != Role::Assistant) {
        return Err(Problem::new(field, "differs from the other dialogue before the last reply"));
    }
    let texts: Vec<&str> = turns.iter().map(|message| message.content.as_str()).collect();
    Ok(texts.join("\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Preference>, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("preferences.jsonl");
        std::fs::write(&path, text).unwrap();
        read_preferences(&path)
    }

    fn preference(probability: f64) -> Preference {
        Preference {
            prompt: Dialogue::from_user("q"),
            chosen: "yes".to_owned(),
            rejected: "no".to_owned(),
            probability,
        }
    }

    #[test]
    fn every_shape_gives_the_same_preference() {
        let rows = [
            r#"{"prompt": "q", "chosen": " yes", "rejected": " no"}"#,
            r#"{"prompt": [{"role":"user","content":"q"}], "chosen": [{"role":"assistant","content":"yes"}], "rejected": [{"role":"assistant","content":"no"}]}"#,
            r#"{"chosen": "\n\nHuman: q\n\nAssistant: yes", "rejected": "\n\nHuman: q\n\nAssistant: no"}"#,
            r#"{"chosen": [{"role":"user","content":"q"},{"role":"assistant","content":"yes"}], "rejected": [{"role":"user","content":"q"},{"role":"assistant","content":"no"}]}"#,
        ];
        for row in rows {
            assert_eq!(read(row).unwrap(), [preference(1.0)], "{row}");
        }
        assert_eq!(read(&rows.join("\n")).unwrap().len(), 4);
    }

    #[test]
    fn reads_what_preferences_are_written_as() {
        let row = serde_json::to_string(&preference(0.75)).unwrap();
        assert_eq!(read(&row).unwrap(), [preference(0.75)]);
        let turned = r#"{"prompt": "q", "chosen": "no", "rejected": "yes", "probability": 0.25}"#;
        assert_eq!(read(turned).unwrap(), [preference(0.75)]);
    }

    #[test]
    fn a_reply_may_be_empty_or_two_turns() {
        let empty = r#"{"chosen": "\n\nHuman: q\n\nAssistant: ", "rejected": "\n\nHuman: q\n\nAssistant: a"}"#;
        let read_one = |row| read(row).unwrap().remove(0);
        assert_eq!(read_one(empty).chosen, "");
        let two = r#"{"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q\n\nAssistant: a\n\nAssistant: b"}"#;
        let preference = read_one(two);
        assert_eq!(preference.prompt, Dialogue::from_user("q"));
        assert_eq!((&*preference.chosen, &*preference.rejected), ("a", "a\n\nb"));
    }

    #[test]
    fn a_bad_row_is_named_by_file_line_and_field() {
        let cases = [
            ("[]", "the row is a list"),
            (r#"{"prompt": "q", "chosen": "yes"}"#, "`rejected` is missing"),
            (r#"{"prompt": "q", "chosen": 1, "rejected": "no"}"#, "`chosen` is a number"),
            (r#"{"prompt": "q", "chosen": [], "rejected": "no"}"#, "`chosen` must hold one"),
            (r#"{"chosen": "yes", "rejected": "no"}"#, "`chosen` is not a transcript"),
            (
                r#"{"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: p\n\nAssistant: a"}"#,
                "the common part of `chosen` and `rejected` has no user turn",
            ),
            (
                r#"{"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q\n\nAssistant: b\n\nHuman: r\n\nAssistant: c"}"#,
                "`rejected` differs from the other dialogue",
            ),
            (r#"{"chosen": "\n\nHuman: q", "rejected": "\n\nHuman: q"}"#, "`rejected` is the same"),
            (
                r#"{"prompt": "q", "chosen": "a", "rejected": "b", "probability": 1.5}"#,
                "`probability` is 1.5",
            ),
        ];
        for (row, expected) in cases {
            let message = read(&format!("\n{row}\n")).unwrap_err().to_string();
            assert!(message.contains("preferences.jsonl, line 2: "), "{message}");
            assert!(message.contains(expected), "{message} lacks {expected}");
        }
        assert!(matches!(read(""), Err(Error::Empty { .. })));
    }
}
