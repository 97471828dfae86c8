//! Supervised fine-tuning: the SL-CAI step of Constitutional AI (arXiv 2212.08073, section 3), and pretraining.
//!
//! The loss is the cross-entropy of the assistant's tokens, end-of-turn tokens included, averaged over **all** tokens of
//! an optimiser step that carry a loss ([`cross_entropy`]); how a step is cut into micro-batches leaves it unchanged.
//!
//! | | learns from |
//! |---|---|
//! | [`SftConfig::fit`] | dialogues |
//! | [`SftConfig::fit_mixture`] | dialogues of several sources, each with a weight |
//! | [`SftConfig::fit_examples`], [`SftConfig::fit_example_mixture`] | rows of tokens with weights |
//! | [`SftConfig::fit_stream`] | the same, made when a step is due |
//!
//! All of them can be interrupted and go on to the same bits; see [`training::Checkpoint`].
//!
//! ```
//! use burn::backend::Autodiff;
//! use sft::{Example, SftConfig};
//! use training::{NoCheckpoints, Silent};
//! use transformer::{Decoder, ModelConfig};
//!
//! type B = Autodiff<burn_flex::Flex>;
//! let config = r#"{"model_type": "llama", "vocab_size": 16, "hidden_size": 8, "intermediate_size": 16,
//!     "num_hidden_layers": 1, "num_attention_heads": 2}"#;
//! let config = ModelConfig::from_json(config, "config.json")?;
//! let decoder = Decoder::<B>::init(&config, 1, &Default::default());
//! // Only the last two tokens carry a loss.
//! let example = Example { tokens: vec![1, 2, 3, 4], weights: vec![0.0, 0.0, 1.0, 1.0] };
//! let fitted = SftConfig::default().fit_examples(decoder, &[example], 1, &mut Silent, &mut NoCheckpoints)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod config;
mod draw;
mod error;
mod evaluate;
mod example;
mod examples;
mod fit;
mod lesson;
mod loss;
mod mixture;
mod shorten;
mod step;
mod stopping;
#[cfg(test)]
mod testing;
mod train;

pub use config::SftConfig;
pub use error::Error;
pub use evaluate::evaluate;
pub use example::Example;
pub use examples::Examples;
pub use loss::cross_entropy;
pub use mixture::Source;
pub use step::{loss_part, micro_batches, training_loss_part, weight_sum};
