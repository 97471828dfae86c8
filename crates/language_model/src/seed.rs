//! One random stream an item.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// The seed of an item's own stream: the first 8 bytes of a SHA-256 over the seed of the run and the item's name.
///
/// `parts` name the item, from coarse to fine: stage, id, step.
pub fn item_seed(run_seed: u64, parts: &[&str]) -> u64 {
    let mut hash = Sha256::new();
    hash.update(run_seed.to_le_bytes());
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    u64::from_le_bytes(std::array::from_fn(|index| digest[index]))
}

/// The generator that a seed stands for; the same on every platform.
pub fn stream(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn names_do_not_run_together() {
        assert_eq!(item_seed(1, &["a", "b"]), item_seed(1, &["a", "b"]));
        assert_ne!(item_seed(1, &["ab", "c"]), item_seed(1, &["a", "bc"]));
        assert_ne!(item_seed(1, &["a"]), item_seed(2, &["a"]));
        assert_ne!(stream(1).random::<u64>(), stream(2).random::<u64>());
    }
}
