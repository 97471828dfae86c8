//! The items of a job, read twice: once to see what is there, once to work on it.

use crate::shard::key;
use crate::stage::Kind;
use crate::{Error, Job, Shard};
use dataset::{Reading, Rows};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// What an input holds.
#[derive(Debug)]
pub(crate) struct Input {
    path: PathBuf,
    reading: Reading,
    shard: Option<Shard>,
    /// Distinct items.
    pub(crate) items: u64,
    /// Those of the shard.
    pub(crate) mine: u64,
    /// Rows whose item had come before.
    pub(crate) duplicates: u64,
    /// Rows to which there is nothing to do.
    pub(crate) void: u64,
    /// Rows that are bad.
    pub(crate) rejected: u64,
    /// A hash of the ids of all distinct items, in order.
    pub(crate) fingerprint: String,
    /// The keys of items that occur more than once: all that must be remembered to take each once.
    repeated: HashSet<u64>,
}

impl Input {
    /// Reads every row, so that bad ones show before anything is asked.
    ///
    /// Until it is read this holds a hash of 8 bytes an item in a set, and then one for each item that occurs twice. Bad rows
    /// go to `rejects`.
    pub(crate) fn scan<I>(job: &Job, kind: &Kind<I>, rejects: &Path) -> Result<Self, Error> {
        let mut input = Self {
            path: job.input.clone(),
            reading: job.reading(rejects),
            shard: job.shard,
            items: 0,
            mine: 0,
            duplicates: 0,
            void: 0,
            rejected: 0,
            fingerprint: String::new(),
            repeated: HashSet::new(),
        };
        let mut rows = (kind.open)(&input.reading, &job.input)?;
        let (mut seen, mut hash) = (HashSet::new(), Sha256::new());
        for row in rows.by_ref() {
            let row = row?;
            if (kind.is_void)(&row) {
                input.void += 1;
                continue;
            }
            let key = key(&(kind.id)(&row));
            if seen.insert(key) {
                hash.update(key.to_le_bytes());
                input.items += 1;
                input.mine += u64::from(holds(job.shard, key));
            } else {
                input.duplicates += 1;
                input.repeated.insert(key);
            }
        }
        input.rejected = rows.rejected() as u64;
        input.fingerprint = fingerprint(hash);
        input.repeated.shrink_to_fit();
        Ok(input)
    }

    /// The items of the shard, each once, in order.
    pub(crate) fn items<I>(&self, kind: &Kind<I>) -> Result<Items<'_, I>, Error> {
        let rows = (kind.open)(&self.reading, &self.path)?;
        // Those that are bad stand in their file already.
        let rows = if self.reading.rejects.is_some() { rows.without_bad() } else { rows };
        let once = Once::new(&self.repeated);
        let (id, is_void) = (kind.id, kind.is_void);
        Ok(Items { input: self, rows, id, is_void, once, seen: 0, hash: Sha256::new() })
    }
}

/// 128 bits of a hash, in hexadecimal digits.
fn fingerprint(hash: Sha256) -> String {
    format!("{:.32x}", hash.finalize())
}

fn holds(shard: Option<Shard>, key: u64) -> bool {
    shard.is_none_or(|shard| shard.holds(key))
}

/// Tells the first of several equal keys.
struct Once<'a> {
    repeated: &'a HashSet<u64>,
    seen: HashSet<u64>,
}

impl<'a> Once<'a> {
    fn new(repeated: &'a HashSet<u64>) -> Self {
        Self { repeated, seen: HashSet::new() }
    }

    fn is_first(&mut self, key: u64) -> bool {
        !self.repeated.contains(&key) || self.seen.insert(key)
    }
}

/// An item of the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item<I> {
    /// Its place among the distinct items of the whole input, counted from 0.
    pub(crate) index: u64,
    pub(crate) id: String,
    pub(crate) value: I,
}

/// The items of a shard, read as they are asked for.
pub(crate) struct Items<'a, I> {
    input: &'a Input,
    rows: Rows<I>,
    id: fn(&I) -> String,
    is_void: fn(&I) -> bool,
    once: Once<'a>,
    /// Distinct items that were read, of all shards.
    seen: u64,
    /// Of their keys.
    hash: Sha256,
}

impl<I> Items<'_, I> {
    fn read(&mut self) -> Result<Option<Item<I>>, Error> {
        for row in self.rows.by_ref() {
            let value = row?;
            if (self.is_void)(&value) {
                continue;
            }
            let id = (self.id)(&value);
            let key = key(&id);
            if !self.once.is_first(key) {
                continue;
            }
            let index = self.seen;
            self.seen += 1;
            self.hash.update(key.to_le_bytes());
            if holds(self.input.shard, key) {
                return Ok(Some(Item { index, id, value }));
            }
        }
        let (expected, found) = (self.input.items, self.seen);
        if fingerprint(self.hash.clone()) != self.input.fingerprint {
            return Err(Error::InputChanged { path: self.input.path.clone(), expected, found });
        }
        Ok(None)
    }
}

