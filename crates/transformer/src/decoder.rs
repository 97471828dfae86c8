//! The decoder: embedding, layers, final norm, output projection.

use crate::attention::{Attention, Pass, causal_mask};
use crate::config::ModelConfig;
use crate::feed_forward::FeedForward;
use crate::kv_cache::{KvCache, LayerCache};
use crate::norm::RmsNorm;
use crate::rotary::Rotary;
use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor, TensorData, backend::Backend};
use language_model::stream;
use rand::Rng;
use std::f64::consts::TAU;

/// One layer: attention and feed-forward block, each behind a norm and added to the stream.
#[derive(Module, Debug)]
pub(crate) struct Layer<B: Backend> {
    pub(crate) attention_norm: RmsNorm<B>,
    pub(crate) attention: Attention<B>,
    pub(crate) feed_forward_norm: RmsNorm<B>,
    pub(crate) feed_forward: FeedForward<B>,
}

impl<B: Backend> Layer<B> {
    fn forward(&self, x: Tensor<B, 2>, pass: &Pass<B>) -> Tensor<B, 2> {
        let normed = self.attention_norm.forward(x.clone());
        self.feed(self.attention.forward(normed, pass) + x)
    }

    fn forward_cached(
        &self,
        x: Tensor<B, 2>,
        pass: &Pass<B>,
        cache: &mut LayerCache<B>,
    ) -> Tensor<B, 2> {
        let normed = self.attention_norm.forward(x.clone());
        self.feed(self.attention.forward_cached(normed, pass, cache) + x)
    }

    fn feed(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let normed = self.feed_forward_norm.forward(x.clone());
        self.feed_forward.forward(normed) + x
    }
}

/// A decoder-only transformer of the Llama architecture: pre-norm, rotary positions, grouped-query attention, gated
/// feed-forward blocks.
#[derive(Module, Debug)]
pub struct Decoder<B: Backend> {
    /// `[vocabulary, model]`.
    pub(crate) embedding: Param<Tensor<B, 2>>,
    pub(crate) layers: Vec<Layer<B>>,
    pub(crate) norm: RmsNorm<B>,
    /// `[vocabulary, model]`, unless the embedding serves.
    pub(crate) output: Option<Param<Tensor<B, 2>>>,
    #[module(skip)]
    pub(crate) rotary: Rotary,
    #[module(skip)]
    pub(crate) config: ModelConfig,
}

impl<B: Backend> Decoder<B> {
    /// A decoder with fresh weights, the same for the same seed on every backend.
    ///
    /// Weights are normal with the standard deviation `initializer_range`; those of the two projections that each
    /// layer adds to the stream are divided by `sqrt(2 * layers)`, so that the stream's variance does not grow with
    /// depth. Norm weights are 1.
    pub fn init(config: &ModelConfig, seed: u64, device: &B::Device) -> Self {
        let mut rng = stream(seed);
        let model = config.hidden_size;
        let deviation = config.initializer_range;
        let residual = deviation / (2.0 * config.num_hidden_layers as f64).sqrt();
        let mut matrix = |rows: usize, columns: usize, deviation: f64| {
            let data: Vec<f32> = (0..rows * columns).map(|_| normal(&mut rng, deviation)).collect();
            Tensor::from_data(TensorData::new(data, [rows, columns]), device)
        };
        let embedding = matrix(config.vocab_size, model, deviation);
        let layers = (0..config.num_hidden_layers)
            .map(|_| {
                let queries = config.num_attention_heads * config.head_dim;
                let keys = config.num_key_value_heads * config.head_dim;
                let inner = config.intermediate_size;
                LayerWeights {
                    attention_norm: Tensor::ones([model], device),
                    query: matrix(model, queries, deviation),
                    key: matrix(model, keys, deviation),
                    value: matrix(model, keys, deviation),
                    attention_output: matrix(queries, model, residual),
                    feed_forward_norm: Tensor::ones([model], device),
                    gate: matrix(model, inner, deviation),
                    up: matrix(model, inner, deviation),
                    down: matrix(inner, model, residual),
                }
            })
            .collect();
        let output = config.has_output().then(|| matrix(config.vocab_size, model, deviation));
        Self::assemble(config, embedding, layers, Tensor::ones([model], device), output)
    }

