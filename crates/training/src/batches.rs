//! Batches of rows of similar length.

use rand::Rng;
use rand::seq::SliceRandom;

/// Batches that a bucket should hold at least: sorting within it leaves about one part in so many as padding.
const BATCHES_PER_BUCKET: usize = 64;

/// One shuffled epoch: every row once, rows of similar length together.
///
/// Rows are shuffled and dealt into buckets; each bucket is sorted by length and cut so that a batch, padded to its
/// longest row, holds at most `tokens_per_batch` tokens; last the batches are shuffled. A row longer than that
/// forms a batch of its own. Data of fewer than 64 batches is one bucket.
///
/// # Shapes
/// `lengths[row]` in tokens; the result holds row indices, `[batches][rows of the batch]`.
pub fn batches(lengths: &[usize], tokens_per_batch: usize, rng: &mut impl Rng) -> Vec<Vec<usize>> {
    let mut rows: Vec<usize> = (0..lengths.len()).collect();
    rows.shuffle(rng);
    let mut batches = Vec::new();
    for bucket in rows.chunks_mut(rows_per_bucket(lengths, tokens_per_batch)) {
        // The sort is stable, so rows of equal length keep their shuffled order.
        bucket.sort_by_key(|&row| lengths[row]);
        cut(bucket, lengths, tokens_per_batch, &mut batches);
    }
    batches.shuffle(rng);
    batches
}

/// The data divided evenly into buckets of at least [`BATCHES_PER_BUCKET`] batches each.
fn rows_per_bucket(lengths: &[usize], tokens_per_batch: usize) -> usize {
    let tokens: usize = lengths.iter().sum();
    let bucket = tokens_per_batch.saturating_mul(BATCHES_PER_BUCKET).max(1);
    lengths.len().div_ceil((tokens / bucket).max(1)).max(1)
}

/// Cuts rows in ascending order of length; the newest row of a batch is thus its longest.
fn cut(sorted: &[usize], lengths: &[usize], tokens_per_batch: usize, into: &mut Vec<Vec<usize>>) {
    let mut batch = Vec::new();
    for &row in sorted {
        let padded = lengths[row].saturating_mul(batch.len() + 1);
        if padded > tokens_per_batch && !batch.is_empty() {
            into.push(std::mem::take(&mut batch));
        }
        batch.push(row);
    }
    if !batch.is_empty() {
        into.push(batch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn padded(batch: &[usize], lengths: &[usize]) -> usize {
        batch.len() * batch.iter().map(|&row| lengths[row]).max().unwrap_or(0)
    }

    /// Dialogue lengths are close to log-normal: here a median near 90 and a tail cut at 512 tokens.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the length is clamped to a small positive number"
    )]
    fn log_normal(rng: &mut impl Rng) -> usize {
        let normal: f64 = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
        (90.0 * (0.7 * normal).exp()).clamp(8.0, 512.0) as usize
    }

    #[test]
    fn cuts_where_the_padded_size_would_pass_the_limit() {
        let mut found = Vec::new();
        // 2 x 3 = 6 fits into 8, 3 x 4 does not; 9 is over the limit alone.
        cut(&[0, 1, 2, 3, 4], &[2, 3, 4, 4, 9], 8, &mut found);
        assert_eq!(found, [vec![0, 1], vec![2, 3], vec![4]]);
    }

    #[test]
    fn no_rows_make_no_batch() {
        assert!(batches(&[], 16, &mut ChaCha8Rng::seed_from_u64(1)).is_empty());
    }

    #[test]
    fn the_seed_decides_the_order() {
        let lengths: Vec<usize> = (0..200).map(|row| 5 + row % 40).collect();
        let epoch = |seed| batches(&lengths, 256, &mut ChaCha8Rng::seed_from_u64(seed));
        assert_eq!(epoch(1), epoch(1));
        assert_ne!(epoch(1), epoch(2));
    }

    #[test]
    fn pads_less_than_five_percent_of_typical_data() {
        for (count, limit) in [(2_000, 4_096), (40_000, 4_096), (3_000, 1_024)] {
            let mut rng = ChaCha8Rng::seed_from_u64(7);
            let lengths: Vec<usize> = (0..count).map(|_| log_normal(&mut rng)).collect();
            let tokens: usize = lengths.iter().sum();
            let epoch = batches(&lengths, limit, &mut rng);
            let padded: usize = epoch.iter().map(|batch| padded(batch, &lengths)).sum();
            let share = 1.0 - tokens as f64 / padded as f64;
            assert!(share < 0.05, "{share} of {count} rows is padding");
        }
    }

    proptest! {
        #[test]
        fn holds_every_row_once_within_the_limit(
            lengths in prop::collection::vec(0_usize..60, 0..300),
            limit in 0_usize..200,
            seed: u64,
        ) {
            let epoch = batches(&lengths, limit, &mut ChaCha8Rng::seed_from_u64(seed));
            let mut rows: Vec<usize> = epoch.concat();
            rows.sort_unstable();
            prop_assert_eq!(rows, (0..lengths.len()).collect::<Vec<_>>());
            for batch in &epoch {
                prop_assert!(!batch.is_empty());
                prop_assert!(batch.len() == 1 || padded(batch, &lengths) <= limit);
            }
        }
    }
}
