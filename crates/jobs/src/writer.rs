//! What is done with finished chunks: written, made durable, settled, shown.

use crate::Error;
use crate::in_order::Sink;
use crate::meter::Meter;
use crate::model::Lent;
use crate::output::Output;
use std::time::{Duration, Instant};
use training::Observe;

/// Records are on the disk after this time at the latest.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// A chunk that is done.
pub(crate) struct Finished<'a> {
    /// Its records, one a line.
    pub(crate) lines: Vec<u8>,
    pub(crate) records: u64,
    /// The model as it was lent for it.
    pub(crate) lent: Box<dyn Lent + 'a>,
}

/// Writes chunks in their order.
pub(crate) struct Writer<'a> {
    output: Output,
    /// Records in the file.
    pub(crate) done: u64,
    observe: &'a mut dyn Observe,
    meter: &'a Meter,
    /// Chunks whose records may not be on the disk yet.
    unsettled: Vec<Box<dyn Lent + 'a>>,
    began: Instant,
    synced: Instant,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(
        output: Output,
        done: u64,
        meter: &'a Meter,
        observe: &'a mut dyn Observe,
    ) -> Self {
        let now = Instant::now();
        let unsettled = Vec::new();
        Self { output, done, observe, meter, unsettled, began: now, synced: now }
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

    /// Gives the file its final name.
    pub(crate) fn finish(self) -> Result<(), Error> {
        self.output.finish()?;
        Ok(self.observe.finish()?)
    }

    fn show(&mut self) -> Result<(), Error> {
        // A clock may not have moved.
        let seconds = self.began.elapsed().as_secs_f64().max(1e-9);
        let (calls, tokens) = (self.meter.calls() as f64, self.meter.tokens() as f64);
        let mut metrics = vec![("calls", calls), ("calls_per_second", calls / seconds)];
        if tokens > 0.0 {
            metrics.extend([("tokens", tokens), ("tokens_per_second", tokens / seconds)]);
        }
        Ok(self.observe.record(self.done, &metrics)?)
    }
}

impl<'a> Sink<Finished<'a>> for Writer<'a> {
    fn take(&mut self, done: Finished<'a>) -> Result<(), Error> {
        self.output.append(&done.lines)?;
        self.done += done.records;
        self.unsettled.push(done.lent);
        Ok(())
    }

    fn tick(&mut self) -> Result<(), Error> {
        if self.synced.elapsed() >= SYNC_EVERY { self.sync() } else { Ok(()) }
    }
}
