//! Tiles of the matrix of logits, `[positions, vocabulary]`, of which one exists at a time.

use crate::project::{Sizes, rows_times_rows};
use burn_flex::FlexTensor;
use std::ops::Range;

/// Logits of a tile at most, 4 MiB of them.
const LOGITS: usize = 1 << 20;

/// Tokens of a tile at most, which leaves room for 256 positions. The weights of a tile are read, and a gradient as large is
/// added to, once for all its positions; the states, once for all its tokens: both are little beside a product of which every
/// number is used that often. A vocabulary of no more tokens is not cut at all.
const WIDEST: usize = 1 << 12;

/// How many logits a tile has.
#[derive(Debug, Clone, Copy)]
pub(super) struct TileSize {
    pub(super) positions: usize,
    pub(super) tokens: usize,
}

impl TileSize {
    /// For a vocabulary of at least one token. Positions have no part in it: what rounding does to one of them does not
    /// depend on how many others there are.
    pub(super) fn of(vocabulary: usize) -> Self {
        let tokens = vocabulary.min(WIDEST);
        Self { positions: LOGITS / tokens, tokens }
    }

    /// Tiles that hold every logit once; those of the same tokens follow each other, so that their weights stay near.
    pub(super) fn cover(self, positions: usize, vocabulary: usize) -> impl Iterator<Item = Tile> {
        stretches(vocabulary, self.tokens).flat_map(move |tokens| {
            stretches(positions, self.positions)
                .map(move |positions| Tile { positions, tokens: tokens.clone() })
        })
    }
}

fn stretches(count: usize, length: usize) -> impl Iterator<Item = Range<usize>> {
    (0..count).step_by(length).map(move |from| from..(from + length).min(count))
}

#[derive(Debug)]
pub(super) struct Tile {
    pub(super) positions: Range<usize>,
    pub(super) tokens: Range<usize>,
}

impl Tile {
    /// `states weight^T`, position by position, of operands that lie in order.
    pub(super) fn logits(&self, states: &FlexTensor, weight: &FlexTensor) -> Vec<f32> {
        let sizes = Sizes {
            rows: self.positions.len(),
            inner: states.layout().shape()[1],
            outer: self.tokens.len(),
        };
        rows_times_rows(rows(states, &self.positions), rows(weight, &self.tokens), sizes)
    }
}

/// Some rows of a matrix that lies in order.
pub(super) fn rows<'a>(matrix: &'a FlexTensor, range: &Range<usize>) -> &'a [f32] {
    let width = matrix.layout().shape()[1];
    &matrix.storage::<f32>()[range.start * width..range.end * width]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_logit_is_in_one_tile_of_bounded_size() {
        for [positions, vocabulary] in [[0, 3], [1, 1], [300, 4096], [300, 4097], [513, 128_256]] {
            let mut counts = 0;
            let mut end = 0..0;
            for Tile { positions, tokens } in TileSize::of(vocabulary).cover(positions, vocabulary)
            {
                assert!(positions.len() * tokens.len() <= LOGITS);
                assert!(tokens.start == end.end || tokens == end);
                counts += positions.len() * tokens.len();
                end = tokens;
            }
            assert_eq!(counts, positions * vocabulary);
        }
    }

    #[test]
    fn a_vocabulary_of_some_thousands_is_not_cut() {
        for vocabulary in [1, 100, 4096] {
            let size = TileSize::of(vocabulary);
            assert_eq!([size.tokens, size.positions], [vocabulary, LOGITS / vocabulary]);
        }
    }
}
