//! The backward pass of causal attention on flex: scores are computed again, block by block.

use super::{Attention, Block, Heads, Pieces, Seen, Side, Stretch, softmax, together};
use crate::flex::{from_numbers, vectorised};
use crate::gemm::{Matrix, multiply_into};
use crate::lanes::sum_of_products;
use crate::tracked::Rule;
use burn_flex::FlexTensor;
use rayon::prelude::*;
use std::ops::Range;

/// What the backward pass needs; weights are computed again.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) attention: Attention,
    pub(super) operands: [FlexTensor; 3],
    pub(super) out: FlexTensor,
}

/// Gradients of one head of keys and values and of its queries, in one tree.
#[derive(Default)]
struct OfHead {
    /// Places of some queries among all tokens, and their gradients, `[group, queries, head_dim]`.
    query: Vec<(Range<usize>, Vec<f32>)>,
    /// Of the tokens of the tree up to the last that is seen, `[tokens, head_dim]`.
    key: Vec<f32>,
    value: Vec<f32>,
}

/// What the queries of a piece give to [`OfHead`]; keys and values up to the last query.
struct OfPiece {
    queries: Range<usize>,
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
}

impl OfHead {
    fn add(&mut self, OfPiece { queries, query, key, value }: OfPiece) {
        add(&mut self.key, key);
        add(&mut self.value, value);
        self.query.push((queries, query));
    }
}

/// Adds numbers to the first of a sum, which may be empty still.
fn add(sum: &mut Vec<f32>, numbers: Vec<f32>) {
    if sum.is_empty() {
        *sum = numbers;
        return;
    }
    for (sum, number) in sum.iter_mut().zip(&numbers) {
        *sum += number;
    }
}

impl Rule<3> for Kept {
    /// With the weights `P`, the gradient `G` of the result `O`, and `D = rowsum(G O)`: `dV = P^T G`,
    /// `dS = P (G V^T - D)`, `dQ = dS K`, `dK = dS^T Q` (arXiv 2205.14135, appendix B.4).
    fn gradients(self, gradient: FlexTensor, _: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let heads = self.attention.heads;
        let tokens = gradient.layout().shape()[0];
        let widths = [heads.queries(), heads.key_value_heads, heads.key_value_heads]
            .map(|count| count * heads.head_dim);
        let mut found = widths.map(|width| vec![0.0_f32; tokens * width]);
        let [query, key, value] = &mut found;
        let mut rest = [(query, widths[0]), (key, widths[1]), (value, widths[2])]
            .map(|(numbers, width)| Pieces::new(numbers, width));
        let jobs: Vec<_> = self
            .attention
            .rows
            .iter()
            .map(|tree| (tree.span(), self.attention.pieces_of(tree)))
            .filter(|(_, pieces)| !pieces.is_empty())
            .map(|(span, pieces)| {
                let of_tree = rest.each_mut().map(|rest| rest.next(span.start, span.len()));
                (span.start, pieces, of_tree)
            })
            .collect();
        jobs.into_par_iter().for_each(|(start, pieces, [query, key, value])| {
            let of_heads: Vec<OfHead> = (0..heads.key_value_heads)
                .into_par_iter()
                .map(|head| self.of_head(&gradient, head, start, &pieces))
                .collect();
            let head_dim = heads.head_dim;
            for (head, found) in of_heads.iter().enumerate() {
                for (queries, found) in &found.query {
                    let out = &mut query[(queries.start - start) * widths[0]..];
                    let out = &mut out[..queries.len() * widths[0]];
                    together(found, queries.len(), head_dim, out, head * heads.group * head_dim);
                }
                for (found, out) in [(&found.key, &mut *key), (&found.value, &mut *value)] {
                    let tokens = found.len() / head_dim;
                    let out = &mut out[..tokens * widths[1]];
                    together(found, tokens, head_dim, out, head * head_dim);
                }
            }
        });
        let [query, key, value] = found;
        [(query, widths[0]), (key, widths[1]), (value, widths[2])]
            .map(|(numbers, width)| Some(from_numbers(numbers, [tokens, width])))
    }
}

impl Kept {
    /// Of the head `own` of keys and values, in the tree that begins at token `start`.
    fn of_head(
        &self,
        gradient: &FlexTensor,
        own: usize,
        start: usize,
        pieces: &[Vec<Block>],
    ) -> OfHead {
        let of_pieces: Vec<OfPiece> =
            pieces.par_iter().map(|blocks| self.of_piece(gradient, own, start, blocks)).collect();
        let mut found = OfHead::default();
        // The last comes first, since it sees the most tokens.
        of_pieces.into_iter().rev().for_each(|piece| found.add(piece));
        found
    }

