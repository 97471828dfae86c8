//! What can stop a run.

use super::Stage;
use std::path::PathBuf;

/// Why a run cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Settings cannot be read.
    #[error("{source_name}: {message}")]
    Settings {
        /// The file or flag.
        source_name: String,
        /// What is wrong with it.
        message: String,
    },
    /// A setting is out of range.
    #[error("`{setting}` is {found}, expected {expected}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// What was found.
        found: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// One of the two files of prompts is missing.
    #[error(
        "`prompts.red_team` and `prompts.helpful` belong together: give a file of red-team prompts (--prompts) and one of \
         helpful prompts (--helpful)"
    )]
    HalfOfThePrompts,
    /// A model from elsewhere has no prompts.
    #[error("--model needs prompts of its own: give --prompts FILE and --helpful FILE")]
    NoPrompts,
    /// The settings of a stage are out of range.
    #[error("[{table}] {source}")]
    Table {
        /// The table of the settings.
        table: &'static str,
        /// What is wrong in it.
        source: Box<Self>,
    },
    /// A run folder belongs to other settings.
    #[error(
        "{folder} holds a run with other settings; choose another folder with --name or --runs, or repeat the \
         command with the settings recorded in its run.toml{}\n{differences}",
        anew_without(.made)
    )]
    OtherSettings {
        /// The run folder.
        folder: PathBuf,
        /// One line for each key that differs.
        differences: String,
        /// The folders of stages that were made with what differs, if it is nothing but settings of training stages.
        made: Vec<PathBuf>,
    },
    /// A run folder lacks its settings.
    #[error(
        "there is no run.toml in {folder}, although `{stage}` is finished there: it says with which settings that was made; \
         put it back, or choose another folder with --name or --runs"
    )]
    NoRecordedSettings {
        /// The run folder.
        folder: PathBuf,
        /// A stage that is finished.
        stage: Stage,
    },
    /// A stage cannot end with its settings.
    #[error(
        "{source}\nto begin `{stage}` anew, remove {folder} and give the command again with other settings, such as \
         `--set {setting}=…`"
    )]
    Anew {
        /// The stage.
        stage: Stage,
        /// Its folder.
        folder: PathBuf,
        /// The setting that is most likely to help.
        setting: &'static str,
        /// What it failed with.
        source: Box<Self>,
    },
    /// There is no run in a folder.
    #[error("there is no run in {folder}; give the folder of one, such as runs/embedded")]
    NoRun {
        /// The folder.
        folder: PathBuf,
    },
    /// Another process works in the run folder.
    #[error(
        "another process is working in {folder}; wait for it to end, or choose another folder with --name or --runs"
    )]
    Busy {
        /// The run folder.
        folder: PathBuf,
    },
    /// A stage needs the files of another that is not finished.
    #[error(
        "`{stage}` needs the files of `{needed}`, which is not finished in {folder}; run it first, or the whole loop"
    )]
    NotReady {
        /// The stage asked for.
        stage: Stage,
        /// The stage it needs.
        needed: Stage,
        /// The run folder.
        folder: PathBuf,
    },
    /// A file or folder cannot be read or written.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A prompt leaves no room for what the stages put behind it.
    #[error(
        "{file}: prompt {id} ({start:?} …) has {tokens} tokens, but only {room} of the model's {context} are left beside \
         replies, critiques and questions; shorten it, lower the `max_tokens` of the stages, or leave such prompts out \
         with `prompts.overlong = \"drop\"` (--drop-overlong)"
    )]
    PromptTooLong {
        /// The file of prompts.
        file: PathBuf,
        /// [`dialogue::Dialogue::id`] of the prompt.
        id: String,
        /// How it starts.
        start: String,
        /// Its tokens.
        tokens: usize,
        /// The most tokens a prompt may have.
        room: usize,
        /// Tokens the model can hold.
        context: usize,
    },
    /// There are too few prompts to do anything with.
    #[error(
        "{file} leaves {found} prompts for {purpose}, at least {least} are needed; give a file with more, or ask for fewer"
    )]
    TooFewPrompts {
        /// The file of prompts.
        file: PathBuf,
        /// Prompts found.
        found: usize,
        /// What they are for.
        purpose: &'static str,
        /// Prompts needed.
        least: usize,
    },
    /// The judge or policy leaves nothing to learn from.
    #[error("{stage}: {message}")]
    Nothing {
        /// The stage.
        stage: Stage,
        /// What is missing and what to do.
        message: String,
    },
    /// A model given by name.
    #[error(transparent)]
    Hub(#[from] hub::Error),
    /// The constitution.
    #[error(transparent)]
    Constitution(#[from] constitution::Error),
    /// Files of data.
    #[error(transparent)]
    Dataset(#[from] dataset::Error),
    /// Critique and revision.
    #[error(transparent)]
    CritiqueRevision(#[from] critique_revision::Error),
    /// Fine-tuning.
    #[error(transparent)]
    Sft(#[from] sft::Error),
    /// New requests.
    #[error(transparent)]
    RedTeam(#[from] red_team::Error),
    /// Labels.
    #[error(transparent)]
    AiFeedback(#[from] ai_feedback::Error),
    /// The preference model.
    #[error(transparent)]
    PreferenceModel(#[from] preference_model::Error),
    /// The first pass of the preference model.
    #[error("`preference_model.pretraining`: {0}")]
    Pretraining(#[source] preference_model::Error),
    /// The file of that pass.
    #[error("`preference_model.pretraining.file`: {0}{instead}", instead = in_its_place(.0))]
    PretrainingFile(#[source] dataset::Error),
    /// Reinforcement learning.
    #[error(transparent)]
    Ppo(#[from] ppo::Error),
    /// Evaluations.
    #[error(transparent)]
    Evals(#[from] evals::Error),
    /// The report.
    #[error(transparent)]
    Report(#[from] report::Error),
    /// Model folders.
    #[error(transparent)]
    Transformer(#[from] transformer::Error),
    /// A model failed.
    #[error(transparent)]
    LanguageModel(#[from] language_model::Error),
    /// A model on a server.
    #[error(transparent)]
    OpenAi(#[from] openai::Error),
    /// A job of its own.
    #[error(transparent)]
    Job(#[from] jobs::Error),
    /// Settings of training, or its records.
    #[error(transparent)]
    Training(#[from] training::Error),
    /// The embedded model.
    #[error(transparent)]
    ModelOrganism(#[from] model_organism::Error),
}

/// What to give in the place of a file of comparisons that cannot be opened.
fn in_its_place(error: &dataset::Error) -> &'static str {
    match error {
        dataset::Error::Open { .. } => {
            "; name a file of preferences, or leave `preference_model.pretraining` out"
        }
        _ => "",
    }
}

/// The way on where nothing but settings of training stages differs.
fn anew_without(made: &[PathBuf]) -> String {
    if made.is_empty() {
        return String::new();
    }
    let folders: Vec<String> = made.iter().map(|folder| folder.display().to_string()).collect();
    format!("; or remove {}, to make that anew with these settings", folders.join(", "))
}
