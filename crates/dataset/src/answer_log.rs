//! Answers of work that is under way, in a file that stays small.

use crate::{AppendOnly, Error};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// The first line of the file.
const MARK: &[u8] = b"{\"journal\":\"answers of work under way\"}\n";

/// How long an answer may be in the hands of the system alone. A killed process loses none of them, a machine without
/// power those of this time.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// Bytes from which on a file is written anew once most of it is settled.
const COMPACT_FROM: u64 = 4 << 20;

/// The smallest multiple of what is not settled that a file which is written anew has: less would be written again and again.
const MOSTLY_SETTLED: u64 = 4;

/// A line of the file behind the first.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Entry<T> {
    Answer { id: String, answer: T },
    Settled { settled: Vec<String> },
}

/// The line of an answer.
#[derive(Debug, Serialize)]
struct Kept<'a, T> {
    id: &'a str,
    answer: &'a T,
}

/// The line of answers that are settled.
#[derive(Debug, Serialize)]
struct Settled<'a> {
    settled: &'a [String],
}

/// An answer that is not settled.
#[derive(Debug)]
struct Live<T> {
    answer: T,
    /// Those of its line.
    bytes: u64,
}

/// Answers under their names, each in a file until what was made of it is durable elsewhere.
///
/// For work that asks much and writes records of its own: an answer outlives the process from the moment it is kept, and the
/// machine after about a second. Once it is settled it is forgotten; a file that is mostly settled is written anew. The file
/// stays locked against other processes while open.
#[derive(Debug)]
pub struct AnswerLog<T> {
    file: AppendOnly,
    live: HashMap<String, Live<T>>,
    /// Bytes of their lines.
    live_bytes: u64,
    compact_from: u64,
    synced: Instant,
}

impl<T: Serialize + DeserializeOwned> AnswerLog<T> {
    /// Opens a file, or begins one.
    ///
    /// # Errors
    /// [`Error::NotAJournal`] if it is another file, which is left alone; [`Error::Damaged`] for a whole line that is no
    /// answer; [`Error::Busy`], [`Error::Open`], [`Error::Read`] or [`Error::Write`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = AppendOnly::open(path)?;
        let mut lines = file.lines()?;
        let begun = match lines.next().transpose()? {
            Some(first) if first == MARK => true,
            Some(_) => return Err(Error::NotAJournal { path: path.to_owned() }),
            None => false,
        };
        let (live, synced) = (HashMap::new(), Instant::now());
        let mut log = Self { file, live, live_bytes: 0, compact_from: COMPACT_FROM, synced };
        for (line, text) in (2..).zip(lines) {
            let text = text?;
            let entry = serde_json::from_slice(&text).map_err(|reason| Error::Damaged {
                path: path.to_owned(),
                line,
                reason,
            })?;
            match entry {
                Entry::Answer { id, answer } => {
                    log.insert(id, Live { answer, bytes: text.len() as u64 });
                }
                Entry::Settled { settled } => {
                    for id in &settled {
                        log.remove(id);
                    }
                }
            }
        }
        log.file.cut()?;
        if !begun {
            log.file.append_durably(MARK)?;
            log.file.sync_name()?;
        }
        Ok(log)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The answer of this name, unless it is settled.
    pub fn get(&self, id: &str) -> Option<&T> {
        Some(&self.live.get(id)?.answer)
    }

    /// Writes answers down; one that is there already stays.
    ///
    /// # Errors
    /// [`Error::Encode`] or [`Error::Write`]; then none of them is kept.
    pub fn keep(&mut self, new: Vec<(String, T)>) -> Result<(), Error> {
        let mut lines = Vec::new();
        let mut kept = Vec::with_capacity(new.len());
        for (id, answer) in new {
            if self.live.contains_key(&id) {
                continue;
            }
            let start = lines.len();
            self.encode(&Kept { id: &id, answer: &answer }, &mut lines)?;
            kept.push((id, Live { answer, bytes: (lines.len() - start) as u64 }));
        }
        self.file.append(&lines)?;
        for (id, live) in kept {
            self.insert(id, live);
        }
        if self.synced.elapsed() >= SYNC_EVERY {
            self.file.sync()?;
            self.synced = Instant::now();
        }
        Ok(())
    }

