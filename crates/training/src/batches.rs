//! Rows cut into batches by their tokens.

use rand::Rng;
use rand::seq::SliceRandom;

/// One shuffled epoch: every row once, in batches of at most `tokens_per_batch` tokens. A longer row makes a batch of its own.
///
/// Rows of all lengths share a batch, so that every batch is a plain random sample. Nothing is padded: rows go through a model
/// one behind the other.
///
/// # Shapes
/// `lengths[row]` in tokens; the result holds row indices, `[batches][rows of the batch]`.
pub fn batches(lengths: &[usize], tokens_per_batch: usize, rng: &mut impl Rng) -> Vec<Vec<usize>> {
    let mut rows: Vec<usize> = (0..lengths.len()).collect();
    rows.shuffle(rng);
    cut(&rows, lengths, tokens_per_batch)
}

/// Rows in the order of `rows` as as few batches of at most `tokens_per_batch` tokens as the order allows, and these as even as
/// it allows: the smallest limit that needs no more of them decides. A longer row makes a batch of its own.
///
/// So no batch is left with a few rows, which would weigh as much in training as many, and the largest one is small.
///
/// # Shapes
/// `lengths[row]` in tokens; the result holds row indices, `[batches][rows of the batch]`.
///
/// # Panics
/// If a row has no length.
pub fn cut(rows: &[usize], lengths: &[usize], tokens_per_batch: usize) -> Vec<Vec<usize>> {
    let count = starts(rows, lengths, tokens_per_batch).count();
    let [mut least, mut enough] = [0, tokens_per_batch];
    while least < enough {
        let limit = least + (enough - least) / 2;
        if starts(rows, lengths, limit).count() > count {
            least = limit + 1;
        } else {
            enough = limit;
        }
    }
    let starts: Vec<usize> = starts(rows, lengths, enough).collect();
    let ends = starts.iter().copied().skip(1).chain([rows.len()]);
    starts.iter().zip(ends).map(|(&start, end)| rows[start..end].to_vec()).collect()
}

/// Where batches begin if every one is filled up to the limit.
fn starts(rows: &[usize], lengths: &[usize], limit: usize) -> impl Iterator<Item = usize> {
    let mut held = None;
    let begins = move |row: &usize| {
        let with = held.map(|held: usize| held.saturating_add(lengths[*row]));
        let fits = with.filter(|&with| with <= limit);
        held = Some(fits.unwrap_or(lengths[*row]));
        fits.is_none()
    };
    let begins = rows.iter().map(begins);
    begins.enumerate().filter_map(|(place, begins)| begins.then_some(place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn cuts_where_the_tokens_would_pass_the_limit() {
        let lengths = [3, 5, 2, 9, 1, 4];
        assert_eq!(cut(&[0, 1, 2, 3, 4, 5], &lengths, 8), [&[0][..], &[1, 2], &[3], &[4, 5]]);
        assert_eq!(cut(&[5, 0], &lengths, 8), [[5, 0]]);
        assert!(cut(&[], &lengths, 8).is_empty());
        assert!(batches(&[], 16, &mut ChaCha8Rng::seed_from_u64(1)).is_empty());
    }

    #[test]
    fn batches_are_as_even_as_the_order_allows() {
        // Three batches either way; filled up they would hold 9, 9 and 2 tokens.
        assert_eq!(
            cut(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], &[2; 10], 9),
            [&[0, 1, 2, 3][..], &[4, 5, 6, 7], &[8, 9]]
        );
        assert_eq!(cut(&[0, 1, 2, 3, 4, 5], &[2; 6], 11), [&[0, 1, 2][..], &[3, 4, 5]]);
    }

    #[test]
    fn the_seed_decides_the_order() {
        let lengths: Vec<usize> = (1..200).collect();
        let epoch = |seed| batches(&lengths, 256, &mut ChaCha8Rng::seed_from_u64(seed));
        assert_eq!(epoch(1), epoch(1));
        assert_ne!(epoch(1), epoch(2));
    }

    #[test]
    fn batches_are_random_samples() {
        // The mean length of a batch is that of all rows, whatever the batch.
        let lengths: Vec<usize> = (0..4000).map(|row| 1 + row % 100).collect();
        let batches = batches(&lengths, 10_000, &mut ChaCha8Rng::seed_from_u64(1));
        // 202,000 tokens are 20.2 times the limit.
        assert_eq!(batches.len(), 21);
        for batch in batches {
            let tokens: usize = batch.iter().map(|&row| lengths[row]).sum();
            let mean = tokens as f64 / batch.len() as f64;
            // 190 rows each, of a standard deviation of 28.9: one of 2.1 of their mean.
            assert!((mean - 50.5).abs() < 8.4, "{mean}");
        }
    }

    proptest! {
        #[test]
        fn every_row_once_within_the_limit(
            lengths in prop::collection::vec(0_usize..50, 0..60),
            limit in 1_usize..90,
            seed: u64,
        ) {
            let epoch = batches(&lengths, limit, &mut ChaCha8Rng::seed_from_u64(seed));
            let mut found = epoch.concat();
            found.sort_unstable();
            prop_assert_eq!(found, (0..lengths.len()).collect::<Vec<_>>());
            for batch in epoch {
                let tokens: usize = batch.iter().map(|&row| lengths[row]).sum();
                prop_assert!(batch.len() == 1 || tokens <= limit);
            }
            // Even batches are not more of them.
            let order: Vec<usize> = (0..lengths.len()).collect();
            let mut filled = 0;
            let mut held = usize::MAX;
            for length in &lengths {
                held = held.saturating_add(*length);
                if held > limit {
                    (filled, held) = (filled + 1, *length);
                }
            }
            prop_assert_eq!(cut(&order, &lengths, limit).len(), filled);
        }
    }
}
