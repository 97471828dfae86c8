//! A decoder's weights under the names and in the layout of Hugging Face: projections as `[out, in]`.

use crate::config::{Architecture, ModelConfig};
use crate::decoder::{Decoder, LayerWeights};
use crate::weights::{Array, Precision, WEIGHTS_FILE, Weights};
use crate::{Error, files};
use burn::tensor::{Tensor, TensorData, backend::Backend};
use std::path::Path;

/// The name of the file that holds the shape of the model.
const CONFIG_FILE: &str = "config.json";

/// Names of the parts of a layer.
mod layer {
    pub(super) const ATTENTION_NORM: &str = "input_layernorm";
    pub(super) const QUERY: &str = "self_attn.q_proj";
    pub(super) const KEY: &str = "self_attn.k_proj";
    pub(super) const VALUE: &str = "self_attn.v_proj";
    pub(super) const ATTENTION_OUTPUT: &str = "self_attn.o_proj";
    pub(super) const FEED_FORWARD_NORM: &str = "post_attention_layernorm";
    pub(super) const GATE: &str = "mlp.gate_proj";
    pub(super) const UP: &str = "mlp.up_proj";
    pub(super) const DOWN: &str = "mlp.down_proj";
}

const EMBEDDING: &str = "model.embed_tokens.weight";
const NORM: &str = "model.norm.weight";
const OUTPUT: &str = "lm_head.weight";

impl ModelConfig {
    /// Reads `config.json` of a model folder.
    ///
    /// # Errors
    /// [`Error::Read`], or those of [`ModelConfig::from_json`].
    pub fn from_folder(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(CONFIG_FILE);
        let bytes = files::read(&path)?;
        Self::from_json(&String::from_utf8_lossy(&bytes), &path.display().to_string())
    }

    /// Writes `config.json` of a model folder; `precision` is that of the weights beside it.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn save(&self, folder: &Path, precision: Precision) -> Result<(), Error> {
        files::write(&folder.join(CONFIG_FILE), self.to_json(precision.name()).as_bytes())
    }
}

impl<B: Backend> Decoder<B> {
    /// Reads `config.json` and the weights of a model folder.
    ///
    /// # Errors
    /// As [`ModelConfig::from_folder`], [`Weights::from_folder`] and [`Decoder::from_weights`].
    pub fn from_folder(folder: &Path, device: &B::Device) -> Result<Self, Error> {
        let config = ModelConfig::from_folder(folder)?;
        let mut weights = Weights::from_folder(folder)?;
        let decoder = Self::from_weights(&config, &mut weights, device)?;
        weights.finish()?;
        Ok(decoder)
    }

