//! What one piece of work has asked, and what was given up.

use crate::task::Given;
use crate::{Error, FailedRequest};
use language_model::Meter;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The tasks of one piece of work by their names.
#[derive(Debug, Default)]
pub(crate) struct Asked<'a> {
    /// Counts what the server answers, if anybody wants to know.
    pub(crate) meter: Option<&'a Meter>,
    names: Mutex<Vec<String>>,
    /// Those that are about one prompt and have failed.
    given_up: Mutex<HashMap<String, FailedRequest>>,
}

impl Asked<'_> {
    /// Notes what is asked: whatever becomes of it, it may be kept.
    pub(crate) fn note(&self, names: &[String]) {
        lock(&self.names).extend_from_slice(names);
    }

    /// All that was asked.
    pub(crate) fn into_names(self) -> Vec<String> {
        self.names.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what the server has answered now.
    pub(crate) fn count(&self, given: &Given) {
        if let Some(meter) = self.meter {
            meter.count(&given.answer, given.prompt_tokens);
        }
    }

    /// Notes that a task has failed for good: all attempts may have taken minutes, so that they are not made again when
    /// the same is asked beside fewer others.
    pub(crate) fn give_up(&self, name: &str, error: &Error) {
        if let Error::Request(failed) = error
            && failed.is_refusal()
        {
            lock(&self.given_up).insert(name.to_owned(), failed.clone());
        }
    }

    /// The error of a task that has failed for good.
    pub(crate) fn given_up(&self, name: &str) -> Option<Error> {
        lock(&self.given_up).get(name).cloned().map(Error::Request)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
