//! Grouped-query attention (arXiv 2305.13245) with causal order.

use crate::config::SlidingWindow;
use crate::kv_cache::KeyValue;
use crate::linear::Linear;
use crate::norm::Norm;
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use kernels::{
    Angles, Heads, Place, Rows, Tree, Visibility, attend_step, causal_attention,
    causal_attention_for_training, project_each, rotate,
};

/// One attention block.
#[derive(Module, Debug)]
pub(crate) struct Attention<B: Backend> {
    pub(crate) projections: Projections<B>,
    /// Over the dimensions of a head.
    pub(crate) query_norm: Option<Norm<B>>,
    /// Over the dimensions of a head.
    pub(crate) key_norm: Option<Norm<B>>,
    /// `heads * head_dim` to `model`.
    pub(crate) output: Linear<B>,
    pub(crate) heads: usize,
    pub(crate) key_value_heads: usize,
    pub(crate) head_dim: usize,
    /// Scores are products of queries and keys times this.
    pub(crate) scale: f64,
    /// Looks through the sliding window.
    pub(crate) windowed: bool,
}

/// What makes queries, keys and values of hidden states.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "one a layer, and a module cannot hold a box")]
pub(crate) enum Projections<B: Backend> {
    /// One matrix each.
    Separate(Separate<B>),
    /// One matrix for all: `model` to queries, keys and values next to each other.
    Fused(Linear<B>),
}

/// A matrix each for queries, keys and values.
#[derive(Module, Debug)]
pub(crate) struct Separate<B: Backend> {
    /// `model` to `heads * head_dim`.
    pub(crate) query: Linear<B>,
    /// `model` to `key_value_heads * head_dim`.
    pub(crate) key: Linear<B>,
    /// `model` to `key_value_heads * head_dim`.
    pub(crate) value: Linear<B>,
}

/// The turns of all tokens of a batch, if positions are rotary.
#[derive(Debug)]
pub(crate) struct Turns<B: Backend> {
    pub(crate) angles: Option<Angles<B>>,
    /// In layers with a sliding window, if they differ.
    pub(crate) local_angles: Option<Angles<B>>,
}

/// What all layers share in one pass over rows of tokens.
#[derive(Debug)]
pub(crate) struct Pass<B: Backend> {
    rows: Rows<B>,
    /// In layers with a sliding window.
    window: Option<usize>,
}

impl<B: Backend> Pass<B> {
    pub(crate) fn new(rows: Vec<Tree>, window: Option<&SlidingWindow>) -> Self {
        Self { rows: Rows::new(rows), window: window.map(|window| window.size) }
    }
}

/// What all layers share in one step of every row of a cache.
#[derive(Debug)]
pub(crate) struct Step<B: Backend> {
    /// Where the new tokens go.
    places: Vec<Place>,
    visible: Visibility<B>,
    /// In layers with a sliding window.
    windowed: Option<Visibility<B>>,
}

impl<B: Backend> Step<B> {
    /// `lengths` are those of the rows before the step.
    pub(crate) fn new(lengths: &[usize], window: Option<&SlidingWindow>) -> Self {
        let place = |(row, &slot): (usize, &usize)| Place { row, slot, from: row, count: 1 };
        let visible = |window| Visibility::new(lengths.to_vec(), 1, window);
        Self {
            places: lengths.iter().enumerate().map(place).collect(),
            visible: visible(None),
            windowed: window.map(|window| visible(Some(window.size))),
        }
    }
}