    /// Writes `config.json` and `model.safetensors` of a model folder, each whole or not at all.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn save(&self, folder: &Path, precision: Precision) -> Result<(), Error> {
        self.config.save(folder, precision)?;
        self.weights().save(&folder.join(WEIGHTS_FILE), precision)
    }

    /// Takes a decoder's tensors out of `weights`. What stands on top of the decoder (`score.weight`) is left there
    /// for the caller, who then calls [`Weights::finish`].
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::MissingTensor`], [`Error::TensorShape`].
    pub fn from_weights(
        config: &ModelConfig,
        weights: &mut Weights,
        device: &B::Device,
    ) -> Result<Self, Error> {
        config.validate()?;
        let mut reader = Reader { weights, device };
        let table = [config.vocab_size, config.hidden_size];
        let embedding = reader.table(EMBEDDING, table)?;
        let layers = (0..config.num_hidden_layers)
            .map(|index| reader.layer(config, index))
            .collect::<Result<_, _>>()?;
        let norm = reader.vector(NORM, config.hidden_size)?;
        let output = if config.has_output() {
            Some(reader.table(OUTPUT, table)?)
        } else {
            // Some writers store the tied projection a second time.
            reader.weights.discard(OUTPUT);
            None
        };
        Ok(Self::assemble(config, embedding, layers, norm, output))
    }

    /// The decoder under another head: a score needs no output projection, so an untied one is dropped.
    #[must_use]
    pub fn with_architecture(mut self, architecture: Architecture) -> Self {
        self.config.architecture = architecture;
        if !self.config.has_output() {
            self.output = None;
        }
        self
    }

    /// All tensors of the decoder; a caller may add its own before writing them.
    pub fn weights(&self) -> Weights {
        let mut weights = Weights::default();
        weights.insert(EMBEDDING, array(self.embedding.val()));
        weights.insert(NORM, array(self.norm.weight.val()));
        if let Some(output) = &self.output {
            weights.insert(OUTPUT, array(output.val()));
        }
        for (index, part) in self.layers.iter().enumerate() {
            let (attention, feed_forward) = (&part.attention, &part.feed_forward);
            let norms = [
                (layer::ATTENTION_NORM, &part.attention_norm),
                (layer::FEED_FORWARD_NORM, &part.feed_forward_norm),
            ];
            for (part, norm) in norms {
                weights.insert(name(index, part), array(norm.weight.val()));
            }
            let projections = [
                (layer::QUERY, &attention.query),
                (layer::KEY, &attention.key),
                (layer::VALUE, &attention.value),
                (layer::ATTENTION_OUTPUT, &attention.output),
                (layer::GATE, &feed_forward.gate),
                (layer::UP, &feed_forward.up),
                (layer::DOWN, &feed_forward.down),
            ];
            for (part, projection) in projections {
                weights.insert(name(index, part), array(projection.val().transpose()));
            }
        }
        weights
    }
}

fn name(layer: usize, part: &str) -> String {
    format!("model.layers.{layer}.{part}.weight")
}

fn array<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Array {
    let shape = tensor.dims().to_vec();
    let data = tensor.into_data().iter::<f32>().collect();
    Array { shape, data }
}

/// Takes tensors and puts them on the device.
struct Reader<'a, B: Backend> {
    weights: &'a mut Weights,
    device: &'a B::Device,
}

impl<B: Backend> Reader<'_, B> {
    fn layer(&mut self, config: &ModelConfig, index: usize) -> Result<LayerWeights<B>, Error> {
        let model = config.hidden_size;
        let queries = config.num_attention_heads * config.head_dim;
        let keys = config.num_key_value_heads * config.head_dim;
        let inner = config.intermediate_size;
        let name = |part| name(index, part);
        Ok(LayerWeights {
            attention_norm: self.vector(&name(layer::ATTENTION_NORM), model)?,
            query: self.projection(&name(layer::QUERY), [model, queries])?,
            key: self.projection(&name(layer::KEY), [model, keys])?,
            value: self.projection(&name(layer::VALUE), [model, keys])?,
            attention_output: self.projection(&name(layer::ATTENTION_OUTPUT), [queries, model])?,
            feed_forward_norm: self.vector(&name(layer::FEED_FORWARD_NORM), model)?,
            gate: self.projection(&name(layer::GATE), [model, inner])?,
            up: self.projection(&name(layer::UP), [model, inner])?,
            down: self.projection(&name(layer::DOWN), [inner, model])?,
        })
    }

    fn vector(&mut self, name: &str, size: usize) -> Result<Tensor<B, 1>, Error> {
        let data = self.weights.take(name, &[size])?;
        Ok(Tensor::from_data(TensorData::new(data, [size]), self.device))
    }

    fn table(&mut self, name: &str, shape: [usize; 2]) -> Result<Tensor<B, 2>, Error> {
        let data = self.weights.take(name, &shape)?;
        Ok(Tensor::from_data(TensorData::new(data, shape), self.device))
    }

    /// A matrix `[in, out]` that the file holds as `[out, in]`.
    fn projection(&mut self, name: &str, [from, to]: [usize; 2]) -> Result<Tensor<B, 2>, Error> {
        let data = transpose(&self.weights.take(name, &[to, from])?, from);
        Ok(Tensor::from_data(TensorData::new(data, [from, to]), self.device))
    }
}

/// Rows of `columns` numbers to columns. On the host, so that the tensor is laid out in order on every backend.
fn transpose(data: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| data.iter().skip(column).step_by(columns).copied()).collect()
}
