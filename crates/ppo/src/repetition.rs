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
    use proptest::prelude::*;

    #[test]
    fn counts_what_was_said_before() {
        assert!(repeated_ngrams(&[1, 2, 3, 4], 2).abs() < 1e-12);
        // 12, 21, 12, 21, 12: two of five are new.
        assert!((repeated_ngrams(&[1, 2, 1, 2, 1, 2], 2) - 0.6).abs() < 1e-12);
        assert!(repeated_ngrams(&[1], 2).abs() < 1e-12 && repeated_ngrams(&[], 4).abs() < 1e-12);
    }

    /// Looks at every earlier place for each run.
    fn oracle(tokens: &[u32], n: usize) -> f64 {
        let runs = (tokens.len() + 1).saturating_sub(n);
        let run = |start: usize| &tokens[start..start + n];
        let stood_before = |start: &usize| (0..*start).any(|earlier| run(earlier) == run(*start));
        (0..runs).filter(stood_before).count() as f64 / runs.max(1) as f64
    }

    proptest! {
        #[test]
        fn agrees_with_a_search_whatever_the_tokens_are_called(
            tokens in prop::collection::vec(0_u32..5, 0..50),
            n in 1_usize..6,
        ) {
            let found = repeated_ngrams(&tokens, n);
            prop_assert!((found - oracle(&tokens, n)).abs() < 1e-12);
            prop_assert!((0.0..1.0).contains(&found));
            let renamed: Vec<u32> = tokens.iter().map(|token| 900 - 7 * token).collect();
            prop_assert!((repeated_ngrams(&renamed, n) - found).abs() < 1e-12);
            let backwards: Vec<u32> = tokens.iter().rev().copied().collect();
            prop_assert!((repeated_ngrams(&backwards, n) - found).abs() < 1e-12);
            // What repeats in longer runs repeats in shorter ones.
            let repeats = |n: usize| repeated_ngrams(&tokens, n) > 1e-12;
            prop_assert!(!repeats(n + 1) || repeats(n));
        }

        #[test]
        fn distinct_tokens_never_repeat_and_one_token_always(length in 1_u32..60, n in 1_usize..6) {
            let distinct: Vec<u32> = (0..length).collect();
            prop_assert!(repeated_ngrams(&distinct, n).abs() < 1e-12);
            let same = vec![7_u32; distinct.len()];
            let runs = (same.len() + 1).saturating_sub(n).max(1);
            prop_assert!((repeated_ngrams(&same, n) - (1.0 - 1.0 / runs as f64)).abs() < 1e-12);
        }
    }
}
