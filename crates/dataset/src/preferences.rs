//! Judged pairs of replies.

use crate::columns::ColumnMapping;
use crate::conversation::{Problem, dialogue, kind, prompt, reply, whole_dialogue};
use crate::row_format::{Column, RowFormat};
use crate::{Error, Reading};
use dialogue::{Comparison, Dialogue, Preference, Role};
use serde_json::{Map, Value};
use std::path::Path;

/// The rows accepted, and what may stand beside a probability.
macro_rules! accepted {
    ($beside:literal) => {
        concat!(
            r#"{"prompt": "text" or [messages], "chosen": reply, "rejected": reply, "probability": number"#,
            $beside,
            r#"} with replies as text or a list of one assistant message, or {"chosen": dialogue, "rejected": dialogue} "#,
            r#"with dialogues as "\n\nHuman: ...\n\nAssistant: ..." or [messages]"#,
        )
    };
}

pub(crate) const ACCEPTED: &str = accepted!("");
pub(crate) const ACCEPTED_WITH_MARGIN: &str = accepted!(r#", "margin": number"#);

/// Reads preferences from a file of any format that [`Reading`] knows.
///
/// | row | meaning |
/// |---|---|
/// | `{"prompt": …, "chosen": …, "rejected": …}` | prompt and two replies, each as text or messages, as in TRL |
/// | `{"chosen": …, "rejected": …}` | two dialogues that differ in the last assistant turn, as in hh-rlhf |
///
/// Beside a prompt two lists of messages may also be the whole dialogues, which then begin with what the prompt ends in.
/// `probability`, that `chosen` is better, is 1 where it is missing and no column is named for it; below 0.5 the replies change
/// places.
///
/// # Errors
/// [`Error::Open`], [`Error::Folder`], [`Error::Read`], [`Error::ReadParquet`], [`Error::CsvHeader`], [`Error::Row`] for the
/// first row of another shape, or [`Error::Empty`].
pub fn read_preferences(path: impl AsRef<Path>) -> Result<Vec<Preference>, Error> {
    Reading::default().preferences(path)?.collect()
}

pub(crate) fn read(columns: &ColumnMapping, row: &Value) -> Result<Preference, Problem> {
    let Value::Object(fields) = row else {
        return Err(Problem::new("the row", format!("is {}", kind(row))));
    };
    let comparison = comparison(columns, fields)?;
    let probability = probability(columns, fields)?.unwrap_or(1.0);
    Ok(Preference::from_comparison(comparison, probability))
}

/// A preference and the margin that its row has beside it.
pub(crate) fn read_with_margin(
    columns: &ColumnMapping,
    row: &Value,
) -> Result<(Preference, Option<f64>), Problem> {
    let preference = read(columns, row)?;
    let margin = row.as_object().map(|fields| margin(columns, fields)).transpose()?;
    Ok((preference, margin.flatten()))
}

/// The two replies of a row, `chosen` first.
pub(crate) fn comparison(
    columns: &ColumnMapping,
    fields: &Map<String, Value>,
) -> Result<Comparison, Problem> {
    let formats = [RowFormat::Preference, RowFormat::HhRlhf];
    let format = columns.recognise(fields, &formats, Column::Chosen)?;
    let asked = columns.find(fields, Column::Prompt).filter(|_| format != RowFormat::HhRlhf);
    let chosen = columns.get(fields, Column::Chosen)?;
    let rejected = columns.get(fields, Column::Rejected)?;
    let whole = |(name, value): &(String, &Value)| whole_dialogue(name, value);
    let names = [&*chosen.0, &*rejected.0];
    let Some((name, asked)) = asked else {
        return split(names, whole(&chosen)?, whole(&rejected)?);
    };
    let asked = prompt(&name, dialogue(&name, asked)?)?;
    if !(is_several(chosen.1) && is_several(rejected.1)) {
        let replies = [reply(&chosen.0, chosen.1)?, reply(&rejected.0, rejected.1)?];
        return Ok(Comparison { prompt: asked, replies });
    }
    let found = split(names, whole(&chosen)?, whole(&rejected)?)?;
    if found.prompt.messages.ends_with(&asked.messages) {
        return Ok(found);
    }
    Err(Problem::new(name, format!("is not what {} and {} answer", names[0], names[1])))
}

/// Whether a value is a list of more messages than a reply.
fn is_several(value: &Value) -> bool {
    value.as_array().is_some_and(|messages| messages.len() > 1)
}

/// What a row says of the probability that its first reply is better.
pub(crate) fn probability(
    columns: &ColumnMapping,
    fields: &Map<String, Value>,
) -> Result<Option<f64>, Problem> {
    let found = columns.find_unless_named(fields, Column::Probability)?;
    let Some((name, value)) = found else { return Ok(None) };
    number(value)
        .filter(|probability| (0.0..=1.0).contains(probability))
        .map(Some)
        .ok_or_else(|| Problem::new(name, format!("is {value}, expected a number from 0 to 1")))
}

/// What a row says of the margin by which the better reply should win. A cell may be empty.
fn margin(columns: &ColumnMapping, fields: &Map<String, Value>) -> Result<Option<f64>, Problem> {
    let found = columns.find_unless_named(fields, Column::Margin)?;
    let Some((name, value)) = found else { return Ok(None) };
    if value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty()) {
        return Ok(None);
    }
    number(value)
        .filter(|margin| margin.is_finite() && *margin >= 0.0)
        .map(Some)
        .ok_or_else(|| Problem::new(name, format!("is {value}, expected a number of at least 0")))
}

