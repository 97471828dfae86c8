//! Causal attention of rows of unequal length to themselves, as training and reading need it.
//!
//! Heads are read where they lie, scores exist for a block of queries of a few heads at a time, and what causal order hides
//! beyond the block is not computed: memory grows with tokens, not with their square.

use crate::exp::exp;
use crate::flex::{in_order, ordered, to_tensor, vectorised};
use crate::lanes::{maximum, sum, sum_of_products};
use crate::tracked::{Rule, Tracked, learned, record, tracked};
use burn::tensor::{DType, Tensor, backend::Backend, ops::FloatTensorOps};
use burn_flex::{Flex, FlexTensor};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// Queries of a head whose scores exist at the same time.
const BLOCK: usize = 64;

/// Scores of so many heads exist at the same time in a thread as hold at most so many numbers, or those of one.
const SCORES: usize = 1 << 18;

/// How the heads of a token lie next to each other: every head of keys and values serves a group of query heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// Heads of keys and of values.
    pub key_value_heads: usize,
    /// Query heads of each of them.
    pub group: usize,
    /// Dimensions of a head.
    pub head_dim: usize,
}

/// `softmax(Q K^T) V` of every row of tokens for itself; a token sees itself and those before it, of these the last
/// `window` (itself among them) if there is one. Scores are not scaled here: queries come scaled.
///
/// # Shapes
/// `query` `[tokens, key_value_heads * group * head_dim]` to the same; `key` and `value`
/// `[tokens, key_value_heads * head_dim]`. The rows, of these lengths, lie one behind the other and cover all tokens.
///
/// # Errors
/// The operands, if the backend is not flex, with automatic differentiation around it or without, or their numbers have
/// not 32 bits; there, primitives serve.
///
/// # Panics
/// If lengths and shapes do not agree.
pub fn causal_attention<B: Backend>(
    operands: [Tensor<B, 2>; 3],
    heads: Heads,
    lengths: Vec<usize>,
    window: Option<usize>,
) -> Result<Tensor<B, 2>, [Tensor<B, 2>; 3]> {
    let attention = Attention { heads, lengths: lengths.into(), window };
    let operands = match all(operands, tracked) {
        Ok(operands) => return Ok(learned(attention.recorded(operands))),
        Err(operands) => operands,
    };
    let held = all(operands, in_order)?;
    attention.check(&held);
    Ok(to_tensor(attention.forward(&held)))
}

/// All three, if a backend that holds one holds all; it is then given back as it was.
fn all<B: Backend, T>(
    operands: [Tensor<B, 2>; 3],
    hold: impl Fn(Tensor<B, 2>) -> Result<T, Tensor<B, 2>>,
) -> Result<[T; 3], [Tensor<B, 2>; 3]> {
    let [query, key, value] = operands;
    if [&key, &value].iter().any(|x| x.dtype() != query.dtype()) {
        return Err([query, key, value]);
    }
    match hold(query) {
        Err(query) => Err([query, key, value]),
        Ok(query) => match (hold(key), hold(value)) {
            (Ok(key), Ok(value)) => Ok([query, key, value]),
            _ => unreachable!("a backend holds all tensors of a type alike"),
        },
    }
}

#[derive(Debug, Clone)]
struct Attention {
    heads: Heads,
    lengths: Arc<[usize]>,
    window: Option<usize>,
}

/// A block of queries of a row.
#[derive(Debug, Clone)]
struct Block {
    /// The first token of the row.
    row: usize,
    /// Places of the queries in the row.
    queries: Range<usize>,
    /// Places of the tokens that one of them sees.
    slots: Range<usize>,
}

impl Block {
    /// Places of the queries among all tokens.
    fn first_query(&self) -> usize {
        self.row + self.queries.start
    }

    fn first_slot(&self) -> usize {
        self.row + self.slots.start
    }

    /// The slots of the block that query `query` of the block sees.
    #[inline(always)]
    fn visible(&self, query: usize, window: Option<usize>) -> Range<usize> {
        let end = self.queries.start + query + 1;
        let begin = window.map_or(0, |window| end.saturating_sub(window));
        begin.max(self.slots.start) - self.slots.start..end - self.slots.start
    }
}

