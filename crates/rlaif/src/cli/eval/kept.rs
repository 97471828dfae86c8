//! Answers of the models of an evaluation.

use rlaif::dataset::{Error, Journal};
use rlaif::language_model::Completion;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;

/// What a model said to a prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// A reply that was drawn.
    Reply(Completion),
    /// The probability of each option.
    Choice(Vec<f64>),
}

/// An answer in a journal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    /// The name of the prompt.
    id: String,
    answer: Answer,
}

/// Where answers are kept.
pub(super) enum Kept {
    /// Nowhere: of many replies to a prompt, which are one call.
    Nowhere,
    /// Until the evaluation ends.
    InMemory(HashMap<String, Answer>),
    /// On the disk, so that another call goes on.
    InJournal(Journal<Record>),
}

impl Kept {
    pub(super) fn in_memory() -> Self {
        Self::InMemory(HashMap::new())
    }

    /// In the journal at `path`, which is begun or gone on with, for these settings.
    pub(super) fn in_journal(path: &Path, settings: &impl Serialize) -> Result<Self, Error> {
        Ok(Self::InJournal(Journal::open(path, settings, |record: &Record| record.id.clone())?))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Nowhere => 0,
            Self::InMemory(answers) => answers.len(),
            Self::InJournal(journal) => journal.done().len(),
        }
    }

    /// Those of the prompts of these names, by the names.
    pub(super) fn of(&self, names: &[String]) -> HashMap<String, Answer> {
        let answer = |name: &String| match self {
            Self::Nowhere => None,
            Self::InMemory(answers) => answers.get(name).cloned(),
            Self::InJournal(journal) => journal.get(name).map(|record| record.answer.clone()),
        };
        names.iter().filter_map(|name| Some((name.clone(), answer(name)?))).collect()
    }

    /// Keeps the answers to prompts none of which was kept before.
    pub(super) fn keep(&mut self, named: &[(String, Answer)]) -> Result<(), Error> {
        let records = named.iter().cloned();
        match self {
            Self::Nowhere => {}
            Self::InMemory(answers) => answers.extend(records),
            Self::InJournal(journal) => {
                let record = |(id, answer)| Record { id, answer };
                journal.append(records.map(record).collect())?;
            }
        }
        Ok(())
    }
}
