//! Splits that do not move when data is added.

use sha2::{Digest, Sha256};

/// Whether item `id` belongs to a split that holds `share` of all items.
///
/// The answer depends on `id` and `share` alone: not on other items, their order or the machine. A larger share
/// holds every item of a smaller one; a share of 0 holds none and a share of 1 all.
pub fn split_by_hash(id: &str, share: f64) -> bool {
    // The prefix keeps the split independent of ids and seeds that are hashes of the same text.
    let digest = Sha256::new().chain_update("split:").chain_update(id).finalize();
    let hash = u64::from_le_bytes(std::array::from_fn(|index| digest[index]));
    // The upper 53 bits are a uniform double in [0, 1).
    ((hash >> 11) as f64) < share * (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn holds_about_its_share() {
        let held = (0..10_000).filter(|item| split_by_hash(&format!("{item:016x}"), 0.1)).count();
        // Four standard deviations of a binomial: 4 sqrt(10000 x 0.1 x 0.9) = 120.
        assert!((880..=1_120).contains(&held), "{held}");
    }

    #[test]
    fn is_the_same_on_every_machine() {
        // The places of a to f in [0, 1), computed apart: 0.979, 0.184, 0.544, 0.651, 0.755, 0.827.
        let mut ids = vec!["a", "b", "c", "d", "e", "f"];
        ids.retain(|id| split_by_hash(id, 0.7));
        assert_eq!(ids, ["b", "c", "d"]);
    }

    proptest! {
        #[test]
        fn shares_are_nested(id in "\\PC{0,20}", low in 0.0..=1.0_f64, high in 0.0..=1.0_f64) {
            let (low, high) = (low.min(high), low.max(high));
            prop_assert!(!split_by_hash(&id, low) || split_by_hash(&id, high));
            prop_assert!(!split_by_hash(&id, 0.0) && split_by_hash(&id, 1.0));
        }
    }
}
