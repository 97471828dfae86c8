//! A set of preferences among those that a model is fitted to.

use crate::Error;
use crate::fit::STAGE;
use dialogue::Preference;
use language_model::{item_seed, stream};
use rand::seq::SliceRandom;

/// A set of preferences with a name and a weight.
///
/// The weight says how often a pair is drawn in an epoch: at 1 once, at 3 three times, at 0.25 a quarter of the pairs, each
/// time others, until all have had their turn. At 0 the set is only measured. A set of `n` pairs and weight `w` is thus the
/// share `w n / sum(w n)` of all pairs drawn. With weights of 1 the sets are simply put together, as the paper does with
/// helpfulness labels by people and harmlessness labels by AI (arXiv 2212.08073, section 4.1).
///
/// Drawing, unlike a factor on the loss, leaves the size of gradients alone, so that the same learning rate serves every
/// mixture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Source<'a> {
    /// What settings, reports and errors call it.
    pub name: &'a str,
    /// The pairs.
    pub preferences: &'a [Preference],
    /// Times that a pair is drawn in an epoch, at least 0. `weights` of the settings go before it.
    pub weight: f64,
    /// The margin of every pair, in nats, at least 0; empty if all have that of the settings.
    pub margins: &'a [f64],
}

impl<'a> Source<'a> {
    /// A set of weight 1.
    pub fn new(name: &'a str, preferences: &'a [Preference]) -> Self {
        Self { name, preferences, weight: 1.0, margins: &[] }
    }

    /// The same with another weight.
    #[must_use]
    pub fn with_weight(self, weight: f64) -> Self {
        Self { weight, ..self }
    }

    /// The same with a margin for every pair, such as how strongly people preferred the better reply.
    #[must_use]
    pub fn with_margins(self, margins: &'a [f64]) -> Self {
        Self { margins, ..self }
    }

    /// Checks what can be checked without a model.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let wrong = |key, found: String, expected| {
            let name = self.name.to_owned();
            Err(Error::Source { name, key, found, expected })
        };
        if !(self.weight.is_finite() && self.weight >= 0.0) {
            return wrong("weight", self.weight.to_string(), "a number of at least 0");
        }
        let (margins, pairs) = (self.margins.len(), self.preferences.len());
        if margins != 0 && margins != pairs {
            let found = format!("a list of {margins} for {pairs} preferences");
            return wrong("margins", found, "none, or one for each preference");
        }
        match self.margins.iter().find(|margin| !(margin.is_finite() && **margin >= 0.0)) {
            Some(margin) => wrong("margins", margin.to_string(), "numbers of at least 0"),
            None => Ok(()),
        }
    }
}

/// The places, in ascending order, that each epoch draws from `count` pairs of a set.
///
/// One shuffled round through all pairs follows the other, and every epoch takes its share of them where the last one
/// stopped. At a weight of 1 an epoch is a round.
pub(crate) fn draws(
    count: usize,
    weight: f64,
    epochs: u64,
    name: &str,
    seed: u64,
) -> Vec<Vec<usize>> {
    let mut rng = stream(item_seed(seed, &[STAGE, "draws", name]));
    let mut round: Vec<usize> = Vec::new();
    let mut drawn = 0;
    (1..=epochs)
        .map(|epoch| {
            let until = rounded(weight * count as f64 * epoch as f64);
            let mut places: Vec<usize> = (drawn..until)
                .filter_map(|_| {
                    if round.is_empty() {
                        round = (0..count).collect();
                        round.shuffle(&mut rng);
                    }
                    round.pop()
                })
                .collect();
            drawn = until;
            places.sort_unstable();
            places
        })
        .collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count of draws, which is not negative"
)]
fn rounded(draws: f64) -> usize {
    draws.round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::preference;
    use proptest::prelude::*;

    #[test]
    fn a_weight_of_one_draws_every_pair_once() {
        for epoch in draws(5, 1.0, 3, "a", 1) {
            assert_eq!(epoch, [0, 1, 2, 3, 4]);
        }
    }

    #[test]
    fn a_part_is_another_part_each_time_until_all_had_their_turn() {
        let epochs = draws(8, 0.25, 4, "a", 1);
        assert!(epochs.iter().all(|epoch| epoch.len() == 2));
        let mut all = epochs.concat();
        all.sort_unstable();
        assert!(all.iter().copied().eq(0..8), "{all:?}");
        assert_ne!(draws(8, 0.25, 4, "b", 1), epochs);
        assert_ne!(draws(8, 0.25, 4, "a", 2), epochs);
        assert_eq!(draws(2, 2.5, 1, "a", 1)[0].len(), 5);
        let nothing: [Vec<usize>; 2] = [vec![], vec![]];
        assert_eq!(draws(3, 0.0, 2, "a", 1), nothing);
        assert_eq!(draws(0, 1.0, 1, "a", 1), nothing[..1]);
    }

    #[test]
    fn names_what_is_wrong_with_a_set() {
        let pairs = [preference("q", "a", "b", 0.9)];
        let good = Source::new("people", &pairs);
        good.with_margins(&[0.5]).validate().unwrap();
        for (source, part) in [
            (good.with_weight(-1.0), "`weight` is -1"),
            (good.with_weight(f64::NAN), "`weight` is NaN"),
            (good.with_margins(&[0.1, 0.2]), "a list of 2 for 1 preferences"),
            (good.with_margins(&[f64::INFINITY]), "`margins` is inf"),
        ] {
            let message = source.validate().unwrap_err().to_string();
            assert!(message.contains(part) && message.contains("`people`"), "{message}");
        }
    }

    proptest! {
        #[test]
        fn every_pair_is_drawn_equally_often_give_or_take_one(
            count in 1_usize..20,
            weight in 0.0..3.0_f64,
            epochs in 1_u64..6,
            seed: u64,
        ) {
            let mut times = vec![0_usize; count];
            let drawn = draws(count, weight, epochs, "a", seed);
            prop_assert_eq!(drawn.len() as u64, epochs);
            drawn.concat().into_iter().for_each(|place| times[place] += 1);
            let (least, most) = (times.iter().min().unwrap(), times.iter().max().unwrap());
            prop_assert!(most - least <= 1);
            let expected = weight * count as f64 * epochs as f64;
            prop_assert!((times.iter().sum::<usize>() as f64 - expected).abs() <= 0.5 + 1e-9);
        }
    }
}
