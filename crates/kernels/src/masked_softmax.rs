//! Attention weights of primitives: a softmax over the tokens that a query may look at.

use burn::tensor::{DType, Int, Tensor, TensorData, activation, backend::Backend};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Scores of queries against a stretch of tokens.
#[derive(Debug, Clone)]
pub(crate) struct Stretch<B: Backend> {
    /// `[rows, key_value_heads, group, queries, slots]`.
    pub(crate) scores: Tensor<B, 5>,
    /// The position of the token in the first slot.
    pub(crate) start: usize,
}

/// Which tokens a query may look at: those up to its own position, of these the last `window` if there is one.
#[derive(Debug)]
pub struct Visibility<B: Backend> {
    queries: Queries,
    /// What primitives have needed so far.
    on_device: Mutex<Option<OnDevice<B>>>,
}

#[derive(Debug)]
struct Queries {
    /// The position of the first query, one for every row of the batch or one for all.
    first: Vec<usize>,
    /// Queries of one position each follow each other; if 1, all queries of a row are heads at one position.
    time: usize,
    window: Option<usize>,
}

impl Queries {
    /// The slots, of a stretch of `slots` from position `start` on, that query `query` of row `row` sees.
    #[inline(always)]
    fn visible(&self, row: usize, query: usize, start: usize, slots: usize) -> Range<usize> {
        let first = if self.first.len() == 1 { self.first[0] } else { self.first[row] };
        let position = if self.time == 1 { first } else { first + query };
        let end = (position + 1).saturating_sub(start).min(slots);
        let begin = match self.window {
            Some(window) => (position + 1).saturating_sub(window).saturating_sub(start).min(end),
            None => 0,
        };
        begin..end
    }
}

/// Some queries of every row and a stretch of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Block {
    /// The place of the first query among those of its row.
    from: usize,
    queries: usize,
    /// The position of the token in the first slot.
    start: usize,
    slots: usize,
}

/// Positions that all blocks of a pass share, and the mask of one block: together, masks would grow with the square of the
/// time.
#[derive(Debug)]
struct OnDevice<B: Backend> {
    /// The first position that every query sees, `[rows or 1, time, 1]`; nothing if all see from 0 on.
    begins: Option<Tensor<B, 3, Int>>,
    /// The position behind the last one that every query sees, `[rows or 1, time, 1]`.
    ends: Tensor<B, 3, Int>,
    /// All positions from 0 on, `[1, 1, positions]`.
    positions: Tensor<B, 3, Int>,
    /// The last mask: layers that share a block, as those of a step and of rows of one block do, share its mask.
    mask: Option<(Block, Tensor<B, 3>)>,
}

impl<B: Backend> OnDevice<B> {
    /// With at least so many positions.
    fn new(queries: &Queries, positions: usize, device: &B::Device) -> Self {
        let (rows, time) = (queries.first.len(), queries.time);
        let places = (0..rows).flat_map(|row| (0..time).map(move |query| (row, query)));
        let seen: Vec<Range<usize>> =
            places.map(|(row, query)| queries.visible(row, query, 0, usize::MAX)).collect();
        let positions = seen.iter().map(|seen| seen.end).max().unwrap_or(0).max(positions);
        let bounds = |of: fn(&Range<usize>) -> usize| -> Tensor<B, 3, Int> {
            to_device(seen.iter().map(of), [rows, time, 1], device)
        };
        Self {
            begins: seen.iter().any(|seen| seen.start > 0).then(|| bounds(|seen| seen.start)),
            ends: bounds(|seen| seen.end),
            positions: to_device(0..positions, [1, 1, positions], device),
            mask: None,
        }
    }

    /// Minus infinity where a query does not see a slot, 0 elsewhere, `[rows or 1, queries, slots]`.
    fn mask(&mut self, block: Block, device: &B::Device) -> Tensor<B, 3> {
        if let Some((made, mask)) = &self.mask
            && *made == block
        {
            return mask.clone();
        }
        // So that there are never two.
        self.mask = None;
        let of_block =
            |bounds: &Tensor<B, 3, Int>| bounds.clone().narrow(1, block.from, block.queries);
        let slots = self.positions.clone().narrow(2, block.start, block.slots);
        let behind = slots.clone().greater_equal(of_block(&self.ends));
        let hidden = match &self.begins {
            Some(begins) => behind.bool_or(slots.lower(of_block(begins))),
            None => behind,
        };
        let zeros = Tensor::<B, 3>::zeros(hidden.dims(), (device, DType::F32));
        let mask = zeros.mask_fill(hidden, f32::NEG_INFINITY);
        self.mask = Some((block, mask.clone()));
        mask
    }
}