/// The heads of a token apart, nothing moved.
struct Views {
    /// `[key_value_heads, group, tokens, head_dim]`.
    query: FlexTensor,
    /// `[key_value_heads, 1, tokens, head_dim]`.
    key: FlexTensor,
    /// `[key_value_heads, 1, tokens, head_dim]`.
    value: FlexTensor,
}

impl Heads {
    fn queries(self) -> usize {
        self.key_value_heads * self.group
    }

    /// `[tokens, heads * head_dim]` to `[key_value_heads, heads of each, tokens, head_dim]`.
    fn apart(self, x: &FlexTensor, group: usize) -> FlexTensor {
        let tokens = x.layout().shape()[0];
        x.reshape([tokens, self.key_value_heads, group, self.head_dim].into())
            .permute(&[1, 2, 0, 3])
    }
}

impl Attention {
    fn check(&self, [query, key, value]: &[FlexTensor; 3]) {
        let tokens: usize = self.lengths.iter().sum();
        let Heads { key_value_heads, head_dim, .. } = self.heads;
        for (x, heads) in
            [(query, self.heads.queries()), (key, key_value_heads), (value, key_value_heads)]
        {
            let shape: &[usize] = x.layout().shape();
            assert_eq!(shape, [tokens, heads * head_dim], "heads and rows make up the tokens");
        }
    }

    fn blocks_of(&self, row: usize, length: usize) -> impl Iterator<Item = Block> {
        let window = self.window;
        (0..length).step_by(BLOCK).map(move |from| {
            let end = (from + BLOCK).min(length);
            let begin = window.map_or(0, |window| (from + 1).saturating_sub(window));
            Block { row, queries: from..end, slots: begin..end }
        })
    }

    /// The first token of every row and its length.
    fn rows(&self) -> impl Iterator<Item = (usize, usize)> {
        self.lengths.iter().scan(0, |next, &length| {
            let row = *next;
            *next += length;
            Some((row, length))
        })
    }

    fn views(&self, [query, key, value]: &[FlexTensor; 3]) -> Views {
        let heads = self.heads;
        Views {
            query: heads.apart(query, heads.group),
            key: heads.apart(key, 1),
            value: heads.apart(value, 1),
        }
    }

    fn forward(&self, operands: &[FlexTensor; 3]) -> FlexTensor {
        let width = self.heads.queries() * self.heads.head_dim;
        let tokens = operands[0].layout().shape()[0];
        let views = self.views(operands);
        let mut out = FlexTensor::empty([tokens, width].into(), DType::F32);
        let mut rest: &mut [f32] = out.storage_mut();
        let blocks = self.rows().flat_map(|(row, length)| self.blocks_of(row, length));
        let jobs: Vec<_> = blocks
            .map(|block| {
                let out = rest.split_off_mut(..block.queries.len() * width).unwrap_or_default();
                (block, out)
            })
            .collect();
        jobs.into_par_iter().for_each(|(block, out)| self.attend(&views, &block, out));
        out
    }

    /// Fills `[queries, heads * head_dim]` of one block.
    fn attend(&self, views: &Views, block: &Block, out: &mut [f32]) {
        let Heads { key_value_heads, group, head_dim } = self.heads;
        let (queries, slots) = (block.queries.len(), block.slots.len());
        let at_once = (SCORES / (group * queries * slots).max(1)).max(1);
        for head in (0..key_value_heads).step_by(at_once) {
            let heads = at_once.min(key_value_heads - head);
            let of =
                |x: &FlexTensor, first, count| x.narrow(0, head, heads).narrow(2, first, count);
            let query = of(&views.query, block.first_query(), queries);
            let key = of(&views.key, block.first_slot(), slots);
            let value = of(&views.value, block.first_slot(), slots);
            let mut scores = Flex::float_matmul(query, key.transpose(2, 3));
            let numbers: &mut [f32] = scores.storage_mut();
            vectorised(
                #[inline(always)]
                || {
                    for (line, scores) in numbers.chunks_exact_mut(slots).enumerate() {
                        softmax(scores, block.visible(line % queries, self.window));
                    }
                },
            );
            let attended = Flex::float_matmul(scores, value);
            together(attended.storage(), queries, head_dim, out, head * group * head_dim);
        }
    }

