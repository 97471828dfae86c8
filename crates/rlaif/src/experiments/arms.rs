//! The arms of every experiment.

use super::{Experiment, Recipe};
use crate::run::Checkpoint;
use constitution::Constitution;

/// What an experiment sets beside something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Arm {
    /// What tables and plots call it.
    pub(super) name: &'static str,
    /// Its runs.
    pub(super) recipe: Recipe,
    /// The model that is measured, where one is.
    pub(super) model: Checkpoint,
    /// Its place, if the arms stand along something.
    pub(super) at: Option<u64>,
}

impl Arm {
    fn new(name: &'static str, recipe: Recipe) -> Self {
        Self { name, recipe, model: Checkpoint::RlCai, at: None }
    }
}

impl Experiment {
    /// The arms, in the order in which they are shown; `constitution` is that of the defaults.
    pub(super) fn arms(self, constitution: &Constitution) -> Vec<Arm> {
        match self {
            Self::Revisions => vec![Arm::new("critique and revision", Recipe::defaults())],
            Self::Critique => vec![
                Arm::new("critique and revision", Recipe::defaults()),
                Arm::new("direct revision", Recipe::direct_revision()),
            ],
            Self::Principles => principles(constitution.critique_revision.len()),
            Self::Labels => vec![
                Arm::new("soft", Recipe::defaults()),
                Arm::new("hard", Recipe::hard_labels()),
                Arm::new("clamped", Recipe::clamped_labels()),
            ],
            Self::ChainOfThought => vec![
                Arm::new("without", Recipe::defaults()),
                Arm::new("with, clamped", Recipe::chain_of_thought()),
                Arm::new("with, as it is", Recipe::chain_of_thought_unclamped()),
            ],
            Self::TradeOff => vec![
                Arm {
                    model: Checkpoint::HelpfulOnly,
                    ..Arm::new("helpful-only", Recipe::defaults())
                },
                Arm::new("helpful-only after RL", Recipe::helpful_rlhf()),
                Arm::new("HH-RLHF-like", Recipe::hh_rlhf()),
                Arm { model: Checkpoint::SlCai, ..Arm::new("SL-CAI", Recipe::defaults()) },
                Arm::new("RL-CAI", Recipe::defaults()),
                Arm::new("RL-CAI, chain of thought", Recipe::chain_of_thought()),
            ],
        }
    }
}

/// 1, 2, 4, … principles, and all of them.
fn principles(all: usize) -> Vec<Arm> {
    let arm = |count: usize| {
        let recipe = if count == all { Recipe::defaults() } else { Recipe::some_principles(count) };
        Arm { at: Some(count as u64), ..Arm::new("critique and revision", recipe) }
    };
    let counts = std::iter::successors(Some(1_usize), |&count| Some(2 * count));
    counts.take_while(|&count| count < all).chain([all]).map(arm).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Labeller, Settings};
    use ai_feedback::ChainOfThought;
    use language_model::Sampling;
    use preference_model::Labels;

    fn settings(recipe: &Recipe) -> Settings {
        Settings::resolve(&[recipe.layer().unwrap()]).unwrap()
    }

    #[test]
    fn every_arm_has_settings_of_its_own_that_a_run_takes() {
        let constitution = model_organism::constitution().unwrap();
        for experiment in Experiment::ALL {
            let arms = experiment.arms(&constitution);
            for (place, arm) in arms.iter().enumerate() {
                assert!(settings(&arm.recipe).in_world());
                let same = |other: &Arm| {
                    (other.name, other.at) == (arm.name, arm.at)
                        || (&other.recipe, other.model) == (&arm.recipe, arm.model)
                };
                assert!(!arms[..place].iter().any(same), "{experiment}: {arm:?}");
            }
        }
    }

    #[test]
    fn arms_differ_from_the_defaults_in_what_they_are_about() {
        let defaults = settings(&Recipe::defaults());
        assert_eq!(defaults, Settings::embedded());

        let mut expected = defaults.clone();
        expected.preference_model.training.labels = Labels::Clamped([0.4, 0.6]);
        assert_eq!(settings(&Recipe::clamped_labels()), expected);

        let thoughts = |recipe: Recipe| settings(&recipe).ai_feedback.chain_of_thought.unwrap();
        let clamped = thoughts(Recipe::chain_of_thought());
        let sampling = Sampling::default().with_max_tokens(32);
        assert_eq!(clamped, ChainOfThought { sampling, ..ChainOfThought::default() });
        let unclamped = thoughts(Recipe::chain_of_thought_unclamped());
        assert_eq!(unclamped, ChainOfThought { clamp: [0.0, 1.0], ..clamped });

        let mut expected = defaults.clone();
        expected.critique_revision.direct = true;
        assert_eq!(settings(&Recipe::direct_revision()), expected);

        let mut expected = defaults;
        expected.critique_revision.revisions = 0;
        expected.labeller = Labeller::Crowd;
        assert_eq!(settings(&Recipe::hh_rlhf()), expected);
    }

    #[test]
    fn principles_double_up_to_all_of_them() {
        let counts =
            |all| -> Vec<Option<u64>> { principles(all).iter().map(|arm| arm.at).collect() };
        assert_eq!(counts(16), [1, 2, 4, 8, 16].map(Some));
        assert_eq!(counts(6), [1, 2, 4, 6].map(Some));
        assert_eq!(counts(1), [Some(1)]);
        assert_eq!(principles(16)[4].recipe, Recipe::defaults());
    }
}
