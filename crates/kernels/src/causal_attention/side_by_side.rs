//! Rows of unequal length side by side, for attention of primitives.

use super::padded::Padded;
use super::rows::Tree;
use crate::select_rows::select_rows;
use crate::write_rows::indices;
use burn::tensor::{DType, IndexingUpdateOp, Int, Tensor, TensorData, backend::Backend};
use std::cmp::Reverse;
use std::ops::Range;

/// All rows of a pass among its tokens.
#[derive(Debug)]
pub(super) struct SideBySide<B: Backend> {
    /// Those of all rows, and padding.
    tokens: usize,
    layout: Layout<B>,
}

#[derive(Debug)]
enum Layout<B: Backend> {
    /// They lie so already.
    Padded {
        rows: Padded<B>,
        /// 1 for every token of a row and 0 for padding, `[tokens, 1]`; nothing if there is no padding.
        real: Option<Tensor<B, 2>>,
    },
    /// Attention is computed for whole rows, a stem once for every branch.
    Gathered {
        groups: Vec<Group<B>>,
        /// Where every token is found among those of all groups, one behind the other; padding behind all of them.
        back: Tensor<B, 1, Int>,
        padding: bool,
    },
}

/// Rows of similar length, each padded to the longest.
#[derive(Debug)]
struct Group<B: Backend> {
    rows: Padded<B>,
    /// Where their tokens are found; padding of a row is its first one, so that no row comes to see another.
    places: Tensor<B, 1, Int>,
    /// 1 where what a token is given is read, 0 for padding and for all but one of a stem's copies, `[rows * time, 1]`.
    read: Tensor<B, 2>,
}

impl<B: Backend> SideBySide<B> {
    pub(super) fn new(trees: &[Tree], tokens: usize, device: &B::Device) -> Self {
        let layout: Layout<B> = match time(trees, tokens) {
            Some(time) => Layout::Padded {
                rows: Padded::new(trees.len(), time),
                real: real(trees, tokens, device),
            },
            None => Layout::gathered(trees, tokens, device),
        };
        Self { tokens, layout }
    }

    pub(super) fn tokens(&self) -> usize {
        self.tokens
    }

    /// Queries, keys and values of all tokens to what `attend` makes of them, group by group; padding to 0.
    ///
    /// # Shapes
    /// `[tokens, width]` of each to that of the queries.
    pub(super) fn attend(
        &self,
        operands: [Tensor<B, 2>; 3],
        attend: impl Fn([Tensor<B, 2>; 3], &Padded<B>) -> Tensor<B, 2>,
    ) -> Tensor<B, 2> {
        match &self.layout {
            Layout::Padded { rows, real: None } => attend(operands, rows),
            Layout::Padded { rows, real: Some(real) } => of_the_read(attend(operands, rows), real),
            Layout::Gathered { groups, back, padding } => {
                let parts = groups
                    .iter()
                    .map(|group| attend(operands.each_ref().map(|x| group.gather(x)), &group.rows));
                let mut parts: Vec<Tensor<B, 2>> = parts.collect();
                if *padding {
                    let [query, ..] = &operands;
                    let [_, width] = query.dims();
                    parts.push(Tensor::zeros([1, width], (&query.device(), query.dtype())));
                }
                select_rows(Tensor::cat(parts, 0), back.clone())
            }
        }
    }

    /// The backward pass of [`SideBySide::attend`]: `gradients` makes those of the queries, keys and values of a group from these
    /// and from the gradient of what its tokens are given.
    ///
    /// # Shapes
    /// `[tokens, width]` of each to those of the operands.
    pub(super) fn gradients(
        &self,
        operands: [Tensor<B, 2>; 3],
        given: Tensor<B, 2>,
        gradients: impl Fn([Tensor<B, 2>; 3], Tensor<B, 2>, &Padded<B>) -> [Tensor<B, 2>; 3],
    ) -> [Tensor<B, 2>; 3] {
        match &self.layout {
            Layout::Padded { rows, real: None } => gradients(operands, given, rows),
            Layout::Padded { rows, real: Some(real) } => {
                gradients(operands, of_the_read(given, real), rows)
            }
            Layout::Gathered { groups, .. } => {
                let [mut query, mut key, mut value] = operands.each_ref().map(Tensor::zeros_like);
                for group in groups {
                    let own = operands.each_ref().map(|x| group.gather(x));
                    let given = of_the_read(group.gather(&given), &group.read);
                    let [of_query, of_key, of_value] = gradients(own, given, &group.rows);
                    query = group.scatter(query, of_query);
                    key = group.scatter(key, of_key);
                    value = group.scatter(value, of_value);
                }
                [query, key, value]
            }
        }
    }
}

