//! A model that criticises and revises, whose answers outlive the process.

use super::{Checkpoint, Error, Session, Stage};
use burn::tensor::backend::AutodiffBackend;
use critique_revision::{Trace, critique_and_revise};
use dataset::Journal;
use dialogue::Dialogue;
use jobs::{Alone, Lent, Model};
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
        Lent::settle(lent)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use language_model::{Choose, Completion, Error as ModelError, Prompt, Sampling, StopReason};
    use std::path::Path;

    /// Says its seed.
    struct Parrot;

    impl Generate for Parrot {
        fn generate(
            &self,
            prompts: &[Prompt],
            _: &Sampling,
        ) -> Result<Vec<Completion>, ModelError> {
            let reply = |prompt: &Prompt| Completion {
                text: prompt.seed.to_string(),
                tokens: 1,
                stopped: StopReason::Stop,
            };
            Ok(prompts.iter().map(reply).collect())
        }
    }

    impl Choose for Parrot {
        fn choose(&self, _: &[Dialogue], _: &[&str]) -> Result<Vec<Vec<f64>>, ModelError> {
            unreachable!("nothing is chosen")
        }
    }

    fn open<'a>(path: &Path, meter: &'a Meter) -> Revising<'a, Parrot> {
        let model = Alone::new(Parrot, Value::Null);
        model.keep_answers(path).unwrap();
        Revising { model, meter, answers: path.to_owned() }
    }

    fn draw(model: &dyn Generate, seeds: &[u64]) -> Result<Vec<String>, Error> {
        let prompt = |&seed: &u64| Prompt { dialogue: Dialogue::from_user("q"), seed };
        let prompts: Vec<Prompt> = seeds.iter().map(prompt).collect();
        let replies = model.generate(&prompts, &Sampling::default())?;
        Ok(replies.into_iter().map(|reply| reply.text).collect())
    }

    #[test]
    fn a_call_that_was_answered_before_a_kill_is_not_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(ANSWERS);
        let meter = Meter::default();
        let first = open(&path, &meter);
        let killed = first.ask(|model| {
            draw(model, &[1, 2])?;
            Err::<(), Error>(ModelError::Model("killed".into()).into())
        });
        assert_eq!((killed.unwrap_err().to_string().as_str(), meter.calls()), ("killed", 2));
        drop(first);

        let meter = Meter::default();
        let second = open(&path, &meter);
        assert_eq!(second.ask(|model| draw(model, &[1, 2, 3])).unwrap(), ["1", "2", "3"]);
        assert_eq!(meter.calls(), 1);
        // What was made of them is on the disk now.
        second.ask(|model| draw(model, &[1])).unwrap();
        assert_eq!(meter.calls(), 2);
        second.forget().unwrap();
        assert!(!path.exists());
    }
}