#[allow(clippy::cast_possible_wrap, reason = "positions of tokens in memory are far smaller")]
fn to_device<B: Backend>(
    positions: impl Iterator<Item = usize>,
    shape: [usize; 3],
    device: &B::Device,
) -> Tensor<B, 3, Int> {
    let positions: Vec<i64> = positions.map(|position| position as i64).collect();
    Tensor::from_data(TensorData::new(positions, shape), device)
}

impl<B: Backend> Visibility<B> {
    /// `time` queries a row from the position `first` on, one for every row or one for all rows.
    ///
    /// # Panics
    /// If the window is 0.
    pub fn new(first: Vec<usize>, time: usize, window: Option<usize>) -> Self {
        assert!(window != Some(0), "a token sees itself");
        Self { queries: Queries { first, time, window }, on_device: Mutex::default() }
    }

    /// Whether it is one query each of so many rows.
    pub(crate) fn is_step_of(&self, rows: usize) -> bool {
        let Queries { first, time, .. } = &self.queries;
        *time == 1 && [1, rows].contains(&first.len())
    }

    /// The positions that the first query of row `row` sees.
    pub(crate) fn of_row(&self, row: usize) -> Range<usize> {
        self.queries.visible(row, 0, 0, usize::MAX)
    }

    /// Adds minus infinity to the scores of what must not be seen; `from` is the first query's place among all of the
    /// pass.
    ///
    /// Not merely a large number: C libraries take the slow road when `exp` underflows, but give 0 for minus infinity at
    /// once.
    pub(crate) fn mask(&self, stretch: Stretch<B>, from: usize) -> Tensor<B, 5> {
        let Stretch { scores, start } = stretch;
        let [rows, heads, group, queries, slots] = scores.dims();
        let one_position = self.queries.time == 1;
        let (from, queries) = if one_position { (0, 1) } else { (from, queries) };
        let block = Block { from, queries, start, slots };
        let Some(mask) = self.additive(block, &scores.device()) else {
            return scores;
        };
        let mask = mask.cast(scores.dtype());
        let [mask_rows, _, _] = mask.dims();
        if mask_rows == 1 && !one_position {
            // Flattened, since backends add a shared row much faster than a tensor that broadcasts in the middle.
            let flat = [rows * heads * group, queries * slots];
            let masked = scores.reshape(flat) + mask.reshape([1, queries * slots]);
            return masked.reshape([rows, heads, group, queries, slots]);
        }
        scores + mask.reshape([mask_rows, 1, 1, queries, slots])
    }

    /// `[rows or 1, queries, slots]`; nothing if everything is visible.
    fn additive(&self, block: Block, device: &B::Device) -> Option<Tensor<B, 3>> {
        let Block { from, queries, start, slots } = block;
        let rows = 0..self.queries.first.len();
        let mut places = rows.flat_map(|row| (from..from + queries).map(move |query| (row, query)));
        let sees_all = |(row, query)| self.queries.visible(row, query, start, slots) == (0..slots);
        if places.all(sees_all) {
            return None;
        }
        let end = start + slots;
        // What another thread left half done could only lack a mask.
        let mut held = self.on_device.lock().unwrap_or_else(PoisonError::into_inner);
        let enough = held.take().filter(|held| held.positions.dims()[2] >= end);
        let held = held.insert(enough.unwrap_or_else(|| OnDevice::new(&self.queries, end, device)));
        Some(held.mask(block, device))
    }
}

