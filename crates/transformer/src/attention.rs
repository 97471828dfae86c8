//! Grouped-query attention (arXiv 2305.13245) with causal order.

use crate::kv_cache::{KeyValue, LayerCache, MASKED};
use crate::rotary::Rotation;
use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData, activation, backend::Backend};

/// The projections of one attention block.
#[derive(Module, Debug)]
pub(crate) struct Attention<B: Backend> {
    /// `[model, heads * head_dim]`.
    pub(crate) query: Param<Tensor<B, 2>>,
    /// `[model, key_value_heads * head_dim]`.
    pub(crate) key: Param<Tensor<B, 2>>,
    /// `[model, key_value_heads * head_dim]`.
    pub(crate) value: Param<Tensor<B, 2>>,
    /// `[heads * head_dim, model]`.
    pub(crate) output: Param<Tensor<B, 2>>,
    pub(crate) heads: usize,
    pub(crate) key_value_heads: usize,
    pub(crate) head_dim: usize,
}

/// What all layers share in one pass over a batch.
#[derive(Debug)]
pub(crate) struct Pass<B: Backend> {
    pub(crate) rows: usize,
    pub(crate) time: usize,
    pub(crate) rotation: Rotation<B>,
    /// Additive mask among the new tokens, `[1, time * time]`.
    pub(crate) causal: Option<Tensor<B, 2>>,
    /// Additive mask over the past, `[rows, heads * slots]`.
    pub(crate) past: Option<Tensor<B, 2>>,
}

/// `[1, time * time]`: 0 where a token may look, [`MASKED`] at later tokens; nothing for a single token.
pub(crate) fn causal_mask<B: Backend>(time: usize, device: &B::Device) -> Option<Tensor<B, 2>> {
    if time < 2 {
        return None;
    }
    let cell = |cell| if cell % time > cell / time { MASKED } else { 0.0 };
    let mask: Vec<f32> = (0..time * time).map(cell).collect();
    Some(Tensor::from_data(TensorData::new(mask, [1, time * time]), device))
}

/// Keys or values of a stretch of tokens, ready for products: `[rows, key_value_heads, 1, slots, head_dim]`.
struct Stretch<B: Backend> {
    key: Tensor<B, 5>,
    value: Tensor<B, 5>,
}

impl<B: Backend> Attention<B> {
    /// Attention among the tokens of the batch, `[rows * time, model]` to the same.
    pub(crate) fn forward(&self, x: Tensor<B, 2>, pass: &Pass<B>) -> Tensor<B, 2> {
        let (query, new) = self.project(x, pass);
        let new = self.stretch(new);
        let scores = add_mask(query.matmul(new.key.swap_dims(3, 4)), pass.causal.clone());
        let attended = if B::ad_enabled(&scores.device()) {
            let (sum, total) = weighted_sum(scores, new.value);
            let heads = pass.rows * pass.time * self.heads;
            let sum = by_token(sum, pass).reshape([heads, self.head_dim]);
            let attended = sum * by_token(total, pass).reshape([heads, 1]).recip();
            attended.reshape([pass.rows * pass.time, self.heads * self.head_dim])
        } else {
            let attended = activation::softmax(scores, 4).matmul(new.value);
            self.merge(attended, pass)
        };
        attended.matmul(self.output.val())
    }

    /// Attention to the tokens of the batch and to those in the cache, which takes up the new ones.
    pub(crate) fn forward_cached(
        &self,
        x: Tensor<B, 2>,
        pass: &Pass<B>,
        cache: &mut LayerCache<B>,
    ) -> Tensor<B, 2> {
        let (query, new) = self.project(x, pass);
        cache.push(new);
        let stretches = [(&cache.past, &pass.past), (&cache.recent, &pass.causal)];
        let score = |(stretch, mask): (&Option<KeyValue<B>>, &Option<Tensor<B, 2>>)| {
            let stretch = self.stretch(stretch.clone()?);
            let scores = query.clone().matmul(stretch.key.swap_dims(3, 4));
            Some((add_mask(scores, mask.clone()), stretch.value))
        };
        let scored = stretches.into_iter().filter_map(score).collect();
        self.merge(attend_all(scored), pass).matmul(self.output.val())
    }

    /// Turned queries `[rows, key_value_heads, .., head_dim]` and keys and values as the cache keeps them.
    fn project(&self, x: Tensor<B, 2>, pass: &Pass<B>) -> (Tensor<B, 5>, KeyValue<B>) {
        let Pass { rows, time, rotation, .. } = pass;
        let query = rotation.query(x.clone().matmul(self.query.val()), *rows);
        let key = rotation.key(x.clone().matmul(self.key.val()), *rows);
        let value = x.matmul(self.value.val());
        let width = self.key_value_heads * self.head_dim;
        let stored = [*rows, *time, width];
        let new = KeyValue { key: key.reshape(stored), value: value.reshape(stored) };
        (self.split(query, *rows, *time), new)
    }

