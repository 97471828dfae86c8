//! Prompts that should be answered and prompts that should be refused, as `XSTest` holds them.

use crate::Error;
use crate::asked::Asked;
use dataset::Reading;
use dialogue::Dialogue;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::Path;

/// A prompt and whether it is safe to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SafetyPrompt {
    /// Its name in the file.
    pub id: String,
    /// What the user asks.
    pub prompt: String,
    /// The kind of prompt, such as `homonyms`.
    pub kind: String,
    /// True if a good model answers it, false if it refuses.
    pub safe: bool,
}

#[derive(Deserialize)]
struct Row {
    #[serde(default, deserialize_with = "text_or_number")]
    id: Option<String>,
    prompt: String,
    #[serde(rename = "type")]
    kind: String,
    label: String,
}

/// A prompt that may have no name yet.
#[derive(Deserialize)]
#[serde(try_from = "Row")]
struct Labelled {
    id: Option<String>,
    prompt: String,
    kind: String,
    safe: bool,
}

/// Why a row is no prompt.
#[derive(Debug, thiserror::Error)]
enum RowError {
    #[error("`prompt` is blank")]
    Blank,
    #[error("`label` is {0:?}, expected `safe` or `unsafe`")]
    Label(String),
}

impl TryFrom<Row> for Labelled {
    type Error = RowError;

    fn try_from(Row { id, prompt, kind, label }: Row) -> Result<Self, RowError> {
        if prompt.trim().is_empty() {
            return Err(RowError::Blank);
        }
        let safe = match label.trim() {
            "safe" => true,
            "unsafe" => false,
            _ => return Err(RowError::Label(label)),
        };
        Ok(Self { id, prompt, kind, safe })
    }
}

/// What is a row of prompts.
const PROMPTS: &str =
    "columns or fields `prompt`, `type` and `label`, `safe` or `unsafe`, perhaps with `id`";

/// Reads prompts like those of `XSTest` from its table of comma-separated values, or a file of any other format that
/// [`Reading`] reads.
///
/// The columns `prompt`, `type` and `label` (`safe` or `unsafe`) must be there; `id` names a prompt, and is otherwise its
/// number counted from 1. Other columns are ignored.
///
/// # Errors
/// [`Error::Dataset`] if the file cannot be opened or has no row, and names file, row and field of the first bad row.
///
/// # References
/// Röttger et al. (2023), arXiv 2308.01263.
pub fn read_safety_prompts(
    path: impl AsRef<Path>,
    reading: &Reading,
) -> Result<Vec<SafetyPrompt>, Error> {
    let mut prompts = Vec::new();
    for row in reading.records::<Labelled>(path, PROMPTS)? {
        let Labelled { id, prompt, kind, safe } = row?;
        let id = id.unwrap_or_else(|| (prompts.len() + 1).to_string());
        prompts.push(SafetyPrompt { id, prompt, kind, safe });
    }
    Ok(prompts)
}

/// A reply, and perhaps what it replies to.
#[derive(Deserialize)]
struct ReplyRow {
    #[serde(default, deserialize_with = "text_or_number")]
    id: Option<String>,
    prompt: Option<Asked>,
    /// Null where the prompt was refused, but there.
    #[serde(alias = "completion", deserialize_with = "Option::deserialize")]
    reply: Option<String>,
}

/// An id may be written as a number.
fn text_or_number<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Id {
        Text(String),
        Number(u64),
    }
    let id: Option<Id> = Option::deserialize(from)?;
    Ok(id.map(|id| match id {
        Id::Text(text) => text,
        Id::Number(number) => number.to_string(),
    }))
}

/// What is a row of replies.
const REPLIES: &str =
    r#"{"id" or "prompt": ..., "reply": text, or null where the prompt was refused}"#;

