//! The rows of a step on all cores.

use rayon::prelude::*;

/// Logits that one thread draws from at a time; fewer are not worth waking a second one, which takes tens of microseconds.
const LOGITS: usize = 1 << 14;

/// Calls `draw` for every row of `logits` with what belongs to it, such as its random stream, and gives the results in the
/// order of the rows; on all cores if there is enough to do.
///
/// A row shares nothing with the others, so the results are the same to the bit with any number of threads. Where one thread
/// is enough, and so for a single row, it is the one that calls.
///
/// # Shapes
/// `logits` holds as many rows as `rows`, of the same length, one behind the other.
pub fn draw_rows<T: Send, R: Send>(
    rows: &mut [T],
    logits: &mut [f32],
    draw: impl Fn(&mut T, &mut [f32]) -> R + Sync,
) -> Vec<R> {
    let vocabulary = (logits.len() / rows.len().max(1)).max(1);
    let rows_at_once = (LOGITS / vocabulary).max(1);
    if rows.len() <= rows_at_once {
        let pairs = rows.iter_mut().zip(logits.chunks_exact_mut(vocabulary));
        return pairs.map(|(row, logits)| draw(row, logits)).collect();
    }
    rows.par_iter_mut()
        .zip(logits.par_chunks_exact_mut(vocabulary))
        .with_min_len(rows_at_once)
        .map(|(row, logits)| draw(row, logits))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SeenTokens, sample};
    use language_model::{Sampling, stream};
    use rand_chacha::ChaCha8Rng;
    use rayon::ThreadPoolBuilder;
    use std::thread::{self, ThreadId};

    const VOCABULARY: usize = 1000;
    const ROWS: usize = 70;

    fn logits() -> Vec<f32> {
        (0..ROWS * VOCABULARY).map(|i| (i as f32 * 0.37).sin() * 8.0).collect()
    }

    /// A row with settings of its own.
    struct Row {
        sampling: Sampling,
        seen: SeenTokens,
        stream: ChaCha8Rng,
    }

    impl Row {
        fn new(index: usize) -> Self {
            let sampling = Sampling {
                temperature: [1.0, 0.0, 0.7, 1.3][index % 4],
                top_k: (index % 3 == 1).then_some(1 + index),
                top_p: (index % 5 < 2).then_some(0.9),
                min_p: (index % 7 == 3).then_some(0.05),
                repetition_penalty: (index % 6 == 5).then_some(1.2),
                ..Sampling::default()
            };
            let mut seen = SeenTokens::default();
            seen.extend([3, 17]);
            Self { sampling, seen, stream: stream(index as u64) }
        }

        /// Its token and the bits of its log-probabilities.
        fn draw(&mut self, logits: &mut [f32]) -> [u32; 3] {
            let drawn = sample(logits, &self.seen, &self.sampling, &mut self.stream).unwrap();
            [drawn.token, drawn.log_prob.to_bits(), drawn.untruncated_log_prob.to_bits()]
        }
    }

    /// Several tokens of every row.
    fn drawn(step: impl Fn(&mut [Row], &mut [f32]) -> Vec<[u32; 3]>) -> Vec<[u32; 3]> {
        let mut rows: Vec<Row> = (0..ROWS).map(Row::new).collect();
        (0..4).flat_map(|_| step(&mut rows, &mut logits())).collect()
    }

    #[test]
    fn rows_are_the_same_to_the_bit_with_any_number_of_threads() {
        let expected = drawn(|rows, logits| {
            let pairs = rows.iter_mut().zip(logits.chunks_exact_mut(VOCABULARY));
            pairs.map(|(row, logits)| row.draw(logits)).collect()
        });
        assert_eq!(expected.len(), 4 * ROWS);
        for threads in [1, 2, 3] {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let found = pool.install(|| drawn(|rows, logits| draw_rows(rows, logits, Row::draw)));
            assert!(found == expected, "{threads} threads");
        }
    }

    #[test]
    fn a_few_logits_are_drawn_by_the_thread_that_calls() {
        let threads = |rows: usize, vocabulary: usize| -> Vec<ThreadId> {
            let mut logits = vec![0.0; rows * vocabulary];
            draw_rows(&mut vec![(); rows], &mut logits, |(), _| thread::current().id())
        };
        let here = thread::current().id();
        for (rows, vocabulary) in [(1, 10 * LOGITS), (4, LOGITS / 4), (16, 1)] {
            assert_eq!(threads(rows, vocabulary), vec![here; rows]);
        }
        assert!(threads(8, LOGITS).iter().all(|&thread| thread != here));
        assert!(draw_rows(&mut [(); 0], &mut [], |(), _| ()).is_empty());
    }
}
