//! Critique and revision of a model's own replies: section 3.1 of Constitutional AI (arXiv 2212.08073).
//!
//! A helpful model answers a prompt, is asked by a principle what is wrong with its answer, and rewrites it; the new
//! answer takes the place of the old one, and the next principle is drawn. Every version is kept in a [`Trace`], with
//! the principle, the requests and the critique that led to it, and what is wrong with any of them: models confuse
//! critique and revision, say nothing, break off or repeat themselves ([`Failure`], [`summarise`]).
//!
//! ```
//! use constitution::Constitution;
//! use critique_revision::{CritiqueRevisionConfig, critique_and_revise};
//! use dialogue::Dialogue;
//! use language_model::{Completion, Error, Generate, Prompt, Sampling, StopReason};
//!
//! /// Answers everything by the number of turns it has seen.
//! struct Parrot;
//!
//! impl Generate for Parrot {
//!     fn generate(&self, prompts: &[Prompt], _: &Sampling) -> Result<Vec<Completion>, Error> {
//!         let complete = |prompt: &Prompt| Completion {
//!             text: format!("after {} turns", prompt.dialogue.messages.len()),
//!             tokens: 3,
//!             stopped: StopReason::Stop,
//!         };
//!         Ok(prompts.iter().map(complete).collect())
//!     }
//! }
//!
//! let prompts = [Dialogue::from_user("How do I kill the weeds?")];
//! let config = CritiqueRevisionConfig { revisions: 1, ..Default::default() };
//! let traces = critique_and_revise(&Parrot, &Constitution::general(), &prompts, &config, 0)?;
//! assert_eq!(traces[0].versions(), ["after 1 turns", "after 5 turns"]);
//! assert_eq!(traces[0].steps[0].critique, "after 3 turns");
//! # Ok::<(), critique_revision::Error>(())
//! ```

mod advance;
mod config;
mod critique_and_revise;
mod detect;
mod draw;
mod error;
mod failure;
mod few_shots;
mod form;
mod paper;
mod prompts;
#[cfg(test)]
mod scripted;
mod summary;
mod trace;

pub use config::CritiqueRevisionConfig;
pub use critique_and_revise::critique_and_revise;
pub use detect::{
    critique_failures, critique_is_revision, is_unchanged, revision_failures, revision_is_critique,
};
pub use error::Error;
pub use failure::{Exhausted, Failure, FailurePolicies, Policy};
pub use form::{Form, Sought};
pub use paper::few_shots_from_paper;
pub use prompts::{critique_prompt, revision_prompt};
pub use summary::{FailureCounts, RevisionSummary, summarise};
pub use trace::{Draft, Part, Step, Trace};
