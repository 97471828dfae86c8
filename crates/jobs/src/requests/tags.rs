//! Asking for the kind of harm of every request.

use super::Requests;
use super::answer::Answer;
use super::calls::ranges;
use super::journal::Journal;
use super::shown::Shown;
use super::state::{State, Tagged};
use crate::Error;
use crate::apart::answers;
use crate::in_order::{Sink, in_order};
use crate::model::{Lent, Model};
use crate::stop::{Stop, Stoppable};
use language_model::Meter;
use red_team::{HarmTag, tag_by_harm};

/// What is shown while it goes on.
const NAME: &str = "tags";

/// Requests that were tagged together.
struct Chunk<'a> {
    first: usize,
    answers: Vec<Result<HarmTag, String>>,
    /// The model as it was lent for them.
    lent: Box<dyn Lent + 'a>,
}

impl Requests {
    /// Tags the requests, if the settings name any kinds of harm.
    pub(super) fn tag<'a>(
        &self,
        model: &'a dyn Model,
        state: &mut State,
        journal: &mut Journal<'a>,
        shown: &mut Shown<'a, '_>,
    ) -> Result<(), Error> {
        let types = &self.generation.config().harm_types;
        let (requests, tagged) = state.untagged();
        let (all, flow) = (requests.len(), &self.job.flow);
        if types.is_empty() || tagged.count == all {
            return Ok(());
        }
        shown.start(NAME, all, tagged.count)?;
        let (meter, stop) = (shown.meter(), Stop::default());
        let chunks =
            ranges(tagged.count..all, flow.chunk).map(|range| Ok((range.start, &requests[range])));
        let work = |(first, requests)| {
            let tagging = Asking { model, meter, stop: &stop, types };
            tagging.tags(first, requests)
        };
        let most = self.job.failed_share;
        let mut sink = Tagging { tagged, all, journal, shown, most };
        in_order(chunks, flow, work, || stop.stop(), &mut sink)?;
        sink.show()?;
        shown.finish()
    }
}

/// What it takes to ask.
struct Asking<'a, 'm> {
    model: &'m dyn Model,
    meter: &'m Meter,
    stop: &'a Stop,
    types: &'a [String],
}

impl<'m> Asking<'_, 'm> {
    fn tags(&self, first: usize, requests: &[String]) -> Result<Chunk<'m>, Error> {
        let lent = self.model.lend(self.meter);
        let asked = Stoppable { model: &*lent, stop: self.stop };
        let ask = |requests: &[String]| -> Result<Vec<HarmTag>, Error> {
            Ok(tag_by_harm(&asked, requests, self.types)?)
        };
        let answers = answers(requests, &ask)?;
        Ok(Chunk { first, answers, lent })
    }
}

/// Takes in tags in the order of their requests.
struct Tagging<'g, 'a, 'o> {
    tagged: &'g mut Tagged,
    /// Requests that there are.
    all: usize,
    journal: &'g mut Journal<'a>,
    shown: &'g mut Shown<'a, 'o>,
    /// Highest share of requests that the model may refuse to tag.
    most: f64,
}

impl Tagging<'_, '_, '_> {
    fn show(&mut self) -> Result<(), Error> {
        self.shown.record(self.tagged.count, self.tagged.failures.count)
    }
}

impl<'a> Sink<Chunk<'a>> for Tagging<'_, 'a, '_> {
    fn take(&mut self, chunk: Chunk<'a>) -> Result<(), Error> {
        let mut taken = Vec::with_capacity(chunk.answers.len());
        for (request, answer) in (chunk.first..).zip(chunk.answers) {
            self.tagged.count += 1;
            taken.push(match answer {
                Ok(tag) => Answer::Tag { request, tag },
                Err(error) => {
                    self.tagged.failures.add(&error);
                    Answer::Untagged { request, error }
                }
            });
        }
        let Tagged { count, failures } = &*self.tagged;
        // Before they are written: the same command asks for these once more.
        failures.check(*count, self.most, *count == self.all)?;
        self.journal.append(&taken, chunk.lent)
    }

    fn tick(&mut self) -> Result<(), Error> {
        if self.journal.is_due() {
            self.journal.sync()?;
            self.show()?;
        }
        Ok(())
    }
}
