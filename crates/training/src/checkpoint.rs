//! The state of a stage between two steps, and where it is kept.

use crate::{Error, Observe};
use serde_json::{Map, Value};
use std::path::PathBuf;

/// Everything that a stage needs to go on after a step as if nothing had happened.
///
/// Random numbers need no place in it: every stage draws them from streams that are named by the seed and the step, so
/// that the step is also the cursor into the data.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// Steps taken.
    pub step: u64,
    /// Numbers and settings that move: counts, adaptive coefficients, the best loss so far.
    pub values: Map<String, Value>,
    /// Files by name: parameters, moments of the optimiser.
    pub files: Vec<(String, Vec<u8>)>,
    /// The folder of all states, for errors to name; none of a state that was not read from one.
    pub folder: Option<PathBuf>,
}

impl State {
    /// Takes the bytes of a file out.
    ///
    /// # Errors
    /// [`Error::StateLacks`] if there is no file of this name.
    pub fn take(&mut self, file: &str) -> Result<Vec<u8>, Error> {
        match self.files.iter().position(|(name, _)| name == file) {
            Some(place) => Ok(self.files.swap_remove(place).1),
            None => Err(self.lacks(file)),
        }
    }

    /// A value of this name.
    ///
    /// # Errors
    /// [`Error::StateLacks`] if there is none, or one of another type.
    pub fn value<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T, Error> {
        let value = self.values.get(name).and_then(|value| T::deserialize(value).ok());
        value.ok_or_else(|| self.lacks(name))
    }

    /// The error that says what is missing.
    pub fn lacks(&self, what: &str) -> Error {
        Error::StateLacks { folder: self.folder.clone(), step: self.step, what: what.to_owned() }
    }

    /// A part of this state, which holds these files alone.
    #[must_use]
    pub fn part(&self, files: Vec<(String, Vec<u8>)>) -> Self {
        Self { step: self.step, values: Map::new(), files, folder: self.folder.clone() }
    }
}

/// What a state belongs to: it is of use to no other stage, settings, seed, data or initial weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The name of the stage.
    pub stage: String,
    /// A [`crate::Fingerprint`] of everything else.
    pub fingerprint: String,
}

/// Keeps the states of a stage.
pub trait Checkpoint {
    /// False if nothing is ever kept, so that nobody computes what a state belongs to.
    fn keeps(&self) -> bool {
        true
    }

    /// The newest state that is whole, if there is one. Damaged ones are skipped, with a note.
    ///
    /// # Errors
    /// If the states belong to another owner, or cannot be read.
    fn load(&mut self, owner: &Owner, observe: &mut dyn Observe) -> Result<Option<State>, Error>;

    /// Whether a state is wanted after this step, counted from 1.
    fn is_due(&mut self, step: u64) -> bool;

    /// Keeps a state. Whoever is killed meanwhile finds the state before.
    ///
    /// # Errors
    /// If it cannot be written.
    fn save(&mut self, owner: &Owner, state: State) -> Result<(), Error>;
}

/// Keeps nothing: a stage that is interrupted begins anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NoCheckpoints;

impl Checkpoint for NoCheckpoints {
    fn keeps(&self) -> bool {
        false
    }

    fn load(&mut self, _owner: &Owner, _observe: &mut dyn Observe) -> Result<Option<State>, Error> {
        Ok(None)
    }

    fn is_due(&mut self, _step: u64) -> bool {
        false
    }

    fn save(&mut self, _owner: &Owner, _state: State) -> Result<(), Error> {
        Ok(())
    }
}
