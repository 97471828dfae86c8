//! Answers that are done, so that they need not be asked for again.

use crate::Error;
use dataset::{AnswerLog, Journal};
use language_model::Answer;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// An answer under the name of its item, as it stands in a file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) answer: Answer,
}

/// The answers that are done: in a file, for good or until they are settled, or else in memory until their call has
/// succeeded.
#[derive(Debug)]
pub(crate) enum Answers {
    Memory(HashMap<String, Answer>),
    File { path: PathBuf, journal: Journal<Record> },
    Log(AnswerLog<Answer>),
}

impl Default for Answers {
    fn default() -> Self {
        Self::Memory(HashMap::new())
    }
}

impl Answers {
    /// Opens a file of answers, or begins one.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let journal =
            Journal::open(path, &"answers of a server", |record: &Record| record.id.clone())?;
        Ok(Self::File { path: path.to_owned(), journal })
    }

    /// Opens a file of answers that are forgotten when they are settled, or begins one.
    pub(crate) fn open_log(path: &Path) -> Result<Self, Error> {
        Ok(Self::Log(AnswerLog::open(path)?))
    }

    /// The file, if there is one.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        match self {
            Self::Memory(_) => None,
            Self::File { path, .. } => Some(path.clone()),
            Self::Log(log) => Some(log.path().to_owned()),
        }
    }

    pub(crate) fn get(&self, id: &str) -> Option<Answer> {
        match self {
            Self::Memory(answers) => answers.get(id).cloned(),
            Self::File { journal, .. } => journal.get(id).map(|record| record.answer.clone()),
            Self::Log(log) => log.get(id).cloned(),
        }
    }

    /// Keeps answers; with a file that holds them for good they are on the disk when this returns. One that is there
    /// already stays.
    pub(crate) fn keep(&mut self, new: Vec<(String, Answer)>) -> Result<(), Error> {
        match self {
            Self::Memory(answers) => {
                for (id, answer) in new {
                    answers.entry(id).or_insert(answer);
                }
            }
            Self::File { journal, .. } => {
                let new = new.into_iter().filter(|(id, _)| !journal.contains(id));
                let records: Vec<Record> = new.map(|(id, answer)| Record { id, answer }).collect();
                journal.append(records)?;
            }
            Self::Log(log) => log.keep(new)?,
        }
        Ok(())
    }

    /// Forgets answers whose work is durable, if they are held only until then.
    pub(crate) fn settle(&mut self, ids: Vec<String>) -> Result<(), Error> {
        if let Self::Log(log) = self {
            log.settle(ids)?;
        }
        Ok(())
    }

    /// Forgets what a call that has succeeded had kept, unless it is in a file.
    pub(crate) fn handed_out<'a>(&mut self, ids: impl Iterator<Item = &'a str>) {
        if let Self::Memory(answers) = self {
            for id in ids {
                answers.remove(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use language_model::{Completion, StopReason};

    #[test]
    fn a_file_keeps_answers_exactly() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answers.journal");
        let row = Answer::Probabilities(vec![0.1 + 0.2, 1.0 / 3.0]);
        let reply = Answer::Completion(Completion {
            text: "a\nb".to_owned(),
            tokens: 2,
            stopped: StopReason::Length,
        });
        let mut answers = Answers::open(&path).unwrap();
        let new = vec![("1".to_owned(), row.clone()), ("2".to_owned(), reply.clone())];
        answers.keep(new).unwrap();
        answers.keep(vec![("1".to_owned(), reply.clone())]).unwrap();
        answers.handed_out(["1", "2"].into_iter());
        drop(answers);
        let answers = Answers::open(&path).unwrap();
        assert_eq!(answers.get("1"), Some(row));
        assert_eq!(answers.get("2"), Some(reply));
        assert_eq!(answers.get("3"), None);
        assert_eq!(answers.path(), Some(path));
    }

    #[test]
    fn memory_holds_them_until_they_are_handed_out() {
        let mut answers = Answers::default();
        let row = Answer::Probabilities(vec![1.0]);
        answers.keep(vec![("1".to_owned(), row.clone()), ("2".to_owned(), row.clone())]).unwrap();
        assert_eq!(answers.get("1"), Some(row.clone()));
        answers.handed_out(["1"].into_iter());
        assert_eq!((answers.get("1"), answers.get("2")), (None, Some(row)));
    }
}
