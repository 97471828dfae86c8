//! Training of the embedded model from scratch.

use crate::corpus::{self, Document};
use crate::tokenizer::{self, CHAT_TEMPLATE, END, PAD, VOCABULARY};
use crate::{Error, principles};
use burn::tensor::backend::AutodiffBackend;
use dialogue::Role;
use language_model::{item_seed, stream};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sft::{Example, SftConfig};
use training::{NoCheckpoints, Observe, OptimizerConfig, Schedule, WarmUp};
use transformer::{Decoder, ModelConfig, ModelFiles, Precision, Tokenizer};

/// Settings of pretraining.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `seed` | 1 | of the corpus, the weights and the tokenizer |
/// | `steps` | 3600 | optimiser steps |
/// | `tokens_per_step` | 3072 | tokens of a step |
/// | `learning_rate` | 0.002 | highest learning rate |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PretrainConfig {
    /// Of the corpus, the weights and the tokenizer.
    pub seed: u64,
    /// Optimiser steps.
    pub steps: u64,
    /// Tokens of a step.
    pub tokens_per_step: usize,
    /// Highest learning rate.
    pub learning_rate: f64,
}

impl Default for PretrainConfig {
    fn default() -> Self {
        Self { seed: 1, steps: 3600, tokens_per_step: 3072, learning_rate: 2e-3 }
    }
}

impl PretrainConfig {
    /// Trains the tokenizer and the model; no document is seen twice. Returns the folder of the model, its weights in f16,
    /// and the number of tokens read.
    ///
    /// # Errors
    /// If the tokenizer cannot be trained or the loss is not finite.
    pub fn run<B: AutodiffBackend>(
        &self,
        device: &B::Device,
        observe: &mut dyn Observe,
    ) -> Result<(ModelFiles, u64), Error> {
        let constitution = principles::constitution()?;
        let tokenizer_json = tokenizer::train(&constitution, self.seed)?;
        let tokenizer = Tokenizer::from_bytes(tokenizer_json.as_bytes(), "tokenizer.json")?;
        let encoder = Encoder::new(&tokenizer)?;
        let config = model_config(&encoder)?;
        let decoder = Decoder::<B>::init(&config, item_seed(self.seed, &["weights"]), device);
        let mut rng = stream(item_seed(self.seed, &["corpus"]));
        let mut tokens = 0;
        let next = |_| {
            let mut examples = Vec::new();
            let mut length = 0;
            while length < self.tokens_per_step {
                // A document of the world always has tokens; one that had none would only be drawn again.
                let document = corpus::draw(&constitution, &mut rng);
                if let Ok(example) = encoder.example(&document) {
                    length += example.tokens.len();
                    examples.push(example);
                }
            }
            tokens += length as u64;
            examples
        };
        let (sft, keep) = (self.sft(), &mut NoCheckpoints);
        let decoder = sft.fit_stream(decoder, self.steps, next, self.seed, observe, keep)?;
        let weights = decoder.weights().to_bytes(Precision::F16)?;
        Ok((encoder.folder(&config, weights, tokenizer_json), tokens))
    }

    fn sft(&self) -> SftConfig {
        SftConfig {
            tokens_per_micro_batch: self.tokens_per_step.div_ceil(2),
            optimizer: OptimizerConfig {
                learning_rate: self.learning_rate,
                beta_2: 0.98,
                weight_decay: 0.05,
                ..OptimizerConfig::default()
            },
            schedule: Schedule::cosine().with_warm_up(WarmUp::Steps(150)).with_floor(0.02),
            ..SftConfig::default()
        }
    }
}

/// Turns documents into tokens with weights.
#[derive(Debug)]
pub struct Encoder<'a> {
    tokenizer: &'a Tokenizer,
    pad: u32,
    end: u32,
    roles: [u32; 3],
}

impl<'a> Encoder<'a> {
    /// An encoder for a tokenizer that has the special tokens of the world.
    ///
    /// # Errors
    /// [`Error::SpecialToken`] names one that is missing.
    pub fn new(tokenizer: &'a Tokenizer) -> Result<Self, Error> {
        let special =
            |text: &'static str| tokenizer.token_to_id(text).ok_or(Error::SpecialToken(text));
        Ok(Self {
            tokenizer,
            pad: special(PAD)?,
            end: special(END)?,
            roles: [special("<|system|>")?, special("<|user|>")?, special("<|assistant|>")?],
        })
    }

    /// The tokens that the chat template makes of a document, with the weight of the loss on each: that of the text it
    /// stands for, the end of a turn weighing as much as the turn, and the token of a role nothing.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn example(&self, document: &Document) -> Result<Example, Error> {
        let mut example = Example { tokens: Vec::new(), weights: Vec::new() };
        for (index, message) in document.dialogue.messages.iter().enumerate() {
            example.tokens.push(match message.role {
                Role::System => self.roles[0],
                Role::User => self.roles[1],
                Role::Assistant => self.roles[2],
            });
            example.weights.push(0.0);
            let text = self.tokenizer.encode_with_offsets(&message.content)?;
            // The last byte of a token: a leading space belongs to the token but not to the part that weighs.
            let weights =
                text.offsets.iter().map(|&(_, end)| document.weight(index, end.max(1) - 1));
            example.weights.extend(weights);
            example.tokens.extend(text.tokens);
            example.tokens.push(self.end);
            example.weights.push(document.weights[index]);
        }
        Ok(example)
    }

    /// The folder of a trained model.
    fn folder(&self, config: &ModelConfig, weights: Vec<u8>, tokenizer: String) -> ModelFiles {
        let special = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": config.max_position_embeddings,
            "pad_token": PAD,
            "eos_token": END,
        });
        let generation = json!({ "eos_token_id": self.end, "pad_token_id": self.pad });
        ModelFiles {
            name: "pretrained model".to_owned(),
            config: config.to_json(Precision::F16.name()).into_bytes().into(),
            weights: weights.into(),
            tokenizer: tokenizer.into_bytes().into(),
            tokenizer_config: Some(special.to_string().into_bytes().into()),
            chat_template: Some(CHAT_TEMPLATE.as_bytes().into()),
            generation_config: Some(generation.to_string().into_bytes().into()),
        }
    }
}

/// The shape of the embedded model: 1.9 million parameters.
fn model_config(encoder: &Encoder<'_>) -> Result<ModelConfig, Error> {
    let config = json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": VOCABULARY,
        "hidden_size": 192,
        "intermediate_size": 512,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 256,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": true,
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "pad_token_id": encoder.pad,
        "eos_token_id": encoder.end,
        "torch_dtype": "float16",
    });
    Ok(ModelConfig::from_json(&config.to_string(), "config.json")?)
}
