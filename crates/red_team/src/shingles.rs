//! The runs of words that a text consists of.

use crate::parse::normalised;
use sha2::{Digest, Sha256};

/// The set of runs of words in a text, whatever its case, white space and punctuation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shingles {
    /// Hashes of the runs, in ascending order, each once.
    hashes: Box<[u64]>,
}

impl Shingles {
    /// The runs of `length` words; a shorter text is one run.
    pub(crate) fn of(text: &str, length: usize) -> Self {
        let text = normalised(text);
        let words: Vec<&str> = text.split_whitespace().collect();
        let mut hashes: Vec<u64> = if words.len() < length {
            vec![hash(&words)]
        } else {
            words.windows(length.max(1)).map(hash).collect()
        };
        hashes.sort_unstable();
        hashes.dedup();
        Self { hashes: hashes.into_boxed_slice() }
    }

    /// The hashes of the runs, each once.
    pub(crate) fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// The share of common runs among all runs of two texts, from 0 to 1.
    pub(crate) fn jaccard(&self, other: &Self) -> f64 {
        let (mut common, mut rest) = (0_usize, &other.hashes[..]);
        for hash in &self.hashes {
            rest = &rest[rest.partition_point(|other| other < hash)..];
            common += usize::from(rest.first() == Some(hash));
        }
        share(common, self.hashes.len(), other.hashes.len())
    }
}

/// The share of `common` runs among all runs of two texts, which have `a` and `b` of them.
pub(crate) fn share(common: usize, a: usize, b: usize) -> f64 {
    let all = a + b - common;
    if all == 0 { 1.0 } else { common as f64 / all as f64 }
}

/// Equal on every machine and after every upgrade, so that what counts as near is, too.
fn hash(words: &[&str]) -> u64 {
    let digest = Sha256::digest(words.join(" "));
    u64::from_le_bytes(std::array::from_fn(|index| digest[index]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn jaccard(a: &str, b: &str, length: usize) -> f64 {
        Shingles::of(a, length).jaccard(&Shingles::of(b, length))
    }

    #[test]
    fn matches_a_computation_by_hand() {
        let lock = "How do I pick a lock?";
        let cases = [
            ("how do i  PICK a lock", 2, 1.0),
            // How do, do I, I pick, pick a, a lock; one more in the other.
            ("How do I pick a lock quickly?", 2, 5.0 / 6.0),
            ("How do I pick a sock?", 2, 4.0 / 6.0),
            ("How do I pick a sock?", 1, 5.0 / 7.0),
            ("Sing!", 2, 0.0),
        ];
        for (other, length, expected) in cases {
            assert!((jaccard(lock, other, length) - expected).abs() < 1e-12, "{other}");
        }
        // A run that comes again counts once.
        assert!((jaccard("a b a b a", "a b a", 2) - 1.0).abs() < 1e-12);
        // Too short for a run of two.
        assert!((jaccard("Sing!", "sing", 2) - 1.0).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn a_similarity_is_symmetric_and_at_most_one(
            a in "[a-c ]{0,12}", b in "[a-c ]{0,12}", length in 1_usize..4,
        ) {
            let similarity = jaccard(&a, &b, length);
            prop_assert!((0.0..=1.0).contains(&similarity));
            prop_assert!((similarity - jaccard(&b, &a, length)).abs() < 1e-12);
            prop_assert!((jaccard(&a, &a, length) - 1.0).abs() < 1e-12);
        }
    }
}
