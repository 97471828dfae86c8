//! How far a stage that asks models is, and how fast.

use super::{Error, Stage};
use language_model::Meter;
use std::time::Instant;
use training::Observe;

/// Shows the items of a stage that are done, and beside them what the models were asked for it.
pub(super) struct StageProgress<'a> {
    observe: &'a mut dyn Observe,
    meter: &'a Meter,
    /// Items that a killed process had done.
    before: u64,
    /// Items that were done or passed over.
    done: u64,
    began: Instant,
}

impl<'a> StageProgress<'a> {
    /// Begins a stage of `items`, of which the first `before` were done by a process that was killed.
    pub(super) fn start(
        stage: Stage,
        items: usize,
        before: usize,
        meter: &'a Meter,
        observe: &'a mut dyn Observe,
    ) -> Result<Self, Error> {
        let before = before as u64;
        observe.start(stage.name(), items as u64, before)?;
        Ok(Self { observe, meter, before, done: 0, began: Instant::now() })
    }

    /// So many items more are done. Those that were done before show no progress.
    pub(super) fn advance(&mut self, items: usize) -> Result<(), Error> {
        self.done += items as u64;
        self.tell(&[])
    }

    /// Shows `metrics` in front of what the models were asked.
    pub(super) fn tell(&mut self, metrics: &[(&str, f64)]) -> Result<(), Error> {
        if self.done < self.before {
            return Ok(());
        }
        let mut all = metrics.to_vec();
        all.extend(self.meter.rates(self.began.elapsed()));
        Ok(self.observe.record(self.done, &all)?)
    }

    /// Tells a person something.
    pub(super) fn note(&mut self, message: &str) {
        self.observe.note(message);
    }

    /// The stage has ended well.
    pub(super) fn finish(self) -> Result<(), Error> {
        Ok(self.observe.finish()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use training::Error as TrainingError;

    /// Steps and the names of what is shown at each.
    #[derive(Default)]
    struct Kept {
        started: Option<(u64, u64)>,
        records: Vec<(u64, Vec<String>)>,
        finished: bool,
    }

    impl Observe for Kept {
        fn start(&mut self, _: &str, steps: u64, done: u64) -> Result<(), TrainingError> {
            self.started = Some((steps, done));
            Ok(())
        }

        fn record(&mut self, step: u64, metrics: &[(&str, f64)]) -> Result<(), TrainingError> {
            let names = metrics.iter().map(|(name, _)| (*name).to_owned());
            self.records.push((step, names.collect()));
            Ok(())
        }

        fn finish(&mut self) -> Result<(), TrainingError> {
            self.finished = true;
            Ok(())
        }
    }

    #[test]
    fn what_was_done_before_is_passed_over() {
        let (meter, mut kept) = (Meter::default(), Kept::default());
        let mut progress = StageProgress::start(Stage::Evals, 10, 4, &meter, &mut kept).unwrap();
        progress.advance(3).unwrap();
        progress.advance(3).unwrap();
        progress.tell(&[("requests", 2.0)]).unwrap();
        progress.finish().unwrap();
        assert_eq!((kept.started, kept.finished), (Some((10, 4)), true));
        let steps: Vec<u64> = kept.records.iter().map(|(step, _)| *step).collect();
        assert_eq!(steps, [6, 6]);
        assert_eq!(kept.records[0].1, ["calls_per_second", "calls"]);
        assert_eq!(kept.records[1].1, ["requests", "calls_per_second", "calls"]);
    }
}
