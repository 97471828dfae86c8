//! Attention that learns on any backend, of scores that exist for some queries at a time: the backward pass computes them
//! again.

use super::padded::{Padded, Sight};
use super::primitives::{blocks, stored};
use super::rows::Rows;
use super::{Attention, Heads};
use crate::masked_attention::by_head;
use crate::masked_softmax::{Stretch, Visibility, masked_softmax};
use crate::one_column::row_sums;
use crate::recorded::{Rule, learning, numbers, record, recorded, tensor};
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use std::ops::Range;

/// As [`super::causal_attention`]; or the operands, if something else than burn's automatic differentiation learns.
pub(super) fn causal_attention<B: AutodiffBackend>(
    attention: &Attention,
    operands: [Tensor<B, 2>; 3],
    rows: &Rows<B::InnerBackend>,
) -> Result<Tensor<B, 2>, [Tensor<B, 2>; 3]> {
    let [query, key, value] = recorded(operands)?;
    let operands = [&query, &key, &value].map(|x| tensor(x.primitive.clone()));
    let attended = attention.of_primitives(operands.clone(), &[], rows);
    let result = numbers(attended.clone());
    let (attention, rows) = (attention.clone(), rows.clone());
    let kept = |_: &_| Kept { attention, operands, attended, rows };
    Ok(learning(record([&query, &key, &value], result, kept)))
}

/// What the backward pass needs.
#[derive(Debug, Clone)]
struct Kept<I: Backend> {
    attention: Attention,
    operands: [Tensor<I, 2>; 3],
    attended: Tensor<I, 2>,
    rows: Rows<I>,
}

impl<I: Backend> Rule<I, 3> for Kept<I> {
    fn gradients(
        self,
        gradient: I::FloatTensorPrimitive,
        _: [bool; 3],
    ) -> [Option<I::FloatTensorPrimitive>; 3] {
        self.of_operands(tensor(gradient)).map(|found| Some(numbers(found)))
    }
}

impl<I: Backend> Kept<I> {
    fn of_operands(self, gradient: Tensor<I, 2>) -> [Tensor<I, 2>; 3] {
        let Self { attention, operands, attended, rows } = self;
        let Heads { head_dim, .. } = attention.heads;
        let [tokens, width] = gradient.dims();
        if tokens == 0 {
            return operands;
        }
        let sums =
            row_sums((gradient.clone() * attended).reshape([tokens * width / head_dim, head_dim]));
        let sums = sums.reshape([tokens, width / head_dim]);
        let side_by_side = rows.side_by_side(tokens, &gradient.device());
        side_by_side.gradients(operands, [gradient, sums], |operands, given, rows| {
            of_rows(&attention, operands, given, rows)
        })
    }
}

/// Gradients of queries, keys and values of rows side by side, from that of what they are given and from its sums of products
/// with it, one a head.
fn of_rows<I: Backend>(
    attention: &Attention,
    [query, key, value]: [Tensor<I, 2>; 3],
    [gradient, sums]: [Tensor<I, 2>; 2],
    rows: &Padded<I>,
) -> [Tensor<I, 2>; 3] {
    let Attention { heads, window, .. } = *attention;
    let by_query = |x, head_dim| rows.split(x, Heads { head_dim, ..heads });
    let given = Given {
        query: by_query(query, heads.head_dim),
        gradient: by_query(gradient, heads.head_dim),
        sums: by_query(sums, 1),
    };
    let [key, value] = [key, value].map(|x| by_head(&stored(x, rows.rows(), heads)));
    let visible = rows.visible(Sight { behind: 0, window });
    let [_, _, _, queries, _] = given.query.dims();
    let mut of_query = Vec::new();
    let (mut of_key, mut of_value) = (key.zeros_like(), value.zeros_like());
    for (block, slots) in blocks(queries, rows.time(), window) {
        let seen = [&key, &value].map(|x| x.clone().narrow(3, slots.start, slots.len()));
        let [query, own_key, own_value] = given.of_block(seen, &visible, block, slots.start);
        of_query.push(query);
        of_key = added(of_key, own_key, slots.clone());
        of_value = added(of_value, own_value, slots);
    }
    let [of_key, of_value] = [of_key, of_value].map(|x| rows.merge(x, Heads { group: 1, ..heads }));
    [rows.merge(Tensor::cat(of_query, 3), heads), of_key, of_value]
}

/// Numbers of all queries of rows, `[rows, key_value_heads, group, queries, head_dim]`, of `sums` one a head.
struct Given<I: Backend> {
    query: Tensor<I, 5>,
    gradient: Tensor<I, 5>,
    sums: Tensor<I, 5>,
}

impl<I: Backend> Given<I> {
    /// Gradients of a block of queries, and what they add to those of the keys and values that one of them sees, of which the
    /// first is at position `start`: with the weights `P`, the gradient `G` of the result `O`, and `D = rowsum(G O)`,
    /// `dV = P^T G`, `dS = P (G V^T - D)`, `dQ = dS K`, `dK = dS^T Q` (arXiv 2205.14135, appendix B.4).
    ///
    /// # Shapes
    /// Keys and values `[rows, key_value_heads, 1, slots, head_dim]`.
    fn of_block(
        &self,
        [key, value]: [Tensor<I, 5>; 2],
        visible: &Visibility<I>,
        block: Range<usize>,
        start: usize,
    ) -> [Tensor<I, 5>; 3] {
        let [rows, heads, group, _, head_dim] = self.query.dims();
        let count = block.len();
        // The queries that share keys are rows of one product, which adds up what they give to keys and values.
        let together = |x: &Tensor<I, 5>| {
            let [.., width] = x.dims();
            let own = x.clone().narrow(3, block.start, count);
            own.reshape([rows, heads, 1, group * count, width])
        };
        let [query, gradient, sums] = [&self.query, &self.gradient, &self.sums].map(together);
        let [_, _, _, slots, _] = key.dims();
        let scores = query.clone().matmul(key.clone().swap_dims(3, 4));
        let scores = scores.reshape([rows, heads, group, count, slots]);
        let weights = masked_softmax(vec![Stretch { scores, start }], visible, block.start);
        let weights = Tensor::cat(weights, 4).reshape([rows, heads, 1, group * count, slots]);
        let of_value = weights.clone().swap_dims(3, 4).matmul(gradient.clone());
        let of_scores = weights * (gradient.matmul(value.swap_dims(3, 4)) - sums);
        let of_key = of_scores.clone().swap_dims(3, 4).matmul(query);
        let of_query = of_scores.matmul(key).reshape([rows, heads, group, count, head_dim]);
        [of_query, of_key, of_value]
    }
}

/// The sum, with numbers of some slots added.
fn added<I: Backend>(sum: Tensor<I, 5>, own: Tensor<I, 5>, slots: Range<usize>) -> Tensor<I, 5> {
    let [rows, heads, group, _, head_dim] = own.dims();
    let own = sum.clone().narrow(3, slots.start, slots.len()) + own;
    sum.slice_assign([0..rows, 0..heads, 0..group, slots, 0..head_dim], own)
}
