//! How examples go through the model together.

use crate::Example;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use rand::Rng;
use rand::seq::SliceRandom;
use training::batches;
use transformer::{Decoder, pad_right};

/// How the rows of a batch lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Side by side, each padded to the longest; rows of similar length share a batch, so that little is padded.
    Padded,
    /// One behind the other, without padding; see [`Decoder::hidden_packed`].
    Packed,
}

impl Layout {
    pub(crate) fn new(packing: bool) -> Self {
        if packing { Self::Packed } else { Self::Padded }
    }

    /// One shuffled epoch: every row once, in batches of at most `tokens` tokens, padding included. A row longer than that
    /// forms a batch of its own.
    ///
    /// # Shapes
    /// `lengths[row]` in tokens; the result holds row indices, `[batches][rows of the batch]`.
    pub(crate) fn epoch(
        self,
        lengths: &[usize],
        tokens: usize,
        rng: &mut impl Rng,
    ) -> Vec<Vec<usize>> {
        match self {
            Self::Padded => batches(lengths, tokens, rng),
            Self::Packed => {
                let mut rows: Vec<usize> = (0..lengths.len()).collect();
                rows.shuffle(rng);
                cut(&rows, lengths, tokens)
            }
        }
    }

    /// The rows of a step, cut so that at most `tokens` tokens go through the model at once.
    pub(crate) fn micro_batches<'a>(
        self,
        rows: &[&'a Example],
        tokens: usize,
        rng: &mut impl Rng,
    ) -> Vec<Vec<&'a Example>> {
        let lengths: Vec<usize> = rows.iter().map(|row| row.inputs().len()).collect();
        let batches = match self {
            Self::Padded => batches(&lengths, tokens, rng),
            Self::Packed => {
                // Rows of equal length next to each other share their attention.
                let mut sorted: Vec<usize> = (0..rows.len()).collect();
                sorted.sort_by_key(|&row| lengths[row]);
                cut(&sorted, &lengths, tokens)
            }
        };
        batches.iter().map(|batch| batch.iter().map(|&row| rows[row]).collect()).collect()
    }

    /// The tokens that go through the model for a batch, padding included.
    pub(crate) fn tokens(self, rows: &[&Example]) -> usize {
        let lengths = rows.iter().map(|row| row.inputs().len());
        match self {
            Self::Padded => rows.len() * lengths.max().unwrap_or(0),
            Self::Packed => lengths.sum(),
        }
    }

    /// Hidden states of a batch, and where each row begins in them.
    ///
    /// # Shapes
    /// `[rows, time, model]` or `[1, tokens, model]`; the beginnings are flat.
    pub(crate) fn hidden<B: Backend>(
        self,
        decoder: &Decoder<B>,
        rows: &[&Example],
    ) -> (Tensor<B, 3>, Vec<usize>) {
        let inputs: Vec<&[u32]> = rows.iter().map(|row| row.inputs()).collect();
        match self {
            Self::Padded => {
                let tokens = pad_right(&inputs, &decoder.device());
                let [rows, time] = tokens.dims();
                (decoder.hidden(tokens), (0..rows).map(|row| row * time).collect())
            }
            Self::Packed => {
                let begin = |next: &mut usize, row: &&[u32]| {
                    *next += row.len();
                    Some(*next - row.len())
                };
                (decoder.hidden_packed(&inputs), inputs.iter().scan(0, begin).collect())
            }
        }
    }
}

