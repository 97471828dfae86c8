//! How far a job of requests is, for those who watch it.

use crate::Error;
use language_model::Meter;
use std::time::Instant;
use training::Observe;

/// Shows how far it is, and how fast the model answers.
pub(super) struct Shown<'a, 'o> {
    meter: &'a Meter,
    observe: &'o mut dyn Observe,
    began: Instant,
}

impl<'a, 'o> Shown<'a, 'o> {
    pub(super) fn new(meter: &'a Meter, observe: &'o mut dyn Observe) -> Self {
        Self { meter, observe, began: Instant::now() }
    }

    /// What counts the calls of the model.
    pub(super) fn meter(&self) -> &'a Meter {
        self.meter
    }

    pub(super) fn start(&mut self, stage: &str, steps: usize, done: usize) -> Result<(), Error> {
        Ok(self.observe.start(stage, steps as u64, done as u64)?)
    }

    /// Shows that so many steps are done, and how many calls have failed on the way.
    pub(super) fn record(&mut self, done: usize, failed: usize) -> Result<(), Error> {
        // In front: of what is behind, a line of progress may have no room for all.
        let failed = (failed > 0).then_some(("failed", failed as f64));
        let rates = self.meter.rates(self.began.elapsed());
        let metrics: Vec<(&str, f64)> = failed.into_iter().chain(rates).collect();
        Ok(self.observe.record(done as u64, &metrics)?)
    }

    pub(super) fn finish(&mut self) -> Result<(), Error> {
        Ok(self.observe.finish()?)
    }
}
