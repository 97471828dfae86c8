//! The seed that a text is nearest to.

use crate::shingles::{Shingles, share};
use std::collections::HashMap;

/// Seeds by their runs of words, so that a text is compared with those alone that share a run with it.
///
/// Unlike [`crate::min_hash`] it misses none: novelty is exact, and the number of seeds does not grow.
#[derive(Debug)]
pub(crate) struct SeedIndex {
    /// Runs of each seed.
    runs: Vec<usize>,
    /// The seeds that hold a run.
    holders: HashMap<u64, Vec<u32>>,
}

impl SeedIndex {
    pub(crate) fn new(seeds: impl IntoIterator<Item = Shingles>) -> Self {
        let mut index = Self { runs: Vec::new(), holders: HashMap::new() };
        for (seed, shingles) in (0_u32..).zip(seeds) {
            index.runs.push(shingles.hashes().len());
            for &hash in shingles.hashes() {
                index.holders.entry(hash).or_default().push(seed);
            }
        }
        index
    }

    /// The highest Jaccard similarity of a text with a seed, from 0 to 1.
    pub(crate) fn nearest(&self, text: &Shingles) -> f64 {
        let mut common = vec![0_u32; self.runs.len()];
        for hash in text.hashes() {
            for &seed in self.holders.get(hash).into_iter().flatten() {
                common[seed as usize] += 1;
            }
        }
        let runs = text.hashes().len();
        let mut nearest = 0.0_f64;
        for (&common, &of_seed) in common.iter().zip(&self.runs) {
            // All runs of both are no fewer than those of the text: what is not above this share is no nearer.
            if f64::from(common) > nearest * runs as f64 {
                nearest = share(common as usize, runs, of_seed).max(nearest);
            }
        }
        nearest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_is_near_no_seed() {
        let text = Shingles::of("a b c", 2);
        assert!(SeedIndex::new([]).nearest(&text).abs() < f64::EPSILON);
        assert!(SeedIndex::new([Shingles::of("c b a", 2)]).nearest(&text).abs() < f64::EPSILON);
    }

    proptest! {
        #[test]
        fn it_is_the_highest_of_all_similarities(
            seeds in prop::collection::vec("[a-d]( [a-d]){0,6}", 0..20),
            text in "[a-d]( [a-d]){0,6}",
            length in 1_usize..4,
        ) {
            let seeds: Vec<Shingles> =
                seeds.iter().map(|seed| Shingles::of(seed, length)).collect();
            let text = Shingles::of(&text, length);
            let all = seeds.iter().map(|seed| seed.jaccard(&text)).fold(0.0, f64::max);
            // To the last bit: the sum of these stands in a file.
            prop_assert_eq!(SeedIndex::new(seeds).nearest(&text).to_bits(), all.to_bits());
        }
    }
}
