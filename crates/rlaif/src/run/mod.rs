//! The whole loop, stage by stage, in a folder that survives a crash.
//!
//! Every stage reads and writes plain files, so that any of them can be repeated, replaced or looked at alone. A
//! finished stage is not repeated; an interrupted one goes on: data stages from their journal, training stages from
//! the newest state that they kept.

mod ai_feedback;
mod anew;
mod critique_revision;
mod direct_reward;
mod error;
mod evals;
mod folder;
mod harm_tags;
mod helpfulness;
mod inputs;
mod job_settings;
mod json_file;
mod judge;
mod label_report;
mod labeller;
mod lending;
mod models;
mod named_constitution;
mod optimizers;
mod ppo;
mod preference_model;
mod preference_model_settings;
mod preference_pairs;
mod prompts;
mod recorded;
mod red_team;
mod results;
mod revising;
mod room;
mod server_settings;
mod session;
mod settings;
mod sft;
mod stage;
mod stage_progress;
mod with_counts;
mod world;

pub use direct_reward::RewardSource;
pub use error::Error;
pub use folder::RunFolder;
pub use inputs::fingerprint;
pub use job_settings::JobSettings;
pub use judge::JudgeSource;
pub use labeller::Labeller;
pub use models::{Checkpoint, load_helpful_only, load_policy};
pub use named_constitution::{built_in_constitution, find_constitution};
pub use preference_model_settings::{PreferenceModelSettings, Pretraining};
pub use prompts::{PromptSettings, Prompts};
pub use results::{read_results, results_path};
pub use server_settings::ServerSettings;
pub use session::Session;
pub use settings::Settings;
pub use stage::Stage;

pub(crate) use self::evals::rates;
pub(crate) use self::ppo::CHECKPOINTS;