impl<B: Backend> Group<B> {
    /// Those of its tokens, of all.
    fn gather(&self, x: &Tensor<B, 2>) -> Tensor<B, 2> {
        select_rows(x.clone(), self.places.clone())
    }

    /// Adds those of its tokens to all.
    fn scatter(&self, all: Tensor<B, 2>, own: Tensor<B, 2>) -> Tensor<B, 2> {
        all.select_assign(0, self.places.clone(), own, IndexingUpdateOp::Add)
    }
}

/// 0 for every token of which nothing is read.
fn of_the_read<B: Backend>(x: Tensor<B, 2>, read: &Tensor<B, 2>) -> Tensor<B, 2> {
    let dtype = x.dtype();
    x * read.clone().cast(dtype)
}

impl<B: Backend> Layout<B> {
    fn gathered(trees: &[Tree], tokens: usize, device: &B::Device) -> Self {
        let mut rows: Vec<Row> = trees.iter().flat_map(rows_of).collect();
        rows.sort_by_key(|row| Reverse(row.len()));
        let mut back = vec![None; tokens];
        let mut before = 0;
        let groups = cut(&rows).into_iter().map(|rows| {
            let time = rows[0].len();
            let mut places = Vec::with_capacity(rows.len() * time);
            let mut read = vec![0.0_f32; rows.len() * time];
            for row in rows {
                let begin = places.len();
                for place in row.places() {
                    read[places.len()] = f32::from(back[place].is_none());
                    back[place].get_or_insert(before + places.len());
                    places.push(place);
                }
                let first = places[begin];
                places.resize(begin + time, first);
            }
            before += places.len();
            let places: Tensor<B, 1, Int> = indices(places.into_iter(), device);
            let read = column(read, device);
            Group { rows: Padded::new(rows.len(), time), places, read }
        });
        let groups: Vec<Group<B>> = groups.collect();
        let padding = back.contains(&None);
        let back = back.into_iter().map(|place| place.unwrap_or(before));
        Self::Gathered { groups, back: indices(back, device), padding }
    }
}

/// The tokens from the beginning of one row to that of the next, if it is the same for all and the first row begins at the
/// first token.
fn time(trees: &[Tree], tokens: usize) -> Option<usize> {
    if trees.is_empty() || !tokens.is_multiple_of(trees.len()) {
        return None;
    }
    let time = tokens / trees.len();
    let fits = |(row, tree): (usize, &Tree)| {
        tree.branches.is_empty()
            && tree.stem.start == row * time
            && tree.stem.end <= (row + 1) * time
    };
    trees.iter().enumerate().all(fits).then_some(time)
}

fn real<B: Backend>(trees: &[Tree], tokens: usize, device: &B::Device) -> Option<Tensor<B, 2>> {
    let mut real = vec![0.0_f32; tokens];
    trees.iter().flat_map(Tree::parts).for_each(|part| real[part.clone()].fill(1.0));
    let padding = real.contains(&0.0);
    padding.then(|| column(real, device))
}

fn column<B: Backend>(numbers: Vec<f32>, device: &B::Device) -> Tensor<B, 2> {
    let shape = [numbers.len(), 1];
    Tensor::from_data(TensorData::new(numbers, shape), (device, DType::F32))
}

/// A branch behind its stem, or a stem that nothing follows.
#[derive(Debug, Clone)]
struct Row {
    stem: Range<usize>,
    own: Range<usize>,
}

impl Row {
    fn len(&self) -> usize {
        self.stem.len() + self.own.len()
    }

    fn places(&self) -> impl Iterator<Item = usize> {
        self.stem.clone().chain(self.own.clone())
    }
}

/// The rows of a tree that have a token and are not the beginning of another.
fn rows_of(tree: &Tree) -> Vec<Row> {
    let row = |own: &Range<usize>| Row { stem: tree.stem.clone(), own: own.clone() };
    let rows: Vec<Row> = tree.branches.iter().filter(|own| !own.is_empty()).map(row).collect();
    if rows.is_empty() && !tree.stem.is_empty() { vec![row(&(0..0))] } else { rows }
}

