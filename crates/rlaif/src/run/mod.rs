//! The whole loop, stage by stage, in a folder that survives a crash.
//!
//! Every stage reads and writes plain files, so that any of them can be repeated, replaced or looked at alone. A
//! finished stage is not repeated; an interrupted one goes on: data stages from their journal, training stages from
//! the newest state that they kept.

mod ai_feedback;
mod critique_revision;
mod error;
mod evals;
mod folder;
mod inputs;
mod job_settings;
mod judge;
mod models;
mod ppo;
mod preference_model;
mod prompts;
mod red_team;
mod session;
mod settings;
mod sft;
mod stage;
mod world;

pub use error::Error;
pub use folder::RunFolder;
pub use inputs::fingerprint;
pub use job_settings::JobSettings;
pub use judge::JudgeSource;
pub use models::{Checkpoint, load_helpful_only, load_policy};
pub use prompts::{PromptSettings, Prompts};
pub use session::Session;
pub use settings::Settings;
pub use stage::Stage;
