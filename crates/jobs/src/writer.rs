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
        let unsettled = Vec::new();
        Self { output, count, kept: 0, limit, observe, meter, unsettled, began: now, synced: now }
    }

    /// Brings all records to the disk, lets go of the answers behind them, and shows how far it is.
    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        if !self.unsettled.is_empty() {
            self.output.sync()?;
            self.unsettled.drain(..).try_for_each(Lent::settle)?;
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
        let mut metrics = self.meter.rates(self.began.elapsed());
        if self.count.failed > 0 {
            metrics.push(("failed", self.count.failed as f64));
        }
        Ok(self.observe.record(self.count.items(), &metrics)?)
    }
}

impl<'a, T: Tally> Sink<Finished<'a, T>> for Writer<'a, T> {
    fn take(&mut self, done: Finished<'a, T>) -> Result<(), Error> {
        let Finished { lines: Lines { text, outcomes, kept }, lent } = done;
        self.output.append(&text)?;
        self.unsettled.push(lent);
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
        if self.synced.elapsed() >= SYNC_EVERY { self.sync() } else { Ok(()) }
    }
}
