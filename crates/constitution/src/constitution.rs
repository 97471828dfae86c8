//! The two lists of principles and how one is drawn.

use crate::{ComparisonPrinciple, Error, RevisionPrinciple};
use rand::Rng;
use serde::{Deserialize, Serialize};

/// The principles that stand in for human labels of harm.
///
/// Either list may be empty if it is not drawn from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constitution {
    /// The name that runs and reports use.
    pub name: String,
    /// The principles to criticise and revise by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub critique_revision: Vec<RevisionPrinciple>,
    /// The principles to compare two replies by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub comparison: Vec<ComparisonPrinciple>,
}

impl Constitution {
    /// A principle to criticise and revise by, each with the same probability, whatever was drawn before.
    ///
    /// # Errors
    /// [`Error::NothingToDraw`] if the list is empty.
    pub fn draw_revision<R: Rng + ?Sized>(&self, rng: &mut R) -> Result<&RevisionPrinciple, Error> {
        self.draw(&self.critique_revision, "critique_revision", rng)
    }

    /// A principle to compare by, each with the same probability, whatever was drawn before.
    ///
    /// # Errors
    /// [`Error::NothingToDraw`] if the list is empty.
    pub fn draw_comparison<R: Rng + ?Sized>(
        &self,
        rng: &mut R,
    ) -> Result<&ComparisonPrinciple, Error> {
        self.draw(&self.comparison, "comparison", rng)
    }

    fn draw<'a, P, R: Rng + ?Sized>(
        &self,
        principles: &'a [P],
        list: &'static str,
        rng: &mut R,
    ) -> Result<&'a P, Error> {
        if principles.is_empty() {
            return Err(Error::NothingToDraw { name: self.name.clone(), list });
        }
        Ok(&principles[rng.random_range(0..principles.len())])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn draws_every_principle_about_equally_often() {
        let constitution = Constitution::general();
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut counts = std::collections::HashMap::<String, usize>::new();
        for _ in 0..16_000 {
            let revision = constitution.draw_revision(&mut rng).unwrap();
            *counts.entry(format!("r {}", revision.id)).or_default() += 1;
            let comparison = constitution.draw_comparison(&mut rng).unwrap();
            *counts.entry(format!("c {}", comparison.id)).or_default() += 1;
        }
        assert_eq!(counts.len(), 32);
        // A standard deviation is 31 draws.
        assert!(counts.values().all(|&count| count.abs_diff(1000) < 150), "{counts:?}");
    }

    #[test]
    fn an_empty_list_is_an_error_only_when_it_is_drawn_from() {
        let constitution = Constitution { comparison: Vec::new(), ..Constitution::general() };
        constitution.validate().unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        assert!(constitution.draw_revision(&mut rng).is_ok());
        let message = constitution.draw_comparison(&mut rng).unwrap_err().to_string();
        assert!(message.contains("[[comparison]]") && message.contains("general"), "{message}");
    }
}
