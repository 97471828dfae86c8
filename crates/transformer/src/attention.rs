//! Grouped-query attention (arXiv 2305.13245) with causal order.

use crate::config::SlidingWindow;
use crate::kv_cache::KeyValue;
use crate::linear::Linear;
use crate::norm::Norm;
use crate::packed::Packed;
use crate::side_by_side::SideBySide;
use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};
use kernels::{
    Angles, Heads, Place, Stretch, Tree, Visibility, attend_step, causal_attention, masked_softmax,
    rotate,
};
use std::cell::OnceCell;

/// Queries of a row whose scores are held at the same time: few enough for most of what causal order hides not to be
/// computed.
const QUERIES_AT_ONCE: usize = 128;

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

/// What all layers share in one pass over rows of equal length.
#[derive(Debug)]
pub(crate) struct Pass<B: Backend> {
    pub(crate) rows: usize,
    pub(crate) time: usize,
    /// The tokens of every row; what is behind them is padding.
    pub(crate) lengths: Vec<usize>,
    pub(crate) visible: Visibility<B>,
    /// In layers with a sliding window.
    pub(crate) windowed: Option<Visibility<B>>,
}

impl<B: Backend> Pass<B> {
    /// `first` is the position of the first token, of every row or of all alike.
    pub(crate) fn new(
        rows: usize,
        time: usize,
        first: Vec<usize>,
        window: Option<&SlidingWindow>,
    ) -> Self {
        let windowed = window.map(|window| Visibility::new(first.clone(), time, Some(window.size)));
        let visible = Visibility::new(first, time, None);
        Self { rows, time, lengths: vec![time; rows], visible, windowed }
    }

    /// The same with rows that are shorter than the time.
    pub(crate) fn with_lengths(self, lengths: &[usize]) -> Self {
        Self { lengths: lengths.to_vec(), ..self }
    }

    /// Where the rows of tokens lie.
    fn tokens(&self) -> Vec<Tree> {
        let row = |(row, length)| row * self.time..row * self.time + length;
        self.lengths.iter().enumerate().map(row).map(Tree::from).collect()
    }
}

/// What all layers share in one pass over packed rows.
#[derive(Debug)]
pub(crate) struct PackedPass<'a, B: Backend> {
    packed: &'a Packed,
    window: Option<&'a SlidingWindow>,
    device: B::Device,
    side_by_side: OnceCell<SideBySide<B>>,
}

impl<'a, B: Backend> PackedPass<'a, B> {
    pub(crate) fn new(
        packed: &'a Packed,
        window: Option<&'a SlidingWindow>,
        device: B::Device,
    ) -> Self {
        Self { packed, window, device, side_by_side: OnceCell::new() }
    }

    /// Made only where attention is not one operation.
    fn side_by_side(&self) -> &SideBySide<B> {
        let make = || SideBySide::new(self.packed, self.window, &self.device);
        self.side_by_side.get_or_init(make)
    }
}

