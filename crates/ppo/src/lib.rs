//! Proximal policy optimisation of a language model against any reward (arXiv 2212.08073, section 4; arXiv 2204.05862,
//! section 4; arXiv 1707.06347).
//!
//! [`PpoConfig::run`] draws replies from the policy, has a [`language_model::Reward`] score them, takes a KL penalty
//! against the policy it began with and learns by clipped gradient steps; [`PpoConfig::run_with`] lets the caller look
//! in between. The reward may be a preference model, an evaluation or a closure:
//!
//! ```
//! use burn::tensor::backend::AutodiffBackend;
//! use dialogue::Dialogue;
//! use ppo::{Error, Inputs, PpoConfig};
//! use training::{NoCheckpoints, Silent};
//! use transformer::Transformer;
//!
//! /// Makes replies short.
//! fn shorten<B: AutodiffBackend>(
//!     policy: Transformer<B>,
//!     prompts: &[Dialogue],
//! ) -> Result<Transformer<B>, Error> {
//!     let brevity = |dialogue: &Dialogue| -(dialogue.last_reply().unwrap_or("").len() as f32);
//!     let config = PpoConfig { kl_coefficient: 0.1, ..PpoConfig::default() };
//!     config.run(Inputs::new(policy, &brevity, prompts), 7, &mut Silent, &mut NoCheckpoints)
//! }
//! ```
//!
//! The numerics work on ragged rows, one a reply and one number a token, without padding and hence without masks:
//! [`kl_per_token`], [`token_rewards`], [`generalised_advantages`], [`returns`], [`whiten`], [`leave_one_out`] and the
//! other baselines of groups, and on flat tensors of tokens [`policy_loss`], [`value_loss`] and [`kl_loss`]. What
//! implementations differ in is a named setting of [`PpoConfig`]; [`Preset`] sets them as known systems do. The same
//! everywhere:
//!
//! - A score stands where a token was drawn, or behind it, never on padding; the value behind the last slot is 0.
//! - A loss counts the tokens of the whole optimiser step, so that the cut into micro-batches leaves it unchanged.
//! - Log-probs come from [`transformer::token_log_probs`] alone; what the engine that drew the tokens had instead is
//!   measured and may be corrected for.
//! - Metrics are means over real tokens and replies.

mod actor_critic;
mod advantage;
mod aggregation;
mod alarm;
mod best_of_n;
mod config;
mod cursor;
mod error;
mod estimate;
mod experience;
mod group_advantage;
mod inputs;
mod kl;
mod kl_controller;
mod kl_limit;
mod loss;
mod metrics;
mod phase;
mod precision;
mod ratio;
mod renamed;
mod repetition;
mod rollout;
mod run;
mod start;
mod states;
#[cfg(test)]
mod test_support;
mod token_rewards;
#[cfg(test)]
mod trl_update;
mod update;
mod whiten;

pub use actor_critic::ValueStart;
pub use advantage::{generalised_advantages, returns};
pub use aggregation::{Aggregation, Counts};
pub use config::{BestOfN, KlPlace, PpoConfig, Preset, ValueModel};
pub use error::Error;
pub use experience::{Estimates, Experience};
pub use group_advantage::{
    Advantage, group_centred, group_normalised, leave_one_out, reward_to_go,
};
pub use inputs::Inputs;
pub use kl::{KlEstimator, kl_per_token};
pub use kl_controller::{KlTarget, adapted_coefficient};
pub use kl_limit::KlLimit;
pub use loss::{Clip, importance_weights, kl_loss, mean_entropy, policy_loss, value_loss};
pub use metrics::{
    Metrics, RolloutMetrics, UpdateMetrics, approximate_kl, clip_fraction, explained_variance,
};
pub use phase::Phase;
pub use repetition::repeated_ngrams;
pub use rollout::ScoredReply;
pub use run::{AfterIteration, CallbackError, Iteration};
pub use token_rewards::{ScorePlace, token_rewards};
pub use whiten::{Over, Variance, Whitening, whiten};