    fn recorded(self, operands: [Tracked; 3]) -> Tracked {
        let held = operands.each_ref().map(|operand| ordered(operand.primitive.clone()));
        self.check(&held);
        let out = self.forward(&held);
        let [query, key, value] = &operands;
        let kept = |out: &FlexTensor| Kept { attention: self, operands: held, out: out.clone() };
        record([query, key, value], out, kept)
    }
}

/// The softmax of what is seen, 0 elsewhere.
#[inline(always)]
fn softmax(scores: &mut [f32], seen: Range<usize>) {
    let Range { start, end } = seen;
    scores[..start].fill(0.0);
    scores[end..].fill(0.0);
    let seen = &mut scores[start..end];
    let largest = maximum(seen);
    for score in seen.iter_mut() {
        *score = exp(*score - largest);
    }
    let scale = 1.0 / sum(seen);
    for weight in seen.iter_mut() {
        *weight *= scale;
    }
}

/// `[heads, tokens, head_dim]` into the columns of `out` from `first` on, `[tokens, width]`.
fn together(apart: &[f32], tokens: usize, head_dim: usize, out: &mut [f32], first: usize) {
    let width = out.len() / tokens;
    for (head, numbers) in apart.chunks_exact(tokens * head_dim).enumerate() {
        let column = first + head * head_dim;
        for (token, numbers) in numbers.chunks_exact(head_dim).enumerate() {
            out[token * width + column..][..head_dim].copy_from_slice(numbers);
        }
    }
}

/// What the backward pass needs; weights are computed again.
#[derive(Debug, Clone)]
struct Kept {
    attention: Attention,
    operands: [FlexTensor; 3],
    out: FlexTensor,
}

/// Gradients of one head of keys and values and of its queries, tokens of one row: `[group, time, head_dim]`,
/// `[time, head_dim]` and the same.
struct OfHead {
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
}

impl Rule<3> for Kept {
    /// With the weights `P`, the gradient `G` of the result `O`, and `D = rowsum(G O)`: `dV = P^T G`,
    /// `dS = P (G V^T - D)`, `dQ = dS K`, `dK = dS^T Q` (arXiv 2205.14135, appendix B.4).
    fn gradients(self, gradient: FlexTensor, _: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let heads = self.attention.heads;
        let mut found = self
            .operands
            .each_ref()
            .map(|x| FlexTensor::empty(x.layout().shape().clone(), DType::F32));
        let views = self.attention.views(&self.operands);
        let gradients = heads.apart(&gradient, heads.group);
        let [query, key, value] = &mut found;
        let mut rest: [&mut [f32]; 3] =
            [query.storage_mut(), key.storage_mut(), value.storage_mut()];
        let widths = [heads.queries(), heads.key_value_heads, heads.key_value_heads]
            .map(|count| count * heads.head_dim);
        let jobs: Vec<_> = self
            .attention
            .rows()
            .filter(|&(_, length)| length > 0)
            .map(|(row, length)| {
                let mut next = |index: usize| {
                    rest[index].split_off_mut(..length * widths[index]).unwrap_or_default()
                };
                (row, length, [next(0), next(1), next(2)])
            })
            .collect();
        jobs.into_par_iter().for_each(|(row, length, [query, key, value])| {
            let of_heads: Vec<OfHead> = (0..heads.key_value_heads)
                .into_par_iter()
                .map(|head| self.of_head(&views, &gradients, &gradient, head, row, length))
                .collect();
            let head_dim = heads.head_dim;
            for (head, found) in of_heads.iter().enumerate() {
                together(&found.query, length, head_dim, query, head * heads.group * head_dim);
                together(&found.key, length, head_dim, key, head * head_dim);
                together(&found.value, length, head_dim, value, head * head_dim);
            }
        });
        found.map(Some)
    }
}

