//! Models on a server: how one is asked, and a client of one that is there.

use super::set::add_set;
use super::{Failure, warn};
use clap::Args;
use rlaif::openai::{Client, Config};
use rlaif::run::{ServerSettings, Settings};
use std::path::PathBuf;
use toml::Table;

/// How a server is asked, for commands that have no other settings.
#[derive(Debug, Clone, Args)]
pub(super) struct ServerArgs {
    /// Settings file (TOML): `server`, how a model on a server is asked.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Change one setting, such as `server.concurrency=256`; may be repeated.
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl ServerArgs {
    /// The settings that the file and the flags stand for.
    pub(super) fn resolve(&self) -> Result<Config, Failure> {
        let mut layers = Vec::new();
        if let Some(path) = &self.config {
            layers.push(Settings::layer_from_file(path)?);
        }
        let mut table = Table::new();
        add_set(&mut table, &self.set)?;
        layers.push(("command line".to_owned(), table));
        Ok(ServerSettings::default().with_layers(&layers)?.server)
    }
}

/// A client of a server that is there and has the model; without a name, its only one. While it does not answer, the user
/// is told.
pub(super) fn client(url: &str, name: Option<&str>, config: &Config) -> Result<Client, Failure> {
    let client = Client::with_config(url, name.unwrap_or_default(), config.clone())?
        .tell_retries(|retrying| warn(&retrying.to_string()));
    client.warnings().iter().for_each(|warning| warn(warning));
    if name.is_none() {
        return Ok(client.with_only_model()?);
    }
    client.check()?;
    Ok(client)
}
