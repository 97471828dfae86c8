//! Attention of primitives.

use crate::masked_softmax::{Stretch, Visibility, masked_softmax};
use burn::tensor::{Tensor, backend::Backend};

/// `softmax(Q K^T) V` of queries over what they see of stretches of tokens, one behind the other from position `start` on;
/// `from` is the place of the first query among those that `visible` describes.
///
/// # Shapes
/// `query` `[rows, key_value_heads, group, queries, head_dim]` to the same; keys and values of every stretch
/// `[rows or 1, slots, key_value_heads, 1, head_dim]`.
pub(crate) fn masked_attention<B: Backend>(
    query: Tensor<B, 5>,
    stretches: &[[Tensor<B, 5>; 2]],
    mut start: usize,
    visible: &Visibility<B>,
    from: usize,
) -> Tensor<B, 5> {
    let scored = stretches
        .iter()
        .map(|[keys, _]| {
            let scores = query.clone().matmul(by_head(keys).swap_dims(3, 4));
            let scored = Stretch { scores, start };
            start += keys.dims()[1];
            scored
        })
        .collect();
    let weights = masked_softmax(scored, visible, from).into_iter().zip(stretches);
    let parts = weights.map(|(weights, [_, values])| weights.matmul(by_head(values)));
    match parts.reduce(|sum, part| sum + part) {
        Some(attended) => attended,
        None => unreachable!("a token sees itself"),
    }
}

/// The first slots of the first rows of keys or values.
pub(crate) fn first<B: Backend>(x: &Tensor<B, 5>, rows: usize, slots: usize) -> Tensor<B, 5> {
    let [all_rows, all_slots, ..] = x.dims();
    if (rows, slots) == (all_rows, all_slots) {
        return x.clone();
    }
    x.clone().narrow(0, 0, rows).narrow(1, 0, slots)
}

/// Ready for products: `[rows, key_value_heads, 1, slots, head_dim]`.
pub(crate) fn by_head<B: Backend>(x: &Tensor<B, 5>) -> Tensor<B, 5> {
    x.clone().permute([0, 2, 3, 1, 4])
}
