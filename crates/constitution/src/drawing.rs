//! How principles are drawn.

use crate::{ComparisonPrinciple, Constitution, Error, Principle, RevisionPrinciple};
use rand::Rng;
use serde::{Deserialize, Serialize};

/// How principles are drawn for one item: for the steps of one prompt, or for the question about one pair and its worked
/// examples.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `weighted` | false | by the weights of the principles; otherwise each is as likely as any other |
/// | `tags` | none | draws only those that have one of these tags |
/// | `replacement` | true | whatever was drawn before; otherwise none twice for one item before all were drawn |
///
/// The paper draws uniformly with replacement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Drawing {
    /// Draws by the weights of the principles.
    pub weighted: bool,
    /// Draws only those that have one of these tags, if there are any.
    pub tags: Vec<String>,
    /// Draws whatever was drawn before.
    pub replacement: bool,
}

impl Default for Drawing {
    fn default() -> Self {
        Self { weighted: false, tags: Vec::new(), replacement: true }
    }
}

/// The principles that one item draws from.
#[derive(Debug, Clone)]
pub struct Draws<'a, P> {
    /// All that can be drawn.
    all: Vec<&'a P>,
    /// Those that are left, in the order of the constitution.
    left: Vec<&'a P>,
    weighted: bool,
    replacement: bool,
}

impl Constitution {
    /// The principles to criticise and revise by, ready to be drawn for one item.
    ///
    /// # Errors
    /// [`Error::NothingToDraw`] or [`Error::NothingTagged`].
    pub fn revisions(&self, drawing: &Drawing) -> Result<Draws<'_, RevisionPrinciple>, Error> {
        Draws::new(&self.name, &self.critique_revision, drawing)
    }

    /// The principles to compare by, ready to be drawn for one item.
    ///
    /// # Errors
    /// [`Error::NothingToDraw`] or [`Error::NothingTagged`].
    pub fn comparisons(&self, drawing: &Drawing) -> Result<Draws<'_, ComparisonPrinciple>, Error> {
        Draws::new(&self.name, &self.comparison, drawing)
    }
}

impl<'a, P: Principle> Draws<'a, P> {
    fn new(name: &str, principles: &'a [P], drawing: &Drawing) -> Result<Self, Error> {
        let Drawing { weighted, ref tags, replacement } = *drawing;
        if principles.is_empty() {
            return Err(Error::NothingToDraw { name: name.to_owned(), list: P::LIST });
        }
        let wanted = |principle: &&P| {
            tags.is_empty() || principle.tags().iter().any(|tag| tags.contains(tag))
        };
        let all: Vec<&P> = principles.iter().filter(wanted).collect();
        if all.is_empty() {
            let (name, tags) = (name.to_owned(), tags.clone());
            return Err(Error::NothingTagged { name, list: P::LIST, tags });
        }
        Ok(Self { left: all.clone(), all, weighted, replacement })
    }

    /// How many principles can be drawn.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// The next principle of the item.
    pub fn draw<R: Rng + ?Sized>(&mut self, rng: &mut R) -> &'a P {
        if self.left.is_empty() {
            self.left.clone_from(&self.all);
        }
        let index = if self.weighted { self.by_weight(rng) } else { self.by_count(rng) };
        if self.replacement { self.left[index] } else { self.left.remove(index) }
    }

    fn by_count<R: Rng + ?Sized>(&self, rng: &mut R) -> usize {
        rng.random_range(0..self.left.len())
    }

    /// The first principle up to which the weights add up to more than a uniform share of all.
    fn by_weight<R: Rng + ?Sized>(&self, rng: &mut R) -> usize {
        let weights = self.left.iter().map(|principle| principle.weight());
        let share = rng.random::<f64>() * weights.clone().sum::<f64>();
        let reached = weights.scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        });
        let last = self.left.len() - 1;
        reached.take(last).position(|sum| sum > share).unwrap_or(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use std::collections::{HashMap, HashSet};

    fn weights() -> Constitution {
        let text = "name = 'w'\n".to_owned()
            + &[("a", 1.0), ("b", 3.0), ("c", 0.5)]
                .map(|(id, weight)| {
                    format!("[[comparison]]\nid = '{id}'\ntext = '{id}?'\ntags = ['t{id}', 'all']\nweight = {weight}\n")
                })
                .concat();
        Constitution::from_toml(&text).unwrap()
    }

    #[test]
    fn uniform_draws_are_about_equally_frequent() {
        let constitution = Constitution::general();
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut counts = HashMap::<String, usize>::new();
        let drawing = Drawing::default();
        let mut revisions = constitution.revisions(&drawing).unwrap();
        let mut comparisons = constitution.comparisons(&drawing).unwrap();
        for _ in 0..16_000 {
            *counts.entry(format!("r {}", revisions.draw(&mut rng).id)).or_default() += 1;
            *counts.entry(format!("c {}", comparisons.draw(&mut rng).id)).or_default() += 1;
        }
        assert_eq!(counts.len(), 32);
        // A standard deviation is 31 draws.
        assert!(counts.values().all(|&count| count.abs_diff(1000) < 150), "{counts:?}");
    }

    #[test]
    fn weighted_draws_are_as_frequent_as_their_weights() {
        let constitution = weights();
        let drawing = Drawing { weighted: true, ..Drawing::default() };
        let mut draws = constitution.comparisons(&drawing).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut counts = HashMap::<&str, usize>::new();
        for _ in 0..9000 {
            *counts.entry(draws.draw(&mut rng).id.as_str()).or_default() += 1;
        }
        for (id, expected) in [("a", 2000), ("b", 6000), ("c", 1000)] {
            assert!(counts[id].abs_diff(expected) < 200, "{counts:?}");
        }
    }

    #[test]
    fn without_replacement_all_come_before_one_comes_again() {
        let constitution = weights();
        for weighted in [true, false] {
            let drawing = Drawing { weighted, replacement: false, ..Drawing::default() };
            let mut rng = ChaCha8Rng::seed_from_u64(3);
            for _ in 0..50 {
                let mut draws = constitution.comparisons(&drawing).unwrap();
                for _ in 0..2 {
                    let round: HashSet<&str> =
                        (0..3).map(|_| draws.draw(&mut rng).id.as_str()).collect();
                    assert_eq!(round.len(), 3);
                }
            }
        }
    }

    #[test]
    fn tags_select() {
        let constitution = weights();
        let tagged = |tags: &[&str]| Drawing {
            tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
            ..Drawing::default()
        };
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut draws = constitution.comparisons(&tagged(&["tc", "ta"])).unwrap();
        let drawn: HashSet<&str> = (0..50).map(|_| draws.draw(&mut rng).id.as_str()).collect();
        assert_eq!(drawn, HashSet::from(["a", "c"]));
        assert_eq!(draws.count(), 2);
        let message = constitution.comparisons(&tagged(&["tx"])).unwrap_err().to_string();
        assert!(message.contains("\"tx\"") && message.contains("comparison"), "{message}");
    }

    #[test]
    fn an_empty_list_is_an_error_only_when_it_is_drawn_from() {
        let constitution = Constitution { comparison: Vec::new(), ..Constitution::general() };
        constitution.validate().unwrap();
        assert!(constitution.revisions(&Drawing::default()).is_ok());
        let message = constitution.comparisons(&Drawing::default()).unwrap_err().to_string();
        assert!(message.contains("[[comparison]]") && message.contains("general"), "{message}");
    }
}
