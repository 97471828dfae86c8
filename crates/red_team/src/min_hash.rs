//! Finding a near-duplicate among many texts: `MinHash` with banding (Broder 1997; Indyk and Motwani 1998).
//!
//! Under a random order of all shingles, two texts have the same first shingle with a probability equal to their Jaccard
//! similarity. A signature holds the first shingles under [`SIZE`] orders; texts whose signatures agree in a whole band of
//! them are candidates, and only candidates are compared shingle by shingle. So no text is wrongly called a
//! near-duplicate, and one of at least the threshold is missed with a probability of at most [`MISSES`].

use crate::shingles::Shingles;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// Orders in a signature.
const SIZE: usize = 128;

/// The most that may be missed at the threshold, as a share.
const MISSES: f64 = 1e-3;

/// Texts that can be asked for one that is near.
///
/// This is what grows with the requests found, however they are streamed: of each, its runs of words, 8 bytes each, and in
/// every band an entry of 13 bytes in a table that is 44 to 88% full. At a threshold of 0.7 there are 32 bands, so that a
/// request of a dozen words takes 0.6 to 1.1 KB.
#[derive(Debug)]
pub(crate) struct NearIndex {
    /// The lowest similarity of texts that are near.
    threshold: f64,
    /// Hashes in a band.
    rows: usize,
    texts: Vec<Shingles>,
    bands: Vec<Band>,
}

/// The texts by their hashes in a band, joined to one. Most are alone with theirs, so that a list for each would mostly
/// hold one.
#[derive(Debug, Clone, Default)]
struct Band {
    /// The first text of a hash. Bytes instead of a number, which would be padded to 16 bytes an entry.
    first: HashMap<[u8; 8], u32>,
    /// The others.
    later: HashMap<[u8; 8], Vec<u32>>,
}

impl Band {
    fn texts(&self, hash: [u8; 8]) -> impl Iterator<Item = u32> {
        let later = self.later.get(&hash).into_iter().flatten();
        self.first.get(&hash).into_iter().chain(later).copied()
    }

    fn add(&mut self, hash: [u8; 8], text: u32) {
        match self.first.entry(hash) {
            Entry::Vacant(free) => {
                free.insert(text);
            }
            Entry::Occupied(_) => self.later.entry(hash).or_default().push(text),
        }
    }
}

impl NearIndex {
    /// An index of no text, for a threshold above 0.
    pub(crate) fn new(threshold: f64) -> Self {
        let rows = rows(threshold);
        Self { threshold, rows, texts: Vec::new(), bands: vec![Band::default(); SIZE / rows] }
    }

    /// True if a text is near one in the index; if not, it is added.
    pub(crate) fn holds_near_or_adds(&mut self, shingles: Shingles) -> bool {
        let hashes = self.hashes(&shingles);
        let near = |text: u32| shingles.jaccard(&self.texts[text as usize]) >= self.threshold;
        let bands = self.bands.iter().zip(&hashes);
        if bands.flat_map(|(band, &hash)| band.texts(hash)).any(near) {
            return true;
        }
        #[expect(clippy::cast_possible_truncation, reason = "2^32 texts take terabytes")]
        let text = self.texts.len() as u32;
        for (band, hash) in self.bands.iter_mut().zip(hashes) {
            band.add(hash, text);
        }
        self.texts.push(shingles);
        false
    }

    /// One hash a band of the signature.
    fn hashes(&self, shingles: &Shingles) -> Vec<[u8; 8]> {
        let join =
            |band: &[u64]| band.iter().fold(0_u64, |hash, &first| mix(hash ^ first)).to_le_bytes();
        signature(shingles).chunks_exact(self.rows).map(join).collect()
    }
}

/// The first shingle under every order; an order is the hash of a shingle, hashed once more with the order's number.
fn signature(shingles: &Shingles) -> Vec<u64> {
    let first = |order: usize| {
        let key = mix(order as u64);
        shingles.hashes().iter().map(|&hash| mix(hash ^ key)).min().unwrap_or(u64::MAX)
    };
    (0..SIZE).map(first).collect()
}

/// The most rows, so that the fewest texts are candidates, by which texts at the threshold are still found.
fn rows(threshold: f64) -> usize {
    let missed = |rows: i32, bands: i32| (1.0 - threshold.powi(rows)).powi(bands);
    let found = |bits: &u32| missed(1 << bits, 1 << (SIZE.ilog2() - bits)) <= MISSES;
    1 << (0..=SIZE.ilog2()).rev().find(found).unwrap_or(0)
}

