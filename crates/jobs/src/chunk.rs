//! The work on a chunk of items.

use crate::before::{Kept, Todo};
use crate::failed::outcomes;
use crate::header::beside;
use crate::line::{Missing, Placed, record};
use crate::stage::{Record, Stage, TallyOf};
use crate::{Error, Failed, Job};
use ai_feedback::Judge;
use serde::Serialize;

/// The lines of a chunk, one an item.
pub(crate) struct Lines<T> {
    pub(crate) text: Vec<u8>,
    /// What became of each item. Sums of a chunk would not do: the last digits of a report would depend on its size.
    pub(crate) outcomes: Vec<Outcome<T>>,
    /// Records among them that are of an earlier round.
    pub(crate) kept: u64,
}

/// What became of an item.
pub(crate) enum Outcome<T> {
    /// A record, and what it adds to the report.
    Record(T),
    /// What the model said.
    Failure(String),
}

/// What is known of an item beside what is asked.
struct Place {
    index: u64,
    id: String,
    truth: Option<f64>,
    kept: Option<Kept>,
}

/// Lines that are being written.
struct Writing<'a, S: Stage> {
    job: &'a Job,
    lines: Lines<TallyOf<S>>,
}

/// Makes the lines of a chunk: records that were kept, those that the model gives, and what it refuses.
pub(crate) fn lines<S: Stage>(
    stage: &S,
    job: &Job,
    model: &dyn Judge,
    chunk: Vec<Todo<S::Item>>,
) -> Result<Lines<TallyOf<S>>, Error> {
    let mut places = Vec::with_capacity(chunk.len());
    let mut items = Vec::with_capacity(chunk.len());
    for Todo { item, kept } in chunk {
        let (index, truth) = (item.index, S::truth(&item.value));
        items.extend(kept.is_none().then_some(item.value));
        places.push(Place { index, id: item.id, truth, kept });
    }
    let mut asked = items.iter().zip(outcomes(stage, model, &items, job.seed)?);
    let lines = Lines { text: Vec::new(), outcomes: Vec::new(), kept: 0 };
    let mut writing: Writing<'_, S> = Writing { job, lines };
    for place in places {
        if let Some(kept) = &place.kept {
            writing.keep(kept, place.truth)?;
        } else if let Some((item, outcome)) = asked.next() {
            match outcome {
                Ok(record) => writing.record(&place, record)?,
                Err(error) => {
                    let Place { index, id, .. } = place;
                    writing.failure(&Failed { index, id, error, item: S::row(item) })?;
                }
            }
        }
    }
    Ok(writing.lines)
}

impl<S: Stage> Writing<'_, S> {
    /// The line of an earlier round.
    fn keep(&mut self, kept: &Kept, truth: Option<f64>) -> Result<(), Error> {
        let record: S::Record =
            record(&kept.line, self.job.shard.is_some()).map_err(|error| Error::Record {
                path: beside(&self.job.out, "before"),
                line: kept.number,
                problem: format!("is damaged: {error}"),
            })?;
        self.lines.outcomes.push(Outcome::Record(record.tally(truth)));
        self.lines.kept += 1;
        self.lines.text.extend_from_slice(&kept.line);
        Ok(())
    }

    fn record(&mut self, place: &Place, record: S::Record) -> Result<(), Error> {
        let &Place { index, truth, .. } = place;
        self.lines.outcomes.push(Outcome::Record(record.tally(truth)));
        match self.job.shard {
            Some(_) => self.append(&Placed { index, truth, record }),
            None => self.append(&record),
        }
    }

    fn failure(&mut self, failed: &Failed) -> Result<(), Error> {
        self.lines.outcomes.push(Outcome::Failure(failed.error.clone()));
        self.append(&Missing { failed })
    }

    fn append(&mut self, line: &impl Serialize) -> Result<(), Error> {
        let text = &mut self.lines.text;
        serde_json::to_writer(&mut *text, line)
            .map_err(|reason| dataset::Error::Encode { path: self.job.out.clone(), reason })?;
        text.push(b'\n');
        Ok(())
    }
}