    /// Forgets answers: what was made of them is durable.
    ///
    /// # Errors
    /// [`Error::Encode`] or [`Error::Write`].
    pub fn settle(&mut self, ids: Vec<String>) -> Result<(), Error> {
        let settled: Vec<String> = ids.into_iter().filter(|id| self.remove(id)).collect();
        if settled.is_empty() {
            return Ok(());
        }
        let enough = self.compact_from.max(self.live_bytes.saturating_mul(MOSTLY_SETTLED));
        if self.file.length() >= enough {
            return self.compact();
        }
        let mut line = Vec::new();
        self.encode(&Settled { settled: &settled }, &mut line)?;
        self.file.append(&line)
    }

    fn insert(&mut self, id: String, live: Live<T>) {
        self.live_bytes += live.bytes;
        if let Some(before) = self.live.insert(id, live) {
            self.live_bytes -= before.bytes;
        }
    }

    /// Tells whether it was there.
    fn remove(&mut self, id: &str) -> bool {
        let removed = self.live.remove(id);
        self.live_bytes -= removed.as_ref().map_or(0, |live| live.bytes);
        removed.is_some()
    }

    /// Writes the file anew, without what is settled.
    fn compact(&mut self) -> Result<(), Error> {
        let size = usize::try_from(self.live_bytes).unwrap_or(0) + MARK.len();
        let mut lines = Vec::with_capacity(size);
        lines.extend_from_slice(MARK);
        for (id, live) in &self.live {
            self.encode(&Kept { id, answer: &live.answer }, &mut lines)?;
        }
        self.file.replace(&lines)
    }

    fn encode(&self, line: &impl Serialize, into: &mut Vec<u8>) -> Result<(), Error> {
        serde_json::to_writer(&mut *into, line)
            .map_err(|reason| Error::Encode { path: self.file.path().to_owned(), reason })?;
        into.push(b'\n');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Log = AnswerLog<Vec<f64>>;

    fn named(name: &str, value: f64) -> (String, Vec<f64>) {
        (name.to_owned(), vec![value])
    }

    #[test]
    fn holds_what_is_not_settled() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answers");
        let mut log = Log::open(&path).unwrap();
        log.keep(vec![named("1", 0.1), named("2", 0.2), named("3", 0.3)]).unwrap();
        log.keep(vec![named("1", 0.9)]).unwrap();
        log.settle(vec!["2".to_owned(), "4".to_owned()]).unwrap();
        drop(log);
        // A process was killed amid a line.
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend(br#"{"id":"5","answer":[0."#);
        std::fs::write(&path, bytes).unwrap();
        let log = Log::open(&path).unwrap();
        assert_eq!(log.path(), path);
        let found = ["1", "2", "3", "5"].map(|id| log.get(id).cloned());
        assert_eq!(found, [Some(vec![0.1]), None, Some(vec![0.3]), None]);
    }

    #[test]
    fn stays_small() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answers");
        let mut log = Log::open(&path).unwrap();
        log.compact_from = 1000;
        log.keep(vec![named("first", 1.0)]).unwrap();
        for round in 0..100 {
            log.keep(vec![named(&round.to_string(), 0.5)]).unwrap();
            log.settle(vec![round.to_string()]).unwrap();
            assert!(std::fs::metadata(&path).unwrap().len() < 1200);
        }
        drop(log);
        let log = Log::open(&path).unwrap();
        assert_eq!((log.get("first").cloned(), log.get("99")), (Some(vec![1.0]), None));
    }

    #[test]
    fn what_is_not_settled_is_not_written_again_and_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answers");
        let mut log = Log::open(&path).unwrap();
        log.compact_from = 100;
        let names: Vec<String> = (0..100).map(|name| format!("answer {name}")).collect();
        log.keep(names.iter().map(|name| named(name, 0.5)).collect()).unwrap();
        let whole = log.file.length();
        for (number, name) in names.iter().enumerate() {
            log.settle(vec![name.clone()]).unwrap();
            let lines = log.live.values().map(|live| live.bytes).sum::<u64>();
            assert_eq!(log.live_bytes, lines);
            // A file of which half is needed still grows.
            assert!(number >= 50 || log.file.length() > whole, "{number}");
        }
        assert!(log.file.length() < whole / 2);
        let left = log.live_bytes;
        drop(log);
        assert_eq!((left, Log::open(&path).unwrap().live_bytes), (0, 0));
    }

    #[test]
    fn another_file_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answers");
        for text in ["{\"journal\":\"seed\"}\nhalf", "text\n"] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(Log::open(&path), Err(Error::NotAJournal { .. })));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        let damaged = [MARK, b"{\"id\":1}\n"].concat();
        std::fs::write(&path, damaged).unwrap();
        let message = Log::open(&path).unwrap_err().to_string();
        assert!(message.contains("line 2"), "{message}");
    }
}
