//! A decoder out of its tensors, wherever they come from.

use crate::attention::{Attention, Projections, Separate};
use crate::config::{ModelConfig, Positions};
use crate::decoder::{Decoder, Layer};
use crate::feed_forward::FeedForward;
use crate::linear::Linear;
use crate::norm::Norm;
use crate::rotary::Rotary;
use burn::module::Param;
use burn::tensor::{Tensor, backend::Backend};

/// What a tensor is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// `[vocabulary, model]`.
    Embedding,
    /// `[context, model]`.
    Positions,
    FinalNorm,
    /// `[vocabulary, model]`.
    Output,
    /// Of the layer with this index.
    Layer(usize, LayerPart),
}

/// What a tensor of a layer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LayerPart {
    AttentionNorm,
    Query,
    Key,
    Value,
    /// Query, key and value in one.
    QueryKeyValue,
    QueryNorm,
    KeyNorm,
    AttentionOutput,
    AttentionOutputNorm,
    FeedForwardNorm,
    Gate,
    Up,
    Down,
    FeedForwardOutputNorm,
}

/// Where the tensors of a decoder come from; they are asked for in the order in which they are used.
pub(crate) trait Source<B: Backend> {
    /// What can go wrong.
    type Error;

    /// `[rows, model]`.
    fn table(&mut self, part: Part, rows: usize) -> Result<Tensor<B, 2>, Self::Error>;

    /// A map of so many numbers to so many, with a constant or without.
    fn linear(
        &mut self,
        part: Part,
        sizes: [usize; 2],
        bias: bool,
    ) -> Result<Linear<B>, Self::Error>;

    /// A norm of so many dimensions.
    fn norm(&mut self, part: Part, width: usize) -> Result<Norm<B>, Self::Error>;
}

impl<B: Backend> Decoder<B> {
    /// Asks `source` for everything that a model of this shape consists of.
    pub(crate) fn assemble<S: Source<B>>(
        config: &ModelConfig,
        source: &mut S,
    ) -> Result<Self, S::Error> {
        let embedding = source.table(Part::Embedding, config.vocab_size)?;
        let positions = match config.positions {
            Positions::Learned => {
                Some(source.table(Part::Positions, config.max_position_embeddings)?)
            }
            Positions::Rotary(_) => None,
        };
        let layers = (0..config.num_hidden_layers)
            .map(|index| layer(config, index, source))
            .collect::<Result<_, _>>()?;
        let norm = source.norm(Part::FinalNorm, config.hidden_size)?;
        let output = if config.has_output() {
            Some(source.table(Part::Output, config.vocab_size)?)
        } else {
            None
        };
        Ok(Self {
            embedding: Param::from_tensor(embedding),
            positions: positions.map(Param::from_tensor),
            layers,
            norm,
            output: output.map(Param::from_tensor),
            rotary: Rotary::new(config),
            config: config.clone(),
            adapter: None,
        })
    }
}

fn layer<B: Backend, S: Source<B>>(
    config: &ModelConfig,
    index: usize,
    source: &mut S,
) -> Result<Layer<B>, S::Error> {
    let model = config.hidden_size;
    let part = |part| Part::Layer(index, part);
    let attention_norm = source.norm(part(LayerPart::AttentionNorm), model)?;
    let attention = attention(config, index, source)?;
    let attention_output_norm = if config.norms_outputs() {
        Some(source.norm(part(LayerPart::AttentionOutputNorm), model)?)
    } else {
        None
    };
    let feed_forward_norm = source.norm(part(LayerPart::FeedForwardNorm), model)?;
    let (inner, bias) = (config.intermediate_size, config.feed_forward_bias);
    let feed_forward = FeedForward {
        gate: if config.family.is_gated() {
            Some(source.linear(part(LayerPart::Gate), [model, inner], bias)?)
        } else {
            None
        },
        up: source.linear(part(LayerPart::Up), [model, inner], bias)?,
        down: source.linear(part(LayerPart::Down), [inner, model], bias)?,
        activation: config.hidden_act,
    };
    let feed_forward_output_norm = if config.norms_outputs() {
        Some(source.norm(part(LayerPart::FeedForwardOutputNorm), model)?)
    } else {
        None
    };
    Ok(Layer {
        attention_norm,
        attention,
        attention_output_norm,
        feed_forward_norm,
        feed_forward,
        feed_forward_output_norm,
        parallel: config.parallel_residual,
    })
}