/// The softmax of every query over the visible slots of all stretches together; 0 elsewhere.
///
/// `from` is the place of the first query among those that `visible` describes, so that queries can come in blocks.
///
/// # Shapes
/// Every stretch has the same rows, heads and queries; the weights have the shapes of the scores.
///
/// # Panics
/// If the stretches differ in more than their slots.
pub(crate) fn masked_softmax<B: Backend>(
    stretches: Vec<Stretch<B>>,
    visible: &Visibility<B>,
    from: usize,
) -> Vec<Tensor<B, 5>> {
    let slots: Vec<usize> = stretches.iter().map(|stretch| stretch.scores.dims()[4]).collect();
    let mut masked: Vec<Tensor<B, 5>> =
        stretches.into_iter().map(|stretch| visible.mask(stretch, from)).collect();
    if masked.len() == 1 {
        return masked.drain(..).map(|scores| activation::softmax(scores, 4)).collect();
    }
    let weights = activation::softmax(Tensor::cat(masked, 4), 4);
    let mut start = 0;
    slots
        .into_iter()
        .map(|slots| {
            start += slots;
            weights.clone().narrow(4, start - slots, slots)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_flex::{Flex, FlexDevice};
    use proptest::prelude::*;

    #[test]
    fn a_query_sees_the_past_and_itself() {
        let visible = Visibility::<Flex>::new(vec![2], 2, None);
        let zeros = |slots| Tensor::zeros([1, 1, 1, 2, slots], &FlexDevice);
        let stretches =
            vec![Stretch { scores: zeros(2), start: 0 }, Stretch { scores: zeros(2), start: 2 }];
        let weights = masked_softmax(stretches, &visible, 0);
        let found: Vec<Vec<f32>> =
            weights.into_iter().map(|part| part.into_data().to_vec().unwrap()).collect();
        let third = 1.0 / 3.0;
        for (found, expected) in
            found.concat().iter().zip([third, third, 0.25, 0.25, third, 0.0, 0.25, 0.25])
        {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn a_window_hides_what_is_further_back() {
        // Positions 3 and 4, a window of two: tokens 2 and 3, then 3 and 4.
        let visible = Visibility::<Flex>::new(vec![3], 2, Some(2));
        let scores = Tensor::zeros([1, 1, 1, 2, 5], &FlexDevice);
        let found = masked_softmax(vec![Stretch { scores, start: 0 }], &visible, 0);
        let found = found[0].clone().into_data().to_vec::<f32>().unwrap();
        assert_eq!(found, [0.0, 0.0, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.5, 0.5]);
    }

    #[test]
    fn a_score_that_is_not_a_number_is_not_hidden() {
        let visible = Visibility::<Flex>::new(vec![1], 1, None);
        let scores = Tensor::from_data([[[[[0.0, f32::NAN]]]]], &FlexDevice);
        let found = masked_softmax(vec![Stretch { scores, start: 0 }], &visible, 0);
        assert!(found[0].clone().into_data().to_vec::<f32>().unwrap()[1].is_nan());
    }

    #[test]
    fn the_mask_of_one_block_is_kept() {
        let visible = Visibility::<Flex>::new(vec![0], 6, None);
        for from in [0, 2, 4] {
            let scores = Tensor::zeros([1, 1, 1, 2, from + 2], &FlexDevice);
            visible.mask(Stretch { scores, start: 0 }, from);
        }
        let held = visible.on_device.lock().unwrap();
        let (block, mask) = held.as_ref().unwrap().mask.as_ref().unwrap();
        assert_eq!((block.from, mask.dims()), (4, [1, 2, 6]));
    }

    proptest! {
        #[test]
        fn a_mask_hides_what_a_query_does_not_see(
            first in prop::collection::vec(0_usize..20, 1..4),
            time in 1_usize..8,
            window in prop::option::of(1_usize..12),
            blocks in prop::collection::vec((0_usize..8, 0_usize..25, 1_usize..25), 1..4),
        ) {
            let rows = first.len();
            let visible = Visibility::<Flex>::new(first, time, window);
            for (from, start, slots) in blocks {
                let from = from % time;
                let scores = Tensor::zeros([rows, 1, 1, time - from, slots], &FlexDevice);
                let found = visible.mask(Stretch { scores, start }, from);
                let found = found.into_data().to_vec::<f32>().unwrap();
                let places = (0..rows).flat_map(|row| (from..time).map(move |query| (row, query)));
                for (line, (row, query)) in found.chunks_exact(slots).zip(places) {
                    let seen = visible.queries.visible(row, query, start, slots);
                    for (slot, found) in line.iter().enumerate() {
                        let expected = if seen.contains(&slot) { 0.0 } else { f32::NEG_INFINITY };
                        prop_assert_eq!(found.to_bits(), f32::to_bits(expected));
                    }
                }
            }
        }
    }
}
