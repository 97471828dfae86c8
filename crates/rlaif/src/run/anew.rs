//! What to do about a stage that cannot end with its settings.

use super::{Error, Settings, Stage};
use ppo::{Phase, PpoConfig};
use std::path::Path;
use training::Error::Diverged;

// The learning rates of all optimisers.
const SFT: &str = "sft.optimizer.learning_rate";
const PRETRAINING: &str = "preference_model.pretraining.learning_rate";
const PREFERENCE_MODEL: &str = "preference_model.optimizer.learning_rate";
const BEST_OF_N: &str = "ppo.best_of_n_start.sft.optimizer.learning_rate";
const POLICY: &str = "ppo.optimizer.learning_rate";
const VALUE_MODEL: &str = "ppo.value_optimizer.learning_rate";

impl Error {
    /// Says how a stage begins anew in the folder of its run, if it is its settings that it failed by.
    pub(super) fn with_the_way_on(self, stage: Stage, run: &Path, settings: &Settings) -> Self {
        match self.setting_to_change(settings) {
            Some(setting) => {
                let folder = run.join(stage.name());
                Self::Anew { stage, folder, setting, source: Box::new(self) }
            }
            None => self,
        }
    }

    /// The setting that is most likely to help: after a divergence the learning rate of the optimiser that diverged.
    fn setting_to_change(&self, settings: &Settings) -> Option<&'static str> {
        match self {
            Self::Sft(sft::Error::Training(Diverged { .. })) => Some(SFT),
            Self::Pretraining(preference_model::Error::Training(Diverged { .. })) => {
                Some(PRETRAINING)
            }
            Self::PreferenceModel(preference_model::Error::Training(Diverged { .. })) => {
                Some(PREFERENCE_MODEL)
            }
            Self::Ppo(error) => setting_of_ppo(error, &settings.ppo),
            _ => None,
        }
    }
}

fn setting_of_ppo(error: &ppo::Error, config: &PpoConfig) -> Option<&'static str> {
    match error {
        ppo::Error::BestOfN(sft::Error::Training(Diverged { .. })) => Some(BEST_OF_N),
        ppo::Error::Training(Diverged { .. }) => Some(rate_of(error, config)),
        ppo::Error::NotFinite { phase, .. } | ppo::Error::EmptyReplies { phase, .. } => {
            match phase {
                // Nothing has learned: the models that the stage began with are to be made again.
                Phase::Start => None,
                // A value model has not learned before the first update.
                Phase::Iteration(1) if error.is_of_value_function() => None,
                Phase::Iteration(1) => config.best_of_n_start.is_some().then_some(BEST_OF_N),
                _ => Some(rate_of(error, config)),
            }
        }
        ppo::Error::KlExploded { .. } => Some(POLICY),
        // The mean of more replies is nearer to what it stands for.
        ppo::Error::KlNegative { .. } => Some("ppo.prompts_per_iteration"),
        _ => None,
    }
}