/// A number, which the cells of some files hold as text.
fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// What two whole dialogues share, up to its last user turn, and what each says after it.
///
/// A dialogue that ends there has the empty reply, of which hh-rlhf holds a few; two assistant turns are one reply.
fn split(names: [&str; 2], chosen: Dialogue, rejected: Dialogue) -> Result<Comparison, Problem> {
    let [first, second] = names;
    let pairs = chosen.messages.iter().zip(&rejected.messages);
    let shared = pairs.take_while(|(chosen, rejected)| chosen == rejected).count();
    if shared == chosen.messages.len() && shared == rejected.messages.len() {
        return Err(Problem::new(second, format!("is the same as {first}")));
    }
    let common = Dialogue::new(chosen.messages[..shared].to_vec());
    let asked = prompt(&format!("the common part of {first} and {second}"), common)?;
    let replies = [
        rest(first, &chosen, asked.messages.len())?,
        rest(second, &rejected, asked.messages.len())?,
    ];
    Ok(Comparison { prompt: asked, replies })
}

fn rest(field: &str, dialogue: &Dialogue, asked: usize) -> Result<String, Problem> {
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
            r#"{"prompt": "q", "chosen": [{"role":"user","content":"q"},{"role":"assistant","content":"yes"}], "rejected": [{"role":"user","content":"q"},{"role":"assistant","content":"no"}]}"#,
            r#"{"chosen": [{"role":"user","content":"q"},{"role":"assistant","content":"yes"}], "rejected": [{"role":"user","content":"q"},{"role":"assistant","content":"no"}]}"#,
        ];
        for row in rows {
            assert_eq!(read(row).unwrap(), [preference(1.0)], "{row}");
        }
        assert_eq!(read(&rows.join("\n")).unwrap().len(), rows.len());
    }

    #[test]
    fn reads_what_preferences_are_written_as() {
        let row = serde_json::to_string(&preference(0.75)).unwrap();
        assert_eq!(read(&row).unwrap(), [preference(0.75)]);
        let turned = r#"{"prompt": "q", "chosen": "no", "rejected": "yes", "probability": 0.25}"#;
        assert_eq!(read(turned).unwrap(), [preference(0.75)]);
    }

    /// The margin of a row with this text in the place of `margin`, and with this column for it.
    fn margin_of(cell: &str, column: Option<&str>) -> Result<Option<f64>, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("preferences.jsonl");
        let row = format!(
            r#"{{"prompt": "q", "chosen": "no", "rejected": "yes", "probability": 0.25{cell}}}"#
        );
        std::fs::write(&path, row).unwrap();
        let columns =
            ColumnMapping { margin: column.map(str::to_owned), ..ColumnMapping::default() };
        let reading = Reading { columns, rejects: None };
        let mut rows = reading.preferences_with_margins(&path)?;
        let (found, margin) = rows.next().unwrap()?;
        // The margin is that of the better reply, whichever stands first.
        assert_eq!(found, preference(0.75));
        Ok(margin)
    }

    #[test]
    fn a_margin_may_stand_beside_a_preference() {
        for (cell, column, expected) in [
            (r#", "margin": 1.5"#, None, Some(1.5)),
            (r#", "margin": 2"#, None, Some(2.0)),
            (r#", "margin": "0.25""#, None, Some(0.25)),
            (r#", "margin": 0"#, None, Some(0.0)),
            (r#", "strength": {"of": 3}, "margin": 1"#, Some("strength.of"), Some(3.0)),
            (r#", "margin": null"#, None, None),
            (r#", "margin": " ""#, None, None),
            ("", None, None),
        ] {
            assert_eq!(margin_of(cell, column).unwrap(), expected, "{cell}");
        }
        for cell in ["-0.5", "\"large\"", "\"inf\"", "[1]"] {
            let message =
                margin_of(&format!(", \"margin\": {cell}"), None).unwrap_err().to_string();
            assert!(message.contains("preferences.jsonl, line 1: `margin` is "), "{message}");
            assert!(message.contains("expected a number of at least 0"), "{message}");
            assert!(message.contains(r#""probability": number, "margin": number}"#), "{message}");
        }
    }

    #[test]
    fn a_row_must_have_a_column_that_is_named() {
        let message = margin_of(r#", "margin": 1"#, Some("gap")).unwrap_err().to_string();
        assert!(message.contains("preferences.jsonl, line 1: `gap` is missing"), "{message}");
        let columns =
            ColumnMapping { probability: Some("pp".to_owned()), ..ColumnMapping::default() };
        let row = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let lacks =
            row(r#"{"prompt": "q", "chosen": "yes", "rejected": "no", "probability": 0.5}"#);
        let problem = super::read(&columns, &lacks).unwrap_err();
        assert_eq!(problem.field, "`pp`");
        assert!(problem.text.starts_with("is missing and the row has"), "{}", problem.text);
        let has = row(r#"{"prompt": "q", "chosen": "yes", "rejected": "no", "pp": 0.75}"#);
        assert_eq!(super::read(&columns, &has).unwrap(), preference(0.75));
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
            ("3", "the row is a number"),
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
                r#"{"prompt": "p", "chosen": [{"role":"user","content":"q"},{"role":"assistant","content":"a"}], "rejected": [{"role":"user","content":"q"},{"role":"assistant","content":"b"}]}"#,
                "`prompt` is not what `chosen` and `rejected` answer",
            ),
            (
                r#"{"prompt": "q", "chosen": "a", "rejected": "b", "probability": 1.5}"#,
                "`probability` is 1.5",
            ),
        ];
        for (row, expected) in cases {
            let message = read(&format!("\n{row}\n")).unwrap_err().to_string();
            assert!(message.contains("preferences.jsonl, line 2: "), "{message}");
            assert!(message.contains(expected), "{message} lacks {expected}");
            assert!(message.contains(r#""probability": number} with"#), "{message}");
        }
        assert!(matches!(read(""), Err(Error::Empty { .. })));
    }
}
