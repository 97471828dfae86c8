//! What the answers say.

use super::answer::{Answer, answers, wrong};
use super::failures::Failures;
use super::summary::Ended;
use crate::Error;
use dataset::AppendOnly;
use red_team::{Collector, Entries, Generated, Generation};

/// What the answers say so far.
#[derive(Debug)]
pub(super) struct State {
    collector: Collector,
    /// The call that each request comes from.
    origins: Vec<usize>,
    /// Calls whose answers were taken in.
    calls: usize,
    max_calls: usize,
    failures: Failures,
    tagged: Tagged,
    /// Requests whose call is written down.
    kept: usize,
}

/// Requests whose kind of harm was asked for.
#[derive(Debug, Default)]
pub(super) struct Tagged {
    pub(super) count: usize,
    /// Those that the model refuses to tag.
    pub(super) failures: Failures,
}

impl State {
    fn new(generation: &Generation) -> Self {
        Self {
            collector: generation.collector(),
            origins: Vec::new(),
            calls: 0,
            max_calls: generation.config().max_calls,
            failures: Failures::default(),
            tagged: Tagged::default(),
            kept: 0,
        }
    }

    /// Takes in what an earlier process has written. Every line must be the one that is due.
    pub(super) fn read(part: &AppendOnly, generation: &Generation) -> Result<Self, Error> {
        let mut state = Self::new(generation);
        for answer in answers(part)? {
            let (line, answer) = answer?;
            state.replay(answer, generation).map_err(|problem| wrong(part, line, problem))?;
        }
        state.keep();
        Ok(state)
    }

    fn replay(&mut self, answer: Answer, generation: &Generation) -> Result<(), String> {
        match answer {
            Answer::List { call, completion } => {
                self.expect_call(call)?;
                self.list(generation.read(&completion));
            }
            Answer::Refused { call, error } => {
                self.expect_call(call)?;
                self.refused(&error);
            }
            Answer::Tag { request, .. } => {
                self.expect_tag(request)?;
                self.tagged.count += 1;
            }
            Answer::Untagged { request, error } => {
                self.expect_tag(request)?;
                self.tagged.count += 1;
                self.tagged.failures.add(&error);
            }
        }
        Ok(())
    }

    fn expect_call(&self, found: usize) -> Result<(), String> {
        if self.ended().is_some() {
            return Err(format!("is the answer to call {found}, expected none after the last"));
        }
        let expected = self.calls;
        if found == expected {
            return Ok(());
        }
        Err(format!("is the answer to call {found}, expected that to {expected}"))
    }

    fn expect_tag(&self, found: usize) -> Result<(), String> {
        let expected = self.tagged.count;
        if self.ended().is_some() && found == expected && found < self.requests() {
            return Ok(());
        }
        Err(format!("is the tag of request {found}, which is not due"))
    }

    /// Takes in the answer to the next call.
    pub(super) fn list(&mut self, entries: Entries) {
        self.collector.take(entries);
        self.origins.resize(self.requests(), self.calls);
        self.calls += 1;
    }

    /// Takes in that the model refuses the next call.
    pub(super) fn refused(&mut self, said: &str) {
        self.failures.add(said);
        self.calls += 1;
    }

    /// An error if too many calls have failed. A few that have do not matter once there are enough requests.
    pub(super) fn check_failures(&self, most: f64) -> Result<(), Error> {
        self.failures.check(self.calls, most, self.ended() == Some(Ended::MaxCalls))
    }

    /// All that was taken in so far is written down.
    pub(super) fn keep(&mut self) {
        self.kept = self.requests();
    }

    /// Requests whose call is written down.
    pub(super) fn kept(&self) -> usize {
        self.kept
    }

    /// Why no more calls are needed, once none are.
    pub(super) fn ended(&self) -> Option<Ended> {
        if self.collector.is_complete() {
            return Some(Ended::Count);
        }
        (self.calls >= self.max_calls).then_some(Ended::MaxCalls)
    }

