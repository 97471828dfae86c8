//! Prompts: what models are asked.

use crate::columns::ColumnMapping;
use crate::conversation::{Problem, dialogue, kind, prompt, whole_dialogue};
use crate::row_format::{Column, RowFormat};
use crate::{Error, Reading, Rows};
use dialogue::Dialogue;
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::path::Path;

pub(crate) const ACCEPTED: &str = concat!(
    r#"{"prompt": "text"}, {"prompt": [messages]}, {"messages": [messages]}, {"text": "text"}, "text" or "#,
    r#"{"chosen": "\n\nHuman: ...\n\nAssistant: ...", "rejected": ...}"#,
);

/// The prompts of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompts {
    /// The prompts, each once, in the order of the file.
    pub dialogues: Vec<Dialogue>,
    /// Rows left out because their prompt had come before.
    pub duplicates: usize,
}

/// Reads prompts from a file of any format that [`Reading`] knows.
///
/// | row | prompt |
/// |---|---|
/// | `{"prompt": "text"}`, `{"text": "text"}` or `"text"` | one user turn |
/// | `{"prompt": [messages]}` or `{"messages": [messages]}` | the messages |
/// | `{"chosen": …, "rejected": …}` without `prompt`, as in hh-rlhf | the dialogue of `chosen` |
/// | `{"transcript": …}`, an attempt of a red team | the dialogue |
/// | `{"rl_prompt": …}`, samples published with the paper | the dialogue |
///
/// A text that begins with `\n\nHuman:` is read as a transcript. Other fields are ignored. Whatever the row, closing
/// assistant turns are not part of the prompt, and what is left must end in a user turn that says something. Rows with
/// the same [`Dialogue::id`] are one prompt.
///
/// # Errors
/// [`Error::Open`], [`Error::Folder`], [`Error::Read`], [`Error::ReadParquet`], [`Error::CsvHeader`], [`Error::Row`] for the
/// first row of another shape, or [`Error::Empty`].
pub fn read_prompts(path: impl AsRef<Path>) -> Result<Prompts, Error> {
    let mut found = Prompts { dialogues: Vec::new(), duplicates: 0 };
    let mut seen = HashSet::new();
    for prompt in prompts(path)? {
        let prompt = prompt?;
        if seen.insert(prompt.id()) {
            found.dialogues.push(prompt);
        } else {
            found.duplicates += 1;
        }
    }
    Ok(found)
}

/// Reads the prompts of a file row by row, each as often as it occurs; what is a row is told at [`read_prompts`].
///
/// # Errors
/// [`Error::Open`]; an item is an error of [`read_prompts`].
pub fn prompts(path: impl AsRef<Path>) -> Result<Rows<Dialogue>, Error> {
    Reading::default().prompts(path)
}

pub(crate) fn read(columns: &ColumnMapping, row: &Value) -> Result<Dialogue, Problem> {
    match row {
        Value::Object(fields) => from_fields(columns, fields),
        Value::String(_) => prompt("the row", dialogue("the row", row)?),
        _ => Err(Problem::new("the row", format!("is {}", kind(row)))),
    }
}

