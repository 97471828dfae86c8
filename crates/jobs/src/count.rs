//! What came of the items of a job.

use crate::Report;
use crate::stage::Tally;

/// What came of the items of a job so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Count<T> {
    /// Items that became a record.
    pub(crate) records: u64,
    /// Items that failed.
    pub(crate) failed: u64,
    /// What the model said to the last of them.
    pub(crate) last_failure: String,
    /// What the records say.
    pub(crate) tally: T,
}

impl<T: Tally> Count<T> {
    pub(crate) fn items(&self) -> u64 {
        self.records + self.failed
    }

    /// Counts a record.
    pub(crate) fn record(&mut self, tally: T) {
        self.records += 1;
        self.tally += tally;
    }

    /// Counts a failure.
    pub(crate) fn failure(&mut self, said: &str) {
        self.failed += 1;
        said.clone_into(&mut self.last_failure);
    }

    pub(crate) fn report(&self) -> Report {
        let Self { records, failed, .. } = *self;
        Report { items: self.items(), records, failed, figures: self.tally.figures() }
    }
}
