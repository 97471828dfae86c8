//! Rows of unequal length that lie one behind the other, without padding.

use kernels::Tree;
use std::ops::Range;

/// Fewer tokens than these are read again for every row: attention to a beginning that stands elsewhere costs products of its
/// own.
const LEAST_SHARED: usize = 16;

/// Rows of tokens one behind the other, as [`crate::Decoder::hidden_packed`] reads them.
///
/// What rows begin with alike, a prompt with several replies for example, stands there once, and its states are computed
/// once. A state depends on nothing but the tokens up to its own, so that they are those of every such row, and gradients add
/// up in them. Of all ways to cut the rows, sorted, into groups that share the beginning of all their rows, the one with the
/// fewest tokens is taken; groups within groups are not formed.
#[derive(Debug, Clone)]
pub struct Packed {
    tokens: Vec<u32>,
    /// The position of every token in its row.
    positions: Vec<usize>,
    trees: Vec<Tree>,
    rows: Vec<Row>,
    /// The places of the tokens whose states are wanted, in order; nothing if all are.
    wanted: Option<Vec<usize>>,
}

/// Where the tokens of a row lie.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Row {
    /// Those that others may share.
    stem: Range<usize>,
    /// Those behind them.
    own: Range<usize>,
}

impl Row {
    fn len(&self) -> usize {
        self.stem.len() + self.own.len()
    }

    /// The place of a token.
    fn place(&self, token: usize) -> usize {
        match token.checked_sub(self.stem.len()) {
            None => self.stem.start + token,
            Some(behind) => self.own.start + behind,
        }
    }
}

impl Packed {
    /// Packs rows, of which the states of all tokens are wanted; they keep their numbers, but not their order.
    pub fn new(rows: &[impl AsRef<[u32]>]) -> Self {
        Self::wanting(rows, |_, _| true)
    }

    /// Packs rows of which one state each is wanted, that of the last token.
    pub fn wanting_last(rows: &[impl AsRef<[u32]>]) -> Self {
        Self::wanting(rows, |row, token| token + 1 == rows[row].as_ref().len())
    }

    /// Packs rows of which those states are wanted that `wanted` says so of, given the number of a row and of a token in it.
    pub fn wanting(rows: &[impl AsRef<[u32]>], wanted: impl Fn(usize, usize) -> bool) -> Self {
        let mut packed = Self::pack(rows);
        let all = packed.tokens.len();
        let mut marked = vec![false; all];
        for (number, row) in packed.rows.iter().enumerate() {
            for token in (0..row.len()).filter(|&token| wanted(number, token)) {
                marked[row.place(token)] = true;
            }
        }
        let places: Vec<usize> = (0..all).filter(|&place| marked[place]).collect();
        packed.wanted = (places.len() < all).then_some(places);
        packed
    }

    fn pack(rows: &[impl AsRef<[u32]>]) -> Self {
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|&row| rows[row].as_ref());
        let sorted: Vec<&[u32]> = order.iter().map(|&row| rows[row].as_ref()).collect();
        let mut packed = Self {
            tokens: Vec::new(),
            positions: Vec::new(),
            trees: Vec::new(),
            rows: vec![Row::default(); rows.len()],
            wanted: None,
        };
        for group in groups(&sorted) {
            let shared = common(&sorted[group.clone()]);
            packed.add(&sorted[group.clone()], &order[group], shared);
        }
        packed
    }

    /// Adds rows, the first `shared` tokens of which are the same.
    fn add(&mut self, rows: &[&[u32]], numbers: &[usize], shared: usize) {
        let Some((first, _)) = rows.split_first() else { return };
        let stem = self.push(&first[..shared], 0);
        let mut branches = Vec::new();
        for (row, &number) in rows.iter().zip(numbers) {
            let own = self.push(&row[shared..], shared);
            if !own.is_empty() {
                branches.push(own.clone());
            }
            self.rows[number] = Row { stem: stem.clone(), own };
        }
        self.trees.push(Tree { stem, branches });
    }

    /// The places of new tokens, the first of which stands at `position`.
    fn push(&mut self, tokens: &[u32], position: usize) -> Range<usize> {
        let first = self.tokens.len();
        self.tokens.extend(tokens);
        self.positions.extend(position..position + tokens.len());
        first..self.tokens.len()
    }

    /// All tokens.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    pub(crate) fn positions(&self) -> &[usize] {
        &self.positions
    }

    pub(crate) fn trees(&self) -> &[Tree] {
        &self.trees
    }

    /// The places of the tokens whose states are wanted; nothing if all are.
    pub(crate) fn wanted(&self) -> Option<&[usize]> {
        self.wanted.as_deref()
    }

    /// Where the state behind token `token` of a row is found among those that are wanted.
    ///
    /// # Panics
    /// If there is no such row, it is shorter, or the state is not wanted.
    pub fn place(&self, row: usize, token: usize) -> usize {
        let length = self.rows[row].len();
        assert!(token < length, "token {token} of a row of {length}");
        let place = self.rows[row].place(token);
        let Some(wanted) = &self.wanted else { return place };
        let found = wanted.binary_search(&place);
        assert!(found.is_ok(), "the state of token {token} of row {row} is wanted");
        found.unwrap_or_else(|place| place)
    }

    /// Where the state behind the last token of every row is found.
    ///
    /// # Panics
    /// If a row has no token, or such a state is not wanted.
    pub fn last(&self) -> Vec<usize> {
        let last = self.rows.iter().enumerate().map(|(number, row)| {
            assert!(row.len() > 0, "a row has a token");
            self.place(number, row.len() - 1)
        });
        last.collect()
    }
}

