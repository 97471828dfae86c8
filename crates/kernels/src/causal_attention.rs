//! Causal attention of rows of unequal length to themselves and to what they follow, as training and reading need it.
//!
//! On flex heads are read and written where they lie, scores exist for a block of queries of one head at a time, and what causal
//! order hides beyond the block is not computed: memory grows with tokens, not with their square.

use crate::exp::exp;
use crate::flex::{from_numbers, in_order, ordered, to_tensor, vectorised};
use crate::gemm::{Matrix, multiply_into};
use crate::lanes::{maximum, sum};
use crate::tracked::{Tracked, learned, record, tracked};
use backward::Kept;
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn_flex::FlexTensor;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

mod backward;
mod padded;
mod primitives;
mod recomputed;
mod rows;
mod side_by_side;

pub use rows::{Rows, Tree};

/// Queries of a head whose scores exist at the same time.
const BLOCK: usize = 64;

/// Scores for every token of a tree that are worth a piece of its queries, which has gradients of keys and values of its own:
/// beside so many scores it is little work to clear these and to add them up. A row of 1,024 tokens stays in one piece unless
/// its heads are grouped.
const WORTH_A_PIECE: usize = 512;

/// Heads of keys and values times pieces of a tree that keep the cores of most machines busy; every further piece would only
/// take memory.
const ENOUGH_PIECES: usize = 16;

/// Products of two numbers, of queries with keys, that are worth a thread for every head.
const WORTH_A_HEAD: usize = 1 << 20;

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

/// `softmax(Q K^T) V` of every row of tokens for itself and for what it follows: the stem of its tree and before that `past`,
/// stretches of tokens that stand in their order before every row. A token sees itself and those before it, of these the last
/// `window` (itself among them) if there is one. Scores are not scaled here: queries come scaled.
///
/// # Shapes
/// `query` `[tokens, key_value_heads * group * head_dim]` to the same; `key` and `value`, and those of every stretch of the
/// past, `[tokens, key_value_heads * head_dim]`. What is padding among `rows` nothing sees, and it is given 0. What a row is
/// given does not depend on the rows that it does not follow.
///
/// # Panics
/// If rows and shapes do not agree, heads have no dimensions or the window is 0; without flex also if the rows were used with
/// another number of tokens before.
pub fn causal_attention<B: Backend>(
    operands: [Tensor<B, 2>; 3],
    past: &[[Tensor<B, 2>; 2]],
    heads: Heads,
    rows: &Rows<B>,
    window: Option<usize>,
) -> Tensor<B, 2> {
    let behind = past.iter().map(|[key, _]| key.dims()[0]).sum();
    let attention = Attention { heads, rows: rows.trees().clone(), window, behind };
    attention.check(&operands, past);
    match attention.on_flex(operands, past) {
        Ok(attended) => attended,
        Err(operands) => attention.of_primitives(operands, past, rows),
    }
}

/// [`causal_attention`] without a past, with a backward pass that, on every backend, computes scores again: those of some queries
/// of a row exist at a time, so that memory grows with tokens times those queries, however long rows are. Elsewhere than on flex a
/// stem counts once for every branch.
///
/// # Shapes
/// As for [`causal_attention`].
///
/// # Panics
/// As [`causal_attention`].
pub fn causal_attention_for_training<B: AutodiffBackend>(
    operands: [Tensor<B, 2>; 3],
    heads: Heads,
    rows: &Rows<B::InnerBackend>,
    window: Option<usize>,
) -> Tensor<B, 2> {
    let attention = Attention { heads, rows: rows.trees().clone(), window, behind: 0 };
    attention.check(&operands, &[]);
    let recomputed = |operands| recomputed::causal_attention(&attention, operands, rows);
    match attention.on_flex(operands, &[]).or_else(recomputed) {
        Ok(attended) => attended,
        Err(operands) => attention.of_primitives(operands, &[], &rows.elsewhere()),
    }
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
    rows: Arc<[Tree]>,
    window: Option<usize>,
    /// Tokens of the past.
    behind: usize,
}

/// A block of queries of a row.
#[derive(Debug, Clone)]
struct Block {
    /// The tokens of the stem that the row follows; none if it is one.
    stem: Range<usize>,
    /// The first token of the row.
    row: usize,
    /// Places of the queries in the row.
    queries: Range<usize>,
    /// Places of the tokens of the row that one of them sees.
    slots: Range<usize>,
    /// Tokens of the past, of the stem and of the row before the first query.
    before: usize,
}

impl Block {
    /// Places of the queries among all tokens.
    fn first_query(&self) -> usize {
        self.row + self.queries.start
    }

    fn first_slot(&self) -> usize {
        self.row + self.slots.start
    }

    /// The place behind the last query, which is also behind the last token seen, among all tokens.
    fn end(&self) -> usize {
        self.row + self.queries.end
    }