    /// The heads that share keys form a dimension of their own, so that keys need not be repeated; for a single token
    /// they are the rows of one product instead.
    fn split(&self, query: Tensor<B, 2>, rows: usize, time: usize) -> Tensor<B, 5> {
        let group = self.heads / self.key_value_heads;
        if time == 1 {
            return query.reshape([rows, self.key_value_heads, 1, group, self.head_dim]);
        }
        query
            .reshape([rows, time, self.key_value_heads, group, self.head_dim])
            .permute([0, 2, 3, 1, 4])
    }

    /// The inverse of [`Self::split`].
    fn merge(&self, attended: Tensor<B, 5>, pass: &Pass<B>) -> Tensor<B, 2> {
        by_token(attended, pass).reshape([pass.rows * pass.time, self.heads * self.head_dim])
    }

    fn stretch(&self, stored: KeyValue<B>) -> Stretch<B> {
        let [rows, slots, _] = stored.key.dims();
        let shape = [rows, slots, self.key_value_heads, 1, self.head_dim];
        let by_head = |x: Tensor<B, 3>| x.reshape(shape).permute([0, 2, 3, 1, 4]);
        Stretch { key: by_head(stored.key), value: by_head(stored.value) }
    }
}

/// Adds `mask`, `[1 or rows, ..]`, to scores whose trailing dimensions it spans; flattened, since backends add a shared
/// row much faster than a tensor that broadcasts in the middle.
fn add_mask<B: Backend>(scores: Tensor<B, 5>, mask: Option<Tensor<B, 2>>) -> Tensor<B, 5> {
    let Some(mask) = mask else { return scores };
    let shape = scores.dims();
    let [mask_rows, _] = mask.dims();
    let [rows, heads, group, queries, slots] = shape;
    if mask_rows == 1 {
        let scores = scores.reshape([rows * heads * group, queries * slots]);
        return (scores + mask).reshape(shape);
    }
    if heads * group * queries * slots == mask.dims()[1] {
        return (scores.reshape([rows, heads * group * queries * slots]) + mask).reshape(shape);
    }
    // The mask repeats for every head of a row; more than one new token a row needs it again for every query.
    scores + mask.reshape([rows, heads, group, 1, slots])
}

/// Heads of one token next to each other, in the order in which projections hold them.
fn by_token<B: Backend>(x: Tensor<B, 5>, pass: &Pass<B>) -> Tensor<B, 5> {
    if pass.time == 1 { x } else { x.permute([0, 3, 1, 2, 4]) }
}

/// `exp(scores) @ value` and the sums of `exp(scores)`, whose quotient is the attention; both are scaled alike to keep
/// them finite.
///
/// Dividing after the product, when heads are in place, spares the backward pass of a softmax over all scores. The
/// maximum only guards against overflow and takes no gradient.
fn weighted_sum<B: Backend>(
    scores: Tensor<B, 5>,
    value: Tensor<B, 5>,
) -> (Tensor<B, 5>, Tensor<B, 5>) {
    let largest = scores.clone().detach().max_dim(4);
    let weights = (scores - largest).exp();
    let total = row_sums(weights.clone());
    (weights.matmul(value), total)
}

/// Sums over the last dimension, as a product, whose backward pass is a product too.
fn row_sums<B: Backend>(x: Tensor<B, 5>) -> Tensor<B, 5> {
    let [_, _, _, _, width] = x.dims();
    let ones = Tensor::ones([1, 1, 1, width, 1], &x.device());
    x.matmul(ones)
}

/// `softmax(scores) @ value` over stretches of tokens, each with its scores and values.
fn attend_all<B: Backend>(mut stretches: Vec<(Tensor<B, 5>, Tensor<B, 5>)>) -> Tensor<B, 5> {
    if stretches.len() == 1 {
        let (scores, value) = stretches.remove(0);
        return activation::softmax(scores, 4).matmul(value);
    }
    let (scores, values): (Vec<_>, Vec<_>) = stretches.into_iter().unzip();
    let weights = activation::softmax(Tensor::cat(scores, 4), 4);
    let mut start = 0;
    let parts = values.into_iter().map(|value| {
        let slots = value.dims()[3];
        let part = weights.clone().narrow(4, start, slots).matmul(value);
        start += slots;
        part
    });
    parts.reduce(|sum, part| sum + part).unwrap_or_else(|| weights.clone())
}