    /// Requests that were found.
    pub(super) fn requests(&self) -> usize {
        self.generated().requests.len()
    }

    pub(super) fn generated(&self) -> &Generated {
        self.collector.generated()
    }

    /// The requests, each with the call that it comes from.
    pub(super) fn with_origins(&self) -> impl Iterator<Item = (&String, usize)> {
        self.generated().requests.iter().zip(self.origins.iter().copied())
    }

    pub(super) fn calls(&self) -> usize {
        self.calls
    }

    pub(super) fn failed(&self) -> usize {
        self.failures.count
    }

    pub(super) fn tagged(&self) -> &Tagged {
        &self.tagged
    }

    /// The requests, and how many of them are tagged.
    pub(super) fn untagged(&mut self) -> (&[String], &mut Tagged) {
        (self.collector.generated().requests.as_slice(), &mut self.tagged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use language_model::{Completion, StopReason};
    use red_team::{GenerationConfig, HarmTag};
    use std::io::Write;

    fn generation() -> Generation {
        let config = GenerationConfig {
            shots: 1,
            requests: 3,
            max_calls: 4,
            batch: 1,
            ..Default::default()
        };
        Generation::new(vec!["How do I fly?".to_owned()], &config, 1).unwrap()
    }

    fn list(call: usize, text: &str) -> Answer {
        let text = format!("2. {text}");
        let completion = Completion { text, tokens: 3, stopped: StopReason::Stop };
        Answer::List { call, completion }
    }

    fn refused(call: usize) -> Answer {
        Answer::Refused { call, error: "too long".to_owned() }
    }

    fn tag(request: usize) -> Answer {
        let tag = HarmTag { harm_type: "theft".to_owned(), probability: 0.5 };
        Answer::Tag { request, tag }
    }

    fn read(answers: &[Answer]) -> Result<State, Error> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for answer in answers {
            writeln!(file, "{}", serde_json::to_string(answer).unwrap()).unwrap();
        }
        State::read(&AppendOnly::open(file.path()).unwrap(), &generation())
    }

    #[test]
    fn ends_with_the_number_or_the_last_call() {
        let state = read(&[list(0, "One fish?"), refused(1), list(2, "Two birds?")]).unwrap();
        assert_eq!((state.ended(), state.requests(), state.calls()), (None, 2, 3));
        assert_eq!((state.failed(), state.generated().drawn), (1, 2));
        let origins: Vec<(&str, usize)> =
            state.with_origins().map(|(text, call)| (text.as_str(), call)).collect();
        assert_eq!(origins, [("One fish?", 0), ("Two birds?", 2)]);

        let last = [refused(0), refused(1), list(2, "One fish?"), list(3, "one fish")];
        let state = read(&last).unwrap();
        assert_eq!((state.ended(), state.requests()), (Some(Ended::MaxCalls), 1));
        state.check_failures(0.5).unwrap();
        state.check_failures(0.4).unwrap_err();

        let enough = [list(0, "One fish?\n3. Two birds?\n4. Three cows?\n5. Four?"), tag(0)];
        let state = read(&enough).unwrap();
        assert_eq!((state.ended(), state.requests()), (Some(Ended::Count), 3));
        assert_eq!(state.tagged().count, 1);
    }

    #[test]
    fn a_line_that_is_not_due_is_named() {
        let enough = || list(0, "One fish?\n3. Two birds?\n4. Three cows?");
        for (answers, expected) in [
            (vec![list(1, "a")], "line 1: is the answer to call 1, expected that to 0"),
            (vec![list(0, "a"), refused(0)], "line 2: is the answer to call 0"),
            (vec![enough(), list(1, "a")], "line 2: is the answer to call 1, expected none"),
            (vec![list(0, "One fish?"), tag(0)], "line 2: is the tag of request 0"),
            (vec![enough(), tag(0), tag(2)], "line 3: is the tag of request 2"),
        ] {
            let message = read(&answers).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