/// A row of tokens that the rows of a batch follow, layer by layer.
pub(crate) type Past<'a, B> = &'a [&'a KeyValue<B>];

impl<B: Backend> Attention<B> {
    /// Attention of the tokens of the batch to themselves and to `past`, which all rows share, up to the output projection.
    /// `keep` is given the keys and values of the new tokens.
    ///
    /// # Shapes
    /// `[rows * time, model]` to `[rows * time, heads * head_dim]`; every stretch of the past has one row.
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
        let window = self.visible(pass).window();
        let attended = self.causal(operands, past, pass.tokens(), window);
        let attended = attended.unwrap_or_else(|operands| self.of_primitives(operands, pass, past));
        keep(self.stored(key, value, pass));
        attended
    }

    /// The keys and values of the tokens of the batch alone.
    pub(crate) fn remember(
        &self,
        x: Tensor<B, 2>,
        turns: &Turns<B>,
        pass: &Pass<B>,
    ) -> KeyValue<B> {
        let (key, value) = self.projections.keys_and_values(x, self);
        self.stored(self.turned_keys(key, turns), value, pass)
    }

    /// Attention within packed rows, up to the output projection.
    ///
    /// # Shapes
    /// `[tokens, model]` to `[tokens, heads * head_dim]`.
    pub(crate) fn forward_packed(
        &self,
        x: Tensor<B, 2>,
        turns: &Turns<B>,
        pass: &PackedPass<'_, B>,
    ) -> Tensor<B, 2> {
        let operands = self.project(x, turns);
        let window = pass.window.filter(|_| self.windowed).map(|window| window.size);
        let attended = self.causal(operands, &[], pass.packed.trees().to_vec(), window);
        attended.unwrap_or_else(|operands| {
            let attend = |rows, pass: &Pass<B>| self.of_primitives(rows, pass, &[]);
            pass.side_by_side().attend(&operands, attend)
        })
    }

    /// Attention of rows of these tokens to themselves and to `past` where it is one operation, or the operands.
    fn causal(
        &self,
        operands: [Tensor<B, 2>; 3],
        past: Past<'_, B>,
        rows: Vec<Tree>,
        window: Option<usize>,
    ) -> Result<Tensor<B, 2>, [Tensor<B, 2>; 3]> {
        let heads = Heads {
            key_value_heads: self.key_value_heads,
            group: self.heads / self.key_value_heads,
            head_dim: self.head_dim,
        };
        let past: Vec<[Tensor<B, 2>; 2]> = past.iter().map(|stretch| stretch.flat()).collect();
        causal_attention(operands, &past, heads, rows, window)
    }

    /// As [`Attention::causal`], for rows of equal length.
    fn of_primitives(
        &self,
        [query, key, value]: [Tensor<B, 2>; 3],
        pass: &Pass<B>,
        past: Past<'_, B>,
    ) -> Tensor<B, 2> {
        let own = self.stored(key, value, pass);
        let query = self.split(query, pass);
        if past.is_empty() && B::ad_enabled(&query.device()) {
            return merge(self.attend_in_training(query, &own, pass), pass);
        }
        merge(self.attend(query, &own, pass, past), pass)
    }

    /// Attention of one new token a row to that row of `cache`, which takes it up at its place, up to the output projection.
    ///
    /// # Shapes
    /// `[rows, model]` to `[rows, heads * head_dim]`; `longest` is the number of tokens of the longest row, the new one included.
    pub(crate) fn step(
        &self,
        x: Tensor<B, 2>,
        turns: &Turns<B>,
        pass: &Pass<B>,
        cache: KeyValue<B>,
        places: &[Place],
        longest: usize,
    ) -> (Tensor<B, 2>, KeyValue<B>) {
        let [query, key, value] = self.project(x, turns);
        let query = self.split(query, pass);
        let cache = cache.write(self.stored(key, value, pass), places);
        let visible = self.visible(pass);
        let attended =
            attend_step(query, &cache.key, &cache.value, visible).unwrap_or_else(|query| {
                let seen = cache.first(pass.rows, longest);
                let scores = query.matmul(seen.keys().swap_dims(3, 4));
                let weights = masked_softmax(vec![Stretch { scores, start: 0 }], visible, 0);
                sum(weights.into_iter().map(|weights| weights.matmul(seen.values())), pass, self)
            });
        (merge(attended, pass), cache)
    }

    fn visible<'a>(&self, pass: &'a Pass<B>) -> &'a Visibility<B> {
        match &pass.windowed {
            Some(windowed) if self.windowed => windowed,
            _ => &pass.visible,
        }
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

    /// Keys and values as caches keep them.
    fn stored(&self, key: Tensor<B, 2>, value: Tensor<B, 2>, pass: &Pass<B>) -> KeyValue<B> {
        let stored = [pass.rows, pass.time, self.key_value_heads, 1, self.head_dim];
        KeyValue { key: key.reshape(stored), value: value.reshape(stored) }
    }

    fn norm_heads(&self, x: Tensor<B, 2>, norm: Option<&Norm<B>>) -> Tensor<B, 2> {
        let Some(norm) = norm else { return x };
        let [positions, width] = x.dims();
        let heads = x.reshape([positions * width / self.head_dim, self.head_dim]);
        norm.forward(heads).reshape([positions, width])
    }

    /// The heads that share keys form a dimension of their own, so that keys need not be repeated; for a single token
    /// they are the rows of one product instead.
    fn split(&self, query: Tensor<B, 2>, pass: &Pass<B>) -> Tensor<B, 5> {
        let Pass { rows, time, .. } = *pass;
        let group = self.heads / self.key_value_heads;
        if time == 1 {
            return query.reshape([rows, self.key_value_heads, 1, group, self.head_dim]);
        }
        query
            .reshape([rows, time, self.key_value_heads, group, self.head_dim])
            .permute([0, 2, 3, 1, 4])
    }

    /// `[rows, key_value_heads, group, time, head_dim]` of the queries to the same, block by block of the queries.
    fn attend(
        &self,
        query: Tensor<B, 5>,
        own: &KeyValue<B>,
        pass: &Pass<B>,
        past: Past<'_, B>,
    ) -> Tensor<B, 5> {
        let [rows, _, _, queries, _] = query.dims();
        let starts = (0..queries).step_by(QUERIES_AT_ONCE);
        let blocks: Vec<Tensor<B, 5>> = starts
            .map(|from| {
                let count = QUERIES_AT_ONCE.min(queries - from);
                // Later tokens than the block's last are hidden from all of it.
                let slots = if pass.time == 1 { 1 } else { from + count };
                let own = own.first(rows, slots);
                self.attend_block(query.clone().narrow(3, from, count), &own, pass, past, from)
            })
            .collect();
        joined(blocks, 3)
    }

    fn attend_block(
        &self,
        query: Tensor<B, 5>,
        own: &KeyValue<B>,
        pass: &Pass<B>,
        past: Past<'_, B>,
        from: usize,
    ) -> Tensor<B, 5> {
        let stretches: Vec<&KeyValue<B>> = past.iter().copied().chain([own]).collect();
        let mut start = 0;
        let scored = stretches
            .iter()
            .map(|stretch| {
                let scores = query.clone().matmul(stretch.keys().swap_dims(3, 4));
                let scored = Stretch { scores, start };
                start += stretch.slots();
                scored
            })
            .collect();
        let weights = masked_softmax(scored, self.visible(pass), from);
        let parts = weights.into_iter().zip(&stretches);
        sum(parts.map(|(weights, stretch)| weights.matmul(stretch.values())), pass, self)
    }

    /// As [`Attention::attend`] without a past, in one piece: what queries and scores are cut into has gradients of its own.
    fn attend_in_training(
        &self,
        query: Tensor<B, 5>,
        own: &KeyValue<B>,
        pass: &Pass<B>,
    ) -> Tensor<B, 5> {
        let scores = query.matmul(own.keys().swap_dims(3, 4));
        let stretch = Stretch { scores, start: 0 };
        let weights = masked_softmax(vec![stretch], self.visible(pass), 0);
        sum(weights.into_iter().map(|weights| weights.matmul(own.values())), pass, self)
    }
}

