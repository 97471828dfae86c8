//! The shape of a model: `config.json` as Hugging Face writes it.

mod file;
mod keys;
mod validate;

use serde_json::{Map, Value};

/// A family of models; they differ in norms, positions, projections and in the names of their tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Llama 2 and 3, `SmolLM2` and others that keep to its architecture.
    Llama,
    /// Llama with a sliding window.
    Mistral,
    /// Llama with constants in the query, key and value projections (Qwen2, Qwen2.5).
    Qwen2,
    /// Queries and keys are normed.
    Qwen3,
    /// The text models of Gemma 3: local and global layers, norms on both sides of a block.
    Gemma3,
    /// Learned positions, layer norms, constants everywhere.
    Gpt2,
    /// Pythia and other GPT-NeoX models: part of every head turns, attention and feed-forward block side by side.
    GptNeoX,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Llama,
        Self::Mistral,
        Self::Qwen2,
        Self::Qwen3,
        Self::Gemma3,
        Self::Gpt2,
        Self::GptNeoX,
    ];

    /// `model_type` of `config.json`.
    pub fn model_type(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Mistral => "mistral",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Gemma3 => "gemma3_text",
            Self::Gpt2 => "gpt2",
            Self::GptNeoX => "gpt_neox",
        }
    }

    /// The class of `transformers` that opens a model.
    pub fn class(self, architecture: Architecture) -> &'static str {
        match (self, architecture) {
            (Self::Llama, Architecture::CausalLm) => "LlamaForCausalLM",
            (Self::Llama, Architecture::Score) => "LlamaForSequenceClassification",
            (Self::Mistral, Architecture::CausalLm) => "MistralForCausalLM",
            (Self::Mistral, Architecture::Score) => "MistralForSequenceClassification",
            (Self::Qwen2, Architecture::CausalLm) => "Qwen2ForCausalLM",
            (Self::Qwen2, Architecture::Score) => "Qwen2ForSequenceClassification",
            (Self::Qwen3, Architecture::CausalLm) => "Qwen3ForCausalLM",
            (Self::Qwen3, Architecture::Score) => "Qwen3ForSequenceClassification",
            (Self::Gemma3, Architecture::CausalLm) => "Gemma3ForCausalLM",
            (Self::Gemma3, Architecture::Score) => "Gemma3TextForSequenceClassification",
            (Self::Gpt2, Architecture::CausalLm) => "GPT2LMHeadModel",
            (Self::Gpt2, Architecture::Score) => "GPT2ForSequenceClassification",
            (Self::GptNeoX, Architecture::CausalLm) => "GPTNeoXForCausalLM",
            (Self::GptNeoX, Architecture::Score) => "GPTNeoXForSequenceClassification",
        }
    }

    /// True if norms also take off the mean and add a constant.
    pub(crate) fn has_layer_norms(self) -> bool {
        matches!(self, Self::Gpt2 | Self::GptNeoX)
    }

    /// True if the feed-forward block has a gate.
    pub(crate) fn is_gated(self) -> bool {
        !self.has_layer_norms()
    }
}

/// The function inside the feed-forward block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(x)`.
    Silu,
    /// Exact Gaussian error linear unit.
    Gelu,
    /// The same with its distribution function approximated by a hyperbolic tangent.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
}

/// What stands on top of the decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// Logits over the vocabulary: `LlamaForCausalLM` and the like.
    CausalLm,
    /// One score a sequence: `LlamaForSequenceClassification` and the like, with one label.
    Score,
}

/// How the model knows the place of a token.
#[derive(Debug, Clone, PartialEq)]
pub enum Positions {
    /// A vector for every place, added to the embedding.
    Learned,
    /// Queries and keys are turned.
    Rotary(Rope),
}

/// Rotary position embedding.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Base of the wavelengths.
    pub theta: f64,
    /// Extension to longer contexts.
    pub scaling: RopeScaling,
    /// Dimensions of a head that turn, an even number.
    pub dimensions: usize,
    /// Base of the wavelengths in layers with a sliding window, if it differs; they are not extended.
    pub local_theta: Option<f64>,
}

/// An extension of rotary position embedding to longer contexts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RopeScaling {
    /// None.
    None,
    /// All turns are slowed.
    Linear {
        /// By how much.
        factor: f64,
    },
    /// Slow turns are slowed, fast ones kept, as in Llama 3.
    Llama3 {
        /// By how much slow turns are slowed.
        factor: f64,
        /// Turns with wavelengths beyond the original context over this are slowed.
        low_freq_factor: f64,
        /// Turns with wavelengths under the original context over this are kept.
        high_freq_factor: f64,
        /// The context before the extension, in tokens.
        original_max_position_embeddings: usize,
    },
}

/// Attention to the last tokens alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlidingWindow {
    /// Tokens that a token sees, itself included.
    pub size: usize,
    /// For every layer whether it looks through the window.
    pub layers: Vec<bool>,
}

