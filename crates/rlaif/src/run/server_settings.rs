//! How a server is asked by what has no other settings.

use super::Error;
use super::settings::{Layer, in_table, layered};
use openai::Config;
use serde::{Deserialize, Serialize};

/// What decides how `rlaif eval` asks a model on a server: the same key as of the data stages on their own, with the same
/// defaults.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `server` | see [`Config`], but `concurrency` 128 | how a server is asked |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerSettings {
    /// How a server is asked.
    pub server: Config,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self { server: Config { concurrency: 128, ..Config::default() } }
    }
}

impl ServerSettings {
    /// Puts layers over the settings, each over those before it, and checks what comes out.
    ///
    /// # Errors
    /// [`Error::Settings`] names the layer and the key that is unknown or of the wrong type; [`Error::Table`] a value that
    /// is out of range.
    pub fn with_layers(self, layers: &[Layer]) -> Result<Self, Error> {
        let settings = layered(self, layers)?;
        in_table("server", settings.server.validate())?;
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str) -> Result<ServerSettings, Error> {
        ServerSettings::default().with_layers(&[("my.toml".to_owned(), text.parse().unwrap())])
    }

    #[test]
    fn a_layer_changes_what_it_names_and_no_more() {
        let found = resolve("[server]\nattempts = 3").unwrap().server;
        assert_eq!((found.attempts, found.concurrency), (3, 128));
        for (text, expected) in [
            ("[server]\nconcurrency = 0", "[server] `concurrency`"),
            ("[flow]\nchunk = 2", "flow"),
            ("[server]\ncurrency = 2", "currency"),
        ] {
            let message = resolve(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