fn attention<B: Backend, S: Source<B>>(
    config: &ModelConfig,
    index: usize,
    source: &mut S,
) -> Result<Attention<B>, S::Error> {
    let model = config.hidden_size;
    let (queries, keys) = (config.query_width(), config.key_width());
    let part = |part| Part::Layer(index, part);
    let bias = config.query_bias;
    let projections = if config.fuses_queries() {
        let sizes = [model, queries + 2 * keys];
        Projections::Fused(source.linear(part(LayerPart::QueryKeyValue), sizes, bias)?)
    } else {
        Projections::Separate(Separate {
            query: source.linear(part(LayerPart::Query), [model, queries], bias)?,
            key: source.linear(part(LayerPart::Key), [model, keys], bias)?,
            value: source.linear(part(LayerPart::Value), [model, keys], bias)?,
        })
    };
    let (query_norm, key_norm) = if config.norms_queries() {
        (
            Some(source.norm(part(LayerPart::QueryNorm), config.head_dim)?),
            Some(source.norm(part(LayerPart::KeyNorm), config.head_dim)?),
        )
    } else {
        (None, None)
    };
    let output = source.linear(
        part(LayerPart::AttentionOutput),
        [queries, model],
        config.attention_output_bias,
    )?;
    Ok(Attention {
        projections,
        query_norm,
        key_norm,
        output,
        heads: config.num_attention_heads,
        key_value_heads: config.num_key_value_heads,
        head_dim: config.head_dim,
        scale: config.query_scalar.sqrt().recip(),
        windowed: config.is_windowed(index),
    })
}

/// Something of a decoder, with the part that it plays.
pub(crate) enum Piece<'a, B: Backend> {
    Table(&'a Param<Tensor<B, 2>>),
    Linear(&'a Linear<B>),
    Norm(&'a Norm<B>),
}

impl<B: Backend> Decoder<B> {
    /// Everything that the decoder consists of, in the order of [`Decoder::assemble`].
    pub(crate) fn pieces(&self) -> Vec<(Part, Piece<'_, B>)> {
        let mut pieces = vec![(Part::Embedding, Piece::Table(&self.embedding))];
        pieces.extend(self.positions.as_ref().map(|table| (Part::Positions, Piece::Table(table))));
        for (index, layer) in self.layers.iter().enumerate() {
            let found = layer_pieces(layer).into_iter();
            pieces.extend(found.map(|(part, piece)| (Part::Layer(index, part), piece)));
        }
        pieces.push((Part::FinalNorm, Piece::Norm(&self.norm)));
        pieces.extend(self.output.as_ref().map(|table| (Part::Output, Piece::Table(table))));
        pieces
    }

    /// Every linear map of the layers, with the part that it plays.
    pub(crate) fn linear_maps_mut(&mut self) -> Vec<(Part, &mut Linear<B>)> {
        let mut maps = Vec::new();
        for (index, layer) in self.layers.iter_mut().enumerate() {
            let Layer { attention, feed_forward, .. } = layer;
            let mut add = |part, map| maps.push((Part::Layer(index, part), map));
            match &mut attention.projections {
                Projections::Separate(Separate { query, key, value }) => {
                    add(LayerPart::Query, query);
                    add(LayerPart::Key, key);
                    add(LayerPart::Value, value);
                }
                Projections::Fused(all) => add(LayerPart::QueryKeyValue, all),
            }
            add(LayerPart::AttentionOutput, &mut attention.output);
            if let Some(gate) = &mut feed_forward.gate {
                add(LayerPart::Gate, gate);
            }
            add(LayerPart::Up, &mut feed_forward.up);
            add(LayerPart::Down, &mut feed_forward.down);
        }
        maps
    }
}

fn layer_pieces<B: Backend>(layer: &Layer<B>) -> Vec<(LayerPart, Piece<'_, B>)> {
    let Layer { attention, feed_forward, .. } = layer;
    let mut pieces = vec![(LayerPart::AttentionNorm, Piece::Norm(&layer.attention_norm))];
    match &attention.projections {
        Projections::Separate(Separate { query, key, value }) => pieces.extend([
            (LayerPart::Query, Piece::Linear(query)),
            (LayerPart::Key, Piece::Linear(key)),
            (LayerPart::Value, Piece::Linear(value)),
        ]),
        Projections::Fused(all) => pieces.push((LayerPart::QueryKeyValue, Piece::Linear(all))),
    }
    let norms = [
        (LayerPart::QueryNorm, &attention.query_norm),
        (LayerPart::KeyNorm, &attention.key_norm),
        (LayerPart::AttentionOutputNorm, &layer.attention_output_norm),
        (LayerPart::FeedForwardOutputNorm, &layer.feed_forward_output_norm),
    ];
    for (part, norm) in norms {
        pieces.extend(norm.as_ref().map(|norm| (part, Piece::Norm(norm))));
    }
    pieces.push((LayerPart::AttentionOutput, Piece::Linear(&attention.output)));
    pieces.push((LayerPart::FeedForwardNorm, Piece::Norm(&layer.feed_forward_norm)));
    pieces.extend(feed_forward.gate.as_ref().map(|gate| (LayerPart::Gate, Piece::Linear(gate))));
    pieces.push((LayerPart::Up, Piece::Linear(&feed_forward.up)));
    pieces.push((LayerPart::Down, Piece::Linear(&feed_forward.down)));
    pieces
}