/// The shape of a model, in the terms of the Llama family; other families write some of them under other names.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `vocab_size` | required | tokens in the vocabulary |
/// | `hidden_size` | required | width of the model |
/// | `intermediate_size` | required; GPT-2: 4 times the width | width inside the feed-forward block |
/// | `num_hidden_layers` | required | layers |
/// | `num_attention_heads` | required | query heads |
/// | `num_key_value_heads` | query heads | key and value heads; divides the query heads |
/// | `head_dim` | `hidden_size / num_attention_heads`; Qwen3: 128, Gemma 3: 256 | width of a head |
/// | `max_position_embeddings` | 2048 | longest context, in tokens |
/// | `rms_norm_eps` | 1e-6; layer norms: 1e-5 | added to the mean square or variance |
/// | `rope_theta` | 10000; Gemma 3: 1000000 | base of the rotary wavelengths |
/// | `rope_scaling` | none | none, `linear` or `llama3` |
/// | `sliding_window` | none; Mistral, Gemma 3: 4096 | tokens that a token sees in some or all layers |
/// | `attention_bias`, `mlp_bias` | false; GPT-NeoX: true | constants in the projections |
/// | `tie_word_embeddings` | false; GPT-2, Gemma 3: true | the embedding is also the output projection |
/// | `hidden_act` | `silu`; Gemma 3: `gelu_pytorch_tanh` | `silu`, `gelu`, `gelu_new` or `relu` |
/// | `initializer_range` | 0.02 | standard deviation of fresh weights |
/// | `bos_token_id`, `eos_token_id`, `pad_token_id` | none | special tokens; `eos_token_id` may be a list |
///
/// Keys that are not known are kept and written back.
#[derive(Debug, Clone, PartialEq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "these are the choices that the files make one by one"
)]
pub struct ModelConfig {
    /// The kind of model.
    pub family: Family,
    /// What stands on top of the decoder.
    pub architecture: Architecture,
    /// Tokens in the vocabulary.
    pub vocab_size: usize,
    /// Width of the model.
    pub hidden_size: usize,
    /// Width inside the feed-forward block.
    pub intermediate_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads.
    pub num_key_value_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Longest context, in tokens.
    pub max_position_embeddings: usize,
    /// Added to the mean square, or to the variance, before the root.
    pub norm_epsilon: f64,
    /// How the model knows the place of a token.
    pub positions: Positions,
    /// Attention to the last tokens alone, in some layers or all.
    pub sliding_window: Option<SlidingWindow>,
    /// Scores are products of queries and keys over the root of this; the width of a head but in Gemma.
    pub query_scalar: f64,
    /// Constants in the query, key and value projections.
    pub query_bias: bool,
    /// A constant in the output projection of attention.
    pub attention_output_bias: bool,
    /// Constants in the feed-forward block.
    pub feed_forward_bias: bool,
    /// Attention and feed-forward block read the same state and are added side by side.
    pub parallel_residual: bool,
    /// The embedding is also the output projection.
    pub tie_word_embeddings: bool,
    /// The function inside the feed-forward block.
    pub hidden_act: Activation,
    /// Standard deviation of fresh weights.
    pub initializer_range: f64,
    /// Begins a text.
    pub bos_token_id: Option<u32>,
    /// End a text or a turn.
    pub eos_token_id: Vec<u32>,
    /// Fills rows up.
    pub pad_token_id: Option<u32>,
    /// Keys of the file that mean nothing here.
    pub other: Map<String, Value>,
}

impl ModelConfig {
    /// True if the output projection has weights of its own.
    pub(crate) fn has_output(&self) -> bool {
        self.architecture == Architecture::CausalLm && !self.tie_word_embeddings
    }

    /// True if queries and keys are normed.
    pub(crate) fn norms_queries(&self) -> bool {
        matches!(self.family, Family::Qwen3 | Family::Gemma3)
    }

    /// True if what a block adds to the stream is normed too.
    pub(crate) fn norms_outputs(&self) -> bool {
        self.family == Family::Gemma3
    }

    /// True if queries, keys and values come out of one projection.
    pub(crate) fn fuses_queries(&self) -> bool {
        matches!(self.family, Family::Gpt2 | Family::GptNeoX)
    }

    /// True if layer `layer` looks through the sliding window.
    pub(crate) fn is_windowed(&self, layer: usize) -> bool {
        self.sliding_window
            .as_ref()
            .is_some_and(|window| window.layers.get(layer).copied().unwrap_or(false))
    }

    /// Width of the queries of a token.
    pub(crate) fn query_width(&self) -> usize {
        self.num_attention_heads * self.head_dim
    }

    /// Width of the keys of a token, and of its values.
    pub(crate) fn key_width(&self) -> usize {
        self.num_key_value_heads * self.head_dim
    }
}
