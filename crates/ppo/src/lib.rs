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
//! use ppo::{Error, PpoConfig};
//! use training::Silent;
//! use transformer::Transformer;
//!
//! /// Makes replies short.
//! fn shorten<B: AutodiffBackend>(
//!     policy: Transformer<B>,
//!     prompts: &[Dialogue],
//! ) -> Result<Transformer<B>, Error> {
//!     let brevity = |dialogue: &Dialogue| -(dialogue.last_reply().unwrap_or("").len() as f32);
//!     let config = PpoConfig { kl_coefficient: 0.1, ..PpoConfig::default() };
//!     config.run(policy, &brevity, prompts, 7, &mut Silent)
//! }
//! ```
//!
//! The numerics work on ragged rows, one a reply and one number a token, without padding and hence without masks:
//! [`kl_per_token`], [`token_rewards`], [`generalised_advantages`], [`returns`], [`whiten`], and on flat tensors of
//! tokens [`policy_loss`] and [`value_loss`]. What implementations differ in is settled here as follows:
//!
//! - The score goes to the last token of the reply, which is its end-of-turn token unless the reply was cut.
//! - The value after the last token is 0.
//! - Advantages are whitened over all reply tokens of a round, returns are not.
//! - A loss is the sum over tokens divided by the number of reply tokens of the whole optimiser step.
//! - Log-probs come from [`transformer::token_log_probs`] alone, at temperature 1, those of the rollout too.

mod actor_critic;
mod advantage;
mod config;
mod error;
mod estimate;
mod experience;
mod kl_reward;
mod loss;
mod metrics;
mod precision;
mod prompt_cursor;
mod rollout;
mod run;
#[cfg(test)]
mod test_support;
mod update;
mod whiten;

pub use advantage::{generalised_advantages, returns};
pub use config::{PpoConfig, ValueTrunk};
pub use error::Error;
pub use experience::{Estimates, Experience};
pub use kl_reward::{KlEstimator, kl_per_token, token_rewards};
pub use loss::{mean_entropy, policy_loss, value_loss};
pub use metrics::{
    Metrics, RolloutMetrics, UpdateMetrics, approximate_kl, clip_fraction, explained_variance,
};
pub use rollout::ScoredReply;
pub use run::{AfterIteration, CallbackError, Iteration};
pub use whiten::{Variance, whiten};