    /// Scores of a head, at most: a window may hide the stem.
    fn scores(&self) -> usize {
        self.queries.len() * (self.stem.len() + self.slots.len())
    }

    /// The first token that query `query` of the block sees, counted from the first of the past.
    #[inline(always)]
    fn first_seen(&self, query: usize, window: Option<usize>) -> usize {
        window.map_or(0, |window| (self.before + query + 1).saturating_sub(window))
    }

    /// What query `query` of the block sees, of the tokens from `origin` on, counted from the first of the past.
    #[inline(always)]
    fn visible(&self, query: usize, window: Option<usize>, origin: usize) -> Range<usize> {
        let begin = self.first_seen(query, window).max(origin) - origin;
        begin..self.before + query + 1 - origin
    }
}

/// Some tokens that a block sees, next to each other.
#[derive(Debug, Clone, Copy)]
struct Stretch<'a> {
    keys: Side<'a>,
    values: Side<'a>,
    first: usize,
    tokens: usize,
}

/// What a block sees something of, one behind the other.
struct Seen<'a> {
    stretches: Vec<Stretch<'a>>,
    /// The place of the first token, counted from the first of the past.
    origin: usize,
}

impl Seen<'_> {
    fn tokens(&self) -> usize {
        self.stretches.iter().map(|stretch| stretch.tokens).sum()
    }

    /// Every stretch with the place of its first token among all.
    fn columns(&self) -> impl Iterator<Item = (&Stretch<'_>, usize)> {
        self.stretches.iter().scan(0, |column, stretch| {
            *column += stretch.tokens;
            Some((stretch, *column - stretch.tokens))
        })
    }

    /// Of one head of the block.
    fn scores(&self, block: &Block) -> usize {
        block.queries.len() * self.tokens()
    }
}

impl Heads {
    fn queries(self) -> usize {
        self.key_value_heads * self.group
    }
}

/// The heads of all tokens, `[tokens, heads * head_dim]`.
#[derive(Debug, Clone, Copy)]
struct Side<'a> {
    numbers: &'a [f32],
    heads: usize,
    head_dim: usize,
}

impl<'a> Side<'a> {
    fn new(tensor: &'a FlexTensor, heads: usize, head_dim: usize) -> Self {
        Self { numbers: tensor.storage(), heads, head_dim }
    }

    /// Numbers of a token.
    fn width(self) -> usize {
        self.heads * self.head_dim
    }

    /// One head of some tokens, `[tokens, head_dim]`.
    fn head(self, head: usize, first: usize, tokens: usize) -> Matrix<'a> {
        let numbers = &self.numbers[first * self.width() + head * self.head_dim..];
        Matrix::strided(numbers, [tokens, self.head_dim], [self.width(), 1])
    }
}

impl Attention {
    fn check<B: Backend>(
        &self,
        [query, key, value]: &[Tensor<B, 2>; 3],
        past: &[[Tensor<B, 2>; 2]],
    ) {
        let [tokens, _] = query.dims();
        let parts = || self.rows.iter().flat_map(Tree::parts);
        let ends = parts().map(|part| part.end);
        let ascend = parts().zip(std::iter::once(0).chain(ends)).all(|(part, before)| {
            before <= part.start && part.start <= part.end && part.end <= tokens
        });
        assert!(ascend, "rows ascend and lie within the tokens");
        let Heads { key_value_heads, head_dim, .. } = self.heads;
        assert!(head_dim > 0, "heads have dimensions");
        assert!(self.window != Some(0), "a token sees itself");
        for (x, heads) in
            [(query, self.heads.queries()), (key, key_value_heads), (value, key_value_heads)]
        {
            assert_eq!(x.dims(), [tokens, heads * head_dim], "heads make up the tokens");
        }
        for [key, value] in past {
            let [_, width] = key.dims();
            assert_eq!(width, key_value_heads * head_dim, "the past has the same heads");
            assert_eq!(key.dims(), value.dims(), "keys and values belong together");
        }
    }

    /// The operands, if the backend is not flex, with automatic differentiation around it or without, or their numbers have not
    /// 32 bits, or they learn behind a past.
    fn on_flex<B: Backend>(
        &self,
        operands: [Tensor<B, 2>; 3],
        past: &[[Tensor<B, 2>; 2]],
    ) -> Result<Tensor<B, 2>, [Tensor<B, 2>; 3]> {
        let operands = match all(operands, tracked) {
            Ok(operands) if past.is_empty() => {
                return Ok(learned(self.clone().recorded(operands)));
            }
            Ok(operands) => return Err(operands.map(learned)),
            Err(operands) => operands,
        };
        let held = all(operands, in_order)?;
        let stored =
            past.iter().map(|stretch| stretch.each_ref().map(|x| in_order(x.clone()).ok()));
        let stored = stored.map(|[key, value]| Some([key?, value?])).collect::<Option<Vec<_>>>();
        let Some(stored) = stored else { return Err(held.map(to_tensor)) };
        Ok(to_tensor(self.forward(&held, &stored)))
    }

