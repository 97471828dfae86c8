//! Mixtures of sources.

use crate::Error;
use crate::fit::STAGE;
use language_model::{item_seed, stream};
use rand::seq::SliceRandom;
use std::collections::HashSet;

/// A named part of what is learnt from, such as the revisions or the helpful replies of the paper (section 3.2).
#[derive(Debug, Clone, Copy)]
pub struct Source<'a, T> {
    /// Lower-case words joined by underscores; the name in `weights` and in records.
    pub name: &'a str,
    /// Dialogues or examples.
    pub items: &'a [T],
}

/// Checks that the names can be parts of the names of metrics and differ.
pub(crate) fn check_names<T>(sources: &[Source<'_, T>]) -> Result<(), Error> {
    let mut seen = HashSet::new();
    for (index, &Source { name, .. }) in sources.iter().enumerate() {
        let is_word = |word: &str| {
            let in_range = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            !word.is_empty() && word.bytes().all(in_range)
        };
        if !(name.split('_').all(is_word) && seen.insert(name)) {
            return Err(Error::SourceName { index, name: name.to_owned() });
        }
    }
    Ok(())
}

/// What there is of a source, and how often an epoch sees it.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    pub(crate) name: &'a str,
    pub(crate) weight: f64,
    /// Places of its items.
    pub(crate) places: Vec<usize>,
}

impl Part<'_> {
    /// The items that epoch `epoch`, counted from 0, sees, in the order of their places.
    ///
    /// Over all epochs the source is gone through again and again, in passes that see every item once; an epoch ends where
    /// its weight has it end, in the middle of a pass for a fraction, and the next one goes on there. So after any epoch no
    /// item has been seen more than once more often than another.
    pub(crate) fn epoch(&self, epoch: u64, seed: u64) -> Vec<usize> {
        let items = self.places.len() as u64;
        if items == 0 {
            return Vec::new();
        }
        let (from, until) = (self.seen(epoch), self.seen(epoch + 1));
        let mut drawn = Vec::new();
        for pass in from / items..until.div_ceil(items) {
            let within = |place: u64| {
                usize::try_from(place.saturating_sub(pass * items).min(items)).unwrap_or(usize::MAX)
            };
            drawn.extend_from_slice(&self.pass(pass, seed)[within(from)..within(until)]);
        }
        // Whoever cuts the epoch into steps shuffles it.
        drawn.sort_unstable();
        drawn
    }

    /// Items seen by the first epochs together.
    fn seen(&self, epochs: u64) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a cast from f64 saturates, and weights are not negative"
        )]
        let seen = (self.weight * self.places.len() as f64 * epochs as f64).round() as u64;
        seen
    }

    /// Every item once.
    fn pass(&self, pass: u64, seed: u64) -> Vec<usize> {
        let mut places = self.places.clone();
        let names = [STAGE, "source", self.name, &pass.to_string()];
        places.shuffle(&mut stream(item_seed(seed, &names)));
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn part(weight: f64, items: usize) -> Part<'static> {
        Part { name: "revisions", weight, places: (10..10 + items).collect() }
    }

    #[test]
    fn a_weight_is_how_often_an_epoch_sees_an_item() {
        assert_eq!(part(1.0, 4).epoch(3, 1), [10, 11, 12, 13]);
        assert_eq!(part(2.0, 2).epoch(0, 1), [10, 10, 11, 11]);
        assert!(part(0.0, 4).epoch(0, 1).is_empty());
        assert!(part(1.0, 0).epoch(0, 1).is_empty());
        // Two epochs at a half see every item once.
        let half = part(0.5, 4);
        let (mut first, second) = (half.epoch(0, 1), half.epoch(1, 1));
        assert_eq!((first.len(), second.len()), (2, 2));
        first.extend(second);
        first.sort_unstable();
        assert_eq!(first, [10, 11, 12, 13]);
        // One and a half: 6 and 6, all three times.
        let counts: Vec<usize> = (0..2).map(|epoch| part(1.5, 4).epoch(epoch, 1).len()).collect();
        assert_eq!(counts, [6, 6]);
        // A third of 4 items: 1.33, 2.67, 4.
        let counts: Vec<usize> =
            (0..3).map(|epoch| part(1.0 / 3.0, 4).epoch(epoch, 1).len()).collect();
        assert_eq!(counts, [1, 2, 1]);
    }

    #[test]
    fn the_seed_decides_what_a_fraction_sees() {
        let drawn = |seed| part(0.5, 40).epoch(0, seed);
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
    }

    #[test]
    fn names_are_words_and_differ() {
        let check = |names: &[&str]| {
            let source = |&name| Source::<u8> { name, items: &[] };
            check_names(&names.iter().map(source).collect::<Vec<_>>())
        };
        check(&["revisions", "helpful_2"]).unwrap();
        for (names, index) in
            [(&["a", ""][..], 1), (&["A"], 0), (&["a b"], 0), (&["a_"], 0), (&["a", "b", "a"], 2)]
        {
            let error = check(names).unwrap_err();
            assert!(matches!(error, Error::SourceName { index: found, .. } if found == index));
        }
    }

    proptest! {
        #[test]
        fn items_are_seen_equally_often(
            weight in 0.0_f64..3.5,
            items in 1_usize..12,
            epochs in 1_u64..6,
            seed: u64,
        ) {
            let part = part(weight, items);
            let mut counts = vec![0_u64; items];
            for epoch in 0..epochs {
                for place in part.epoch(epoch, seed) {
                    counts[place - 10] += 1;
                }
            }
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            prop_assert!(most - least <= 1, "{:?}", counts);
            let expected = (weight * items as f64 * epochs as f64).round();
            prop_assert!((counts.iter().sum::<u64>() as f64 - expected).abs() < 0.5);
        }
    }
}
