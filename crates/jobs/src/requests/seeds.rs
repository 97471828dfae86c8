//! The requests that are shown as examples.

use crate::shard::key;
use crate::{Error, Job};
use dialogue::{Dialogue, Role};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::path::Path;

/// What the prompts of an input begin with, since that stands alone.
#[derive(Debug)]
pub(super) struct Seeds {
    /// Each once, in the order of the input.
    pub(super) texts: Vec<String>,
    pub(super) count: u64,
    /// Rows whose request had come before.
    pub(super) duplicates: u64,
    /// Rows whose request has no letter or digit.
    pub(super) wordless: u64,
    /// Rows that are bad.
    pub(super) rejected: u64,
    /// A hash of the texts, in order.
    pub(super) fingerprint: String,
}

impl Seeds {
    /// Reads the input of a job; bad rows go to `rejects`.
    pub(super) fn read(job: &Job, rejects: &Path) -> Result<Self, Error> {
        let mut rows = job.reading(rejects).prompts(&job.input)?;
        let (mut texts, mut duplicates, mut wordless) = (Vec::new(), 0, 0);
        let (mut seen, mut hash) = (HashSet::new(), Sha256::new());
        for prompt in rows.by_ref() {
            let text = first_request(prompt?);
            let key = key(&text);
            if !text.chars().any(char::is_alphanumeric) {
                wordless += 1;
            } else if seen.insert(key) {
                hash.update(key.to_le_bytes());
                texts.push(text);
            } else {
                duplicates += 1;
            }
        }
        let (count, rejected) = (texts.len() as u64, rows.rejected() as u64);
        let fingerprint = format!("{:.32x}", hash.finalize());
        Ok(Self { texts, count, duplicates, wordless, rejected, fingerprint })
    }
}

fn first_request(prompt: Dialogue) -> String {
    let asked = prompt.messages.into_iter().find(|message| message.role == Role::User);
    asked.map(|message| message.content).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rows: &str, name: &str) -> Seeds {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, rows).unwrap();
        let job = Job { rejected_share: 0.5, ..Job::new(&path, folder.path().join("out")) };
        Seeds::read(&job, &job.rejects()).unwrap()
    }

    #[test]
    fn each_first_request_comes_once() {
        let rows = concat!(
            r#"{"prompt": "one?"}"#,
            "\n\"two?\"\n",
            r#"{"chosen": "\n\nHuman: one?\n\nAssistant: 1\n\nHuman: three?\n\nAssistant: 3", "rejected": "\n\nHuman: one?\n\nAssistant: 2"}"#,
            "\n\"?!\"\n3\n",
        );
        let seeds = read(rows, "seeds.jsonl");
        assert_eq!((seeds.texts, seeds.count), (vec!["one?".to_owned(), "two?".to_owned()], 2));
        assert_eq!((seeds.duplicates, seeds.wordless, seeds.rejected), (1, 1, 1));
    }

    #[test]
    fn the_fingerprint_is_that_of_the_texts_and_their_order() {
        let fingerprint = |rows| read(rows, "seeds.csv").fingerprint;
        assert_eq!(fingerprint("prompt\na\nb\n"), fingerprint("prompt\na\nb\na\n"));
        assert_ne!(fingerprint("prompt\na\nb\n"), fingerprint("prompt\nb\na\n"));
    }
}