    fn of_piece(
        &self,
        gradient: &FlexTensor,
        own: usize,
        start: usize,
        blocks: &[Block],
    ) -> OfPiece {
        let Heads { group, head_dim, .. } = self.attention.heads;
        let sides = self.attention.sides(&self.operands);
        let [query, ..] = sides;
        let [gradient, out] = [gradient, &self.out].map(|x| Side::new(x, query.heads, head_dim));
        let first = blocks.first().map_or(start, Block::first_query);
        let span = first..blocks.last().map_or(start, Block::end);
        let tokens = span.end - start;
        let mut found = OfPiece {
            query: vec![0.0; group * span.len() * head_dim],
            key: vec![0.0; tokens * head_dim],
            value: vec![0.0; tokens * head_dim],
            queries: span.clone(),
        };
        let mut scores = Scores::default();
        for block in blocks {
            let seen = self.attention.seen(sides, &[], block);
            let (queries, first) = (block.queries.len(), block.first_query());
            for member in 0..group {
                let head = own * group + member;
                let queried = query.head(head, first, queries);
                let of_result = gradient.head(head, first, queries);
                scores.begin(queries, &seen);
                for (stretch, column) in seen.columns() {
                    scores.multiply(queried, of_result, stretch, own, column);
                }
                scores.of_scores(block, self.attention.window, seen.origin, [gradient, out], head);
                let of_query = (member * span.len() + first - span.start) * head_dim;
                let of_query = &mut found.query[of_query..];
                for (stretch, column) in seen.columns() {
                    let [weights, of_scores] = scores.of(stretch, column);
                    let keys = stretch.keys.head(own, stretch.first, stretch.tokens);
                    multiply_into(of_scores, keys, of_query, head_dim, column > 0);
                    let place = (stretch.first - start) * head_dim;
                    let of_key = &mut found.key[place..];
                    multiply_into(of_scores.transposed(), queried, of_key, head_dim, true);
                    let of_value = &mut found.value[place..];
                    multiply_into(weights.transposed(), of_result, of_value, head_dim, true);
                }
            }
        }
        found
    }
}

/// Of one head of a block, `[queries, columns]` both; the columns are the tokens that the block sees.
#[derive(Debug, Default)]
struct Scores {
    queries: usize,
    columns: usize,
    /// First scores, then weights.
    weights: Vec<f32>,
    /// First of weights, then of scores.
    gradients: Vec<f32>,
}

impl Scores {
    fn begin(&mut self, queries: usize, seen: &Seen<'_>) {
        self.queries = queries;
        self.columns = seen.tokens();
        self.weights.resize(queries * self.columns, 0.0);
        self.gradients.resize(queries * self.columns, 0.0);
    }

    /// Fills the columns of a stretch from `column` on.
    fn multiply(
        &mut self,
        queried: Matrix<'_>,
        of_result: Matrix<'_>,
        stretch: &Stretch<'_>,
        own: usize,
        column: usize,
    ) {
        let [keys, values] = [stretch.keys, stretch.values]
            .map(|side| side.head(own, stretch.first, stretch.tokens).transposed());
        let scores = &mut self.weights[column..];
        multiply_into(queried, keys, scores, self.columns, false);
        let of_weights = &mut self.gradients[column..];
        multiply_into(of_result, values, of_weights, self.columns, false);
    }

    /// The weights and the gradients of the scores of a stretch, `[queries, tokens]`.
    fn of(&self, stretch: &Stretch<'_>, column: usize) -> [Matrix<'_>; 2] {
        let shape = [self.queries, stretch.tokens];
        [&self.weights, &self.gradients]
            .map(|numbers| Matrix::strided(&numbers[column..], shape, [self.columns, 1]))
    }

    /// Turns scores into weights and the gradients of weights into those of scores; `origin` is the place of the first column,
    /// counted from the first token of the past.
    fn of_scores(
        &mut self,
        block: &Block,
        window: Option<usize>,
        origin: usize,
        [gradient, out]: [Side<'_>; 2],
        head: usize,
    ) {
        let columns = self.columns;
        let lines =
            self.weights.chunks_exact_mut(columns).zip(self.gradients.chunks_exact_mut(columns));
        vectorised(
            #[inline(always)]
            || {
                for (query, (scores, of_weights)) in lines.enumerate() {
                    let place = (block.first_query() + query) * out.width() + head * out.head_dim;
                    let of_head = place..place + out.head_dim;
                    let (gradient, out) =
                        (&gradient.numbers[of_head.clone()], &out.numbers[of_head]);
                    let mean = sum_of_products(gradient, out);
                    softmax(scores, block.visible(query, window, origin));
                    for (of_weight, weight) in of_weights.iter_mut().zip(&*scores) {
                        *of_weight = weight * (*of_weight - mean);
                    }
                }
            },
        );
    }
}
