//! Prompts: what models are asked.

use crate::conversation::{Problem, dialogue, kind, lacking, prompt, whole_dialogue};
use crate::{Error, Rows};
use dialogue::Dialogue;
use serde_json::Value;
use std::collections::HashSet;
use std::path::Path;

const ACCEPTED: &str = concat!(
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

/// Reads prompts from a JSONL or `.jsonl.gz` file.
///
/// | row | prompt |
/// |---|---|
/// | `{"prompt": "text"}`, `{"text": "text"}` or `"text"` | one user turn |
/// | `{"prompt": [messages]}` or `{"messages": [messages]}` | the messages |
/// | `{"chosen": …, "rejected": …}` without `prompt`, as in hh-rlhf | the dialogue of `chosen` |
///
/// A text that begins with `\n\nHuman:` is read as a transcript. Other fields are ignored. Whatever the row, closing
/// assistant turns are not part of the prompt, and what is left must end in a user turn that says something. Rows with
/// the same [`Dialogue::id`] are one prompt.
///
/// # Errors
/// [`Error::Open`], [`Error::Read`], [`Error::Json`], [`Error::Row`] for the first row of another shape, or
/// [`Error::Empty`].
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
    Rows::open(path.as_ref(), ACCEPTED, read_prompt)
}

fn read_prompt(row: &Value) -> Result<Dialogue, Problem> {
    let Value::Object(fields) = row else {
        return match row {
            Value::String(_) => prompt("the row", dialogue("the row", row)?),
            _ => Err(Problem::new("the row", format!("is {}", kind(row)))),
        };
    };
    if let Some(value) = fields.get("prompt") {
        prompt("`prompt`", dialogue("`prompt`", value)?)
    } else if let Some(value) = fields.get("messages") {
        prompt("`messages`", dialogue("`messages`", value)?)
    } else if let Some(value) = fields.get("chosen") {
        prompt("`chosen`", whole_dialogue("`chosen`", value)?)
    } else if let Some(value) = fields.get("text") {
        prompt("`text`", dialogue("`text`", value)?)
    } else {
        Err(lacking("`prompt`", fields))
    }
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
            r#""hi""#,
        ];
        for row in rows {
            assert_eq!(read(row).unwrap().dialogues, [Dialogue::from_user("hi")], "{row}");
        }
        let all = read(&rows.join("\n")).unwrap();
        assert_eq!((all.dialogues.len(), all.duplicates), (1, 7));
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
        assert!(message.contains("prompts.jsonl.gz, line 3: EOF"), "{message}");
    }

    #[test]
    fn a_file_without_rows_is_an_error() {
        for text in ["", "\n \n"] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains("prompts.jsonl holds no row"), "{message}");
        }
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
