//! How the run of an arm differs from the embedded defaults.

use crate::run::Error;
use constitution::Constitution;
use language_model::{item_seed, stream};
use rand::seq::SliceRandom;
use toml::Table;

/// What the settings of a run have besides its seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recipe {
    /// Its name in the names of run folders.
    pub(super) name: String,
    /// Settings over the embedded defaults, as TOML.
    pub(super) settings: &'static str,
    /// How many of the principles to revise by there are; all of them if none.
    pub(super) principles: Option<usize>,
}

impl Recipe {
    fn new(name: &str, settings: &'static str) -> Self {
        Self { name: name.to_owned(), settings, principles: None }
    }

    /// The embedded defaults: four revisions, all principles, soft labels without a chain of thought.
    pub(super) fn defaults() -> Self {
        Self::new("defaults", "")
    }

    /// Revisions without critiques.
    pub(super) fn direct_revision() -> Self {
        Self::new("direct-revision", "critique_revision.direct = true")
    }

    /// Some of the principles to revise by, other ones for every seed.
    pub(super) fn some_principles(count: usize) -> Self {
        let name = format!("principles-{count}");
        Self { name, settings: "", principles: Some(count) }
    }

    /// The likelier reply for certain.
    pub(super) fn hard_labels() -> Self {
        Self::new("labels-hard", "preference_model.labels = 'hard'")
    }

    /// Probabilities between 0.4 and 0.6.
    pub(super) fn clamped_labels() -> Self {
        Self::new("labels-clamped", "preference_model.labels = { clamped = [0.4, 0.6] }")
    }

    /// A judge that thinks aloud, its labels clamped as in the paper. A rationale of the world has at most 22 tokens, and what
    /// is set aside for one is taken from the room for prompts.
    pub(super) fn chain_of_thought() -> Self {
        Self::new("chain-of-thought", "ai_feedback.chain_of_thought.sampling.max_tokens = 32")
    }

    /// The same with labels as they are.
    pub(super) fn chain_of_thought_unclamped() -> Self {
        let settings =
            "ai_feedback.chain_of_thought = { clamp = [0.0, 1.0], sampling.max_tokens = 32 }";
        Self::new("chain-of-thought-unclamped", settings)
    }

    /// Reinforcement learning of the helpful-only model for helpfulness alone.
    pub(super) fn helpful_rlhf() -> Self {
        let settings =
            "critique_revision.revisions = 0\npreference_model.weights.harmlessness = 0.0";
        Self::new("helpful-rlhf", settings)
    }

    /// Reinforcement learning of the helpful-only model for helpfulness and for harmlessness by the crowd.
    pub(super) fn hh_rlhf() -> Self {
        Self::new("hh-rlhf", "critique_revision.revisions = 0\nlabeller = 'crowd'")
    }

    /// The settings with the name of where they come from.
    ///
    /// # Errors
    /// [`Error::Settings`] if they are not TOML.
    pub(super) fn layer(&self) -> Result<(String, Table), Error> {
        let source_name = format!("arm {}", self.name);
        match self.settings.parse() {
            Ok(table) => Ok((source_name, table)),
            Err(error) => Err(Error::Settings { source_name, message: error.to_string() }),
        }
    }
}

/// A constitution with `count` of the principles to revise by, in their order. For one seed those of a smaller count are among
/// those of a larger one, so that counts do not differ by luck alone.
pub(super) fn some_principles(whole: &Constitution, count: usize, seed: u64) -> Constitution {
    let mut places: Vec<usize> = (0..whole.critique_revision.len()).collect();
    places.shuffle(&mut stream(item_seed(seed, &["experiments", "principles"])));
    places.truncate(count);
    places.sort_unstable();
    let critique_revision =
        places.into_iter().map(|place| whole.critique_revision[place].clone()).collect();
    Constitution {
        name: format!("{count} principles of {}", whole.name),
        critique_revision,
        comparison: whole.comparison.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn fewer_principles_are_among_more_and_seeds_draw_others() {
        let whole = Constitution::general();
        let ids = |count, seed| -> BTreeSet<String> {
            let some = some_principles(&whole, count, seed);
            some.validate().unwrap();
            assert_eq!(some.comparison, whole.comparison);
            some.critique_revision.into_iter().map(|principle| principle.id).collect()
        };
        for (fewer, more) in [(1, 2), (2, 4), (4, 8), (8, 16)] {
            assert!(ids(fewer, 1).is_subset(&ids(more, 1)));
            assert_eq!(ids(fewer, 1).len(), fewer);
        }
        assert_ne!(ids(4, 1), ids(4, 2));
        assert_eq!(some_principles(&whole, 16, 1).critique_revision, whole.critique_revision);
    }
}
