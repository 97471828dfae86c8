//! Replies that go round in circles.

use std::collections::HashSet;

/// The share of the runs of `n` tokens in a reply that stood in it before; 0 if it is shorter than `n`.
///
/// `1 - distinct / all`: 0 for a text that never repeats `n` tokens, near 1 for one that repeats a phrase without end.
pub fn repeated_ngrams(tokens: &[u32], n: usize) -> f64 {
    let runs = tokens.windows(n.max(1));
    let all = runs.len();
    if all == 0 {
        return 0.0;
    }
    let distinct: HashSet<&[u32]> = runs.collect();
    1.0 - distinct.len() as f64 / all as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_was_said_before() {
        assert!(repeated_ngrams(&[1, 2, 3, 4], 2).abs() < 1e-12);
        // 12, 21, 12, 21, 12: two of five are new.
        assert!((repeated_ngrams(&[1, 2, 1, 2, 1, 2], 2) - 0.6).abs() < 1e-12);
        assert!(repeated_ngrams(&[1], 2).abs() < 1e-12 && repeated_ngrams(&[], 4).abs() < 1e-12);
    }
}