impl<B: Backend> Projections<B> {
    /// Queries, keys and values, `[positions, model]` to `[positions, heads * head_dim]` of each.
    fn forward(&self, x: Tensor<B, 2>, of: &Attention<B>) -> [Tensor<B, 2>; 3] {
        match self {
            Self::Separate(Separate { query, key, value }) => {
                [query.forward(x.clone()), key.forward(x.clone()), value.forward(x)]
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

/// Parts one behind the other.
fn joined<B: Backend>(mut parts: Vec<Tensor<B, 5>>, dimension: usize) -> Tensor<B, 5> {
    if parts.len() == 1 { parts.remove(0) } else { Tensor::cat(parts, dimension) }
}

/// Parts added up; nothing but zeros if there are none.
fn sum<B: Backend>(
    parts: impl Iterator<Item = Tensor<B, 5>>,
    pass: &Pass<B>,
    of: &Attention<B>,
) -> Tensor<B, 5> {
    let zeros = || {
        let group = of.heads / of.key_value_heads;
        let shape = [pass.rows, of.key_value_heads, group, pass.time, of.head_dim];
        Tensor::zeros(shape, &of.output.weight.val().device())
    };
    parts.reduce(|sum, part| sum + part).unwrap_or_else(zeros)
}

/// Heads of one token next to each other, `[rows * time, heads * head_dim]`: the inverse of [`Attention::split`].
fn merge<B: Backend>(attended: Tensor<B, 5>, pass: &Pass<B>) -> Tensor<B, 2> {
    let [rows, heads, group, queries, head_dim] = attended.dims();
    let width = rows * heads * group * queries * head_dim / (pass.rows * pass.time).max(1);
    by_token(attended, pass).reshape([pass.rows * pass.time, width])
}

fn by_token<B: Backend>(x: Tensor<B, 5>, pass: &Pass<B>) -> Tensor<B, 5> {
    if pass.time == 1 { x } else { x.permute([0, 3, 1, 2, 4]) }
}