    /// Puts weights in their places.
    pub(crate) fn assemble(
        config: &ModelConfig,
        embedding: Tensor<B, 2>,
        layers: Vec<LayerWeights<B>>,
        norm: Tensor<B, 1>,
        output: Option<Tensor<B, 2>>,
    ) -> Self {
        Self {
            embedding: Param::from_tensor(embedding),
            layers: layers.into_iter().map(|layer| layer.into_layer(config)).collect(),
            norm: RmsNorm::new(norm, config.rms_norm_eps),
            output: output.map(Param::from_tensor),
            rotary: Rotary::new(config),
            config: config.clone(),
        }
    }

    /// The shape of the model.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Where the weights are.
    pub fn device(&self) -> B::Device {
        self.embedding.val().device()
    }

    /// Hidden states after the final norm, for training and scoring.
    ///
    /// # Shapes
    /// `tokens` `[rows, time]`, padded on the right, to `[rows, time, model]`. Attention is causal, so what stands in
    /// the padding cannot change the states before it.
    pub fn hidden(&self, tokens: Tensor<B, 2, Int>) -> Tensor<B, 3> {
        let [rows, time] = tokens.dims();
        let device = tokens.device();
        let positions = [(0..time).collect()];
        let pass = Pass {
            rows,
            time,
            rotation: self.rotary.at(&positions, self.heads(), &device),
            causal: causal_mask(time, &device),
            past: None,
        };
        let mut x = self.embed(tokens);
        for layer in &self.layers {
            x = layer.forward(x, &pass);
        }
        self.norm.forward(x).reshape([rows, time, self.config.hidden_size])
    }

    /// A cache for `rows` rows without tokens.
    pub fn cache(&self, rows: usize) -> KvCache<B> {
        KvCache::new(rows, self.layers.len(), self.config.num_attention_heads, &self.device())
    }

    /// Hidden states after the final norm of tokens that follow those in `cache`, which takes them up.
    ///
    /// Not for training: gradients would reach back through the cache.
    ///
    /// # Shapes
    /// `tokens` `[rows, time]`, padded on the right, to `[rows, time, model]`. `lengths[i]`, from 1 to `time`, says how
    /// many tokens of row `i` are real; states beyond mean nothing.
    ///
    /// # Panics
    /// If `lengths` or `cache` have another number of rows than `tokens`.
    pub fn hidden_cached(
        &self,
        tokens: Tensor<B, 2, Int>,
        lengths: &[usize],
        cache: &mut KvCache<B>,
    ) -> Tensor<B, 3> {
        let [rows, time] = tokens.dims();
        assert_eq!(lengths.len(), rows, "one length for every row of tokens");
        assert_eq!(cache.rows(), rows, "one row of the cache for every row of tokens");
        let device = tokens.device();
        cache.prepare(time);
        let from = |row| (cache.length(row)..cache.length(row) + time).collect();
        let positions: Vec<Vec<usize>> =
            if rows > 0 && (1..rows).all(|row| cache.length(row) == cache.length(0)) {
                vec![from(0)]
            } else {
                (0..rows).map(from).collect()
            };
        let pass = Pass {
            rows,
            time,
            rotation: self.rotary.at(&positions, self.heads(), &device),
            causal: causal_mask(time, &device),
            past: cache.mask(),
        };
        let mut x = self.embed(tokens);
        for (layer, layer_cache) in self.layers.iter().zip(&mut cache.layers) {
            x = layer.forward_cached(x, &pass, layer_cache);
        }
        cache.advance(lengths);
        self.norm.forward(x).reshape([rows, time, self.config.hidden_size])
    }