impl<I> Iterator for Items<'_, I> {
    type Item = Result<Item<I>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dialogue::Dialogue;

    const KIND: Kind<Dialogue> = Kind {
        open: |reading, path| reading.prompts(path),
        id: Dialogue::id,
        is_void: |dialogue| dialogue.last_request() == Some("void"),
    };

    fn scan(path: &Path, shard: Option<Shard>) -> Result<Input, Error> {
        let job = Job { shard, ..Job::new(path, path.with_extension("out")) };
        Input::scan(&job, &KIND, &job.rejects())
    }

    fn file(rows: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prompts.jsonl");
        let lines: Vec<String> =
            rows.iter().map(|row| format!("{{\"prompt\": \"{row}\"}}\n")).collect();
        std::fs::write(&path, lines.concat()).unwrap();
        (folder, path)
    }

    fn texts(path: &Path, shard: Option<Shard>) -> Vec<(u64, String)> {
        let input = scan(path, shard).unwrap();
        let items: Vec<Item<Dialogue>> =
            input.items(&KIND).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(items.len() as u64, input.mine);
        let text = |item: Item<Dialogue>| (item.index, item.value.messages[0].content.clone());
        items.into_iter().map(text).collect()
    }

    #[test]
    fn every_prompt_comes_once_in_order() {
        let (_folder, path) = file(&["a", "b", "a", "c", "b", "a"]);
        let input = scan(&path, None).unwrap();
        assert_eq!((input.items, input.mine, input.duplicates), (3, 3, 3));
        assert_eq!(input.repeated.len(), 2);
        let expected = [(0, "a".to_owned()), (1, "b".to_owned()), (2, "c".to_owned())];
        assert_eq!(texts(&path, None), expected);
    }

    #[test]
    fn what_there_is_nothing_to_do_to_is_no_item() {
        let (_folder, path) = file(&["void", "a", "void", "b", "a"]);
        let input = scan(&path, None).unwrap();
        assert_eq!((input.items, input.void, input.duplicates), (2, 2, 1));
        assert_eq!(texts(&path, None), [(0, "a".to_owned()), (1, "b".to_owned())]);
    }

    #[test]
    fn shards_share_the_items_among_them() {
        let names: Vec<String> = (0..50).map(|number| format!("prompt {number}")).collect();
        let rows: Vec<&str> = names.iter().chain(&names[..10]).map(String::as_str).collect();
        let (_folder, path) = file(&rows);
        let shards = (1..=3).map(|index| texts(&path, Some(Shard::new(index, 3).unwrap())));
        let mut joined: Vec<(u64, String)> = shards.flatten().collect();
        joined.sort();
        assert_eq!(joined, texts(&path, None));
    }

    #[test]
    fn the_fingerprint_is_that_of_the_prompts_and_their_order() {
        let fingerprint = |rows: &[&str]| {
            let (_folder, path) = file(rows);
            scan(&path, Some(Shard::new(1, 2).unwrap())).unwrap().fingerprint
        };
        assert_eq!(fingerprint(&["a", "b"]), fingerprint(&["a", "b", "a"]));
        assert_ne!(fingerprint(&["a", "b"]), fingerprint(&["b", "a"]));
        assert_ne!(fingerprint(&["a", "b"]), fingerprint(&["a"]));
    }

    #[test]
    fn an_input_that_changes_is_noticed() {
        let (_folder, path) = file(&["a", "b"]);
        let input = scan(&path, None).unwrap();
        std::fs::write(&path, "\"a\"\n").unwrap();
        let error = input.items(&KIND).unwrap().collect::<Result<Vec<_>, _>>().unwrap_err();
        assert!(matches!(error, Error::InputChanged { expected: 2, found: 1, .. }), "{error}");
        for others in ["\"b\"\n\"a\"\n", "\"a\"\n\"c\"\n"] {
            std::fs::write(&path, others).unwrap();
            let error = input.items(&KIND).unwrap().collect::<Result<Vec<_>, _>>().unwrap_err();
            let message = error.to_string();
            assert!(message.contains("2 items then and 2 now, which differ"), "{message}");
        }
    }

    #[test]
    fn a_bad_row_shows_before_any_work() {
        let (_folder, path) = file(&["a", " "]);
        let error = scan(&path, None).unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
    }

    #[test]
    fn a_share_of_bad_rows_is_left_out_of_both_readings() {
        let (_folder, path) = file(&["a", " ", "b", "a"]);
        let job = Job { rejected_share: 0.25, ..Job::new(&path, path.with_extension("out")) };
        let input = Input::scan(&job, &KIND, &job.rejects()).unwrap();
        assert_eq!((input.items, input.rejected, input.duplicates), (2, 1, 1));
        let rejected: Vec<dataset::Rejected> = dataset::read_jsonl(job.rejects()).unwrap();
        assert_eq!(rejected[0].place, dataset::Place::Line(2));
        let items: Vec<_> = input.items(&KIND).unwrap().map(Result::unwrap).collect();
        assert_eq!((items.len(), items[1].index), (2, 1));
        let strict = Job { rejected_share: 0.2, ..job };
        let error = Input::scan(&strict, &KIND, &strict.rejects()).unwrap_err().to_string();
        assert!(error.contains("1 of 4 rows are bad"), "{error}");
    }
}