/// A row of tokens that the rows of a batch follow, layer by layer.
pub(crate) type Past<'a, B> = &'a [&'a KeyValue<B>];

impl<B: Backend> Attention<B> {
    /// Attention of the tokens of the batch to themselves and to `past`, which all rows share, up to the output projection.
    /// `keep` is given the keys and values of the new tokens.
    ///
    /// # Shapes
    /// `[tokens, model]` to `[tokens, heads * head_dim]`; every stretch of the past has one row, and so has what is kept.
    pub(crate) fn forward(
        &self,
        x: Tensor<B, 2>,
        turns: &Turns<B>,
        pass: &Pass<B>,
        past: Past<'_, B>,
        keep: &mut dyn FnMut(KeyValue<B>),
    ) -> Tensor<B, 2> {
        let operands = self.project(x, turns);
        let [_, key, value] = operands.clone();
        let attended = self.causal(operands, pass, past);
        keep(self.stored(key, value));
        attended
    }

    /// The keys and values of the tokens of the batch alone.
    pub(crate) fn remember(&self, x: Tensor<B, 2>, turns: &Turns<B>) -> KeyValue<B> {
        let (key, value) = self.projections.keys_and_values(x, self);
        self.stored(self.turned_keys(key, turns), value)
    }

    /// Attention within packed rows, up to the output projection.
    ///
    /// # Shapes
    /// `[tokens, model]` to `[tokens, heads * head_dim]`.
    pub(crate) fn forward_packed(
        &self,
        x: Tensor<B, 2>,
        turns: &Turns<B>,
        pass: &Pass<B>,
    ) -> Tensor<B, 2> {
        self.causal(self.project(x, turns), pass, &[])
    }

    /// Attention of rows of these tokens to themselves and to `past`.
    fn causal(
        &self,
        operands: [Tensor<B, 2>; 3],
        pass: &Pass<B>,
        past: Past<'_, B>,
    ) -> Tensor<B, 2> {
        let past: Vec<[Tensor<B, 2>; 2]> = past.iter().map(|stretch| stretch.flat()).collect();
        causal_attention(
            operands,
            &past,
            self.grouped_heads(),
            &pass.rows,
            self.window(pass.window),
        )
    }

    fn grouped_heads(&self) -> Heads {
        Heads {
            key_value_heads: self.key_value_heads,
            group: self.heads / self.key_value_heads,
            head_dim: self.head_dim,
        }
    }

    /// That of this layer, if it has one.
    fn window(&self, sliding: Option<usize>) -> Option<usize> {
        sliding.filter(|_| self.windowed)
    }

    /// Attention of one new token a row to that row of `cache`, which takes it up at its place, up to the output projection.
    ///
    /// # Shapes
    /// `[rows, model]` to `[rows, heads * head_dim]`.
    pub(crate) fn step(
        &self,
        x: Tensor<B, 2>,
        turns: &Turns<B>,
        step: &Step<B>,
        cache: KeyValue<B>,
    ) -> (Tensor<B, 2>, KeyValue<B>) {
        let [query, key, value] = self.project(x, turns);
        let [rows, width] = query.dims();
        let group = self.heads / self.key_value_heads;
        let query = query.reshape([rows, self.key_value_heads, 1, group, self.head_dim]);
        let cache = cache.write(self.stored(key, value), &step.places);
        let visible = match &step.windowed {
            Some(windowed) if self.windowed => windowed,
            _ => &step.visible,
        };
        let attended = attend_step(query, &cache.key, &cache.value, visible);
        (attended.reshape([rows, width]), cache)
    }

    /// Queries, keys and values, turned and scaled, `[tokens, model]` to `[tokens, heads * head_dim]` of each.
    fn project(&self, x: Tensor<B, 2>, turns: &Turns<B>) -> [Tensor<B, 2>; 3] {
        let [query, key, value] = self.projections.forward(x, self);
        let query = self.norm_heads(query, self.query_norm.as_ref());
        #[allow(clippy::cast_possible_truncation, reason = "numbers have 32 bits")]
        let query = match self.angles(turns) {
            Some(angles) => rotate(query, angles, self.scale as f32),
            None => query * self.scale,
        };
        [query, self.turned_keys(key, turns), value]
    }

    fn turned_keys(&self, key: Tensor<B, 2>, turns: &Turns<B>) -> Tensor<B, 2> {
        let key = self.norm_heads(key, self.key_norm.as_ref());
        match self.angles(turns) {
            Some(angles) => rotate(key, angles, 1.0),
            None => key,
        }
    }

    fn angles<'a>(&self, turns: &'a Turns<B>) -> Option<&'a Angles<B>> {
        match &turns.local_angles {
            Some(local) if self.windowed => Some(local),
            _ => turns.angles.as_ref(),
        }
    }

    /// Where queries, keys and values lie in a fused projection, and how wide they are.
    fn parts(&self) -> [(usize, usize); 3] {
        let queries = self.heads * self.head_dim;
        let keys = self.key_value_heads * self.head_dim;
        [(0, queries), (queries, keys), (queries + keys, keys)]
    }

    /// Keys and values as caches keep them, in one row.
    fn stored(&self, key: Tensor<B, 2>, value: Tensor<B, 2>) -> KeyValue<B> {
        let [tokens, _] = key.dims();
        let stored = [1, tokens, self.key_value_heads, 1, self.head_dim];
        KeyValue { key: key.reshape(stored), value: value.reshape(stored) }
    }

    fn norm_heads(&self, x: Tensor<B, 2>, norm: Option<&Norm<B>>) -> Tensor<B, 2> {
        let Some(norm) = norm else { return x };
        let [positions, width] = x.dims();
        let heads = x.reshape([positions * width / self.head_dim, self.head_dim]);
        norm.forward(heads).reshape([positions, width])
    }
}

impl<B: AutodiffBackend> Attention<B> {
    /// [`Attention::forward_packed`], with a backward pass that computes scores again.
    ///
    /// # Shapes
    /// As for [`Attention::forward_packed`].
    pub(crate) fn forward_packed_for_training(
        &self,
        x: Tensor<B, 2>,
        turns: &Turns<B>,
        pass: &Pass<B::InnerBackend>,
    ) -> Tensor<B, 2> {
        let (operands, window) = (self.project(x, turns), self.window(pass.window));
        causal_attention_for_training(operands, self.grouped_heads(), &pass.rows, window)
    }
}

impl<B: Backend> Projections<B> {
    /// Queries, keys and values, `[positions, model]` to `[positions, heads * head_dim]` of each.
    fn forward(&self, x: Tensor<B, 2>, of: &Attention<B>) -> [Tensor<B, 2>; 3] {
        match self {
            Self::Separate(Separate { query, key, value }) => {
                let weights = [query, key, value].map(|map| map.weight.val());
                let [q, k, v] = project_each(x.clone(), weights);
                [query.completed(q, &x), key.completed(k, &x), value.completed(v, &x)]
            }
            Self::Fused(all) => {
                let all = all.forward(x);
                of.parts().map(|(start, width)| all.clone().narrow(1, start, width))
            }
        }
    }

    /// As [`Projections::forward`], without queries where they have a matrix of their own.
    fn keys_and_values(&self, x: Tensor<B, 2>, of: &Attention<B>) -> (Tensor<B, 2>, Tensor<B, 2>) {
        match self {
            Self::Separate(Separate { key, value, .. }) => {
                (key.forward(x.clone()), value.forward(x))
            }
            Self::Fused(_) => {
                let [_, key, value] = self.forward(x, of);
                (key, value)
            }
        }
    }
}