impl Kept {
    fn of_head(
        &self,
        views: &Views,
        gradients: &FlexTensor,
        gradient: &FlexTensor,
        head: usize,
        row: usize,
        length: usize,
    ) -> OfHead {
        let Heads { group, head_dim, .. } = self.attention.heads;
        let mut found = OfHead {
            query: vec![0.0; group * length * head_dim],
            key: vec![0.0; length * head_dim],
            value: vec![0.0; length * head_dim],
        };
        let of = |x: &FlexTensor, first, count| x.narrow(0, head, 1).narrow(2, first, count);
        for block in self.attention.blocks_of(row, length) {
            let Block { queries, slots, .. } = &block;
            let query = of(&views.query, block.first_query(), queries.len());
            let gradients = of(gradients, block.first_query(), queries.len());
            let key = of(&views.key, block.first_slot(), slots.len());
            let value = of(&views.value, block.first_slot(), slots.len());
            let mut weights = Flex::float_matmul(query.clone(), key.transpose(2, 3));
            let mut of_weights = Flex::float_matmul(gradients.clone(), value.transpose(2, 3));
            self.of_scores(&block, head, gradient, weights.storage_mut(), of_weights.storage_mut());
            let of_scores = of_weights;
            let of_query = Flex::float_matmul(of_scores.clone(), key);
            for (found, new) in found
                .query
                .chunks_exact_mut(length * head_dim)
                .zip(of_query.storage::<f32>().chunks_exact(queries.len() * head_dim))
            {
                found[queries.start * head_dim..][..new.len()].copy_from_slice(new);
            }
            let places = slots.start * head_dim..slots.end * head_dim;
            add(
                &mut found.key[places.clone()],
                &Flex::float_matmul(of_scores.transpose(2, 3), query),
            );
            add(&mut found.value[places], &Flex::float_matmul(weights.transpose(2, 3), gradients));
        }
        found
    }

    /// Turns scores into weights and the gradients of weights into those of scores, `[group, queries, slots]` both.
    fn of_scores(
        &self,
        block: &Block,
        head: usize,
        gradient: &FlexTensor,
        scores: &mut [f32],
        of_weights: &mut [f32],
    ) {
        let heads = self.attention.heads;
        let (width, count) = (block.slots.len(), block.queries.len());
        let (out, gradient): (&[f32], &[f32]) = (self.out.storage(), gradient.storage());
        let lines =
            scores.chunks_exact_mut(width).zip(of_weights.chunks_exact_mut(width)).enumerate();
        vectorised(
            #[inline(always)]
            || {
                for (line, (scores, of_weights)) in lines {
                    let (member, query) = (line / count, line % count);
                    let place = (block.first_query() + query) * heads.queries()
                        + head * heads.group
                        + member;
                    let of_head = place * heads.head_dim..(place + 1) * heads.head_dim;
                    let mean = sum_of_products(&gradient[of_head.clone()], &out[of_head]);
                    softmax(scores, block.visible(query, self.attention.window));
                    for (of_weight, weight) in of_weights.iter_mut().zip(&*scores) {
                        *of_weight = weight * (*of_weight - mean);
                    }
                }
            },
        );
    }
}

