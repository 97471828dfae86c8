//! Attention that learns on any backend, of scores that exist for some queries at a time: the backward pass computes them
//! again.

use super::padded::{Padded, Sight};
use super::primitives::{blocks, joined, stored};
use super::rows::Rows;
use super::{Attention, Heads};
use crate::masked_attention::by_head;
use crate::masked_softmax::{Stretch, Visibility, masked_softmax};
use crate::one_column::row_sums;
use crate::recorded::{Rule, learning, numbers, record, recorded, tensor};
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};

/// As [`super::causal_attention`]; or the operands, if something else than burn's automatic differentiation learns.
pub(super) fn causal_attention<B: AutodiffBackend>(
    attention: &Attention,
    operands: [Tensor<B, 2>; 3],
    rows: &Rows<B::InnerBackend>,
) -> Result<Tensor<B, 2>, [Tensor<B, 2>; 3]> {
    let [query, key, value] = recorded(operands)?;
    let operands = [&query, &key, &value].map(|x| tensor(x.primitive.clone()));
    let attended = attention.of_primitives(operands.clone(), &[], rows);
    let (attention, rows) = (attention.clone(), rows.clone());
    let kept = |_: &_| Kept { attention, operands, rows };
    Ok(learning(record([&query, &key, &value], numbers(attended), kept)))
}

/// What the backward pass needs.
#[derive(Debug, Clone)]
struct Kept<I: Backend> {
    attention: Attention,
    operands: [Tensor<I, 2>; 3],
    rows: Rows<I>,
}

impl<I: Backend> Rule<I, 3> for Kept<I> {
    fn gradients(
        self,
        gradient: I::FloatTensorPrimitive,
        _: [bool; 3],
    ) -> [Option<I::FloatTensorPrimitive>; 3] {
        let Self { attention, operands, rows } = self;
        let gradient: Tensor<I, 2> = tensor(gradient);
        let [tokens, _] = gradient.dims();
        let found = if tokens == 0 {
            operands
        } else {
            let rows = rows.side_by_side(tokens, &gradient.device());
            rows.gradients(operands, gradient, |operands, gradient, rows| {
                of_rows(&attention, operands, gradient, rows)
            })
        };
        found.map(|found| Some(numbers(found)))
    }
}

/// Gradients of queries, keys and values of rows side by side, from that of what they are given.
fn of_rows<I: Backend>(
    attention: &Attention,
    [query, key, value]: [Tensor<I, 2>; 3],
    gradient: Tensor<I, 2>,
    rows: &Padded<I>,
) -> [Tensor<I, 2>; 3] {
    let Attention { heads, window, .. } = *attention;
    let given = [query, gradient].map(|x| rows.split(x, heads));
    let [key, value] = [key, value].map(|x| by_head(&stored(x, rows.rows(), heads)));
    let visible = rows.visible(Sight { behind: 0, window });
    let [_, _, _, queries, _] = given[0].dims();
    let (mut of_query, mut of_key, mut of_value) = (Vec::new(), None, None);
    // The last block comes first, since it sees the most slots.
    for (block, slots) in blocks(queries, rows.time(), window).rev() {
        let own = given.each_ref().map(|x| x.clone().narrow(3, block.start, block.len()));
        let seen = [&key, &value].map(|x| x.clone().narrow(3, slots.start, slots.len()));
        let sight = (&*visible, block.start, slots.start);
        let [own_query, own_key, own_value] = of_block(own, seen, sight);
        of_query.push(own_query);
        of_key = Some(added(of_key, own_key, slots.start, rows.time()));
        of_value = Some(added(of_value, own_value, slots.start, rows.time()));
    }
    of_query.reverse();
    let by_slot = |found: Option<_>, x: Tensor<I, 5>| {
        rows.merge(found.unwrap_or_else(|| x.zeros_like()), Heads { group: 1, ..heads })
    };
    [rows.merge(joined(of_query), heads), by_slot(of_key, key), by_slot(of_value, value)]
}

/// Gradients of some queries, and what they add to those of the keys and values that one of them sees: with the weights `P`, the
/// gradient `G` of what the queries are given, and `D = rowsum(P (G V^T))`, `dV = P^T G`, `dS = P (G V^T - D)`, `dQ = dS K`,
/// `dK = dS^T Q` (arXiv 2205.14135, appendix B.4). There `D` comes from what the queries were given; here all scores of a query are
/// at hand, and what cancels was rounded alike, which counts where a card multiplies with fewer bits.
///
/// Of the sight, the first query and the first slot are given by their places in the row.
///
/// # Shapes
/// Queries and their gradient `[rows, key_value_heads, group, queries, head_dim]`, keys and values
/// `[rows, key_value_heads, 1, slots, head_dim]`.
fn of_block<I: Backend>(
    [query, gradient]: [Tensor<I, 5>; 2],
    [key, value]: [Tensor<I, 5>; 2],
    (visible, from, start): (&Visibility<I>, usize, usize),
) -> [Tensor<I, 5>; 3] {
    let ([rows, heads, group, count, head_dim], [.., slots, _]) = (query.dims(), key.dims());
    // The queries that share keys are rows of one product, which adds up what they give to keys and values.
    let [query, gradient] =
        [query, gradient].map(|x| x.reshape([rows, heads, 1, group * count, head_dim]));
    let scores = query.clone().matmul(key.clone().swap_dims(3, 4));
    let scores = scores.reshape([rows, heads, group, count, slots]);
    let weights = masked_softmax(vec![Stretch { scores, start }], visible, from).remove(0);
    let weights = weights.reshape([rows, heads, 1, group * count, slots]);
    let of_value = weights.clone().swap_dims(3, 4).matmul(gradient.clone());
    let of_weights = gradient.matmul(value.swap_dims(3, 4));
    let sums = row_sums(weights.clone() * of_weights.clone());
    let of_scores = weights * (of_weights - sums);
    let of_key = of_scores.clone().swap_dims(3, 4).matmul(query);
    let of_query = of_scores.matmul(key).reshape([rows, heads, group, count, head_dim]);
    [of_query, of_key, of_value]
}

/// The sum over the `time` slots of rows, with those from `start` on added.
fn added<I: Backend>(
    sum: Option<Tensor<I, 5>>,
    own: Tensor<I, 5>,
    start: usize,
    time: usize,
) -> Tensor<I, 5> {
    let [rows, heads, group, slots, head_dim] = own.dims();
    let Some(sum) = sum else {
        let rest = [rows, heads, group, time - slots, head_dim];
        let zeros = || Tensor::zeros(rest, (&own.device(), own.dtype()));
        // Nothing lies behind what the first block sees, which is the last of the row.
        return if slots == time { own } else { Tensor::cat(vec![zeros(), own], 3) };
    };
    let own = sum.clone().narrow(3, start, slots) + own;
    sum.slice_assign([0..rows, 0..heads, 0..group, start..start + slots, 0..head_dim], own)
}