/// The learning rate of what diverged in a round. A value function has one of its own if it is a separate model with an optimiser
/// of its own.
fn rate_of(error: &ppo::Error, config: &PpoConfig) -> &'static str {
    let is_apart = config.has_separate_values() && config.value_optimizer.is_some();
    if is_apart && error.is_of_value_function() { VALUE_MODEL } else { POLICY }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::PreferenceModelSettings;
    use ppo::{BestOfN, KlLimit};

    fn resolve(text: &str) -> Settings {
        Settings::resolve(&[("my.toml".to_owned(), text.parse().unwrap())]).unwrap()
    }

    fn diverged(name: &str) -> training::Error {
        let (stage, name) = ("the_stage".to_owned(), name.to_owned());
        Diverged { stage, step: 3, name, value: f64::NAN }
    }

    fn of_ppo(name: &str) -> Error {
        Error::Ppo(diverged(name).into())
    }

    fn not_finite(phase: Phase, what: &'static str) -> Error {
        Error::Ppo(ppo::Error::NotFinite { phase, what, id: "7".to_owned() })
    }

    fn silent(phase: Phase) -> Error {
        Error::Ppo(ppo::Error::EmptyReplies { phase, replies: 4 })
    }

    fn best_of_n(settings: &Settings) -> &BestOfN {
        settings.ppo.best_of_n_start.as_ref().unwrap()
    }

    const FIRST_PASS: &str = "preference_model.pretraining.file = 'pairs.jsonl'\n";
    const START: &str = "ppo.best_of_n_start.samples = 2\n";

    /// The setting that is named, if there is one.
    fn named(error: Error, stage: Stage, settings: &Settings) -> Option<String> {
        let before = error.to_string();
        let message = error.with_the_way_on(stage, Path::new("runs/mine"), settings).to_string();
        let way = message.strip_prefix(&before).unwrap();
        let (_, setting) = way.split_once("--set ")?;
        assert!(
            way.contains(&format!("to begin `{stage}` anew, remove runs/mine/{stage} ")),
            "{way}"
        );
        Some(setting.strip_suffix("=…`").unwrap().to_owned())
    }

    #[test]
    fn the_learning_rate_of_what_diverged_is_named_and_can_be_set() {
        type Rate = fn(&Settings) -> f64;
        let sft: Rate = |settings| settings.sft.optimizer.learning_rate;
        let second: Rate = |settings| settings.preference_model.training.optimizer.learning_rate;
        let first: Rate = |settings| {
            let PreferenceModelSettings { training, pretraining } = &settings.preference_model;
            pretraining.as_ref().unwrap().config(training).optimizer.learning_rate
        };
        let start: Rate = |settings| best_of_n(settings).sft.optimizer.learning_rate;
        let policy: Rate = |settings| settings.ppo.optimizer.learning_rate;
        let values: Rate = |settings| settings.ppo.value_optimizer.as_ref().unwrap().learning_rate;

        let of_preferences = || preference_model::Error::from(diverged("loss"));
        let of_start = || Error::Ppo(sft::Error::from(diverged("loss")).into());
        let shared_again = "ppo = { preset = 'verl', value_model = 'shared' }";
        let (one, two) = (Phase::Iteration(1), Phase::AfterIteration(1));
        for (text, error, stage, expected, rate) in [
            ("", Error::Sft(diverged("loss").into()), Stage::Sft, SFT, sft),
            (
                FIRST_PASS,
                Error::PreferenceModel(of_preferences()),
                Stage::PreferenceModel,
                PREFERENCE_MODEL,
                second,
            ),
            (
                FIRST_PASS,
                Error::Pretraining(of_preferences()),
                Stage::PreferenceModel,
                PRETRAINING,
                first,
            ),
            (START, of_start(), Stage::Ppo, BEST_OF_N, start),
            (START, not_finite(one, "a logit"), Stage::Ppo, BEST_OF_N, start),
            (START, not_finite(two, "a logit"), Stage::Ppo, POLICY, policy),
            ("", of_ppo("policy_loss"), Stage::Ppo, POLICY, policy),
            ("", of_ppo("value_loss"), Stage::Ppo, POLICY, policy),
            // Without settings of its own a separate value model learns as the policy does.
            ("ppo.value_model = 'separate'", of_ppo("value_loss"), Stage::Ppo, POLICY, policy),
            (shared_again, of_ppo("value_loss"), Stage::Ppo, POLICY, policy),
            ("ppo.preset = 'verl'", of_ppo("gradient_norm"), Stage::Ppo, POLICY, policy),
            ("ppo.preset = 'verl'", of_ppo("value_loss"), Stage::Ppo, VALUE_MODEL, values),
            ("ppo.preset = 'verl'", not_finite(two, "a value"), Stage::Ppo, VALUE_MODEL, values),
            (
                "ppo.preset = 'openrlhf'",
                of_ppo("a weight of `critic.trunk.norm.weight`"),
                Stage::Ppo,
                VALUE_MODEL,
                values,
            ),
            ("ppo.preset = 'verl'", silent(Phase::Iteration(2)), Stage::Ppo, POLICY, policy),
        ] {
            let setting = named(error, stage, &resolve(text)).unwrap();
            assert_eq!(setting, expected, "{text}");
            // It is a setting, and that of the optimiser in question.
            let set: toml::Table = format!("{setting} = 0.0625").parse().unwrap();
            let layers =
                [("my.toml".to_owned(), text.parse().unwrap()), ("command line".to_owned(), set)];
            let settings = Settings::resolve(&layers).unwrap();
            assert_eq!(rate(&settings).to_bits(), 0.0625_f64.to_bits(), "{setting}");
        }
    }

    #[test]
    fn a_kl_that_went_astray_has_a_setting_too() {
        let settings = Settings::embedded();
        let limit = KlLimit::PerSequence { nats: 20.0 };
        let exploded = ppo::Error::KlExploded { iteration: 3, kl: 21.0, limit };
        assert_eq!(named(Error::Ppo(exploded), Stage::Ppo, &settings).unwrap(), POLICY);
        let negative = ppo::Error::KlNegative { iteration: 3, kl: -21.0, limit, engine_gap: 0.0 };
        let setting = named(Error::Ppo(negative), Stage::Ppo, &settings).unwrap();
        assert_eq!(setting, "ppo.prompts_per_iteration");
        resolve(&format!("{setting} = 64"));
    }

    #[test]
    fn the_first_pass_has_a_name_of_its_own() {
        let [first, second] = [Error::Pretraining, Error::PreferenceModel]
            .map(|pass| pass(diverged("loss").into()).to_string());
        assert!(
            first.starts_with("`preference_model.pretraining`: loss is NaN at step 3"),
            "{first}"
        );
        assert!(second.starts_with("loss is NaN at step 3"), "{second}");
    }

    #[test]
    fn an_error_that_other_settings_do_not_help_stays() {
        let settings = Settings::embedded();
        for error in [
            Error::Ppo(ppo::Error::NoPrompts),
            // Nothing had learned.
            not_finite(Phase::Start, "a logit"),
            not_finite(Phase::Iteration(1), "a logit"),
            silent(Phase::Iteration(1)),
        ] {
            assert_eq!(named(error, Stage::Ppo, &settings), None);
        }
        let damaged = not_finite(Phase::Iteration(1), "a value");
        assert_eq!(named(damaged, Stage::Ppo, &resolve(START)), None);
    }
}
