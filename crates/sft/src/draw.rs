//! Where the examples of a step come from.

use crate::lesson::Lessons;
use crate::{Error, Example, SftConfig};
use serde_json::{Map, Value};
use training::{Fingerprint, State};
use transformer::ModelConfig;

/// Names and values.
pub(crate) type Metrics<'a> = Vec<(&'a str, f64)>;

/// What an optimiser step learns from.
pub(crate) struct Step<'a> {
    pub(crate) examples: Vec<&'a Example>,
    /// What is recorded of them.
    pub(crate) counts: Metrics<'a>,
}

/// Gives the examples of one step after the other.
pub(crate) trait Draw {
    /// The examples of a step, counted from 1.
    fn draw(&mut self, step: u64) -> Result<Step<'_>, Error>;

    /// Adds what decides what is drawn.
    fn fingerprint(&self, of: Fingerprint) -> Fingerprint;

    /// Adds what changes from step to step to the values of a state.
    fn save(&self, values: &mut Map<String, Value>);

    /// Takes it from a state.
    fn restore(&mut self, state: &State) -> Result<(), Error>;
}

/// Examples that are known before the first step.
#[derive(Debug)]
pub(crate) struct Listed<'a> {
    pub(crate) lessons: &'a Lessons<'a>,
    /// Places of the lessons of every step.
    pub(crate) steps: Vec<Vec<usize>>,
    /// Names of the counts of every source, if there are several.
    pub(crate) names: Vec<String>,
}

impl Draw for Listed<'_> {
    fn draw(&mut self, step: u64) -> Result<Step<'_>, Error> {
        let places = usize::try_from(step - 1).ok().and_then(|step| self.steps.get(step));
        let lessons = places.into_iter().flatten().map(|&place| &self.lessons.kept[place]);
        let mut counts = vec![
            ("overlong", self.lessons.overlong as f64),
            ("shortened", self.lessons.shortened as f64),
        ];
        counts.extend(self.names.iter().enumerate().map(|(source, name)| {
            let of_source = lessons.clone().filter(|lesson| lesson.source == source);
            (name.as_str(), of_source.count() as f64)
        }));
        Ok(Step { examples: lessons.map(|lesson| lesson.example.as_ref()).collect(), counts })
    }

    fn fingerprint(&self, of: Fingerprint) -> Fingerprint {
        self.lessons.kept.iter().fold(of.with("sources", &self.names), |of, lesson| {
            of.with("source", &lesson.source).with_bytes("example", &bytes(&lesson.example))
        })
    }

    fn save(&self, _values: &mut Map<String, Value>) {}

    fn restore(&mut self, _state: &State) -> Result<(), Error> {
        Ok(())
    }
}

/// Values of the state of a stream.
const OVERLONG: &str = "overlong";
const NEWEST: &str = "examples";

/// Examples that are made when they are due.
#[derive(Debug)]
pub(crate) struct Streamed<'a, F> {
    config: &'a SftConfig,
    model: ModelConfig,
    examples: F,
    newest: Vec<Example>,
    overlong: usize,
}

impl<'a, F: FnMut(u64) -> Vec<Example>> Streamed<'a, F> {
    pub(crate) fn new(config: &'a SftConfig, model: &ModelConfig, examples: F) -> Self {
        Self { config, model: model.clone(), examples, newest: Vec::new(), overlong: 0 }
    }

    fn newest_hash(&self) -> String {
        let all = self
            .newest
            .iter()
            .fold(Fingerprint::default(), |of, example| of.with_bytes("example", &bytes(example)));
        all.finish()
    }
}

impl<F: FnMut(u64) -> Vec<Example>> Draw for Streamed<'_, F> {
    fn draw(&mut self, step: u64) -> Result<Step<'_>, Error> {
        self.newest = (self.examples)(step - 1);
        let mut examples = Vec::with_capacity(self.newest.len());
        for (index, example) in self.newest.iter().enumerate() {
            let name = || format!("example {index} of step {} of the stream", step - 1);
            match example.check(name, &self.model) {
                Ok(()) => examples.push(example),
                Err(Error::Overlong { .. }) if self.config.leaves_out() => self.overlong += 1,
                Err(error) => return Err(error),
            }
        }
        if examples.is_empty() {
            return Err(Error::NoExamples { overlong: self.overlong });
        }
        Ok(Step { examples, counts: vec![("overlong", self.overlong as f64)] })
    }

    fn fingerprint(&self, of: Fingerprint) -> Fingerprint {
        of
    }

    fn save(&self, values: &mut Map<String, Value>) {
        values.insert(OVERLONG.to_owned(), self.overlong.into());
        values.insert(NEWEST.to_owned(), self.newest_hash().into());
    }

    /// The stream is asked for the newest step again, to find out whether it is the same.
    fn restore(&mut self, state: &State) -> Result<(), Error> {
        let step = state.step.saturating_sub(1);
        self.newest = (self.examples)(step);
        if self.newest_hash() != state.value::<String>(NEWEST)? {
            return Err(Error::Stream { step });
        }
        self.overlong = state.value(OVERLONG)?;
        Ok(())
    }
}

/// Tokens and weights.
fn bytes(example: &Example) -> Vec<u8> {
    let tokens = example.tokens.iter().flat_map(|token| token.to_le_bytes());
    tokens.chain(example.weights.iter().flat_map(|weight| weight.to_le_bytes())).collect()
}