    /// Unnormalised log-probabilities of the next token, `[positions, model]` to `[positions, vocabulary]`.
    pub fn logits(&self, hidden: Tensor<B, 2>) -> Tensor<B, 2> {
        hidden.matmul(self.output_weights().transpose())
    }

    /// The output projection, `[vocabulary, model]`.
    pub(crate) fn output_weights(&self) -> Tensor<B, 2> {
        self.output.as_ref().unwrap_or(&self.embedding).val()
    }

    /// `[rows, time]` to `[rows * time, model]`.
    fn embed(&self, tokens: Tensor<B, 2, Int>) -> Tensor<B, 2> {
        self.embedding.val().select(0, tokens.flatten(0, 1))
    }

    fn heads(&self) -> (usize, usize) {
        (self.config.num_attention_heads, self.config.num_key_value_heads)
    }
}

/// The weights of one layer, projections as `[in, out]`.
pub(crate) struct LayerWeights<B: Backend> {
    pub(crate) attention_norm: Tensor<B, 1>,
    pub(crate) query: Tensor<B, 2>,
    pub(crate) key: Tensor<B, 2>,
    pub(crate) value: Tensor<B, 2>,
    pub(crate) attention_output: Tensor<B, 2>,
    pub(crate) feed_forward_norm: Tensor<B, 1>,
    pub(crate) gate: Tensor<B, 2>,
    pub(crate) up: Tensor<B, 2>,
    pub(crate) down: Tensor<B, 2>,
}

impl<B: Backend> LayerWeights<B> {
    fn into_layer(self, config: &ModelConfig) -> Layer<B> {
        Layer {
            attention_norm: RmsNorm::new(self.attention_norm, config.rms_norm_eps),
            attention: Attention {
                query: Param::from_tensor(self.query),
                key: Param::from_tensor(self.key),
                value: Param::from_tensor(self.value),
                output: Param::from_tensor(self.attention_output),
                heads: config.num_attention_heads,
                key_value_heads: config.num_key_value_heads,
                head_dim: config.head_dim,
            },
            feed_forward_norm: RmsNorm::new(self.feed_forward_norm, config.rms_norm_eps),
            feed_forward: FeedForward {
                gate: Param::from_tensor(self.gate),
                up: Param::from_tensor(self.up),
                down: Param::from_tensor(self.down),
                activation: config.hidden_act,
            },
        }
    }
}

/// A normal number of mean 0 (Box and Muller).
#[allow(clippy::cast_possible_truncation, reason = "weights have 32 bits")]
pub(crate) fn normal(rng: &mut impl Rng, deviation: f64) -> f32 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    (deviation * radius * (TAU * rng.random::<f64>()).cos()) as f32
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use burn_flex::{Flex, FlexDevice};

    /// Two small layers.
    pub(crate) fn config() -> ModelConfig {
        let text = r#"{"model_type": "llama", "vocab_size": 13, "hidden_size": 8, "intermediate_size": 12,
            "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 32,
            "initializer_range": 0.4}"#;
        ModelConfig::from_json(text, "config.json").unwrap()
    }

    #[test]
    fn the_seed_decides_the_weights() {
        let decoder = |seed| Decoder::<Flex>::init(&config(), seed, &FlexDevice).weights();
        assert_eq!(decoder(1), decoder(1));
        assert_ne!(decoder(1), decoder(2));
    }

    #[test]
    fn fresh_weights_have_the_asked_spread() {
        let mut rng = stream(9);
        let numbers: Vec<f32> = (0..20_000).map(|_| normal(&mut rng, 3.0)).collect();
        let mean = numbers.iter().sum::<f32>() / numbers.len() as f32;
        let square =
            numbers.iter().map(|number| number * number).sum::<f32>() / numbers.len() as f32;
        assert!(mean.abs() < 0.1 && (square - 9.0).abs() < 0.3, "{mean} {square}");
    }
}
