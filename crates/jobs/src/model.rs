//! Models that many chunks ask at a time.

use crate::Error;
use ai_feedback::Judge;
use dialogue::Dialogue;
use language_model::{Choose, Completion, Generate, Prompt, Sampling};
use openai::{Client, Config, UnitOfWork};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A model that a job asks.
pub trait Model: Sync {
    /// What decides its answers, and nothing about how it is reached: a job does not go on with another.
    fn about(&self) -> Value;

    /// Keeps answers in a file until they are settled, if that is of any use. Called once, before the model is lent.
    ///
    /// # Errors
    /// If the file cannot be opened, or is in use by another process.
    fn keep_answers(&self, path: &Path) -> Result<(), Error> {
        let _ = path;
        Ok(())
    }

    /// Lends the model to one chunk.
    fn lend(&self) -> Box<dyn Lent + '_>;
}

/// A model that is lent to one chunk.
pub trait Lent: Judge + Send {
    /// The records of the chunk are durable, so the answers to it are no longer needed.
    ///
    /// # Errors
    /// If answers are kept in a file that cannot be written.
    fn settle(self: Box<Self>) -> Result<(), Error> {
        Ok(())
    }
}

/// A model on a server, which is asked by as many chunks as there are.
///
/// Its answers are kept in `OUT.answers` until the records made of them are durable, so that a killed process asks only
/// for those again that were on their way.
#[derive(Debug)]
pub struct Served {
    client: Client,
    about: Value,
}

impl Served {
    /// A client that was made with `config`.
    pub fn new(client: Client, config: &Config) -> Self {
        let mut asked = match serde_json::to_value(config) {
            Ok(Value::Object(asked)) => asked,
            _ => Map::new(),
        };
        asked.retain(|key, _| !Config::TRANSPORT.contains(&key.as_str()));
        let about = json!({ "name": client.model(), "server": asked });
        Self { client, about }
    }
}

impl Model for Served {
    fn about(&self) -> Value {
        self.about.clone()
    }

    fn keep_answers(&self, path: &Path) -> Result<(), Error> {
        Ok(self.client.keep_answers_until_settled(path)?)
    }

    fn lend(&self) -> Box<dyn Lent + '_> {
        Box::new(self.client.unit_of_work())
    }
}

impl Lent for UnitOfWork<'_> {
    fn settle(self: Box<Self>) -> Result<(), Error> {
        Ok((*self).settle()?)
    }
}

/// A model that answers one call at a time, such as one on this machine.
#[derive(Debug)]
pub struct Alone<M> {
    model: Mutex<M>,
    about: Value,
}

impl<M> Alone<M> {
    /// `about` is told at [`Model::about`].
    pub fn new(model: M, about: Value) -> Self {
        Self { model: Mutex::new(model), about }
    }
}

impl<M: Judge + Send> Model for Alone<M> {
    fn about(&self) -> Value {
        self.about.clone()
    }

    fn lend(&self) -> Box<dyn Lent + '_> {
        Box::new(Turn(&self.model))
    }
}

/// Waits for its turn at every call.
struct Turn<'a, M>(&'a Mutex<M>);

impl<M> Turn<'_, M> {
    fn model(&self) -> MutexGuard<'_, M> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M: Judge + Send> Lent for Turn<'_, M> {}

impl<M: Judge> Generate for Turn<'_, M> {
    fn generate(
        &self,
        prompts: &[Prompt],
        sampling: &Sampling,
    ) -> Result<Vec<Completion>, language_model::Error> {
        self.model().generate(prompts, sampling)
    }
}

impl<M: Judge> Choose for Turn<'_, M> {
    fn choose(
        &self,
        prompts: &[Dialogue],
        options: &[&str],
    ) -> Result<Vec<Vec<f64>>, language_model::Error> {
        self.model().choose(prompts, options)
    }
}