/// Rows in descending order of length, cut where one is shorter than three quarters of its group's longest: scores of padding
/// are then less than half of all, whatever the lengths, and groups are few.
fn cut(rows: &[Row]) -> Vec<&[Row]> {
    let mut groups = Vec::new();
    let mut rest = rows;
    while let Some(longest) = rest.first() {
        let end = rest.iter().position(|row| 4 * row.len() < 3 * longest.len());
        let (group, others) = rest.split_at(end.unwrap_or(rest.len()));
        groups.push(group);
        rest = others;
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracked::tests::numbers;
    use burn_flex::{Flex, FlexDevice};
    use proptest::prelude::*;

    #[test]
    fn groups_hold_rows_of_similar_length() {
        let rows = [16, 12, 11, 9, 8, 1].map(|length| Row { stem: 0..length, own: 0..0 });
        let lengths = |rows: &&[Row]| rows.iter().map(Row::len).collect::<Vec<_>>();
        let groups: Vec<Vec<usize>> = cut(&rows).iter().map(lengths).collect();
        assert_eq!(groups, [vec![16, 12], vec![11, 9], vec![8], vec![1]]);
        assert!(cut(&[]).is_empty());
    }

    #[test]
    fn rows_that_lie_side_by_side_are_not_gathered() {
        let trees =
            |rows: &[Range<usize>]| rows.iter().cloned().map(Tree::from).collect::<Vec<_>>();
        assert_eq!(time(&trees(&[0..4, 4..5, 8..10]), 12), Some(4));
        assert_eq!(time(&trees(&[0..4, 5..6, 8..10]), 12), None);
        assert_eq!(time(&trees(&[0..4, 4..9, 9..10]), 12), None);
        assert_eq!(time(&trees(&[0..4, 4..5, 8..10]), 13), None);
        assert_eq!(time(&[], 3), None);
        let branching = Tree { stem: 0..2, branches: vec![2..3, 3..3] };
        assert_eq!(time(&[branching], 3), None);
    }

    #[test]
    fn what_another_row_begins_with_is_no_row_of_its_own() {
        let lengths = |stem, branches: &[Range<usize>]| {
            let rows = rows_of(&Tree { stem, branches: branches.to_vec() });
            rows.iter().map(Row::len).collect::<Vec<_>>()
        };
        assert_eq!(lengths(0..3, &[3..5, 5..5, 5..9]), [5, 7]);
        assert_eq!(lengths(0..3, &[3..3, 3..3]), [3]);
        assert_eq!(lengths(0..0, &[0..0, 0..2]), [2]);
        assert!(lengths(4..4, &[]).is_empty());
    }

    proptest! {
        #[test]
        fn tokens_come_back_to_their_places(
            trees in prop::collection::vec(
                (0_usize..3, 0_usize..20, prop::collection::vec(0_usize..20, 0..4)),
                0..6,
            ),
            behind in 0_usize..3,
        ) {
            let mut end = 0;
            let mut next = |gap: usize, length: usize| {
                end += gap + length;
                end - length..end
            };
            let tree = |(gap, stem, branches): &(usize, usize, Vec<usize>)| Tree {
                stem: next(*gap, *stem),
                branches: branches.iter().map(|&own| next(0, own)).collect(),
            };
            let trees: Vec<Tree> = trees.iter().map(tree).collect();
            let tokens = end + behind;
            prop_assume!(tokens > 0);
            let all: Vec<f32> = (1..=tokens).map(|number| number as f32).collect();
            let mut expected = vec![0.0; tokens];
            for part in trees.iter().flat_map(Tree::parts) {
                expected[part.clone()].copy_from_slice(&all[part.clone()]);
            }
            let x = Tensor::<Flex, 2>::from_data(TensorData::new(all, [tokens, 1]), &FlexDevice);
            let side_by_side = SideBySide::<Flex>::new(&trees, tokens, &FlexDevice);
            let back = side_by_side.attend([x.clone(), x.clone(), x], |[x, ..], rows| {
                assert_eq!(x.dims()[0], rows.rows() * rows.time());
                x
            });
            prop_assert_eq!(numbers(back), expected);
        }
    }
}
