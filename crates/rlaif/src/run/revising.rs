//! A model that criticises and revises, whose answers outlive the process.

use super::{Checkpoint, Error, Session, Stage};
use burn::tensor::backend::AutodiffBackend;
use critique_revision::{Trace, critique_and_revise};
use dataset::Journal;
use dialogue::Dialogue;
use jobs::{Alone, Model};
use language_model::{Generate, Meter};
use serde_json::Value;
use std::io::ErrorKind;
use std::path::PathBuf;
use transformer::Transformer;

/// The file of answers that are not yet part of a record.
const ANSWERS: &str = "answers.journal";

/// The helpful-only model. A chunk of prompts is many calls: what it has answered is kept until the traces are on the disk, so
/// that a kill loses the call that was under way.
pub(super) struct Revising<'a, M> {
    model: Alone<M>,
    meter: &'a Meter,
    answers: PathBuf,
}

impl<M> Revising<'_, M>
where
    Alone<M>: Model,
{
    /// Lets `work` ask for a chunk and bring what comes of it to the disk; then the answers are let go of.
    pub(super) fn ask<T>(
        &self,
        work: impl FnOnce(&dyn Generate) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let lent = self.model.lend(self.meter);
        let done = work(&*lent)?;
        lent.settle()?;
        Ok(done)
    }

    /// Removes the file: all is on the disk.
    pub(super) fn forget(self) -> Result<(), Error> {
        let Self { model, answers, .. } = self;
        drop(model);
        match std::fs::remove_file(&answers) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                Err(Error::Io { action: "remove", path: answers, source })
            }
            _ => Ok(()),
        }
    }
}

impl<B: AutodiffBackend> Session<B> {
    /// Loads the model for a stage.
    pub(super) fn revising<'a>(
        &self,
        stage: Stage,
        meter: &'a Meter,
    ) -> Result<Revising<'a, Transformer<B::InnerBackend>>, Error> {
        // Which model it is says the folder of the run.
        let model = Alone::new(self.fixed(Checkpoint::HelpfulOnly)?, Value::Null);
        let answers = self.folder.file(stage, ANSWERS)?;
        model.keep_answers(&answers)?;
        Ok(Revising { model, meter, answers })
    }

    /// Criticises and revises replies to prompts.
    pub(super) fn revise(
        &self,
        model: &Revising<'_, Transformer<B::InnerBackend>>,
        prompts: &[Dialogue],
        traces: &mut Journal<Trace>,
    ) -> Result<(), Error> {
        let (config, seed) = (&self.settings.critique_revision, self.settings.seed);
        model.ask(|model| {
            let revised = critique_and_revise(model, &self.constitution, prompts, config, seed)?;
            Ok(traces.append(revised)?)
        })
    }
}
