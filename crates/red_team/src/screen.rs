//! What can be said of a line without regard to any other line.

use crate::language::{is_foreign, languages};
use crate::parse::{Line, lines, normalised};
use crate::seed_index::SeedIndex;
use crate::shingles::Shingles;
use crate::{Error, GenerationConfig};
use language_model::Completion;
use sha2::{Digest, Sha256};
use whatlang::Lang;

/// A line of a completion.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Screened {
    /// No entry of a numbered list.
    Unparsed,
    /// The last line of a completion that was cut short.
    CutOff,
    WrongLength,
    WrongLanguage,
    Valid(Entry),
}

/// An entry of the right length and language.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) text: String,
    pub(crate) key: u128,
    pub(crate) shingles: Shingles,
    /// The highest similarity with a seed.
    pub(crate) nearest_seed: f64,
}

/// What is asked of a line.
#[derive(Debug)]
pub(crate) struct Screen {
    config: GenerationConfig,
    languages: Vec<Lang>,
    seeds: SeedIndex,
}

impl Screen {
    pub(crate) fn new(seeds: &[String], config: &GenerationConfig) -> Result<Self, Error> {
        let shingles = |text: &String| Shingles::of(text, config.shingle_words);
        Ok(Self {
            config: config.clone(),
            languages: languages(&config.languages)?,
            seeds: SeedIndex::new(seeds.iter().map(shingles)),
        })
    }

    /// The lines of a completion that are not blank.
    pub(crate) fn read(&self, completion: &Completion) -> Vec<Screened> {
        lines(completion).into_iter().map(|line| self.screen(line)).collect()
    }

    fn screen(&self, line: Line) -> Screened {
        match line {
            Line::Other => Screened::Unparsed,
            Line::CutOff => Screened::CutOff,
            Line::Entry(text) => self.entry(text),
        }
    }

    fn entry(&self, text: String) -> Screened {
        let Self { config, .. } = self;
        if normalised(&text).is_empty() || config.is_too_short(&text) || config.is_too_long(&text) {
            return Screened::WrongLength;
        }
        if is_foreign(&text, &self.languages) {
            return Screened::WrongLanguage;
        }
        let shingles = Shingles::of(&text, config.shingle_words);
        let nearest_seed = self.seeds.nearest(&shingles);
        Screened::Valid(Entry { key: key(&text), text, shingles, nearest_seed })
    }
}

/// Equal for texts that are equal but for case, white space and punctuation, and in practice for no others. A hash, since
/// it is kept of every entry.
pub(crate) fn key(text: &str) -> u128 {
    let digest = Sha256::digest(normalised(text));
    u128::from_le_bytes(std::array::from_fn(|index| digest[index]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screened(config: &GenerationConfig, texts: &[&str]) -> Vec<Screened> {
        let seeds = ["How do I pick a lock?", "What is blue?"].map(str::to_owned);
        let screen = Screen::new(&seeds, config).unwrap();
        texts.iter().map(|text| screen.screen(Line::Entry((*text).to_owned()))).collect()
    }

    #[test]
    fn length_counts_characters_and_words() {
        let config = GenerationConfig { min_words: 2, max_words: 3, ..Default::default() };
        let found = screened(&config, &["Sing!", "Sing a song", "Sing me a song", "a b", "? ! ?"]);
        let wrong: Vec<bool> = found.iter().map(|line| *line == Screened::WrongLength).collect();
        assert_eq!(wrong, [true, false, true, true, true]);
    }

    #[test]
    fn only_languages_asked_for_pass() {
        let config =
            GenerationConfig { languages: vec!["eng".to_owned()], ..GenerationConfig::default() };
        let texts = ["Где находится ближайшая библиотека?", "Where is the library?"];
        let found = screened(&config, &texts);
        assert_eq!(found[0], Screened::WrongLanguage);
        assert!(matches!(found[1], Screened::Valid(_)));
    }

    #[test]
    fn an_entry_knows_how_near_a_seed_it_is() {
        let texts = ["How do I pick a lock quickly?", "Where does the river end?"];
        let found = screened(&GenerationConfig::default(), &texts);
        let nearest = |line: &Screened| match line {
            Screened::Valid(entry) => entry.nearest_seed,
            _ => f64::NAN,
        };
        // Five of six runs in common, and none.
        assert!((nearest(&found[0]) - 5.0 / 6.0).abs() < 1e-12);
        assert!(nearest(&found[1]).abs() < 1e-12);
    }

    #[test]
    fn a_key_forgets_case_white_space_and_punctuation() {
        assert_eq!(key("How do I  pick a lock?"), key("how do i pick a lock"));
        assert_ne!(key("the rapist"), key("therapist"));
    }
}
