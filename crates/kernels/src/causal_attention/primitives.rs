//! Causal attention of primitives: scores of rows of equal length, a mask, a softmax.

use super::padded::{Padded, Sight};
use super::rows::Rows;
use super::{Attention, Heads};
use crate::masked_attention::masked_attention;
use crate::masked_softmax::Visibility;
use burn::tensor::{Tensor, backend::Backend};
use std::ops::Range;

/// Queries of a row whose scores are held at the same time: few enough for most of what causal order hides not to be
/// computed.
const QUERIES_AT_ONCE: usize = 128;

impl Attention {
    /// As [`super::causal_attention`], on any backend.
    pub(super) fn of_primitives<B: Backend>(
        &self,
        operands: [Tensor<B, 2>; 3],
        past: &[[Tensor<B, 2>; 2]],
        rows: &Rows<B>,
    ) -> Tensor<B, 2> {
        let [query, ..] = &operands;
        let [tokens, _] = query.dims();
        if tokens == 0 {
            return query.clone();
        }
        let side_by_side = rows.side_by_side(tokens, &query.device());
        // What holds no token has no scores either.
        let past = past.iter().filter(|[key, _]| key.dims()[0] > 0);
        let past = past.map(|stretch| stretch.each_ref().map(|x| stored(x.clone(), 1, self.heads)));
        let past: Vec<[Tensor<B, 5>; 2]> = past.collect();
        side_by_side.attend(operands, |operands, rows| self.of_rows(operands, &past, rows))
    }

    fn of_rows<B: Backend>(
        &self,
        [query, key, value]: [Tensor<B, 2>; 3],
        past: &[[Tensor<B, 5>; 2]],
        rows: &Padded<B>,
    ) -> Tensor<B, 2> {
        let own = [key, value].map(|x| stored(x, rows.rows(), self.heads));
        let query = rows.split(query, self.heads);
        let visible = rows.visible(Sight { behind: self.behind, window: self.window });
        let attended = if past.is_empty() && B::ad_enabled(&query.device()) {
            // In one piece: what queries and scores are cut into has gradients of its own.
            masked_attention(query, &[own], 0, &visible, 0)
        } else {
            // What a window hides behind a past would leave a gap between the two.
            let window = self.window.filter(|_| past.is_empty());
            in_blocks(query, past, &own, &visible, rows.time(), window)
        };
        rows.merge(attended, self.heads)
    }
}

/// Queries of a row whose scores exist at the same time, and the slots of the row that one of them sees. The only token of a
/// row has its heads as queries.
pub(super) fn blocks(
    queries: usize,
    time: usize,
    window: Option<usize>,
) -> impl DoubleEndedIterator<Item = (Range<usize>, Range<usize>)> {
    (0..queries).step_by(QUERIES_AT_ONCE).map(move |from| {
        let end = (from + QUERIES_AT_ONCE).min(queries);
        let begin = window.map_or(0, |window| (from + 1).saturating_sub(window));
        (from..end, if time == 1 { 0..1 } else { begin..end })
    })
}

/// Block by block of the queries; what `window` hides from all of a block is left out.
fn in_blocks<B: Backend>(
    query: Tensor<B, 5>,
    past: &[[Tensor<B, 5>; 2]],
    own: &[Tensor<B, 5>; 2],
    visible: &Visibility<B>,
    time: usize,
    window: Option<usize>,
) -> Tensor<B, 5> {
    let [_, _, _, queries, _] = query.dims();
    let blocks = blocks(queries, time, window).map(|(block, slots)| {
        let mut stretches = past.to_vec();
        stretches.push(own.each_ref().map(|x| x.clone().narrow(1, slots.start, slots.len())));
        let query = query.clone().narrow(3, block.start, block.len());
        masked_attention(query, &stretches, slots.start, visible, block.start)
    });
    joined(blocks.collect())
}

/// Blocks of queries one behind the other. Of a single one, cards would make a copy.
pub(super) fn joined<B: Backend>(mut blocks: Vec<Tensor<B, 5>>) -> Tensor<B, 5> {
    if blocks.len() == 1 { blocks.remove(0) } else { Tensor::cat(blocks, 3) }
}

/// `[rows * slots, key_value_heads * head_dim]` to `[rows, slots, key_value_heads, 1, head_dim]`.
pub(super) fn stored<B: Backend>(x: Tensor<B, 2>, rows: usize, heads: Heads) -> Tensor<B, 5> {
    let [tokens, _] = x.dims();
    x.reshape([rows, tokens / rows, heads.key_value_heads, 1, heads.head_dim])
}
