//! The model that labels pairs: that of a folder, or one that a server has.

use super::lending::Lending;
use super::models::find_model;
use super::{Checkpoint, Error, Session, Settings, Stage};
use ai_feedback::Judge;
use burn::tensor::backend::AutodiffBackend;
use language_model::Meter;
use openai::{BaseUrl, Client, Config};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use transformer::Transformer;

/// Where the judge is; in settings one text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum JudgeSource {
    /// A Hugging Face folder.
    Folder(PathBuf),
    /// An OpenAI-compatible server, such as `http://127.0.0.1:8000/v1`.
    Server(String),
}

impl From<String> for JudgeSource {
    fn from(text: String) -> Self {
        let start = text.trim_start().to_ascii_lowercase();
        let is_address = ["http:", "https:"].iter().any(|scheme| start.starts_with(scheme));
        if is_address { Self::Server(text) } else { Self::Folder(text.into()) }
    }
}

impl From<JudgeSource> for String {
    fn from(source: JudgeSource) -> Self {
        match source {
            JudgeSource::Folder(path) => path.to_string_lossy().into_owned(),
            JudgeSource::Server(url) => url,
        }
    }
}

impl JudgeSource {
    /// The folder, if it is one.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Folder(path) => Some(path),
            Self::Server(_) => None,
        }
    }
}

/// The answers of the judge, in the folder of the stage that asked for them.
const ANSWERS: &str = "judge.journal";

impl Settings {
    /// The served judge that the settings name, if they name one. Nothing is sent.
    ///
    /// # Errors
    /// If the address, the key or a setting cannot be used, or no model is named.
    pub fn served_judge(&self) -> Result<Option<Client>, Error> {
        let Some(JudgeSource::Server(url)) = &self.judge else { return Ok(None) };
        let config = self.judge_server.clone().unwrap_or_default();
        let Some(model) = &self.judge_model else {
            return Err(Error::Setting {
                setting: "judge_model",
                found: "unset".to_owned(),
                expected: "the name of a model that the server has (--judge-model)",
            });
        };
        Ok(Some(Client::with_config(url, model, config)?))
    }

    /// The settings with the only model of the judge's server, if there is a server and no model is named.
    ///
    /// # Errors
    /// If the server does not answer, or has no or several models.
    pub fn with_judge_model(mut self) -> Result<Self, Error> {
        if let (Some(JudgeSource::Server(url)), None) = (&self.judge, &self.judge_model) {
            let config = self.judge_server.clone().unwrap_or_default();
            self.judge_model = Some(Client::of_only_model(url, config)?.model().to_owned());
        }
        Ok(self)
    }

    /// Completes and checks what concerns the judge.
    pub(super) fn resolve_judge(&mut self) -> Result<(), Error> {
        if let Some(JudgeSource::Server(url)) = &self.judge {
            url.parse::<BaseUrl>()?;
            // Defaults stand in `run.toml` too.
            return Ok(self.judge_server.get_or_insert_with(Config::default).validate()?);
        }
        let set = [
            ("judge_model", self.judge_model.is_some()),
            ("judge_server", self.judge_server.is_some()),
        ];
        match set.into_iter().find(|(_, set)| *set) {
            Some((setting, _)) => Err(Error::Setting {
                setting,
                found: "set, but `judge` is no server".to_owned(),
                expected: "it together with an address such as http://127.0.0.1:8000/v1 (--judge)",
            }),
            None => Ok(()),
        }
    }
}

/// Whether a key says only how the judge's server is reached. Such keys may change while a run is under way: the answers
/// are those of the same model.
pub(super) fn is_transport(key: &str) -> bool {
    key.strip_prefix("judge_server.").is_some_and(|key| Config::TRANSPORT.contains(&key))
}

/// Whether a value of `judge` is an address.
pub(super) fn is_server(value: &str) -> bool {
    matches!(JudgeSource::from(value.to_owned()), JudgeSource::Server(_))
}

