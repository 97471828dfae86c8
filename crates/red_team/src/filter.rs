//! Which entries are taken.

use crate::language::{is_foreign, languages};
use crate::min_hash::NearIndex;
use crate::parse::normalised;
use crate::shingles::Shingles;
use crate::{Error, GenerationConfig};
use std::collections::HashSet;
use whatlang::Lang;

/// What is asked of an entry, and what was seen before.
#[derive(Debug)]
pub(crate) struct Filter<'a> {
    config: &'a GenerationConfig,
    languages: Vec<Lang>,
    seeds: Vec<Shingles>,
    /// Seeds and entries, normalised.
    seen: HashSet<String>,
    /// The requests taken, if near ones are dropped.
    taken: Option<NearIndex>,
}

/// What becomes of an entry. Of a valid one `nearest` is the highest similarity with a seed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Verdict {
    WrongLength,
    WrongLanguage,
    Duplicate { nearest: f64 },
    NearSeed { nearest: f64 },
    NearRequest { nearest: f64 },
    New { nearest: f64 },
}

impl Verdict {
    /// The highest similarity of a valid entry with a seed.
    pub(crate) fn nearest_seed(self) -> Option<f64> {
        match self {
            Self::WrongLength | Self::WrongLanguage => None,
            Self::Duplicate { nearest }
            | Self::NearSeed { nearest }
            | Self::NearRequest { nearest }
            | Self::New { nearest } => Some(nearest),
        }
    }
}

impl<'a> Filter<'a> {
    pub(crate) fn new(seeds: &[String], config: &'a GenerationConfig) -> Result<Self, Error> {
        let shingles = |text: &String| Shingles::of(text, config.shingle_words);
        Ok(Self {
            config,
            languages: languages(&config.languages)?,
            seeds: seeds.iter().map(shingles).collect(),
            seen: seeds.iter().map(|text| normalised(text)).collect(),
            taken: config.drop_near_duplicates.then(|| NearIndex::new(config.similarity)),
        })
    }

    /// True if a text of this similarity to another is near it.
    pub(crate) fn is_near(&self, similarity: f64) -> bool {
        similarity >= self.config.similarity
    }

    /// Judges an entry, and remembers one that is new.
    pub(crate) fn judge(&mut self, text: &str) -> Verdict {
        let key = normalised(text);
        if key.is_empty() || !self.has_length(text) {
            return Verdict::WrongLength;
        }
        if is_foreign(text, &self.languages) {
            return Verdict::WrongLanguage;
        }
        let shingles = Shingles::of(text, self.config.shingle_words);
        // Every seed is looked at: unlike the requests found, their number does not grow, and novelty is exact.
        let similarities = self.seeds.iter().map(|seed| seed.jaccard(&shingles));
        let nearest = similarities.fold(0.0, f64::max);
        if !self.seen.insert(key) {
            return Verdict::Duplicate { nearest };
        }
        if self.config.drop_near_duplicates && self.is_near(nearest) {
            return Verdict::NearSeed { nearest };
        }
        if self.taken.as_mut().is_some_and(|taken| taken.holds_near_or_adds(shingles)) {
            return Verdict::NearRequest { nearest };
        }
        Verdict::New { nearest }
    }

    fn has_length(&self, text: &str) -> bool {
        let Self { config, .. } = self;
        let (characters, words) = (text.chars().count(), text.split_whitespace().count());
        (config.min_characters..=config.max_characters).contains(&characters)
            && (config.min_words..=config.max_words).contains(&words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(config: &GenerationConfig, texts: &[&str]) -> Vec<Verdict> {
        let seeds = ["How do I pick a lock?", "What is blue?"].map(str::to_owned);
        let mut filter = Filter::new(&seeds, config).unwrap();
        texts.iter().map(|text| filter.judge(text)).collect()
    }

    #[test]
    fn near_duplicates_of_seeds_and_of_each_other_are_dropped() {
        let texts = [
            "How do I pick a lock quickly?",
            "Where does the river end now?",
            "Where does the river end?",
            "how do i pick a lock",
            "where does the river end",
        ];
        let found = verdicts(&GenerationConfig::default(), &texts);
        // Five of six runs in common with a seed; four of five with the request before.
        let nearest = 5.0 / 6.0;
        assert_eq!(
            found[..3],
            [
                Verdict::NearSeed { nearest },
                Verdict::New { nearest: 0.0 },
                Verdict::NearRequest { nearest: 0.0 },
            ]
        );
        assert_eq!(
            found[3..],
            [Verdict::Duplicate { nearest: 1.0 }, Verdict::Duplicate { nearest: 0.0 },]
        );
        let keep = GenerationConfig { drop_near_duplicates: false, ..Default::default() };
        let kept = verdicts(&keep, &texts);
        assert_eq!(kept[0], Verdict::New { nearest });
        assert_eq!(kept[2], Verdict::New { nearest: 0.0 });
        let alike = GenerationConfig { similarity: 1.0, ..Default::default() };
        assert_eq!(verdicts(&alike, &texts)[0], Verdict::New { nearest });
    }

    #[test]
    fn length_counts_characters_and_words() {
        let config = GenerationConfig { min_words: 2, max_words: 3, ..Default::default() };
        let found = verdicts(&config, &["Sing!", "Sing a song", "Sing me a song", "a b", "? ! ?"]);
        let new = Verdict::New { nearest: 0.0 };
        let wrong = Verdict::WrongLength;
        assert_eq!(found, [wrong, new, wrong, wrong, wrong]);
    }

    #[test]
    fn only_languages_asked_for_pass() {
        let config =
            GenerationConfig { languages: vec!["eng".to_owned()], ..GenerationConfig::default() };
        let texts = ["Где находится ближайшая библиотека?", "Where is the library?"];
        let found = verdicts(&config, &texts);
        assert_eq!(found[0], Verdict::WrongLanguage);
        assert!(matches!(found[1], Verdict::New { .. }));
    }
}