/// Rows cut so that at most `tokens` tokens go through a model at once; those that begin alike lie together, to be read once.
/// A longer row makes a batch of its own.
///
/// # Shapes
/// To row indices, `[batches][rows of the batch]`.
pub fn micro_batches(rows: &[impl AsRef<[u32]>], tokens: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&row| rows[row].as_ref());
    let lengths: Vec<usize> = rows.iter().map(|row| row.as_ref().len()).collect();
    training::cut(&order, &lengths, tokens)
}

/// Sorted rows cut into groups, so that the tokens that all rows of a group begin with, times the rows but one, are as many
/// as can be.
fn groups(sorted: &[&[u32]]) -> Vec<Range<usize>> {
    // The best cut of the first rows: what it saves, and where its last group begins.
    let mut best = vec![(0_usize, 0_usize)];
    for end in 1..=sorted.len() {
        let alone = (best[end - 1].0, end - 1);
        let mut shared = usize::MAX;
        let grouped = (0..end - 1).rev().map_while(|begin| {
            shared = shared.min(alike(sorted[begin], sorted[begin + 1]));
            let saved = best[begin].0 + (end - begin - 1) * shared;
            (shared >= LEAST_SHARED).then_some((saved, begin))
        });
        let found = grouped.fold(alone, |best, found| if found.0 > best.0 { found } else { best });
        best.push(found);
    }
    let mut groups = Vec::new();
    let mut end = sorted.len();
    while end > 0 {
        let begin = best[end].1;
        groups.push(begin..end);
        end = begin;
    }
    groups.reverse();
    groups
}

/// How many tokens sorted rows have in common; all of a single row.
fn common(sorted: &[&[u32]]) -> usize {
    match sorted {
        [] => 0,
        [alone] => alone.len(),
        [first, .., last] => alike(first, last),
    }
}

fn alike(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(beginning: u32, shared: usize, own: &[u32]) -> Vec<u32> {
        [&vec![beginning; shared], own].concat()
    }

    #[test]
    fn a_common_beginning_stands_there_once() {
        let rows = [row(1, 20, &[5, 6]), row(2, 3, &[]), row(1, 20, &[7]), row(1, 20, &[])];
        let packed = Packed::new(&rows);
        assert_eq!(packed.tokens().len(), 20 + 2 + 1 + 3);
        let tree = Tree { stem: 0..20, branches: vec![20..22, 22..23] };
        assert_eq!(packed.trees(), [tree, Tree::from(23..26)]);
        assert_eq!(packed.last(), [21, 25, 22, 19]);
        assert_eq!(packed.positions()[18..], [18, 19, 20, 21, 20, 0, 1, 2]);
    }

    #[test]
    fn short_beginnings_are_read_again() {
        let rows = [row(1, LEAST_SHARED - 1, &[2]), row(1, LEAST_SHARED - 1, &[3])];
        assert_eq!(Packed::new(&rows).trees().len(), 2);
    }

    #[test]
    fn the_groups_save_the_most_tokens() {
        // All share 20 tokens, the first two and the last two 60: 2 x 60 is more than 3 x 20.
        let prompt = |prompt: u32, own: u32| [vec![1; 20], vec![prompt; 40], vec![own]].concat();
        let rows = [prompt(2, 1), prompt(2, 2), prompt(3, 1), prompt(3, 2)];
        assert_eq!(Packed::new(&rows).tokens().len(), 2 * 62);
        // Of 40 tokens each, 23 of them alike, one group of four saves more than two of two: 3 x 20 against 2 x 23.
        let prompt = |prompt: u32, own: u32| [vec![1; 20], vec![prompt; 3], vec![own; 17]].concat();
        let rows = [prompt(2, 1), prompt(2, 2), prompt(3, 1), prompt(3, 2)];
        assert_eq!(Packed::new(&rows).tokens().len(), 20 + 4 * 20);
    }

    #[test]
    fn micro_batches_keep_siblings_together() {
        let rows = [row(2, 4, &[1]), row(1, 4, &[1]), row(2, 4, &[2]), row(1, 4, &[2])];
        assert_eq!(micro_batches(&rows, 10), [[1, 3], [0, 2]]);
        assert_eq!(micro_batches(&rows, 1).len(), 4);
        assert!(micro_batches(&[[0_u32; 0]; 0], 10).is_empty());
    }

    proptest! {
        #[test]
        fn every_token_of_every_row_is_found(
            rows in prop::collection::vec(prop::collection::vec(0_u32..2, 0..40), 0..12),
            shared in 0_usize..30,
        ) {
            let rows: Vec<Vec<u32>> = rows.iter().map(|own| row(1, shared, own)).collect();
            let packed = Packed::new(&rows);
            for (number, row) in rows.iter().enumerate() {
                for (token, expected) in row.iter().enumerate() {
                    let place = packed.place(number, token);
                    prop_assert_eq!(packed.tokens()[place], *expected);
                    prop_assert_eq!(packed.positions()[place], token);
                }
            }
            let all: usize = rows.iter().map(Vec::len).sum();
            prop_assert!(packed.tokens().len() <= all);
            let of_trees: usize = packed
                .trees()
                .iter()
                .map(|tree| {
                    tree.stem.len() + tree.branches.iter().map(Range::len).sum::<usize>()
                })
                .sum();
            prop_assert_eq!(of_trees, packed.tokens().len());
        }
    }
}
