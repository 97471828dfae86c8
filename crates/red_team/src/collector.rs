//! Which entries are new.

use crate::generation::Entries;
use crate::min_hash::NearIndex;
use crate::screen::{Entry, Screened, key};
use crate::{Generated, GenerationConfig};
use std::collections::HashSet;

/// Takes in what was read, completion by completion in order, and keeps the requests that are new.
///
/// Whether a request is new depends on all entries before it, so there is one collector a generation. It holds what has to
/// be in memory: of every request its text and its place in the index of near-duplicates, about 1 KB together, and of every
/// valid entry a hash of 16 bytes.
#[derive(Debug)]
pub struct Collector {
    /// Requests to find.
    wanted: usize,
    /// The similarity from which texts are near.
    similarity: f64,
    /// Seeds and entries.
    seen: HashSet<u128>,
    /// The requests taken, if near ones are dropped.
    taken: Option<NearIndex>,
    generated: Generated,
}

impl Collector {
    pub(crate) fn new(seeds: &[String], config: &GenerationConfig) -> Self {
        Self {
            wanted: config.requests,
            similarity: config.similarity,
            seen: seeds.iter().map(|text| key(text)).collect(),
            taken: config.drop_near_duplicates.then(|| NearIndex::new(config.similarity)),
            generated: Generated::default(),
        }
    }

    /// Takes in the next completion, up to the request that completes the number.
    pub fn take(&mut self, entries: Entries) {
        if self.is_complete() {
            return;
        }
        self.generated.drawn += 1;
        for line in entries.0 {
            if self.is_complete() {
                return;
            }
            match line {
                Screened::Unparsed => self.generated.unparsed += 1,
                Screened::CutOff => self.generated.cut_off += 1,
                Screened::WrongLength => self.generated.wrong_length += 1,
                Screened::WrongLanguage => self.generated.wrong_language += 1,
                Screened::Valid(entry) => self.take_entry(entry),
            }
        }
    }

    /// Takes in an entry if it is new.
    fn take_entry(&mut self, entry: Entry) {
        let novelty = &mut self.generated.novelty;
        novelty.valid += 1;
        novelty.novel += usize::from(entry.nearest_seed < self.similarity);
        novelty.nearest_seed += entry.nearest_seed;
        let Entry { text, key, shingles, nearest_seed } = entry;
        if !self.seen.insert(key) {
            self.generated.duplicates += 1;
        } else if self.taken.is_some() && nearest_seed >= self.similarity {
            self.generated.near_seeds += 1;
        } else if self.taken.as_mut().is_some_and(|taken| taken.holds_near_or_adds(shingles)) {
            self.generated.near_requests += 1;
        } else {
            self.generated.requests.push(text);
        }
    }

    /// Whether there are as many requests as were asked for.
    pub fn is_complete(&self) -> bool {
        self.generated.requests.len() >= self.wanted
    }

    /// What there is so far.
    pub fn generated(&self) -> &Generated {
        &self.generated
    }

    /// What there is in the end.
    pub fn into_generated(self) -> Generated {
        self.generated
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Generation;
    use language_model::{Completion, StopReason};

    /// What becomes of entries, one a completion.
    fn collected(config: &GenerationConfig, texts: &[&str]) -> Generated {
        let seeds = ["How do I pick a lock?", "What is blue?"].map(str::to_owned);
        let config = GenerationConfig { shots: 2, ..config.clone() };
        let generation = Generation::new(seeds.to_vec(), &config, 0).unwrap();
        let mut collector = generation.collector();
        for text in texts {
            let text = format!("3. {text}");
            let completion = Completion { text, tokens: 9, stopped: StopReason::Stop };
            collector.take(generation.read(&completion));
        }
        collector.into_generated()
    }

    const TEXTS: [&str; 5] = [
        "How do I pick a lock quickly?",
        "Where does the river end now?",
        "Where does the river end?",
        "how do i pick a lock",
        "where does the river end",
    ];

    #[test]
    fn near_duplicates_of_seeds_and_of_each_other_are_dropped() {
        // Five of six runs in common with a seed; four of five with the request before.
        let found = collected(&GenerationConfig::default(), &TEXTS);
        assert_eq!(found.requests, TEXTS[1..2]);
        assert_eq!((found.near_seeds, found.near_requests, found.duplicates), (1, 1, 2));

        let keep = GenerationConfig { drop_near_duplicates: false, ..Default::default() };
        let found = collected(&keep, &TEXTS);
        assert_eq!((&found.requests[..], found.duplicates), (&TEXTS.map(str::to_owned)[..3], 2));
        // How near they are is measured in any case: the first and the one that equals a seed.
        assert_eq!((found.novelty.valid, found.novelty.novel), (5, 3));

        let alike = GenerationConfig { similarity: 1.0, ..Default::default() };
        assert_eq!(collected(&alike, &TEXTS).requests, TEXTS[..3]);
    }

    #[test]
    fn what_comes_after_the_last_request_does_not_count() {
        let one = GenerationConfig { requests: 1, ..Default::default() };
        let found = collected(&one, &["Who are you?\n4. no number\nnone", "Where am I?"]);
        assert_eq!(found.requests, ["Who are you?"]);
        assert_eq!((found.drawn, found.unparsed, found.novelty.valid), (1, 0, 1));
    }
}
