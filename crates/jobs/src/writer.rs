//! What is done with finished chunks: written, made durable, settled, shown.

use crate::chunk::{Lines, Outcome};
use crate::count::Count;
use crate::failed::Limit;
use crate::in_order::Sink;
use crate::model::Lent;
use crate::output::Output;
use crate::stage::Tally;
use crate::{Error, Job, Report};
use language_model::Meter;
use std::time::{Duration, Instant};
use training::Observe;

/// Records are on the disk after this time at the latest.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// Items of which records may wait for the disk at the most: until then the answers behind them are in memory, however fast
/// the model is.
const UNSETTLED: usize = 1024;

/// A chunk that is done.
pub(crate) struct Finished<'a, T> {
    pub(crate) lines: Lines<T>,
    /// The model as it was lent for it.
    pub(crate) lent: Box<dyn Lent + 'a>,
}

/// Writes chunks in their order.
pub(crate) struct Writer<'a, T> {
    output: Output,
    /// What is in the file.
    pub(crate) count: Count<T>,
    /// Records among it that this process took over from an earlier round.
    pub(crate) kept: u64,
    limit: Limit,
    observe: &'a mut dyn Observe,
    meter: &'a Meter,
    /// Chunks whose records may not be on the disk yet.
    unsettled: Vec<Box<dyn Lent + 'a>>,
    /// Their items.
    unsettled_items: usize,
    began: Instant,
    synced: Instant,
}

impl<'a, T: Tally> Writer<'a, T> {
    pub(crate) fn new(
        output: Output,
        count: Count<T>,
        limit: Limit,
        meter: &'a Meter,
        observe: &'a mut dyn Observe,
    ) -> Self {
        let now = Instant::now();
        Self {
            output,
            count,
            kept: 0,
            limit,
            observe,
            meter,
            unsettled: Vec::new(),
            unsettled_items: 0,
            began: now,
            synced: now,
        }
    }

    /// Brings all records to the disk, lets go of the answers behind them, and shows how far it is.
    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        if !self.unsettled.is_empty() {
            self.output.sync()?;
            self.unsettled.drain(..).try_for_each(Lent::settle)?;
            self.unsettled_items = 0;
        }
        self.synced = Instant::now();
        self.show()
    }

    /// Gives the file its final name, and tells what it says.
    pub(crate) fn finish(self, job: &Job) -> Result<Report, Error> {
        let report = self.count.report();
        self.output.finish(job, &report)?;
        self.observe.finish()?;
        Ok(report)
    }

    fn show(&mut self) -> Result<(), Error> {
        // In front: of what is behind, a line of progress may have no room for all.
        let failed = (self.count.failed > 0).then_some(("failed", self.count.failed as f64));
        let rates = self.meter.rates(self.began.elapsed());
        let metrics: Vec<(&str, f64)> = failed.into_iter().chain(rates).collect();
        Ok(self.observe.record(self.count.items(), &metrics)?)
    }
}

impl<'a, T: Tally> Sink<Finished<'a, T>> for Writer<'a, T> {
    fn take(&mut self, done: Finished<'a, T>) -> Result<(), Error> {
        let Finished { lines: Lines { text, outcomes, kept }, lent } = done;
        self.output.append(&text)?;
        self.unsettled.push(lent);
        self.unsettled_items += outcomes.len();
        self.kept += kept;
        let before = self.count.failed;
        for outcome in outcomes {
            match outcome {
                Outcome::Record(tally) => self.count.record(tally),
                Outcome::Failure(said) => self.count.failure(&said),
            }
        }
        if self.count.failed == before {
            return Ok(());
        }
        let Count { records, failed, last_failure, .. } = &self.count;
        self.limit.check(*records, *failed, last_failure)
    }

    fn tick(&mut self) -> Result<(), Error> {
        let due = self.synced.elapsed() >= SYNC_EVERY || self.unsettled_items >= UNSETTLED;
        if due { self.sync() } else { Ok(()) }
    }
}
