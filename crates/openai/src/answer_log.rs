//! Answers of work that is under way, in a file that stays small.

use crate::answers::{Answer, Record};
use dataset::{AppendOnly, Error};
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

/// A line of the file behind the first.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Entry {
    Answer(Record),
    Settled { settled: Vec<String> },
}

/// Answers under their names, each until it is settled.
#[derive(Debug)]
pub(crate) struct AnswerLog {
    file: AppendOnly,
    live: HashMap<String, Answer>,
    /// Bytes from which on it is worth while to write the file anew.
    compact_from: u64,
    synced: Instant,
}

impl AnswerLog {
    /// Opens a file, or begins one.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let mut file = AppendOnly::open(path)?;
        let mut live = HashMap::new();
        let mut lines = file.lines()?;
        let begun = match lines.next().transpose()? {
            Some(first) if first == MARK => true,
            Some(_) => return Err(Error::NotAJournal { path: path.to_owned() }),
            None => false,
        };
        for (line, text) in (2..).zip(lines) {
            let entry = serde_json::from_slice(&text?).map_err(|reason| Error::Damaged {
                path: path.to_owned(),
                line,
                reason,
            })?;
            match entry {
                Entry::Answer(Record { id, answer }) => drop(live.insert(id, answer)),
                Entry::Settled { settled } => {
                    for id in settled {
                        live.remove(&id);
                    }
                }
            }
        }
        file.cut()?;
        if !begun {
            file.append_durably(MARK)?;
            file.sync_name()?;
        }
        Ok(Self { file, live, compact_from: COMPACT_FROM, synced: Instant::now() })
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Answer> {
        self.live.get(id)
    }

    /// Writes answers down; one that is there already stays.
    pub(crate) fn keep(&mut self, new: Vec<(String, Answer)>) -> Result<(), Error> {
        let mut lines = Vec::new();
        let mut kept = Vec::with_capacity(new.len());
        for (id, answer) in new.into_iter().filter(|(id, _)| !self.live.contains_key(id)) {
            let record = Record { id, answer };
            self.encode(&record, &mut lines)?;
            kept.push((record.id, record.answer));
        }
        self.file.append(&lines)?;
        self.live.extend(kept);
        if self.synced.elapsed() >= SYNC_EVERY {
            self.file.sync()?;
            self.synced = Instant::now();
        }
        Ok(())
    }

    /// Forgets answers: what was made of them is durable.
    pub(crate) fn settle(&mut self, ids: Vec<String>) -> Result<(), Error> {
        let settled: Vec<String> =
            ids.into_iter().filter(|id| self.live.remove(id).is_some()).collect();
        if settled.is_empty() {
            return Ok(());
        }
        if self.file.length() >= self.compact_from {
            return self.compact();
        }
        let mut line = Vec::new();
        self.encode(&Entry::Settled { settled }, &mut line)?;
        self.file.append(&line)
    }

    /// Writes the file anew, without what is settled.
    fn compact(&mut self) -> Result<(), Error> {
        let mut lines = MARK.to_vec();
        for (id, answer) in &self.live {
            self.encode(&Record { id: id.clone(), answer: answer.clone() }, &mut lines)?;
        }
        self.file.replace(&lines)?;
        self.compact_from = COMPACT_FROM.max(4 * self.file.length());
        Ok(())
    }

    fn encode(&self, entry: &impl Serialize, into: &mut Vec<u8>) -> Result<(), Error> {
        serde_json::to_writer(&mut *into, entry)
            .map_err(|reason| Error::Encode { path: self.file.path().to_owned(), reason })?;
        into.push(b'\n');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(value: f64) -> Answer {
        Answer::Probabilities(vec![value])
    }

    fn named(name: &str, value: f64) -> (String, Answer) {
        (name.to_owned(), answer(value))
    }

    #[test]
    fn holds_what_is_not_settled() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answers");
        let mut log = AnswerLog::open(&path).unwrap();
        log.keep(vec![named("1", 0.1), named("2", 0.2), named("3", 0.3)]).unwrap();
        log.keep(vec![named("1", 0.9)]).unwrap();
        log.settle(vec!["2".to_owned(), "4".to_owned()]).unwrap();
        drop(log);
        // A process was killed amid a line.
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend(br#"{"id":"5","answer":{"proba"#);
        std::fs::write(&path, bytes).unwrap();
        let log = AnswerLog::open(&path).unwrap();
        assert_eq!(log.path(), path);
        let found = ["1", "2", "3", "5"].map(|id| log.get(id).cloned());
        assert_eq!(found, [Some(answer(0.1)), None, Some(answer(0.3)), None]);
    }

    #[test]
    fn stays_small() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answers");
        let mut log = AnswerLog::open(&path).unwrap();
        log.compact_from = 1000;
        log.keep(vec![named("first", 1.0)]).unwrap();
        for round in 0..100 {
            log.keep(vec![named(&round.to_string(), 0.5)]).unwrap();
            log.settle(vec![round.to_string()]).unwrap();
            log.compact_from = 1000;
            assert!(std::fs::metadata(&path).unwrap().len() < 1200);
        }
        drop(log);
        let log = AnswerLog::open(&path).unwrap();
        assert_eq!((log.get("first").cloned(), log.get("99")), (Some(answer(1.0)), None));
    }

    #[test]
    fn another_file_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answers");
        for text in ["{\"journal\":\"seed\"}\nhalf", "text\n"] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(AnswerLog::open(&path), Err(Error::NotAJournal { .. })));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        let damaged = [MARK, b"{\"id\":1}\n"].concat();
        std::fs::write(&path, damaged).unwrap();
        let message = AnswerLog::open(&path).unwrap_err().to_string();
        assert!(message.contains("line 2"), "{message}");
    }
}
