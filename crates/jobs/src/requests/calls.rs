//! Asking for lists until there are enough requests.

use super::answer::Answer;
use super::journal::Journal;
use super::shown::Shown;
use super::state::State;
use super::{NAME, Requests};
use crate::Error;
use crate::apart::answers;
use crate::in_order::{Sink, in_order};
use crate::model::{Lent, Model};
use crate::stop::{Stop, Stoppable};
use language_model::{Completion, Generate, Meter, Prompt};
use red_team::Entries;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// Calls that were made together.
struct Chunk<'a> {
    first: usize,
    answers: Vec<Result<(Completion, Entries), String>>,
    /// The model as it was lent for them.
    lent: Box<dyn Lent + 'a>,
}

impl Requests {
    /// Makes calls, many at a time, and takes in what they bring in their order. Those that are under way when there are
    /// enough requests are waited for, and count for nothing.
    pub(super) fn call<'a>(
        &self,
        model: &'a dyn Model,
        state: &mut State,
        journal: &mut Journal<'a>,
        shown: &mut Shown<'a, '_>,
    ) -> Result<(), Error> {
        if state.ended().is_some() {
            return Ok(());
        }
        let (config, flow) = (self.generation.config(), &self.job.flow);
        shown.start(NAME, config.requests, state.requests())?;
        let (meter, stop, enough) = (shown.meter(), Stop::default(), AtomicBool::new(false));
        let chunks = ranges(state.calls()..config.max_calls, flow.chunk)
            .take_while(|_| !enough.load(Ordering::Relaxed))
            .map(Ok);
        let work = |calls| self.answers(model, meter, &stop, calls);
        let most = self.job.failed_share;
        let mut gathering = Gathering { state, journal, shown, enough: &enough, most };
        in_order(chunks, flow, work, || stop.stop(), &mut gathering)?;
        gathering.show()?;
        shown.finish()
    }

    /// The answers to some calls, read as far as that needs no others.
    fn answers<'a>(
        &self,
        model: &'a dyn Model,
        meter: &'a Meter,
        stop: &Stop,
        calls: Range<usize>,
    ) -> Result<Chunk<'a>, Error> {
        let lent = model.lend(meter);
        let asked = Stoppable { model: &*lent, stop };
        let (first, generation) = (calls.start, &self.generation);
        let prompts: Vec<Prompt> = calls.map(|call| generation.prompt(call)).collect();
        let ask = |prompts: &[Prompt]| -> Result<Vec<Completion>, Error> {
            Ok(asked.generate(prompts, &generation.config().sampling)?)
        };
        let read = |completion: Completion| {
            let entries = generation.read(&completion);
            (completion, entries)
        };
        let found = answers(&prompts, &ask)?;
        let answers = found.into_iter().map(|answer| answer.map(read)).collect();
        Ok(Chunk { first, answers, lent })
    }
}

/// A range in pieces of a size, the last may be shorter.
pub(super) fn ranges(all: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    let Range { mut start, end } = all;
    std::iter::from_fn(move || {
        let piece = start..start.saturating_add(size).min(end);
        start = piece.end;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Takes in the answers to calls in their order.
struct Gathering<'g, 'a, 'o> {
    state: &'g mut State,
    journal: &'g mut Journal<'a>,
    shown: &'g mut Shown<'a, 'o>,
    /// Is set when there are enough requests.
    enough: &'g AtomicBool,
    /// Highest share of calls that may fail.
    most: f64,
}

impl Gathering<'_, '_, '_> {
    fn show(&mut self) -> Result<(), Error> {
        self.shown.record(self.state.requests(), self.state.failed())
    }
}

impl<'a> Sink<Chunk<'a>> for Gathering<'_, 'a, '_> {
    fn take(&mut self, chunk: Chunk<'a>) -> Result<(), Error> {
        let mut taken = Vec::with_capacity(chunk.answers.len());
        for (call, answer) in (chunk.first..).zip(chunk.answers) {
            if self.state.ended().is_some() {
                break;
            }
            taken.push(match answer {
                Ok((completion, entries)) => {
                    self.state.list(entries);
                    Answer::List { call, completion }
                }
                Err(error) => {
                    self.state.refused(&error);
                    Answer::Refused { call, error }
                }
            });
        }
        // Before they are written: the same command asks for these once more.
        self.state.check_failures(self.most)?;
        self.enough.store(self.state.ended().is_some(), Ordering::Relaxed);
        self.journal.append(&taken, chunk.lent)?;
        self.state.keep();
        Ok(())
    }

    fn tick(&mut self) -> Result<(), Error> {
        if self.journal.is_due() {
            self.journal.sync()?;
            self.show()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_comes_in_pieces() {
        let pieces = |all, size| ranges(all, size).collect::<Vec<_>>();
        assert_eq!(pieces(3..10, 3), [3..6, 6..9, 9..10]);
        assert_eq!(pieces(3..6, usize::MAX).len(), 1);
        assert!(pieces(6..6, 3).is_empty());
        assert!(pieces(Range { start: 7, end: 6 }, 3).is_empty());
    }
}