    /// The blocks of the stem, then those of every branch.
    fn blocks_of(&self, tree: &Tree) -> impl Iterator<Item = Block> {
        let branches = tree.branches.iter().map(|branch| (0..tree.stem.len(), branch));
        let rows = std::iter::once((0..0, &tree.stem)).chain(branches);
        rows.flat_map(move |(stem, row)| {
            let before = self.behind + stem.len();
            let stem = tree.stem.start + stem.start..tree.stem.start + stem.end;
            (0..row.len()).step_by(BLOCK).map(move |from| {
                let end = (from + BLOCK).min(row.len());
                let begin = self.window.map_or(0, |window| (from + 1).saturating_sub(window));
                let (queries, slots) = (from..end, begin..end);
                Block { stem: stem.clone(), row: row.start, queries, slots, before: before + from }
            })
        })
    }

    /// The blocks of a tree, next to each other in pieces with about as much to do: one if the tree is short or has many heads
    /// of keys and values. Nothing but the tree and the heads decides where it is cut, so neither threads nor other rows change
    /// a sum over pieces.
    fn pieces_of(&self, tree: &Tree) -> Vec<Vec<Block>> {
        let Heads { key_value_heads, group, .. } = self.heads;
        let blocks: Vec<Block> = self.blocks_of(tree).collect();
        let scores: usize = blocks.iter().map(Block::scores).sum();
        let worth = (WORTH_A_PIECE * tree.span().len()).max(1);
        let most = ENOUGH_PIECES.div_ceil(key_value_heads.max(1));
        let count = (scores * group / worth).clamp(1, most);
        let share = scores.div_ceil(count);
        let mut pieces = vec![Vec::new(); count];
        let mut before = 0;
        for block in blocks {
            let scores = block.scores();
            pieces[before / share].push(block);
            before += scores;
        }
        pieces.retain(|piece| !piece.is_empty());
        pieces
    }

