//! Sampled replies of a model, as files hold them.

use crate::Error;
use dataset::{Reading, Replies};
use dialogue::Dialogue;
use std::collections::HashMap;
use std::path::Path;

/// All replies of a file, grouped by prompt in the order of the prompts' first rows.
///
/// A row is one of [`Reading::replies`]: a row of the samples published with the paper, or `replies`, a list of texts, or
/// `reply`, a text. Rows with the same prompt are one group; a row without a prompt is one of its own.
///
/// # Errors
/// [`Error::Dataset`] for a file that cannot be read or holds no row, or a row of another form.
pub fn read_replies(path: impl AsRef<Path>, reading: &Reading) -> Result<Vec<Vec<String>>, Error> {
    let mut groups: Vec<Vec<String>> = Vec::new();
    let mut places: HashMap<Dialogue, usize> = HashMap::new();
    for row in reading.replies(path)? {
        let Replies { prompt, replies } = row?;
        let next = groups.len();
        let place = prompt.map_or(next, |prompt| *places.entry(prompt).or_insert(next));
        if place == next {
            groups.push(Vec::new());
        }
        groups[place].extend(replies);
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Vec<String>>, Error> {
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
        assert_eq!(read(text).unwrap(), groups);
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
