//! The model that criticises and revises.

use super::lending::Lending;
use super::{Checkpoint, Error, Session, Stage};
use burn::tensor::backend::AutodiffBackend;
use critique_revision::{Trace, critique_and_revise};
use dataset::Journal;
use dialogue::Dialogue;
use language_model::Meter;

/// The file of answers that are not yet part of a record.
const ANSWERS: &str = "answers.journal";

impl<B: AutodiffBackend> Session<B> {
    /// Loads the helpful-only model for a stage.
    pub(super) fn revising<'a>(
        &self,
        stage: Stage,
        meter: &'a Meter,
    ) -> Result<Lending<'a>, Error> {
        let answers = self.folder.file(stage, ANSWERS)?;
        Lending::local(self.fixed(Checkpoint::HelpfulOnly)?, answers, meter)
    }

    /// Criticises and revises replies to prompts.
    pub(super) fn revise(
        &self,
        model: &Lending<'_>,
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
