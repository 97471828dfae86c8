//! Decoder-only transformers on burn: Hugging Face folders in and out, fast generation.
//!
//! [`Decoder`] is the network of a family of models, Llama, Mistral, Qwen2, Qwen3, Gemma 3, GPT-2 or GPT-NeoX, as its
//! `config.json` says. [`Transformer`] joins it with its text side, [`Codec`], and answers [`Dialogue`]s.
//! [`token_log_probs`] is the only place where log-probabilities are computed, so that sampling, reference and training
//! cannot drift apart.
//!
//! All of it is generic over the backend; wrap the backend in `Autodiff` to train.
//!
//! ```
//! use burn_flex::{Flex, FlexDevice};
//! use transformer::{Decoder, Engine, ModelConfig, Next, Targets, generate, pad_right, token_log_probs};
//!
//! let config = r#"{"model_type": "llama", "vocab_size": 32, "hidden_size": 16, "intermediate_size": 24,
//!     "num_hidden_layers": 2, "num_attention_heads": 2}"#;
//! let config = ModelConfig::from_json(config, "config.json")?;
//! let decoder = Decoder::<Flex>::init(&config, 1, &FlexDevice);
//!
//! // The log-probability of token 7 behind 1, 2, 3.
//! let hidden = decoder.hidden(pad_right(&[[1, 2, 3]], &FlexDevice));
//! let targets = Targets { positions: vec![2], tokens: vec![7] };
//! assert!(token_log_probs(&decoder, hidden, &targets).into_scalar() < 0.0);
//!
//! // Two prompts of unequal length, continued by four tokens each.
//! let mut most_likely = |_: usize, logits: &mut [f32]| {
//!     let best = (0..32).max_by(|&a, &b| logits[a as usize].total_cmp(&logits[b as usize]));
//!     best.map_or(Next::Stop, Next::Token)
//! };
//! let replies = generate(&decoder, &[vec![1, 2, 3], vec![4]], 4, &Engine::default(), &mut most_likely)?;
//! assert_eq!(replies[1].len(), 4);
//! # Ok::<(), transformer::Error>(())
//! ```
//!
//! [`Dialogue`]: dialogue::Dialogue

mod assemble;
mod attention;
mod batch;
mod cast;
mod chat_template;
mod codec;
mod config;
mod decoder;
mod diverged;
mod draw_rows;
mod drawing;
mod engine;
mod error;
mod feed_forward;
mod files;
#[cfg(test)]
mod fixture;
mod folder;
mod fresh;
mod guard;
mod header;
mod hugging_face;
mod index;
mod jinja;
mod kv_cache;
mod linear;
mod lora;
mod mmap;
mod model;
mod names;
mod norm;
mod optimizer;
mod packed;
mod parameters;
mod peft;
mod prefix_tree;
mod rotary;
mod sampler;
mod scalar_head;
mod scalar_model;
mod shard;
mod stop;
mod stream;
mod strftime;
mod text_stream;
mod token_log_probs;
mod tokenizer;
mod weights;

pub use batch::{pad_right, select_positions};
pub use chat_template::{ChatTemplate, SpecialTokens};
pub use codec::{Codec, TokenizedDialogue};
pub use config::{
    Activation, Architecture, Family, ModelConfig, Positions, Rope, RopeScaling, SlidingWindow,
};
pub use decoder::Decoder;
pub use diverged::check_parameters;
pub use draw_rows::draw_rows;
pub use engine::{Engine, Next, continuation_log_probs, generate};
pub use error::Error;
pub use folder::{ModelFiles, replace_folder, write_folder};
pub use kv_cache::KvCache;
pub use lora::LoraConfig;
pub use model::{Reply, Transformer};
pub use optimizer::Optimizer;
pub use packed::{Packed, micro_batches};
pub use parameters::{fingerprint_of, learning_paths};
pub use sampler::{Sampled, SeenTokens, sample};
pub use scalar_head::ScalarHead;
pub use scalar_model::ScalarModel;
pub use stop::{StopMatcher, first_stop};
pub use text_stream::TextStream;
pub use token_log_probs::{
    Targets, token_log_probs, token_log_probs_and_entropy,
    token_log_probs_and_entropy_for_training, token_log_probs_for_training,
};
pub use tokenizer::{Tokenizer, TokensAt};
pub use weights::{Array, Precision, Weights};