    fn sides<'a>(&self, [query, key, value]: &'a [FlexTensor; 3]) -> [Side<'a>; 3] {
        let Heads { key_value_heads, head_dim, .. } = self.heads;
        [
            Side::new(query, self.heads.queries(), head_dim),
            Side::new(key, key_value_heads, head_dim),
            Side::new(value, key_value_heads, head_dim),
        ]
    }

    fn forward(&self, operands: &[FlexTensor; 3], past: &[[FlexTensor; 2]]) -> FlexTensor {
        let width = self.heads.queries() * self.heads.head_dim;
        let tokens = operands[0].layout().shape()[0];
        let sides = self.sides(operands);
        let past: Vec<Stretch<'_>> = past.iter().map(|stretch| self.past(stretch)).collect();
        let mut out = vec![0.0_f32; tokens * width];
        let blocks: Vec<Block> = self.rows.iter().flat_map(|tree| self.blocks_of(tree)).collect();
        if self.worth_a_thread_a_head(&blocks) {
            self.by_heads(sides, &past, &blocks, &mut out);
        } else {
            self.by_blocks(sides, &past, blocks, &mut out);
        }
        from_numbers(out, [tokens, width])
    }

    /// Whether blocks are too few to keep the cores busy, and see enough. Rows and heads decide, not threads, though every head
    /// is the same to the bit either way.
    fn worth_a_thread_a_head(&self, blocks: &[Block]) -> bool {
        let seen = |block: &Block| block.queries.len() * (block.before + block.queries.len());
        let scores: usize = blocks.iter().map(seen).sum();
        let numbers = self.heads.queries() * self.heads.head_dim;
        blocks.len() < ENOUGH_PIECES && scores.saturating_mul(numbers) >= WORTH_A_HEAD
    }

    /// A thread a block, with all heads of its queries.
    fn by_blocks(
        &self,
        sides: [Side<'_>; 3],
        past: &[Stretch<'_>],
        blocks: Vec<Block>,
        out: &mut [f32],
    ) {
        let width = sides[0].width();
        let mut pieces = Pieces::new(out, width);
        let jobs: Vec<_> = blocks
            .into_iter()
            .map(|block| {
                let out = pieces.next(block.first_query(), block.queries.len());
                (block, out)
            })
            .collect();
        jobs.into_par_iter().for_each(|(block, out)| {
            let seen = self.seen(sides, past, &block);
            let mut scores = vec![0.0_f32; seen.scores(&block)];
            for head in 0..self.heads.queries() {
                let out = &mut out[head * self.heads.head_dim..];
                self.attend(sides[0], &seen, &block, head, &mut scores, (out, width));
            }
        });
    }

    /// A thread a head of a block.
    fn by_heads(
        &self,
        sides: [Side<'_>; 3],
        past: &[Stretch<'_>],
        blocks: &[Block],
        out: &mut [f32],
    ) {
        let (heads, head_dim, width) =
            (self.heads.queries(), self.heads.head_dim, sides[0].width());
        let seen: Vec<Seen<'_>> =
            blocks.iter().map(|block| self.seen(sides, past, block)).collect();
        let jobs = (0..blocks.len() * heads).into_par_iter();
        let of_heads = jobs.map(|job| {
            let (block, seen) = (&blocks[job / heads], &seen[job / heads]);
            let mut scores = vec![0.0_f32; seen.scores(block)];
            let mut own = vec![0.0_f32; block.queries.len() * head_dim];
            self.attend(sides[0], seen, block, job % heads, &mut scores, (&mut own, head_dim));
            own
        });
        for (job, own) in of_heads.collect::<Vec<_>>().iter().enumerate() {
            let (block, head) = (&blocks[job / heads], job % heads);
            let queries = block.queries.len();
            let out = &mut out[block.first_query() * width..][..queries * width];
            together(own, queries, head_dim, out, head * head_dim);
        }
    }

    fn past<'a>(&self, [key, value]: &'a [FlexTensor; 2]) -> Stretch<'a> {
        let Heads { key_value_heads, head_dim, .. } = self.heads;
        let [keys, values] = [key, value].map(|x| Side::new(x, key_value_heads, head_dim));
        Stretch { keys, values, first: 0, tokens: key.layout().shape()[0] }
    }

    /// What a block sees something of.
    fn seen<'a>(
        &self,
        [_, keys, values]: [Side<'a>; 3],
        past: &[Stretch<'a>],
        block: &Block,
    ) -> Seen<'a> {
        let first = block.first_seen(0, self.window);
        let mut origin = 0;
        let mut seen = Vec::with_capacity(past.len() + 2);
        let stem = Stretch { keys, values, first: block.stem.start, tokens: block.stem.len() };
        for stretch in past.iter().copied().chain((stem.tokens > 0).then_some(stem)) {
            if seen.is_empty() && origin + stretch.tokens <= first {
                origin += stretch.tokens;
            } else {
                seen.push(stretch);
            }
        }
        if seen.is_empty() {
            origin += block.slots.start;
        }
        let (first, tokens) = (block.first_slot(), block.slots.len());
        seen.push(Stretch { keys, values, first, tokens });
        Seen { stretches: seen, origin }
    }

    /// Fills `[queries, head_dim]` of one head of a block, rows of `out` so far apart.
    fn attend(
        &self,
        query: Side<'_>,
        seen: &Seen<'_>,
        block: &Block,
        head: usize,
        scores: &mut [f32],
        (out, stride): (&mut [f32], usize),
    ) {
        let (queries, width) = (block.queries.len(), seen.tokens());
        let own = head / self.heads.group;
        let queried = query.head(head, block.first_query(), queries);
        for (stretch, column) in seen.columns() {
            let keys = stretch.keys.head(own, stretch.first, stretch.tokens).transposed();
            multiply_into(queried, keys, &mut scores[column..], width, false);
        }
        vectorised(
            #[inline(always)]
            || {
                for (line, scores) in scores.chunks_exact_mut(width).enumerate() {
                    softmax(scores, block.visible(line, self.window, seen.origin));
                }
            },
        );
        for (stretch, column) in seen.columns() {
            let shape = [queries, stretch.tokens];
            let weights = Matrix::strided(&scores[column..], shape, [width, 1]);
            let values = stretch.values.head(own, stretch.first, stretch.tokens);
            multiply_into(weights, values, out, stride, column > 0);
        }
    }

    fn recorded(self, operands: [Tracked; 3]) -> Tracked {
        let held = operands.each_ref().map(|operand| ordered(operand.primitive.clone()));
        let out = self.forward(&held, &[]);
        let [query, key, value] = &operands;
        let kept = |out: &FlexTensor| Kept { attention: self, operands: held, out: out.clone() };
        record([query, key, value], out, kept)
    }
}

/// The numbers of some tokens after others, each to be written by one thread.
struct Pieces<'a> {
    rest: &'a mut [f32],
    width: usize,
    /// Tokens before the rest.
    at: usize,
}

impl<'a> Pieces<'a> {
    fn new(numbers: &'a mut [f32], width: usize) -> Self {
        Self { rest: numbers, width, at: 0 }
    }

    /// Those of `count` tokens from `first` on, behind the last ones asked for.
    fn next(&mut self, first: usize, count: usize) -> &'a mut [f32] {
        let _ = self.rest.split_off_mut(..(first - self.at) * self.width);
        self.at = first + count;
        self.rest.split_off_mut(..count * self.width).unwrap_or_default()
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

#[cfg(test)]
mod tests;
