//! The settings of a data stage on its own.

use super::settings::{Layer, in_table, layered};
use super::{Error, ServerSettings, find_constitution};
use ai_feedback::FeedbackConfig;
use constitution::Constitution;
use critique_revision::CritiqueRevisionConfig;
use dataset::ColumnMapping;
use jobs::{Flow, Job};
use red_team::GenerationConfig;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What decides `rlaif revise`, `rlaif reply-pairs`, `rlaif label` and `rlaif requests`.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `seed` | 1 | of every random stream |
/// | `constitution` | the general one | TOML file |
/// | `columns` | the usual names | which columns of the input hold what, see [`ColumnMapping`] |
/// | `rejected_share` | 0.0 | highest share of bad rows of the input that are left out; at 0 the first is an error |
/// | `failed_share` | 0.1 | highest share of items that the model may refuse for good; at 0 the first ends the job |
/// | `flow` | see [`Flow`]; of a folder one chunk of 64 | how much is under way at a time |
/// | `server` | see [`openai::Config`], but `concurrency` 128 | how a server is asked |
/// | `critique_revision` | see [`CritiqueRevisionConfig`] | of `rlaif revise`; its `reply` is also how `rlaif reply-pairs` draws |
/// | `ai_feedback` | see [`FeedbackConfig`] | of `rlaif label` |
/// | `red_team` | see [`GenerationConfig`], but `batch` 1, so that `max_calls` counts lists | of `rlaif requests` |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobSettings {
    /// Of every random stream.
    pub seed: u64,
    /// TOML file of the constitution, or the name of one that is built in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constitution: Option<PathBuf>,
    /// Which columns of the input hold what.
    #[serde(default, skip_serializing_if = "ColumnMapping::is_default")]
    pub columns: ColumnMapping,
    /// Highest share of bad rows of the input that are left out.
    pub rejected_share: f64,
    /// Highest share of items that the model may refuse for good.
    pub failed_share: f64,
    /// How much is under way at a time.
    pub flow: Flow,
    /// How a server is asked.
    pub server: openai::Config,
    /// Critique and revision.
    pub critique_revision: CritiqueRevisionConfig,
    /// Labels.
    pub ai_feedback: FeedbackConfig,
    /// New requests.
    pub red_team: GenerationConfig,
}

impl JobSettings {
    /// The defaults for a model on a server.
    pub fn served() -> Self {
        Self {
            seed: 1,
            constitution: None,
            columns: ColumnMapping::default(),
            rejected_share: 0.0,
            failed_share: Job::FAILED_SHARE,
            flow: Flow::default(),
            server: ServerSettings::default().server,
            critique_revision: CritiqueRevisionConfig::default(),
            ai_feedback: FeedbackConfig::default(),
            red_team: GenerationConfig { batch: 1, ..GenerationConfig::default() },
        }
    }

    /// The defaults for a model of a folder, which answers one batch at a time.
    pub fn local() -> Self {
        Self { flow: Flow { chunk: 64, in_flight: 1 }, ..Self::served() }
    }

    /// Puts layers over the settings, each over those before it, and checks what comes out.
    ///
    /// # Errors
    /// [`Error::Settings`] names the layer and the key that is unknown or of the wrong type; [`Error::Table`] or
    /// [`Error::Job`] a value that is out of range.
    pub fn with_layers(self, layers: &[Layer]) -> Result<Self, Error> {
        let settings = layered(self, layers)?;
        in_table("flow", settings.flow.validate())?;
        settings.job(Path::new(""), Path::new("")).validate()?;
        in_table("server", settings.server.validate())?;
        in_table("critique_revision", settings.critique_revision.validate())?;
        in_table("ai_feedback", settings.ai_feedback.validate())?;
        in_table("red_team", settings.red_team.validate())?;
        Ok(settings)
    }

    /// The job that the settings make of an input and a file of records.
    pub fn job(&self, input: &Path, out: &Path) -> Job {
        Job {
            columns: self.columns.clone(),
            rejected_share: self.rejected_share,
            seed: self.seed,
            flow: self.flow.clone(),
            failed_share: self.failed_share,
            ..Job::new(input, out)
        }
    }

    /// The constitution that the settings name, or the general one.
    ///
    /// # Errors
    /// If its file cannot be read or is not a constitution.
    pub fn read_constitution(&self) -> Result<Constitution, Error> {
        match &self.constitution {
            Some(which) => find_constitution(which),
            None => Ok(Constitution::general()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str) -> Result<JobSettings, Error> {
        JobSettings::served().with_layers(&[("my.toml".to_owned(), text.parse().unwrap())])
    }

    #[test]
    fn a_layer_changes_what_it_names() {
        let text = "seed = 3\nfailed_share = 0\n[columns]\nprompt = 'q'\n[server]\nconcurrency = 7\n[flow]\nchunk = 2";
        let settings = resolve(text).unwrap();
        let mut expected = JobSettings::served();
        expected.seed = 3;
        (expected.failed_share, expected.columns.prompt) = (0.0, Some("q".to_owned()));
        expected.server.concurrency = 7;
        expected.flow.chunk = 2;
        assert_eq!(settings, expected);
        assert_eq!(JobSettings::local().flow.in_flight, 1);
    }

    #[test]
    fn a_constitution_may_be_one_that_is_built_in() {
        let world = resolve("constitution = 'world'").unwrap().read_constitution().unwrap();
        assert_eq!(world, model_organism::constitution().unwrap());
        let missing = resolve("constitution = './world'").unwrap().read_constitution();
        assert!(missing.unwrap_err().to_string().contains("./world"));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (text, expected) in [
            ("sead = 1", "sead"),
            ("[flow]\nchunk = 0", "[flow] `chunk` is 0"),
            ("[flow]\nin_flight = 0", "`in_flight`"),
            ("[server]\nconcurrency = 0", "[server] `concurrency`"),
            ("rejected_share = 1.0", "`rejected_share` is 1"),
            ("failed_share = -0.5", "`failed_share` is -0.5"),
            ("columns.prompt = ''", "`prompt` is empty"),
            ("columns.promt = 'q'", "promt"),
            ("[critique_revision.reply]\nmax_tokens = 0", "max_tokens"),
            ("[red_team]\nshots = 0", "[red_team] `shots` is 0"),
        ] {
            let message = resolve(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