/// Adds the heads of a group, `[group, slots, head_dim]`.
fn add(sum: &mut [f32], parts: &FlexTensor) {
    for part in parts.storage::<f32>().chunks_exact(sum.len()) {
        for (sum, x) in sum.iter_mut().zip(part) {
            *sum += x;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracked::tests::{Fused, Primitives, close, numbers, wave};
    use crate::{Stretch, Visibility, masked_softmax};
    use burn::tensor::backend::AutodiffBackend;
    use burn_flex::FlexDevice;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    struct Case {
        heads: Heads,
        lengths: Vec<usize>,
        window: Option<usize>,
        size: f32,
    }

    /// Row by row, of burn's own operations.
    fn expected<B: Backend>(operands: [Tensor<B, 2>; 3], case: &Case) -> Tensor<B, 2> {
        let Heads { key_value_heads, group, head_dim } = case.heads;
        let mut start = 0;
        let rows = case.lengths.iter().filter(|&&length| length > 0).map(|&length| {
            let [query, key, value] = operands.clone().map(|x| x.narrow(0, start, length));
            start += length;
            let apart = |x: Tensor<B, 2>, group| {
                let heads = x.reshape([length, key_value_heads, group, head_dim]);
                heads.permute([1, 2, 0, 3]).unsqueeze::<5>()
            };
            let scores = apart(query, group).matmul(apart(key, 1).swap_dims(3, 4));
            let visible = Visibility::new(vec![0], length, case.window);
            let weights = masked_softmax(vec![Stretch { scores, start: 0 }], &visible, 0).remove(0);
            let attended = weights.matmul(apart(value, 1)).permute([0, 3, 1, 2, 4]);
            attended.reshape([length, key_value_heads * group * head_dim])
        });
        Tensor::cat(rows.collect(), 0)
    }

    fn operands<B: Backend<Device = FlexDevice>>(case: &Case) -> [Tensor<B, 2>; 3] {
        let tokens: usize = case.lengths.iter().sum();
        let Heads { key_value_heads, head_dim, .. } = case.heads;
        let keys = [tokens, key_value_heads * head_dim];
        [
            wave([tokens, case.heads.queries() * head_dim], 0.37, case.size),
            wave(keys, 0.73, case.size),
            wave(keys, 0.11, 1.0),
        ]
    }

    /// The result and the gradients of the operands.
    fn learned_numbers<B: AutodiffBackend<Device = FlexDevice>>(
        case: &Case,
        attend: impl Fn([Tensor<B, 2>; 3]) -> Tensor<B, 2>,
    ) -> [Vec<f32>; 4] {
        let operands = operands::<B>(case).map(Tensor::require_grad);
        let result = attend(operands.clone());
        let gradients = (result.clone() * wave::<B, 2>(result.dims(), 0.7, 1.0)).sum().backward();
        let [query, key, value] = operands.map(|x| numbers(x.grad(&gradients).unwrap()));
        [numbers(result), query, key, value]
    }

    fn fused<B: Backend>(operands: [Tensor<B, 2>; 3], case: &Case) -> Tensor<B, 2> {
        causal_attention(operands, case.heads, case.lengths.clone(), case.window).unwrap()
    }

    fn agrees(case: &Case) -> Result<(), TestCaseError> {
        let expected = learned_numbers::<Primitives>(case, |operands| expected(operands, case));
        let found = learned_numbers::<Fused>(case, |operands| fused(operands, case));
        let read = numbers(fused::<Flex>(operands(case), case));
        prop_assert_eq!(&read, &found[0]);
        for (found, expected) in found.iter().zip(&expected) {
            prop_assert!(close(found, expected, 1e-5, case.size.max(1.0)));
        }
        Ok(())
    }

    #[test]
    fn a_token_sees_itself_and_what_is_before_it_in_its_row() {
        let heads = Heads { key_value_heads: 1, group: 1, head_dim: 1 };
        let case = Case { heads, lengths: vec![2, 0, 1], window: None, size: 0.0 };
        let [query, key, _] = operands::<Flex>(&case);
        let value = Tensor::from_data([[1.0], [3.0], [7.0]], &FlexDevice);
        assert_eq!(numbers(fused([query, key, value], &case)), [1.0, 2.0, 7.0]);
    }

    #[test]
    fn extreme_scores_neither_overflow_nor_vanish() {
        let heads = Heads { key_value_heads: 2, group: 2, head_dim: 3 };
        agrees(&Case { heads, lengths: vec![130, 1], window: None, size: 80.0 }).unwrap();
    }

    #[test]
    fn other_backends_get_their_operands_back() {
        let heads = Heads { key_value_heads: 1, group: 1, head_dim: 2 };
        let case = Case { heads, lengths: vec![3], window: None, size: 1.0 };
        let operands = operands::<Primitives>(&case);
        let back = causal_attention(operands.clone(), heads, case.lengths, None).unwrap_err();
        assert_eq!(back.map(numbers), operands.map(numbers));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn agrees_with_primitives(
            key_value_heads in 1_usize..3,
            group in 1_usize..4,
            head_dim in 1_usize..20,
            lengths in prop::collection::vec(0_usize..150, 1..5),
            window in prop::option::of(1_usize..100),
        ) {
            let heads = Heads { key_value_heads, group, head_dim };
            let mut lengths = lengths;
            lengths.push(1);
            agrees(&Case { heads, lengths, window, size: 2.0 })?;
        }
    }
}
