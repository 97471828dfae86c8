//! A part of a job.

use crate::Error;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// The items of one of several machines, told by a hash of their ids: the same on every machine, whatever else is in the
/// input. Written `i/n`, the first is `1/n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shard {
    index: u32,
    count: u32,
}

impl Shard {
    /// Shard `index` of `count`, counted from 1.
    ///
    /// # Errors
    /// [`Error::Shard`] unless `1 <= index <= count`.
    pub fn new(index: u32, count: u32) -> Result<Self, Error> {
        if (1..=count).contains(&index) {
            return Ok(Self { index, count });
        }
        Err(Error::Shard { found: format!("{index}/{count}") })
    }

    /// Which one, counted from 1.
    pub fn index(self) -> u32 {
        self.index
    }

    /// Of how many.
    pub fn count(self) -> u32 {
        self.count
    }

    /// Whether it holds the item with this [`key`].
    pub(crate) fn holds(self, key: u64) -> bool {
        key % u64::from(self.count) == u64::from(self.index - 1)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::Shard { found: text.to_owned() };
        let (index, count) = text.split_once('/').ok_or_else(wrong)?;
        let number = |text: &str| text.trim().parse().map_err(|_| wrong());
        Self::new(number(index)?, number(count)?).map_err(|_| wrong())
    }
}

impl TryFrom<String> for Shard {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> Self {
        shard.to_string()
    }
}

/// 64 bits of a hash of an id, by which items are told apart and belong to shards.
pub(crate) fn key(id: &str) -> u64 {
    hash("shard:", id)
}

/// 64 bits of a hash of an id. The purpose keeps what is drawn by it independent of all else that is drawn by hashes of the
/// same ids: splits, seeds, shards.
pub(crate) fn hash(purpose: &str, id: &str) -> u64 {
    let digest = Sha256::new().chain_update(purpose).chain_update(id).finalize();
    u64::from_le_bytes(std::array::from_fn(|index| digest[index]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn is_read_as_it_is_written() {
        let shard: Shard = " 2/ 3".parse().unwrap();
        assert_eq!((shard.index(), shard.count(), shard.to_string()), (2, 3, "2/3".to_owned()));
        assert_eq!(serde_json::to_string(&shard).unwrap(), "\"2/3\"");
        assert_eq!(serde_json::from_str::<Shard>("\"2/3\"").unwrap(), shard);
        for wrong in ["", "1", "0/3", "4/3", "1/0", "a/b", "1/2/3", "-1/2"] {
            let message = wrong.parse::<Shard>().unwrap_err().to_string();
            assert!(message.contains(&format!("{wrong:?}")), "{message}");
        }
    }

    #[test]
    fn shards_are_about_equal_and_stay_where_they_are() {
        let first = Shard::new(1, 4).unwrap();
        let held = (0..10_000).filter(|item| first.holds(key(&format!("{item:016x}")))).count();
        // Four standard deviations of a binomial: 4 sqrt(10000 x 0.25 x 0.75) = 173.
        assert!((2_327..=2_673).contains(&held), "{held}");
        // The first 8 bytes of SHA-256("shard:a"), computed apart.
        assert_eq!(key("a"), 0x4145_01de_5411_d299);
    }

    proptest! {
        #[test]
        fn every_item_is_in_one_shard(id in "\\PC{0,20}", count in 1_u32..50) {
            let holds = |index| Shard::new(index, count).unwrap().holds(key(&id));
            prop_assert_eq!((1..=count).filter(|&index| holds(index)).count(), 1);
        }
    }
}