/// Rows in their order, a new batch wherever the next one would bring the tokens over the limit.
fn cut(rows: &[usize], lengths: &[usize], tokens: usize) -> Vec<Vec<usize>> {
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut held = 0;
    for &row in rows {
        held += lengths[row];
        match batches.last_mut() {
            Some(batch) if held <= tokens => batch.push(row),
            _ => {
                held = lengths[row];
                batches.push(vec![row]);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SftConfig;
    use crate::testing::{counting, decoder};
    use language_model::stream;
    use proptest::prelude::*;
    use rand::Rng;

    const BOTH: [Layout; 2] = [Layout::Padded, Layout::Packed];

    #[test]
    fn rows_begin_where_they_lie() {
        let decoder = decoder(1);
        let examples = counting(3);
        // They read 1, 2 and 3 tokens.
        let rows: Vec<&Example> = examples.iter().collect();
        let (hidden, starts) = Layout::Padded.hidden(&decoder, &rows);
        assert_eq!((hidden.dims(), starts), ([3, 3, 16], vec![0, 3, 6]));
        assert_eq!(Layout::Padded.tokens(&rows), 9);
        let (hidden, starts) = Layout::Packed.hidden(&decoder, &rows);
        assert_eq!((hidden.dims(), starts), ([1, 6, 16], vec![0, 1, 3]));
        assert_eq!(Layout::Packed.tokens(&rows), 6);
    }

    #[test]
    fn a_step_of_packed_rows_holds_any_lengths() {
        // Rows of similar length share a padded step: lengths 1 to 8, 8 rows of each, make steps of one length each.
        let lengths: Vec<usize> = (0..64).map(|row| 1 + row % 8).collect();
        let spread = |layout: Layout| {
            let steps = layout.epoch(&lengths, 36, &mut stream(1));
            let different = steps.iter().map(|step| {
                let mut found: Vec<usize> = step.iter().map(|&row| lengths[row]).collect();
                found.sort_unstable();
                found.dedup();
                found.len()
            });
            different.sum::<usize>() as f64 / steps.len() as f64
        };
        let [padded, packed] = BOTH.map(spread);
        assert!(packed > padded + 2.0, "{padded} {packed}");
    }

    /// Lengths of dialogues are close to log-normal: here a median near 90 and a tail cut at 512 tokens.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the length is clamped to a small positive number"
    )]
    fn dialogues(count: usize, rng: &mut impl Rng) -> Vec<Example> {
        let dialogue = |_| {
            let normal: f64 = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
            let length = (90.0 * (0.7 * normal).exp()).clamp(8.0, 512.0) as usize;
            Example::unmasked(vec![1; length])
        };
        (0..count).map(dialogue).collect()
    }

    #[test]
    fn less_than_a_twentieth_of_an_epoch_is_padding() {
        let default = SftConfig::default();
        for (count, per_step, at_once) in [
            (2_000, default.tokens_per_step, default.tokens_per_micro_batch),
            (2_000, 1_024, 1_024),
            (2_000, 8_192, 2_048),
            (2_000, 32_768, 2_048),
            // Larger batches need more data: with few, there is none for some length to be among its like.
            (8_000, 32_768, 8_192),
        ] {
            let examples = dialogues(count, &mut stream(7));
            let rows: Vec<&Example> = examples.iter().collect();
            let lengths: Vec<usize> = rows.iter().map(|row| row.inputs().len()).collect();
            let real: usize = lengths.iter().sum();
            let padded: usize = Layout::Padded
                .epoch(&lengths, per_step, &mut stream(8))
                .iter()
                .flat_map(|step| {
                    let step: Vec<&Example> = step.iter().map(|&row| rows[row]).collect();
                    Layout::Padded.micro_batches(&step, at_once, &mut stream(9))
                })
                .map(|batch| Layout::Padded.tokens(&batch))
                .sum();
            let share = 1.0 - real as f64 / padded as f64;
            assert!(share < 0.05, "{share} of steps of {per_step} tokens is padding");
        }
    }

    proptest! {
        #[test]
        fn every_row_once_within_the_limit(count in 0_usize..60, limit in 1_usize..90, seed: u64) {
            let examples = counting(count);
            let rows: Vec<&Example> = examples.iter().collect();
            let lengths: Vec<usize> = rows.iter().map(|row| row.inputs().len()).collect();
            for layout in BOTH {
                let steps = layout.epoch(&lengths, limit, &mut stream(seed));
                let mut found = steps.concat();
                found.sort_unstable();
                prop_assert_eq!(found, (0..count).collect::<Vec<_>>());
                let micro = layout.micro_batches(&rows, limit, &mut stream(seed));
                prop_assert_eq!(micro.concat().len(), count);
                let steps = steps.iter().map(|step| step.iter().map(|&row| rows[row]).collect());
                for batch in micro.into_iter().chain(steps) {
                    let batch: Vec<&Example> = batch;
                    prop_assert!(batch.len() == 1 || layout.tokens(&batch) <= limit);
                }
            }
        }
    }
}
