//! Sampled replies of a model, as files hold them.

use crate::Error;
use serde::Deserialize;
use std::path::Path;

/// The replies of one row.
#[derive(Deserialize)]
#[serde(try_from = "Row")]
struct Replies(Vec<String>);

/// The forms of a row.
#[derive(Deserialize)]
struct Row {
    #[serde(default)]
    sampled_answers: Option<Vec<Sampled>>,
    #[serde(default)]
    cst: Option<Vec<Step>>,
    #[serde(default)]
    replies: Option<Vec<String>>,
    #[serde(default)]
    reply: Option<String>,
}

/// A reply of the paper's files.
#[derive(Deserialize)]
struct Sampled {
    sampled_string: String,
}

/// A step of the paper's chains of critique and revision.
#[derive(Deserialize)]
struct Step {
    revision: Sample,
}

#[derive(Deserialize)]
struct Sample {
    sample: String,
}

#[derive(Debug, thiserror::Error)]
#[error(
    "no replies; expected one of `sampled_answers` or `cst` as in the paper's files, `replies` (a list of texts), \
     `reply` (a text)"
)]
struct NoReplies;

impl TryFrom<Row> for Replies {
    type Error = NoReplies;

    fn try_from(row: Row) -> Result<Self, NoReplies> {
        let Row { sampled_answers, cst, replies, reply } = row;
        let sampled = |answers: Vec<Sampled>| {
            answers.into_iter().map(|answer| answer.sampled_string).collect()
        };
        let last =
            |steps: Vec<Step>| steps.into_iter().next_back().map(|step| vec![step.revision.sample]);
        let found = sampled_answers
            .map(sampled)
            .or_else(|| cst.and_then(last))
            .or(replies)
            .or_else(|| reply.map(|reply| vec![reply]));
        found.filter(|replies| !replies.is_empty()).map(Self).ok_or(NoReplies)
    }
}

/// All replies of a JSONL file.
///
/// A row holds `sampled_answers` or the chain `cst`, as the samples published with the paper do (of a chain the last
/// revision counts), or `replies`, a list of texts, or `reply`, a text; other fields are ignored.
///
/// # Errors
/// [`Error::Dataset`] for a file that cannot be read or a row of another form.
pub fn read_replies(path: impl AsRef<Path>) -> Result<Vec<String>, Error> {
    let rows: Vec<Replies> = dataset::read_jsonl(path)?;
    Ok(rows.into_iter().flat_map(|Replies(replies)| replies).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<String>, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("samples.jsonl");
        std::fs::write(&path, text).unwrap();
        read_replies(path)
    }

    #[test]
    fn every_form_is_read() {
        let text = r#"
            {"rl_prompt": "q", "sampled_answers": [{"sampled_string": "a"}, {"sampled_string": "b"}]}
            {"cst": [{"revision": {"sample": "c"}}, {"revision": {"sample": "d"}}]}
            {"replies": ["e", "f"]}
            {"reply": "g"}
        "#;
        assert_eq!(read(text).unwrap(), ["a", "b", "d", "e", "f", "g"]);
    }

    #[test]
    fn a_row_without_replies_is_named() {
        for row in [r#"{"text": "a"}"#, r#"{"replies": []}"#, r#"{"cst": []}"#] {
            let message = read(&format!("{{\"reply\": \"a\"}}\n{row}\n")).unwrap_err().to_string();
            assert!(
                message.contains("samples.jsonl, line 2") && message.contains("`replies`"),
                "{message}"
            );
        }
    }
}