impl<B: AutodiffBackend> Session<B> {
    /// The model that labels pairs. The answers of a served one are kept in the folder of the stage, so that none is
    /// asked for twice.
    pub(super) fn judge(&self, stage: Stage) -> Result<Box<dyn Judge>, Error> {
        if let Some(client) = self.settings.served_judge()? {
            return Ok(Box::new(client.keep_answers(self.folder.file(stage, ANSWERS)?)?));
        }
        Ok(Box::new(self.local_judge()?))
    }

    /// The same, whose answers outlive the process wherever it is.
    pub(super) fn lent_judge<'a>(
        &self,
        stage: Stage,
        meter: &'a Meter,
    ) -> Result<Lending<'a>, Error> {
        let answers = self.folder.file(stage, ANSWERS)?;
        let Some(client) = self.settings.served_judge()? else {
            return Lending::local(self.local_judge()?, answers, meter);
        };
        let config = self.settings.judge_server.clone().unwrap_or_default();
        Ok(Lending::served(client.keep_answers(answers)?, &config, meter))
    }

    /// The model of a folder, or without one the helpful-only model.
    fn local_judge(&self) -> Result<Transformer<B::InnerBackend>, Error> {
        let Some(folder) = self.settings.judge.as_ref().and_then(JudgeSource::folder) else {
            return self.fixed(Checkpoint::HelpfulOnly);
        };
        let path = find_model(folder)?;
        let mut model = Transformer::<B::InnerBackend>::from_folder(path, &self.device)?;
        model.engine = self.settings.engine.clone();
        Ok(model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use toml::Table;

    fn resolve(text: &str) -> Result<Settings, Error> {
        Settings::resolve(&[("my.toml".to_owned(), text.parse::<Table>().unwrap())])
    }

    #[test]
    fn an_address_is_a_server_and_all_else_a_folder() {
        let source = |text: &str| JudgeSource::from(text.to_owned());
        for text in ["http://127.0.0.1:8000/v1", "HTTPS://host/v1"] {
            assert_eq!(source(text), JudgeSource::Server(text.to_owned()));
            assert_eq!(String::from(source(text)), text);
        }
        for text in ["models/judge", "/http", "httpd"] {
            assert_eq!(source(text).folder(), Some(Path::new(text)));
        }
    }

    #[test]
    fn a_served_judge_has_all_its_settings() {
        let settings =
            resolve("judge = 'http://h/v1'\njudge_model = 'm'\n[judge_server]\nconcurrency = 3")
                .unwrap();
        let config = settings.judge_server.as_ref().unwrap();
        assert_eq!((config.concurrency, config.attempts), (3, Config::default().attempts));
        let table = settings.to_table().unwrap();
        assert_eq!(table["judge_server"]["top_logprobs"].as_integer(), Some(20));
        let again = Settings::resolve(&[("again".to_owned(), table)]).unwrap();
        assert_eq!(again, settings);
        assert_eq!(settings.served_judge().unwrap().unwrap().model(), "m");
        assert_eq!(resolve("judge = 'folder'").unwrap().served_judge().unwrap().map(drop), None);
    }

    #[test]
    fn what_does_not_fit_is_refused_without_showing_secrets() {
        for (text, expected) in [
            ("judge = 'http://me:secret@h/v1'", "user name or a password"),
            ("judge = 'http://h/v1?key=secret'", "query"),
            ("judge = 'http://h/v1'\njudge_server.key_variable = 'sk-secret'", "key_variable"),
            ("judge = 'http://h/v1'\njudge_server.concurrency = 0", "concurrency"),
            ("judge = 'http://h/v1'\njudge_server.key = 'secret'", "key"),
            ("judge = 'folder'\njudge_model = 'm'", "judge_model"),
            ("judge_server.concurrency = 2", "judge_server"),
        ] {
            let error = resolve(text).unwrap_err();
            assert!(error.to_string().contains(expected), "{text}: {error}");
            assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        }
        let unnamed = resolve("judge = 'http://h/v1'").unwrap().served_judge().unwrap_err();
        assert!(unnamed.to_string().contains("--judge-model"), "{unnamed}");
    }
}
