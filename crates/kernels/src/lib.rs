//! Fused operations of transformers on burn.
//!
//! Every function takes and gives tensors of any backend. On flex, burn's CPU backend, it works on the storage itself,
//! in place where it can, with vector instructions and on all cores, and those that training needs have a backward pass
//! written by hand; on every other backend it is made of burn's primitives, and the two that would keep what grows with the
//! square of tokens, or with the vocabulary, have a backward pass written by hand too, for training
//! ([`causal_attention_for_training`], [`token_log_probs_for_training`]). Both roads give the same numbers up to rounding.
//!
//! The fast road needs no trait bound: the backend is recognised at run time, so code that is generic over `B: Backend`
//! calls these functions as it would call burn's own.
#![allow(
    clippy::inline_always,
    reason = "what is not inlined is compiled for the oldest processor, not for the one it runs on"
)]

mod activation;
mod adamw;
mod attend_step;
mod awake;
mod causal_attention;
#[cfg(test)]
mod exact;
#[cfg(test)]
mod exact_attention;
#[cfg(test)]
mod exact_norm;
mod exp;
mod flex;
mod gemm;
mod lanes;
mod layer_norm;
mod logits;
mod masked_attention;
mod masked_softmax;
mod one_column;
mod project;
mod recorded;
mod rms_norm;
mod rotate;
mod select_rows;
mod sum_of_squares;
mod token_log_probs;
mod tracked;
mod write_rows;

pub use activation::{Activation, activate, gated};
pub use adamw::{AdamW, Moving};
pub use attend_step::attend_step;
pub use causal_attention::{Heads, Rows, Tree, causal_attention, causal_attention_for_training};
pub use flex::is_flex;
pub use layer_norm::layer_norm;
pub use logits::{largest_logit, largest_weights, weigh_logits, weights_from};
pub use masked_softmax::Visibility;
pub use one_column::{product, row_sums};
pub use project::{project, project_each, project_transposed};
pub use rms_norm::rms_norm;
pub use rotate::{Angles, rotate};
pub use select_rows::select_rows;
pub use sum_of_squares::sum_of_squares;
pub use token_log_probs::{Target, token_log_probs, token_log_probs_for_training};
pub use write_rows::{Place, move_row, write_rows};
