//! What the settings of all runs of an experiment may be.

use crate::run::{Error, Labeller, RewardSource, Settings};
use preference_model::Labels;

/// Checks what all runs share: the oracle can measure them, and arms can be told apart.
///
/// # Errors
/// [`Error::Settings`] if they leave the embedded world, or hold what arms differ in.
pub(super) fn check_shared(settings: &Settings) -> Result<(), Error> {
    let refused = |message| {
        Err(Error::Settings { source_name: "settings of an experiment".to_owned(), message })
    };
    if !settings.in_world() {
        let world = "replies are measured by the oracle of the embedded world";
        return refused(format!("{world}; leave out `model` and `prompts`"));
    }
    let preference_model = &settings.preference_model.training;
    let set = [
        ("critique_revision.direct", settings.critique_revision.direct),
        ("labeller", settings.labeller != Labeller::Judge),
        ("reward", settings.reward != RewardSource::PreferenceModel),
        ("ai_feedback.chain_of_thought", settings.ai_feedback.chain_of_thought.is_some()),
        ("preference_model.labels", preference_model.labels != Labels::Soft),
        ("preference_model.weights", !preference_model.weights.is_empty()),
    ];
    match set.into_iter().find(|(_, set)| *set) {
        Some((setting, _)) => refused(format!("`{setting}` is what arms differ in; leave it out")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<(), Error> {
        let layer = ("command line".to_owned(), text.parse().unwrap());
        check_shared(&Settings::resolve(&[layer]).unwrap())
    }

    #[test]
    fn what_arms_differ_in_is_refused() {
        check("ppo.iterations = 5\nsft.epochs = 1").unwrap();
        for setting in [
            "critique_revision.direct = true",
            "labeller = 'crowd'",
            "reward = 'direct'",
            "ai_feedback.chain_of_thought.sampling.top_k = 3",
            "preference_model.labels = 'hard'",
            "preference_model.weights.helpfulness = 2.0",
        ] {
            let message = check(setting).unwrap_err().to_string();
            let named = message.split('`').nth(1).unwrap();
            assert!(setting.starts_with(named) && message.contains("differ"), "{message}");
        }
    }

    #[test]
    fn there_is_no_oracle_elsewhere() {
        let files = "model = 'm'\n[prompts]\nred_team = 'a'\nhelpful = 'b'";
        let message = check(files).unwrap_err().to_string();
        assert!(message.contains("oracle"), "{message}");
    }
}
