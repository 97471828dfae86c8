//! Constitutional AI (arXiv 2212.08073) from end to end.
//!
//! Every step of the method is a crate of its own, re-exported here under its name; [`run`] wires them into the whole
//! loop with a folder on disk that survives a crash, [`experiments`] sets such runs beside each other, and the command line
//! `rlaif` is a thin layer over both.
//!
//! | paper | crate |
//! |---|---|
//! | the principles | [`constitution`] |
//! | 3.1 critique and revision | [`critique_revision`] |
//! | 3.1 fine-tuning (SL-CAI) | [`sft`] |
//! | 4.1 AI feedback | [`ai_feedback`] |
//! | 4.1 preference model | [`preference_model`] |
//! | 4.2 reinforcement learning (RL-CAI) | [`ppo`] |
//! | red-team prompts | [`red_team`] |
//! | 3.1 and 4.1 over more prompts than memory holds | [`jobs`] |
//! | evaluations | [`evals`] |

pub use ai_feedback;
pub use constitution;
pub use critique_revision;
pub use dataset;
pub use dialogue;
pub use evals;
pub use hub;
pub use jobs;
pub use language_model;
pub use model_organism;
pub use openai;
pub use ppo;
pub use preference_model;
pub use red_team;
pub use report;
pub use sft;
pub use training;
pub use transformer;

pub mod experiments;
pub mod run;
