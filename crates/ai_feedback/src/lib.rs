//! AI feedback: a judge labels pairs of replies by the principles of a constitution, as section 4.1 of Constitutional AI
//! (arXiv 2212.08073) does.
//!
//! The judge reads a conversation, one drawn principle and two replies, and its probability of answering (A) rather than
//! (B) is the soft label that a preference model is trained on. Both orders of the replies are averaged, and, if asked for,
//! several principles and several rationales. Each [`Label`] keeps every question, probability and rationale, so that every
//! preference can be traced back; on disk it is a row that TRL reads.
//!
//! ```
//! use ai_feedback::{FeedbackConfig, label_directly};
//! use constitution::Constitution;
//! use dialogue::{Comparison, Dialogue};
//! use language_model::{Choose, Error};
//!
//! /// Takes the reply with salt for the worse one, and otherwise leans to the first.
//! struct Gardener;
//!
//! impl Choose for Gardener {
//!     fn choose(&self, prompts: &[Dialogue], _: &[&str]) -> Result<Vec<Vec<f64>>, Error> {
//!         let salt_first = |prompt: &Dialogue| prompt.messages[0].content.contains("(A) Use salt");
//!         let weigh = |prompt| if salt_first(prompt) { vec![0.3, 0.7] } else { vec![0.9, 0.1] };
//!         Ok(prompts.iter().map(weigh).collect())
//!     }
//! }
//!
//! let pairs = [Comparison {
//!     prompt: Dialogue::from_user("How do I kill the weeds?"),
//!     replies: ["Use salt.".to_owned(), "Pull them out.".to_owned()],
//! }];
//! let config = FeedbackConfig::default();
//! let labels = label_directly(&Gardener, &Constitution::general(), &pairs, &config, 0)?;
//! assert!((labels[0].probability_a - 0.2).abs() < 1e-12); // (0.3 + (1 - 0.9)) / 2
//! assert_eq!(labels[0].preference().chosen, "Pull them out.");
//! # Ok::<(), ai_feedback::Error>(())
//! ```
//!
//! [`label`] takes any [`Judge`], which thinks aloud first if [`FeedbackConfig::chain_of_thought`] is set;
//! [`label_directly`] takes a type that implements [`language_model::Choose`] alone. [`summarise`] says what habits the judge
//! shows in its labels, and [`probe`] asks for what they do not show; [`probe_beside`] does for labels that are not all in
//! memory. [`DirectReward`] does without pairs: the judge scores one reply, and the score is a reward for reinforcement
//! learning.

mod config;
mod direct_config;
mod direct_reward;
mod error;
mod few_shot;
mod judge;
mod label;
mod labelling;
mod paper;
mod probe;
mod question;
mod row;
mod summary;

pub use config::{ChainOfThought, FeedbackConfig};
pub use direct_config::DirectRewardConfig;
pub use direct_reward::{DirectReward, DirectScore, ScoreAnswer};
pub use error::Error;
pub use few_shot::{Answer, FewShot};
pub use judge::Judge;
pub use label::{AnswerLabel, Label, OrderLabel, PrincipleLabel, pair_id};
pub use labelling::{label, label_directly};
pub use paper::few_shots_from_paper;
pub use probe::{probe, probe_beside};
pub use question::{OPTIONS, concluding_question, question, reasoning_question, scoring_question};
pub use summary::{Summary, Tally, summarise};