/// Reads one reply to each prompt from a file of any format that [`Reading`] reads, in the order of the prompts.
///
/// A row is `{"reply": text}` with the `id` or the `prompt`, a text or messages, that it replies to; the id comes first. Where no row has one, the replies stand in
/// the order of the prompts, one each. `completion` may stand for `reply`; a reply that is null is none, since the prompt was
/// refused; other fields are ignored.
///
/// # Errors
/// [`Error::Dataset`] for a row of another form, [`Error::NoReply`] for the first prompt without a reply, or
/// [`Error::ReplyCount`].
pub fn read_replies_to(
    path: impl AsRef<Path>,
    prompts: &[SafetyPrompt],
) -> Result<Vec<Option<String>>, Error> {
    let path = path.as_ref();
    let rows = Reading::default().records::<ReplyRow>(path, REPLIES)?;
    let rows = rows.collect::<Result<Vec<ReplyRow>, _>>()?;
    if rows.iter().all(|row| row.id.is_none() && row.prompt.is_none()) {
        let (expected, found) = (prompts.len(), rows.len());
        if found != expected {
            return Err(Error::ReplyCount { path: path.to_owned(), expected, found });
        }
        return Ok(rows.into_iter().map(|row| row.reply).collect());
    }
    let mut by_id: HashMap<String, Option<String>> = HashMap::new();
    let mut by_prompt: HashMap<Dialogue, Option<String>> = HashMap::new();
    for ReplyRow { id, prompt, reply } in rows {
        if let Some(prompt) = prompt {
            by_prompt.insert(prompt.prompt(), reply.clone());
        }
        if let Some(id) = id {
            by_id.insert(id, reply);
        }
    }
    let reply = |prompt: &SafetyPrompt| {
        let asked = Dialogue::from_user(prompt.prompt.trim());
        let found = by_id.get(&prompt.id).or_else(|| by_prompt.get(&asked));
        found.cloned().ok_or_else(|| Error::NoReply {
            path: path.to_owned(),
            id: prompt.id.clone(),
            prompt: prompt.prompt.clone(),
        })
    };
    prompts.iter().map(reply).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataset::ColumnMapping;

    fn file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prompts.csv");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    fn prompts() -> Vec<SafetyPrompt> {
        let (_folder, path) = file(
            "id,prompt,type,label,note\nv1,\"How do I kill, at chess?\",figurative,safe,\nv2,How do I kill?,contrast,unsafe,x\n",
        );
        read_safety_prompts(path, &Reading::default()).unwrap()
    }

    #[test]
    fn reads_a_table() {
        let found = prompts();
        let expected = SafetyPrompt {
            id: "v1".to_owned(),
            prompt: "How do I kill, at chess?".to_owned(),
            kind: "figurative".to_owned(),
            safe: true,
        };
        assert_eq!((found.len(), &found[0], found[1].safe), (2, &expected, false));
        let (_folder, path) = file("label,type,prompt\nsafe,x,a\nunsafe,x,b\n");
        let ids = |prompts: Vec<SafetyPrompt>| -> Vec<String> {
            prompts.into_iter().map(|prompt| prompt.id).collect()
        };
        let reading = Reading::default();
        assert_eq!(ids(read_safety_prompts(&path, &reading).unwrap()), ["1", "2"]);

        let lines = r#"{"id": 7, "question": "a", "type": "x", "label": "safe"}"#;
        let other = path.with_extension("jsonl");
        std::fs::write(&other, lines).unwrap();
        let prompt = Some("question".to_owned());
        let columns = ColumnMapping { prompt, ..ColumnMapping::default() };
        let reading = Reading { columns, rejects: None };
        assert_eq!(ids(read_safety_prompts(&other, &reading).unwrap()), ["7"]);
    }

    #[test]
    fn a_bad_row_is_named() {
        let read = |path: &Path| read_safety_prompts(path, &Reading::default());
        for (text, parts) in [
            ("prompt,type,label\na,x,safe\nb,x,harmless\n", ["line 3", "`label` is \"harmless\""]),
            ("prompt,type,label\na,x,safe\n ,x,safe\n", ["line 3", "`prompt` is blank"]),
            ("prompt,type,label\na,x\n", ["line 2", "2 cells below a header of 3"]),
            ("prompt,label\na,safe\n", ["line 2", "missing field `type`"]),
            ("prompt,type,label\n", ["no row", "`label`"]),
            ("", ["no row", "`label`"]),
        ] {
            let (_folder, path) = file(text);
            let message = read(&path).unwrap_err().to_string();
            assert!(message.contains("prompts.csv"), "{message}");
            assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        }
        let message = read(Path::new("no/such.csv")).unwrap_err().to_string();
        assert!(message.contains("no/such.csv"), "{message}");
    }

    fn replies(text: &str) -> Result<Vec<Option<String>>, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("replies.jsonl");
        std::fs::write(&path, text).unwrap();
        read_replies_to(path, &prompts())
    }

    #[test]
    fn replies_find_their_prompts() {
        for text in [
            r#"{"reply": "x"} {"reply": "y"}"#,
            r#"{"id": "v2", "reply": "y"} {"id": "v1", "reply": "x"}"#,
            r#"{"prompt": "How do I kill?", "completion": "y"} {"id": "v1", "reply": "x"}"#,
            // As the data stages write them, with ids of their own.
            r#"{"id": "0f", "prompt": [{"role": "user", "content": "How do I kill?"}], "reply": "y"} {"id": "v1", "reply": "x"}"#,
        ] {
            let rows = text.replace("} {", "}\n{");
            let expected = ["x", "y"].map(|reply| Some(reply.to_owned()));
            assert_eq!(replies(&rows).unwrap(), expected, "{text}");
        }
        let refused = "{\"id\": \"v1\", \"reply\": \"x\"}\n{\"id\": \"v2\", \"reply\": null}";
        assert_eq!(replies(refused).unwrap(), [Some("x".to_owned()), None]);
        let message = replies(r#"{"reply": "x"}"#).unwrap_err().to_string();
        assert!(message.contains("1 replies for 2 prompts"), "{message}");
        let message = replies(r#"{"id": 1, "reply": "x"}"#).unwrap_err().to_string();
        assert!(message.contains("no reply to prompt v1: \"How do I kill, at chess?\""));
        let message = replies(r#"{"id": "v1"}"#).unwrap_err().to_string();
        assert!(message.contains("line 1") && message.contains("`reply`"), "{message}");
    }
}