fn from_fields(columns: &ColumnMapping, fields: &Map<String, Value>) -> Result<Dialogue, Problem> {
    let format = columns.recognise(fields, &RowFormat::ALL, Column::Prompt)?;
    let column = match format {
        RowFormat::Prompt | RowFormat::PromptCompletion => Column::Prompt,
        RowFormat::Preference if columns.find(fields, Column::Prompt).is_some() => Column::Prompt,
        RowFormat::Preference | RowFormat::HhRlhf => Column::Chosen,
        RowFormat::Messages => Column::Messages,
        RowFormat::Text => Column::Text,
        RowFormat::RedTeam => Column::Transcript,
        RowFormat::Samples => Column::Samples,
    };
    let (name, value) = columns.get(fields, column)?;
    let found = match column {
        Column::Prompt | Column::Messages | Column::Text => dialogue(&name, value)?,
        _ => whole_dialogue(&name, value)?,
    };
    prompt(&name, found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;
    use std::io::Write;

    fn read(text: &str) -> Result<Prompts, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prompts.jsonl");
        std::fs::write(&path, text).unwrap();
        read_prompts(&path)
    }

    #[test]
    fn every_shape_gives_the_same_prompt() {
        let rows = [
            r#"{"prompt": "hi"}"#,
            r#"{"prompt": " hi\n", "source": 3}"#,
            r#"{"prompt": [{"role": "user", "content": "hi"}]}"#,
            r#"{"prompt": "\n\nHuman: hi\n\nAssistant:"}"#,
            r#"{"messages": [{"role":"user","content":"hi"},{"role":"assistant","content":"ho"}]}"#,
            r#"{"chosen": "\n\nHuman: hi\n\nAssistant: ho", "rejected": "\n\nHuman: hi\n\nAssistant: no"}"#,
            r#"{"text": "hi"}"#,
            r#"{"transcript": "\n\nHuman: hi\n\nAssistant: ho", "rating": 0.0}"#,
            r#"{"rl_prompt": "\n\nHuman: hi\n\nAssistant:", "sampled_answers": []}"#,
            r#""hi""#,
        ];
        for row in rows {
            assert_eq!(read(row).unwrap().dialogues, [Dialogue::from_user("hi")], "{row}");
        }
        let all = read(&rows.join("\n")).unwrap();
        assert_eq!((all.dialogues.len(), all.duplicates), (1, 9));
    }

    #[test]
    fn a_transcript_keeps_its_earlier_turns() {
        let row = r#"{"chosen": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d"}"#;
        let expected = Dialogue::from_user("a").with_assistant("b").with_user("c");
        assert_eq!(read(row).unwrap().dialogues, [expected]);
    }

    #[test]
    fn a_bad_row_is_named_by_file_line_and_field() {
        let cases = [
            ("3", "the row is a number"),
            ("{}", "`prompt` is missing and the row has nothing"),
            (r#"{"question": "hi", "id": 1}"#, "the row has `question`, `id`"),
            (r#"{"prompt": null}"#, "`prompt` is null"),
            (r#"{"prompt": " "}"#, "`prompt` is blank"),
            (r#"{"prompt": []}"#, "`prompt` has no user turn"),
            (r#"{"messages": [{"role": "human", "content": "hi"}]}"#, "`human`"),
            (r#"{"messages": [{"role": "user", "content": ""}]}"#, "blank user turn"),
            (r#"{"messages": [{"role": "system", "content": "be"}]}"#, "does not end in a user"),
            (r#"{"chosen": "hi"}"#, "`chosen` is not a transcript"),
            (r#"{"text": 1}"#, "`text` is a number"),
        ];
        for (row, expected) in cases {
            let message = read(&format!("\"good\"\n\n{row}\n")).unwrap_err().to_string();
            assert!(message.contains("prompts.jsonl, line 3: "), "{message}");
            assert!(message.contains(expected), "{message} lacks {expected}");
            assert!(message.contains(r#"accepted rows are {"prompt": "text"}"#), "{message}");
        }
    }

    #[test]
    fn counts_lines_inside_a_compressed_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prompts.jsonl.gz");
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(b"\"a\"\n\"b\"\n{\n").unwrap();
        std::fs::write(&path, encoder.finish().unwrap()).unwrap();
        let message = read_prompts(&path).unwrap_err().to_string();
        assert!(
            message.contains("prompts.jsonl.gz, line 3: the row is not JSON: EOF"),
            "{message}"
        );
    }

    #[test]
    fn a_file_without_rows_is_an_error() {
        for text in ["", "\n \n"] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains("prompts.jsonl holds no row"), "{message}");
        }
    }

    #[test]
    fn columns_may_have_other_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        let row = r#"{"id": 1, "text": "no", "turns": [{"human": "hi"}, {"human": "ho"}]}"#;
        std::fs::write(&path, row).unwrap();
        let prompt = Some("turns.1.human".to_owned());
        let columns = ColumnMapping { prompt, ..ColumnMapping::default() };
        let reading = Reading { columns, rejects: None };
        let found: Result<Vec<Dialogue>, Error> = reading.prompts(&path).unwrap().collect();
        assert_eq!(found.unwrap(), [Dialogue::from_user("ho")]);
        std::fs::write(&path, r#"{"prompt": "no"}"#).unwrap();
        let message = reading.prompts(&path).unwrap().next().unwrap().unwrap_err().to_string();
        assert!(message.contains("line 1: `turns.1.human` is missing"), "{message}");
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,60}") {
            let _ = read(&text);
            let _ = read(&format!("{{\"prompt\":{text}}}"));
            let quoted = Value::from(format!("\n\nHuman:{text}"));
            let _ = read(&format!("{{\"chosen\":{quoted}}}"));
        }
    }
}