/// The finaliser of `SplitMix64` (Steele, Lea and Flood 2014): every bit of the result depends on every bit of the input.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use language_model::stream;
    use proptest::prelude::*;
    use rand::Rng;

    fn shingles(text: &str) -> Shingles {
        Shingles::of(text, 1)
    }

    #[test]
    fn rows_follow_from_the_threshold() {
        // 1 - 0.6^2 to the 64th is 4e-13, 1 - 0.6^4 to the 32nd is 0.012.
        for (threshold, expected) in [(1.0, 128), (0.9, 8), (0.7, 4), (0.6, 2), (0.3, 1), (0.01, 1)]
        {
            assert_eq!(rows(threshold), expected, "{threshold}");
        }
    }

    #[test]
    fn mixes_as_published() {
        // The first outputs of SplitMix64 with seed 0.
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mix(0x9e37_79b9_7f4a_7c15), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn the_agreement_of_signatures_is_the_similarity() {
        // 30 common words of 90: a standard deviation is 0.042.
        let words = |range: std::ops::Range<usize>| {
            let words: Vec<String> = range.map(|n| format!("w{n}")).collect();
            shingles(&words.join(" "))
        };
        let (a, b) = (words(0..60), words(30..90));
        let pairs = signature(&a).into_iter().zip(signature(&b));
        let agreeing = pairs.filter(|(a, b)| a == b).count() as f64 / SIZE as f64;
        assert!((agreeing - a.jaccard(&b)).abs() < 0.13, "{agreeing}");
    }

    #[test]
    fn near_texts_are_found_among_many() {
        let mut rng = stream(5);
        let mut index = NearIndex::new(0.6);
        let mut text = || -> Vec<String> {
            (0..12).map(|_| format!("w{}", rng.random_range(0..5000))).collect()
        };
        let texts: Vec<Vec<String>> = (0..500).map(|_| text()).collect();
        for text in &texts {
            assert!(!index.holds_near_or_adds(shingles(&text.join(" "))));
        }
        for mut text in texts {
            let mut alone = NearIndex::new(0.6);
            assert!(!alone.holds_near_or_adds(shingles(&text.join(" "))));
            // Ten of fourteen words in common, then eight of sixteen.
            text.splice(..2, ["x".to_owned(), "y".to_owned()]);
            assert!(index.holds_near_or_adds(shingles(&text.join(" "))));
            text.splice(2..4, ["v".to_owned(), "z".to_owned()]);
            assert!(!alone.holds_near_or_adds(shingles(&text.join(" "))));
        }
    }

    /// Bytes of an index, but for what the allocator keeps beside each piece.
    fn bytes(index: &NearIndex) -> usize {
        let texts: usize = index.texts.iter().map(|text| 8 * text.hashes().len()).sum();
        let runs = texts + size_of::<Shingles>() * index.texts.capacity();
        // A table has a byte beside each place, and an eighth of the places stays free.
        let table = |capacity: usize, entry: usize| capacity * 8 / 7 * (entry + 1);
        let of_band = |band: &Band| {
            let lists: usize = band.later.values().map(|list| 4 * list.capacity()).sum();
            let entry = size_of::<([u8; 8], Vec<u32>)>();
            table(band.first.capacity(), size_of::<([u8; 8], u32)>())
                + table(band.later.capacity(), entry)
                + lists
        };
        runs + index.bands.iter().map(of_band).sum::<usize>()
    }

    #[test]
    fn a_request_takes_about_a_kilobyte() {
        let mut rng = stream(7);
        let mut index = NearIndex::new(0.7);
        let texts = 20_000;
        for _ in 0..texts {
            let words: Vec<String> =
                (0..12).map(|_| format!("w{}", rng.random_range(0..2000))).collect();
            assert!(!index.holds_near_or_adds(Shingles::of(&words.join(" "), 2)));
        }
        let each = bytes(&index) / texts;
        assert!((400..1_200).contains(&each), "{each} bytes a request");
    }

    proptest! {
        #[test]
        fn the_index_is_never_wrong_about_what_is_near(
            texts in prop::collection::vec("[a-d]( [a-d]){0,5}", 1..30),
            threshold in 0.1_f64..=1.0,
        ) {
            let mut index = NearIndex::new(threshold);
            let mut kept: Vec<Shingles> = Vec::new();
            for text in &texts {
                let new = shingles(text);
                let highest = kept.iter().map(|old| old.jaccard(&new)).fold(0.0, f64::max);
                let near = index.holds_near_or_adds(new.clone());
                // A miss is possible but rare; a false alarm is neither.
                prop_assert!(!near || highest >= threshold);
                prop_assert!(near || highest < 1.0);
                if !near {
                    kept.push(new);
                }
            }
        }
    }
}
