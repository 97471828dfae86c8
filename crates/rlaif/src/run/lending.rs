//! A model that is lent for one piece of work after another, and whose answers outlive the process.

use super::Error;
use ai_feedback::Judge;
use jobs::{Alone, Lent, Model, Served};
use language_model::Meter;
use openai::{Client, Config};
use serde_json::Value;
use std::io::ErrorKind;
use std::path::PathBuf;

/// A model of a stage. A piece of work, such as a chunk of prompts, is several calls: what was answered is kept until all that
/// is made of it is on the disk, so that a kill loses what was under way. Answers that are kept do not count in the meter.
pub(super) struct Lending<'a> {
    model: Box<dyn Model>,
    meter: &'a Meter,
    /// The file that is of no use when the stage has ended.
    answers: Option<PathBuf>,
}

impl<'a> Lending<'a> {
    /// A model on this machine, of which a kill loses one call; its answers are in the file `answers`.
    pub(super) fn local<M: Judge + Send + 'static>(
        model: M,
        answers: PathBuf,
        meter: &'a Meter,
    ) -> Result<Self, Error> {
        // Which model it is says the folder of the run.
        let model = Alone::new(model, Value::Null);
        model.keep_answers(&answers)?;
        Ok(Self { model: Box::new(model), meter, answers: Some(answers) })
    }

    /// A model on a server, by a client that was made with `config` and keeps its answers for good.
    pub(super) fn served(client: Client, config: &Config, meter: &'a Meter) -> Self {
        Self { model: Box::new(Served::new(client, config)), meter, answers: None }
    }

    /// Lets `work` ask and bring what comes of it to the disk; then the answers are let go of.
    pub(super) fn ask<T>(
        &self,
        work: impl FnOnce(&dyn Judge) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let lent = self.model.lend(self.meter);
        let done = work(&*lent)?;
        Lent::settle(lent)?;
        Ok(done)
    }

    /// The stage has ended: all is on the disk.
    pub(super) fn forget(self) -> Result<(), Error> {
        let Self { model, answers, .. } = self;
        drop(model);
        let Some(path) = answers else { return Ok(()) };
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                Err(Error::Io { action: "remove", path, source })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
