//! The loop that all training stages share.

use crate::{Checkpoint, Error, Observe, Owner, State, start_stage};
use std::ops::Range;

/// The steps of a stage: where they begin, what is recorded of each, and when the state between two of them is kept.
///
/// Every stage has this shape:
///
/// ```
/// use training::{Checkpoint, Error, Fingerprint, Observe, State, Steps};
///
/// fn fit(observe: &mut dyn Observe, checkpoint: &mut dyn Checkpoint) -> Result<f64, Error> {
///     let mut weight = 0.0;
///     let owner = || Fingerprint::default().with("rate", &0.5).finish();
///     let (mut steps, saved) = Steps::begin("halving", 10, owner, observe, checkpoint)?;
///     if let Some(saved) = saved {
///         weight = saved.value("weight")?;
///     }
///     for step in steps.left() {
///         weight += 0.5 * (1.0 - weight);
///         steps.record(step, &[("loss", 1.0 - weight)])?;
///         steps.save(step, || {
///             let values = [("weight".to_owned(), weight.into())].into_iter().collect();
///             Ok::<_, Error>(State { values, ..State::default() })
///         })?;
///     }
///     steps.finish()?;
///     Ok(weight)
/// }
/// assert!((fit(&mut training::Silent, &mut training::NoCheckpoints)? - 1.0).abs() < 1e-3);
/// # Ok::<(), training::Error>(())
/// ```
pub struct Steps<'a> {
    owner: Owner,
    all: u64,
    done: u64,
    observe: &'a mut dyn Observe,
    checkpoint: &'a mut dyn Checkpoint,
}

impl<'a> Steps<'a> {
    /// Begins a stage of `steps` steps, or goes on after the newest state that was kept, which is given back.
    ///
    /// `fingerprint` says what the state belongs to besides the stage; it is not asked if none is kept.
    ///
    /// # Errors
    /// If the states kept are of something else, or nothing can be written.
    pub fn begin(
        stage: &str,
        steps: u64,
        fingerprint: impl FnOnce() -> String,
        observe: &'a mut dyn Observe,
        checkpoint: &'a mut dyn Checkpoint,
    ) -> Result<(Self, Option<State>), Error> {
        let fingerprint = if checkpoint.keeps() { fingerprint() } else { String::new() };
        let owner = Owner { stage: stage.to_owned(), fingerprint };
        let saved = checkpoint.load(&owner, observe)?;
        let done = saved.as_ref().map_or(0, |state| state.step);
        start_stage(observe, stage, steps, done)?;
        Ok((Self { owner, all: steps, done, observe, checkpoint }, saved))
    }

    /// The steps that are left, counted from 1.
    pub fn left(&self) -> Range<u64> {
        self.done.saturating_add(1)..self.all.saturating_add(1)
    }

    /// Records a step.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn record(&mut self, step: u64, metrics: &[(&str, f64)]) -> Result<(), Error> {
        self.observe.record(step, metrics)
    }

    /// Who watches.
    pub fn observe(&mut self) -> &mut dyn Observe {
        self.observe
    }

    /// Keeps the state after `step`, if it is time. Whatever `state` says of the step is overwritten.
    ///
    /// # Errors
    /// If `state` fails, or it cannot be written.
    pub fn save<E: From<Error>>(
        &mut self,
        step: u64,
        state: impl FnOnce() -> Result<State, E>,
    ) -> Result<(), E> {
        // What follows the last step is not repeated by keeping its state: the stage is about to give its result.
        if step < self.all && self.checkpoint.is_due(step) {
            self.observe.sync()?;
            let state = State { step, ..state()? };
            self.checkpoint.save(&self.owner, state)?;
        }
        Ok(())
    }

    /// Ends the stage.
    ///
    /// # Errors
    /// If what is left to be recorded cannot be written.
    pub fn finish(self) -> Result<(), Error> {
        self.observe.finish()
    }
}

impl std::fmt::Debug for Steps<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Steps")
            .field("owner", &self.owner)
            .field("all", &self.all)
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NoCheckpoints;

    /// Has something to tell, and hears what is told.
    #[derive(Default)]
    struct Teller {
        tells: Vec<String>,
        heard: Vec<String>,
    }

    impl Observe for Teller {
        fn start(&mut self, stage: &str, _steps: u64, _done: u64) -> Result<(), Error> {
            self.tells.push(format!("{stage} has begun"));
            Ok(())
        }

        fn record(&mut self, _step: u64, _metrics: &[(&str, f64)]) -> Result<(), Error> {
            Ok(())
        }

        fn note(&mut self, message: &str) {
            self.heard.push(message.to_owned());
        }

        fn notes(&mut self) -> Vec<String> {
            std::mem::take(&mut self.tells)
        }

        fn finish(&mut self) -> Result<(), Error> {
            Ok(())
        }
    }

    #[test]
    fn what_one_observer_has_to_tell_all_of_them_hear() {
        let mut all = vec![Teller::default(), Teller::default()];
        Steps::begin("sft", 1, String::new, &mut all, &mut NoCheckpoints).unwrap();
        for teller in all {
            assert_eq!(teller.heard, ["sft has begun", "sft has begun"]);
        }
    }
}
