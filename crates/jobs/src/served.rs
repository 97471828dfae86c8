//! A model on a server.

use crate::{Error, Lent, Model};
use language_model::Meter;
use openai::{Client, Config, UnitOfWork};
use serde_json::{Map, Value, json};
use std::path::Path;

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

    fn lend<'a>(&'a self, meter: &'a Meter) -> Box<dyn Lent + 'a> {
        Box::new(self.client.unit_of_work().metered(meter))
    }
}

impl Lent for UnitOfWork<'_> {
    fn settle(self: Box<Self>) -> Result<(), Error> {
        Ok((*self).settle()?)
    }
}
