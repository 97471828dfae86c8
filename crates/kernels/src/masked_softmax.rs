//! Attention weights of primitives: a softmax over the tokens that a query may look at.

use burn::tensor::{Tensor, TensorData, activation, backend::Backend};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Scores of queries against a stretch of tokens.
#[derive(Debug, Clone)]
pub struct Stretch<B: Backend> {
    /// `[rows, key_value_heads, group, queries, slots]`.
    pub scores: Tensor<B, 5>,
    /// The position of the token in the first slot.
    pub start: usize,
}

/// Which tokens a query may look at: those up to its own position, of these the last `window` if there is one.
#[derive(Debug)]
pub struct Visibility<B: Backend> {
    queries: Queries,
    /// Additive masks that primitives have needed so far: those of one pass serve all its layers.
    masks: Mutex<Vec<(MaskOf, Tensor<B, 3>)>>,
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

/// What decides a mask: the first slot's position, the number of slots, the first query and their number.
type MaskOf = (usize, usize, usize, usize);

impl<B: Backend> Visibility<B> {
    /// `time` queries a row from the position `first` on, one for every row or one for all rows.
    pub fn new(first: Vec<usize>, time: usize, window: Option<usize>) -> Self {
        Self { queries: Queries { first, time, window }, masks: Mutex::default() }
    }

    /// How many tokens a query sees at most, itself among them.
    pub fn window(&self) -> Option<usize> {
        self.queries.window
    }

    /// The slots, of `slots` from position 0 on, that the first query of row `row` sees.
    pub(crate) fn of_row(&self, row: usize, slots: usize) -> Range<usize> {
        self.queries.visible(row, 0, 0, slots)
    }

    /// Adds minus infinity to the scores of what must not be seen; `from` is the first query's place among all of the
    /// pass.
    ///
    /// Not merely a large number: C libraries take the slow road when `exp` underflows, but give 0 for minus infinity at
    /// once.
    pub fn mask(&self, stretch: Stretch<B>, from: usize) -> Tensor<B, 5> {
        let Stretch { scores, start } = stretch;
        let [rows, heads, group, queries, slots] = scores.dims();
        let one_position = self.queries.time == 1;
        let queries = if one_position { 1 } else { queries };
        let Some(mask) = self.additive(start, slots, from, queries, &scores.device()) else {
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
    fn additive(
        &self,
        start: usize,
        slots: usize,
        from: usize,
        queries: usize,
        device: &B::Device,
    ) -> Option<Tensor<B, 3>> {
        let seen = &self.queries;
        let rows = seen.first.len();
        let places = (0..rows).flat_map(|row| (0..queries).map(move |query| (row, from + query)));
        if places.clone().all(|(row, query)| seen.visible(row, query, start, slots) == (0..slots)) {
            return None;
        }
        let key = (start, slots, from, queries);
        // A list that another thread left half written could only lack a mask.
        let mut masks = self.masks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, mask)) = masks.iter().find(|(made, _)| *made == key) {
            return Some(mask.clone());
        }
        let mut mask = vec![f32::NEG_INFINITY; rows * queries * slots];
        for (line, (row, query)) in mask.chunks_exact_mut(slots).zip(places) {
            line[seen.visible(row, query, start, slots)].fill(0.0);
        }
        let mask = Tensor::from_data(TensorData::new(mask, [rows, queries, slots]), device);
        masks.push((key, mask.clone()));
        Some(mask)
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
pub fn masked_softmax<B: Backend>(
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
}
