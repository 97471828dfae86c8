//! `OUT.part` while it grows.

use super::answer::Answer;
use crate::Error;
use crate::model::Lent;
use dataset::AppendOnly;
use std::time::{Duration, Instant};

/// Answers are on the disk after this time at the latest.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// The answers that were taken in, and the models that gave those which may not be on the disk yet.
pub(super) struct Journal<'a> {
    part: AppendOnly,
    unsettled: Vec<Box<dyn Lent + 'a>>,
    synced: Instant,
}

impl<'a> Journal<'a> {
    pub(super) fn new(part: AppendOnly) -> Self {
        Self { part, unsettled: Vec::new(), synced: Instant::now() }
    }

    /// Writes answers down; they outlive this process.
    pub(super) fn append(
        &mut self,
        answers: &[Answer],
        lent: Box<dyn Lent + 'a>,
    ) -> Result<(), Error> {
        let mut lines = Vec::new();
        for answer in answers {
            serde_json::to_writer(&mut lines, answer).map_err(|reason| dataset::Error::Encode {
                path: self.part.path().to_owned(),
                reason,
            })?;
            lines.push(b'\n');
        }
        self.part.append(&lines)?;
        self.unsettled.push(lent);
        Ok(())
    }

    /// Whether it is time to bring them to the disk.
    pub(super) fn is_due(&self) -> bool {
        self.synced.elapsed() >= SYNC_EVERY
    }

    /// Brings all answers to the disk, and lets go of what the models keep of them.
    pub(super) fn sync(&mut self) -> Result<(), Error> {
        if !self.unsettled.is_empty() {
            self.part.sync()?;
            self.unsettled.drain(..).try_for_each(Lent::settle)?;
        }
        self.synced = Instant::now();
        Ok(())
    }

    /// The file.
    pub(super) fn part(&self) -> &AppendOnly {
        &self.part
    }
}
