//! Sampled replies of a model, as files hold them.

use crate::Error;
use dataset::{Reading, Replies};
use dialogue::Dialogue;
use std::collections::HashMap;
use std::path::Path;

/// The replies of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepliesByPrompt {
    /// Those to each prompt, in the order of the prompts' first rows; at least one each.
    pub prompts: Vec<Vec<String>>,
    /// Rows without replies, since their prompt was refused.
    pub refused: usize,
}

/// All replies of a file, grouped by prompt.
///
/// A row is one of [`Reading::replies`]: a row of the samples published with the paper, or `replies`, a list of texts, or
/// `reply`, a text. Rows with the same prompt are one group; a row without a prompt is one of its own.
///
/// # Errors
/// [`Error::Dataset`] for a file that cannot be read or holds no row, or a row of another form; [`Error::AllRefused`] if no
/// row has a reply.
pub fn read_replies(path: impl AsRef<Path>, reading: &Reading) -> Result<RepliesByPrompt, Error> {
    let mut found = RepliesByPrompt::default();
    let mut places: HashMap<Dialogue, usize> = HashMap::new();
    for row in reading.replies(path)? {
        let Replies { prompt, replies } = row?;
        if replies.is_empty() {
            found.refused += 1;
            continue;
        }
        let next = found.prompts.len();
        let place = prompt.map_or(next, |prompt| *places.entry(prompt).or_insert(next));
        if place == next {
            found.prompts.push(Vec::new());
        }
        found.prompts[place].extend(replies);
    }
    if found.prompts.is_empty() {
        return Err(Error::AllRefused("row"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<RepliesByPrompt, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("samples.jsonl");
        std::fs::write(&path, text).unwrap();
        read_replies(path, &Reading::default())
    }

    #[test]
    fn replies_are_grouped_by_prompt() {
        let text = r#"
            {"rl_prompt": "\n\nHuman: p\n\nAssistant:", "sampled_answers": [{"sampled_string": "a"}, {"sampled_string": "b"}]}
            {"reply": "c"}
            {"prompt": "q", "reply": "d"}
            {"prompt": "p", "replies": ["e", "f"]}
            {"reply": "g"}
            {"prompt": [{"role": "user", "content": "q"}], "reply": "h"}
        "#;
        let groups: [&[&str]; 4] = [&["a", "b", "e", "f"], &["c"], &["d", "h"], &["g"]];
        let found = read(text).unwrap();
        assert_eq!((found.refused, found.prompts), (0, groups.map(texts).to_vec()));
    }

    fn texts(group: &[&str]) -> Vec<String> {
        group.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn a_refused_prompt_is_counted_and_left_out() {
        let text = r#"{"prompt": "p", "reply": null}
            {"prompt": "q", "reply": "a"}
            {"prompt": "r", "replies": null, "greedy": null}"#;
        let found = read(text).unwrap();
        assert_eq!((found.refused, found.prompts), (2, vec![texts(&["a"])]));
        let none = read(r#"{"prompt": "p", "reply": null}"#);
        assert!(matches!(none, Err(Error::AllRefused(_))), "{none:?}");
    }

    #[test]
    fn a_row_without_replies_is_named() {
        let message = read("{\"reply\": \"a\"}\n{\"text\": \"a\"}\n").unwrap_err().to_string();
        for part in ["samples.jsonl, line 2", "`replies`", "sampled_answers"] {
            assert!(message.contains(part), "{message} lacks {part}");
        }
        let message = read("").unwrap_err().to_string();
        assert!(message.contains("samples.jsonl"), "{message}");
    }
}
