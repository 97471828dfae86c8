//! The requests that are shown as examples.

use crate::shard::key;
use crate::{Error, Job};
use dialogue::{Dialogue, Role};
use red_team::GenerationConfig;
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
    /// Rows whose request is longer than those that are asked for: what is written after it would be left out, too.
    pub(super) long: u64,
    /// Rows that are bad.
    pub(super) rejected: u64,
    /// A hash of the texts, in order.
    pub(super) fingerprint: String,
}

impl Seeds {
    /// Reads the input of a job; bad rows go to `rejects`.
    pub(super) fn read(
        job: &Job,
        config: &GenerationConfig,
        rejects: &Path,
    ) -> Result<Self, Error> {
        let mut rows = job.reading(rejects).prompts(&job.input)?;
        let (mut texts, mut duplicates, mut wordless, mut long) = (Vec::new(), 0, 0, 0);
        let (mut seen, mut hash) = (HashSet::new(), Sha256::new());
        for prompt in rows.by_ref() {
            let text = first_request(prompt?);
            let key = key(&text);
            if !text.chars().any(char::is_alphanumeric) {
                wordless += 1;
            } else if config.is_too_long(&text) {
                long += 1;
            } else if seen.insert(key) {
                hash.update(key.to_le_bytes());
                texts.push(text);
            } else {
                duplicates += 1;
            }
        }
        let (found, shots) = (texts.len(), config.shots);
        if long > 0 && found < shots {
            return Err(Error::LongSeeds { path: job.input.clone(), long, found, shots });
        }
        let (count, rejected) = (found as u64, rows.rejected() as u64);
        let fingerprint = format!("{:.32x}", hash.finalize());
        Ok(Self { texts, count, duplicates, wordless, long, rejected, fingerprint })
    }
}

fn first_request(prompt: Dialogue) -> String {
    let asked = prompt.messages.into_iter().find(|message| message.role == Role::User);
    asked.map(|message| message.content).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_for(config: &GenerationConfig, rows: &str, name: &str) -> Result<Seeds, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, rows).unwrap();
        let job = Job { rejected_share: 0.5, ..Job::new(&path, folder.path().join("out")) };
        Seeds::read(&job, config, &job.rejects())
    }

    fn read(rows: &str, name: &str) -> Seeds {
        read_for(&GenerationConfig::default(), rows, name).unwrap()
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
    fn those_longer_than_a_request_may_be_are_left_out() {
        let config = GenerationConfig {
            shots: 2,
            max_characters: 9,
            max_words: 2,
            min_words: 2,
            ..GenerationConfig::default()
        };
        let rows = "prompt\nwhere?\nit is a fox\nthe longest\nnow  what?\nnow  what?\n";
        let seeds = read_for(&config, rows, "seeds.csv").unwrap();
        // A short one is as good an example as any.
        assert_eq!(
            (&seeds.texts[..], seeds.long),
            (&["where?", "now  what?"].map(String::from)[..], 2)
        );
        assert_eq!((seeds.count, seeds.duplicates), (2, 1));
        let more = GenerationConfig { shots: 3, ..config };
        let message = read_for(&more, rows, "seeds.csv").unwrap_err().to_string();
        for part in
            ["seeds.csv", "2 seeds are longer", "`max_characters`", "2 are left for 3 shots"]
        {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn the_fingerprint_is_that_of_the_texts_and_their_order() {
        let fingerprint = |rows| read(rows, "seeds.csv").fingerprint;
        assert_eq!(fingerprint("prompt\na\nb\n"), fingerprint("prompt\na\nb\na\n"));
        assert_ne!(fingerprint("prompt\na\nb\n"), fingerprint("prompt\nb\na\n"));
    }
}
