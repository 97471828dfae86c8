//! What to do about a stage that cannot end with its settings.

use super::{Error, Stage};
use std::path::Path;

impl Error {
    /// Says how a stage begins anew in the folder of its run, if it is its settings that it failed by.
    pub(super) fn with_the_way_on(self, stage: Stage, run: &Path) -> Self {
        if self.asks_for_other_settings() {
            Self::Anew { stage, folder: run.join(stage.name()), source: Box::new(self) }
        } else {
            self
        }
    }

    fn asks_for_other_settings(&self) -> bool {
        match self {
            Self::Sft(sft::Error::Training(error))
            | Self::PreferenceModel(preference_model::Error::Training(error))
            | Self::Ppo(
                ppo::Error::Training(error) | ppo::Error::BestOfN(sft::Error::Training(error)),
            ) => matches!(error, training::Error::Diverged { .. }),
            Self::Ppo(error) => matches!(
                error,
                ppo::Error::NotFinite { .. }
                    | ppo::Error::EmptyReplies { .. }
                    | ppo::Error::KlExploded { .. }
                    | ppo::Error::KlNegative { .. }
            ),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_that_diverged_is_told_how_to_begin_anew() {
        let diverged = || training::Error::Diverged {
            stage: "sft".to_owned(),
            step: 3,
            name: "loss".to_owned(),
            value: f64::NAN,
        };
        let silent = ppo::Error::EmptyReplies { phase: ppo::Phase::Iteration(2), replies: 4 };
        for (error, stage, begins) in [
            (Error::Sft(diverged().into()), Stage::Sft, "loss is NaN at step 3"),
            (Error::Ppo(sft::Error::from(diverged()).into()), Stage::Ppo, "`best_of_n_start.sft`"),
            (Error::Ppo(silent), Stage::Ppo, "all 4 replies"),
        ] {
            let message = error.with_the_way_on(stage, Path::new("runs/mine")).to_string();
            let folder = format!("runs/mine/{stage}");
            assert!(message.starts_with(begins), "{message}");
            for part in [folder, format!("--set {stage}.")] {
                assert!(message.contains(&part), "`{part}` is missing in: {message}");
            }
        }
    }

    #[test]
    fn an_error_that_other_settings_do_not_help_stays() {
        let error = Error::Ppo(ppo::Error::NoPrompts);
        let expected = error.to_string();
        let message = error.with_the_way_on(Stage::Ppo, Path::new("runs/mine")).to_string();
        assert_eq!(message, expected);
    }
}
