//! Which settings make sense.

use super::{BestOfN, KlPlace, PpoConfig, Preset};
use crate::{Advantage, Error, KlEstimator, Over};
use sft::SftConfig;
use training::Schedule;

/// The most replies that are drawn in a round, and the most that all its epochs learn from: far beyond any use, and short of
/// what no memory holds.
const MOST_REPLIES: usize = 1_000_000;
const MOST_LEARNED: usize = 100_000_000;

impl PpoConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`training::Error::Setting`], or within the table of an optimiser or the schedule [`training::Error::TableSetting`], names
    /// the first setting out of range.
    pub fn validate(&self) -> Result<(), Error> {
        self.validate_drawing()?;
        self.validate_rewards()?;
        self.validate_learning()?;
        self.validate_use()
    }

    fn validate_drawing(&self) -> Result<(), Error> {
        for (setting, count) in [
            ("iterations", self.iterations),
            ("prompts_per_iteration", self.prompts_per_iteration),
            ("samples_per_prompt", self.samples_per_prompt),
            ("max_tokens", self.max_tokens),
            ("epochs", self.epochs),
            ("tokens_per_micro_batch", self.tokens_per_micro_batch),
            ("samples_every", self.samples_every),
        ] {
            check(setting, count, count >= 1, "a whole number of at least 1")?;
        }
        self.validate_amounts()?;
        check(
            "minibatches",
            self.minibatches,
            (1..=self.replies_per_iteration()).contains(&self.minibatches),
            "a whole number from 1 to prompts_per_iteration x samples_per_prompt",
        )?;
        if self.advantage != Advantage::Gae {
            let expected =
                "a whole number of at least 2, since `advantage` compares replies to a prompt";
            check(
                "samples_per_prompt",
                self.samples_per_prompt,
                self.samples_per_prompt >= 2,
                expected,
            )?;
        }
        positive("temperature", self.temperature)?;
        let Some(BestOfN { samples, prompts, sft }) = &self.best_of_n_start else { return Ok(()) };
        let at_once = self.prompts_per_iteration.saturating_mul(*samples);
        let in_range = *samples >= 2 && at_once <= MOST_REPLIES;
        let expected = "a whole number of at least 2, and at most 1,000,000 replies to `prompts_per_iteration` prompts";
        check("best_of_n_start.samples", samples, in_range, expected)?;
        check("best_of_n_start.prompts", prompts, *prompts >= 1, "a whole number of at least 1")?;
        let expected = "0, since of a single prompt none can be held out: set it to 0, or `best_of_n_start.prompts` to at \
                        least 2";
        let can_be_held_out = *prompts >= 2 || sft.held_out == 0.0;
        check("best_of_n_start.sft.held_out", sft.held_out, can_be_held_out, expected)?;
        // A state keeps whole weights of the reference, and `lora` drops the adapter that it finds.
        let expected = "none, since the adapter would be lost: leave it out to fine-tune all weights; or fine-tune with an \
                        adapter beforehand, merge it and begin with the result";
        check("best_of_n_start.sft.lora", "set", sft.lora.is_none(), expected)?;
        let expected =
            "none, since the best replies are the only source: set `best_of_n_start.sft.epochs`";
        check("best_of_n_start.sft.weights", "set", sft.weights.is_empty(), expected)?;
        let expected = "the default, since every prompt leaves room for the longest reply: nothing is longer than the \
                        context";
        let is_unset = sft.overlong == SftConfig::default().overlong;
        check("best_of_n_start.sft.overlong", "set", is_unset, expected)?;
        Ok(sft.validate()?)
    }

    /// Refuses counts by which a round would not fit any memory.
    fn validate_amounts(&self) -> Result<(), Error> {
        let (prompts, replies) = (self.prompts_per_iteration, self.replies_per_iteration());
        let expected = "a whole number from 1 to 1,000,000";
        check("prompts_per_iteration", prompts, prompts <= MOST_REPLIES, expected)?;
        let expected =
            "a whole number of at least 1 that makes no more than 1,000,000 replies a round";
        check("samples_per_prompt", self.samples_per_prompt, replies <= MOST_REPLIES, expected)?;
        let learned = self.epochs.saturating_mul(replies);
        let expected = "a whole number of at least 1, and no more than 100,000,000 replies in all epochs of a round";
        check("epochs", self.epochs, learned <= MOST_LEARNED, expected)
    }

    fn validate_rewards(&self) -> Result<(), Error> {
        for (setting, number) in [
            ("kl_coefficient", self.kl_coefficient),
            ("missing_end_penalty", self.missing_end_penalty),
        ] {
            not_negative(setting, number)?;
        }
        for (setting, number) in [("gamma", self.gamma), ("lambda", self.lambda)] {
            check(setting, number, (0.0..=1.0).contains(&number), "a number from 0 to 1")?;
        }
        for (setting, number) in [
            ("kl_clamp", self.kl_clamp),
            ("score_clip", self.score_clip),
            ("max_kl_per_sequence", Some(self.max_kl_per_sequence)),
            ("max_kl_per_token", Some(self.max_kl_per_token)),
        ] {
            number.map_or(Ok(()), |number| positive(setting, number))?;
        }
        if let Some(target) = self.kl_target {
            let nats = target.nats();
            check("kl_target", nats, nats.is_finite() && nats > 0.0, "a number of nats above 0")?;
            let expected = "a number above 0, since `kl_target` moves it by factors";
            check("kl_coefficient", self.kl_coefficient, self.kl_coefficient > 0.0, expected)?;
        }
        let expected = "\"round\" or \"nothing\": rewards become advantages before a round is cut into minibatches";
        let by_minibatch = self.whiten_rewards.over == Over::Minibatch;
        check("whiten_rewards.over", "minibatch", !by_minibatch, expected)?;
        let horizon = self.kl_horizon;
        check("kl_horizon", horizon, horizon.is_finite() && horizon > 0.0, "a number above 0")?;
        // The coefficient falls by up to a fifth in so many replies: in five times as many it would be gone, and with more
        // leaving the reference would pay.
        let expected = "a number above a fifth of the replies of a round, or the coefficient could fall below 0";
        let short = horizon <= 0.2 * self.replies_per_iteration() as f64;
        check("kl_horizon", horizon, self.kl_target.is_none() || !short, expected)?;
        let expected = "\"k2\" or \"k3\": in the loss the gradient of \"k1\" has expectation 0";
        let useless = self.kl_place == KlPlace::Loss && self.kl_estimator == KlEstimator::K1;
        check("kl_estimator", "k1", !useless, expected)
    }

    fn validate_learning(&self) -> Result<(), Error> {
        self.optimizer.validate().map_err(|error| error.in_table("optimizer"))?;
        if let Some(own) = &self.value_optimizer {
            own.validate().map_err(|error| error.in_table("value_optimizer"))?;
        }
        self.schedule.validate().map_err(|error| error.in_table("schedule"))?;
        for (setting, number) in [
            ("value_coefficient", self.value_coefficient),
            ("entropy_coefficient", self.entropy_coefficient),
            ("ptx_coefficient", self.ptx_coefficient),
        ] {
            not_negative(setting, number)?;
        }
        let below_one = self.clip_low > 0.0 && self.clip_low < 1.0;
        check("clip_low", self.clip_low, below_one, "a number above 0 and below 1")?;
        for (setting, number) in [
            ("clip_high", Some(self.clip_high)),
            ("value_clip", Some(self.value_clip)),
            ("rollout_correction", self.rollout_correction),
        ] {
            number.map_or(Ok(()), |number| positive(setting, number))?;
        }
        self.dual_clip.map_or(Ok(()), |number| {
            check("dual_clip", number, number.is_finite() && number > 1.0, "a number above 1")
        })
    }

    /// Refuses what has been set to no effect. What a preset says may stay beside what makes nothing of it: whoever
    /// changes its `advantage` alone has not set the rest.
    fn validate_use(&self) -> Result<(), Error> {
        const NO_VALUES: &str =
            "the default, since `advantage` takes no values here, or `advantage = \"gae\"`";
        const NO_KL: &str = "the default, or a `kl_coefficient` above 0";
        type Number = fn(&PpoConfig) -> f64;
        let mut unset = vec![Self::default()];
        unset.extend(Preset::ALL.map(Self::preset));
        let has_target = self.kl_target.is_some();
        let schedules: Vec<Schedule> = unset.iter().map(|config| config.schedule).collect();
        self.schedule.validate_use(&schedules)?;
        let numbers: [(&str, bool, Number, &str); 4] = [
            ("kl_horizon", has_target, |c| c.kl_horizon, "the default, or a `kl_target` beside it"),
            ("lambda", self.has_values(), |c| c.lambda.into(), NO_VALUES),
            ("value_clip", self.has_values(), |c| c.value_clip.into(), NO_VALUES),
            ("value_coefficient", self.has_values(), |c| c.value_coefficient.into(), NO_VALUES),
        ];
        for (setting, used, number, expected) in numbers {
            let found = number(self);
            let is_unset = unset.iter().any(|config| number(config).to_bits() == found.to_bits());
            // As it was written: with the digits of single precision.
            #[expect(clippy::cast_possible_truncation, reason = "for people to read")]
            let found = found as f32;
            check(setting, found, used || is_unset, expected)?;
        }
        // A `kl_target` moves a coefficient above 0 alone.
        let costs = self.kl_coefficient > 0.0;
        let is_unset = unset.iter().any(|config| config.kl_clamp == self.kl_clamp);
        let clamp = self.kl_clamp.unwrap_or_default();
        check("kl_clamp", clamp, costs || is_unset, NO_KL)?;
        let is_unset = unset.iter().any(|config| config.kl_place == self.kl_place);
        check("kl_place", "set", costs || is_unset, NO_KL)?;
        let is_unset = unset.iter().any(|config| config.kl_estimator == self.kl_estimator);
        check("kl_estimator", "set", costs || is_unset, NO_KL)?;
        let is_unset = unset.iter().any(|config| config.value_optimizer == self.value_optimizer);
        let expected = "none: only a separate value model has an optimiser of its own, that is with \
                        `value_model = \"separate\"` and `advantage = \"gae\"`";
        check("value_optimizer", "set", self.has_separate_values() || is_unset, expected)
    }
}

fn positive(setting: &'static str, number: f32) -> Result<(), Error> {
    check(setting, number, number.is_finite() && number > 0.0, "a number above 0")
}

fn not_negative(setting: &'static str, number: f32) -> Result<(), Error> {
    check(setting, number, number.is_finite() && number >= 0.0, "a number of at least 0")
}

fn check(
    setting: &'static str,
    found: impl ToString,
    in_range: bool,
    expected: &'static str,
) -> Result<(), Error> {
    if in_range {
        return Ok(());
    }
    Err(training::Error::Setting { setting, found: found.to_string(), expected }.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KlTarget;
    use crate::config::ValueModel;
    use training::{OptimizerConfig, Overlong};
    use transformer::LoraConfig;

    type Break = fn(&mut PpoConfig);

    #[track_caller]
    fn refused(cases: &[(&str, Break)]) {
        for (name, spoil) in cases {
            let mut config = PpoConfig::default();
            spoil(&mut config);
            let message = config.validate().unwrap_err().to_string();
            assert!(message.starts_with(&format!("`{name}` is ")), "{message}");
        }
    }

    #[test]
    fn names_the_setting_out_of_range() {
        let cases: [(&str, Break); 45] = [
            ("iterations", |c| c.iterations = 0),
            ("prompts_per_iteration", |c| c.prompts_per_iteration = 0),
            ("samples_per_prompt", |c| c.samples_per_prompt = 0),
            ("samples_per_prompt", |c| {
                c.samples_per_prompt = 1;
                c.advantage = Advantage::Rloo;
            }),
            ("max_tokens", |c| c.max_tokens = 0),
            ("temperature", |c| c.temperature = 0.0),
            ("best_of_n_start.samples", |c| {
                c.best_of_n_start = Some(BestOfN { samples: 1, ..BestOfN::default() });
            }),
            ("best_of_n_start.sft.held_out", |c| {
                let sft = SftConfig { held_out: 0.5, ..SftConfig::default() };
                c.best_of_n_start = Some(BestOfN { prompts: 1, sft, ..BestOfN::default() });
            }),
            ("best_of_n_start.sft.lora", |c| {
                let sft = SftConfig { lora: Some(LoraConfig::default()), ..SftConfig::default() };
                c.best_of_n_start = Some(BestOfN { sft, ..BestOfN::default() });
            }),
            ("best_of_n_start.sft.weights", |c| {
                let weights = [("helpful".to_owned(), 0.5)].into();
                let sft = SftConfig { weights, ..SftConfig::default() };
                c.best_of_n_start = Some(BestOfN { sft, ..BestOfN::default() });
            }),
            ("best_of_n_start.sft.overlong", |c| {
                let sft = SftConfig { overlong: Overlong::OldestTurns, ..SftConfig::default() };
                c.best_of_n_start = Some(BestOfN { sft, ..BestOfN::default() });
            }),
            ("epochs", |c| c.epochs = 0),
            ("minibatches", |c| c.minibatches = 0),
            ("minibatches", |c| c.minibatches = 65),
            ("tokens_per_micro_batch", |c| c.tokens_per_micro_batch = 0),
            ("samples_every", |c| c.samples_every = 0),
            ("optimizer.learning_rate", |c| c.optimizer.learning_rate = -1.0),
            ("value_optimizer.learning_rate", |c| {
                c.value_model = ValueModel::Separate;
                c.value_optimizer = Some(OptimizerConfig::default().with_learning_rate(-1.0));
            }),
            ("schedule.floor", |c| c.schedule.floor = 2.0),
            ("kl_coefficient", |c| c.kl_coefficient = -0.1),
            ("kl_clamp", |c| c.kl_clamp = Some(0.0)),
            ("kl_target", |c| c.kl_target = Some(KlTarget::NatsPerToken(f64::NAN))),
            ("kl_coefficient", |c| {
                c.kl_target = Some(KlTarget::NatsPerSequence(6.0));
                c.kl_coefficient = 0.0;
            }),
            ("kl_horizon", |c| c.kl_horizon = 0.0),
            ("kl_horizon", |c| c.kl_horizon = 500.0),
            ("kl_horizon", |c| {
                c.kl_target = Some(KlTarget::NatsPerSequence(6.0));
                c.kl_horizon = 0.2 * c.replies_per_iteration() as f64;
            }),
            ("kl_estimator", |c| c.kl_place = KlPlace::Loss),
            ("score_clip", |c| c.score_clip = Some(-1.0)),
            ("missing_end_penalty", |c| c.missing_end_penalty = f32::NAN),
            ("whiten_rewards.over", |c| c.whiten_rewards.over = Over::Minibatch),
            ("gamma", |c| c.gamma = 1.01),
            ("lambda", |c| c.lambda = f32::NAN),
            ("clip_low", |c| c.clip_low = 1.0),
            ("clip_high", |c| c.clip_high = 0.0),
            ("dual_clip", |c| c.dual_clip = Some(1.0)),
            ("rollout_correction", |c| c.rollout_correction = Some(0.0)),
            ("value_clip", |c| c.value_clip = 0.0),
            ("value_coefficient", |c| c.value_coefficient = f32::INFINITY),
            ("lambda", |c| {
                c.advantage = Advantage::Rloo;
                c.lambda = 0.5;
            }),
            ("value_clip", |c| {
                c.advantage = Advantage::Rloo;
                c.value_clip = 0.3;
            }),
            ("value_coefficient", |c| {
                c.advantage = Advantage::GroupCentred;
                c.value_coefficient = 0.3;
            }),
            ("value_optimizer", |c| c.value_optimizer = Some(OptimizerConfig::default())),
            ("entropy_coefficient", |c| c.entropy_coefficient = -1.0),
            ("max_kl_per_sequence", |c| c.max_kl_per_sequence = -2.0),
            ("max_kl_per_token", |c| c.max_kl_per_token = 0.0),
        ];
        PpoConfig::default().validate().unwrap();
        refused(&cases);
    }

    #[test]
    fn names_the_table_within_the_fine_tuning_before_the_first_round() {
        let optimizer = OptimizerConfig { beta_2: 1.5, ..OptimizerConfig::default() };
        let sft = SftConfig { optimizer, ..SftConfig::default() };
        let best_of_n_start = Some(BestOfN { sft, ..BestOfN::default() });
        let config = PpoConfig { best_of_n_start, ..PpoConfig::default() };
        let message = config.validate().unwrap_err().to_string();
        let expected = "`best_of_n_start.sft`: `optimizer.beta_2` is 1.5, expected ";
        assert!(message.starts_with(expected), "{message}");
    }

    #[test]
    fn names_counts_beyond_any_memory() {
        let cases: [(&str, Break); 6] = [
            ("prompts_per_iteration", |c| c.prompts_per_iteration = 1_000_000_000),
            ("prompts_per_iteration", |c| c.prompts_per_iteration = usize::MAX / 4),
            ("samples_per_prompt", |c| c.samples_per_prompt = usize::MAX / 4),
            ("samples_per_prompt", |c| {
                c.prompts_per_iteration = 1001;
                c.samples_per_prompt = 1000;
            }),
            ("epochs", |c| c.epochs = 100_000_000),
            ("best_of_n_start.samples", |c| {
                c.best_of_n_start = Some(BestOfN { samples: usize::MAX, ..BestOfN::default() });
            }),
        ];
        refused(&cases);
        let large = PpoConfig {
            prompts_per_iteration: 10_000,
            samples_per_prompt: 100,
            epochs: 10,
            ..PpoConfig::default()
        };
        large.validate().unwrap();
    }

    #[test]
    fn names_what_is_set_to_no_effect() {
        let cases: [(&str, Break); 4] = [
            ("schedule.floor", |c| c.schedule.floor = 0.7),
            ("kl_clamp", |c| {
                c.kl_coefficient = 0.0;
                c.kl_clamp = Some(5.0);
            }),
            ("kl_place", |c| {
                c.kl_coefficient = 0.0;
                c.kl_place = KlPlace::Loss;
                c.kl_estimator = KlEstimator::K2;
            }),
            ("kl_estimator", |c| {
                c.kl_coefficient = 0.0;
                c.kl_estimator = KlEstimator::K3;
            }),
        ];
        refused(&cases);
        // A KL that costs nothing is no mistake by itself.
        PpoConfig { kl_coefficient: 0.0, ..PpoConfig::default() }.validate().unwrap();
    }

    #[test]
    fn presets_are_valid_and_what_is_left_of_them_too() {
        type Change = fn(&mut PpoConfig);
        let changes: [Change; 5] = [
            |_| {},
            |c| c.advantage = Advantage::Rloo,
            |c| c.advantage = Advantage::GroupNormalised,
            |c| c.value_model = ValueModel::Shared,
            |c| c.value_model = ValueModel::Detached,
        ];
        for preset in Preset::ALL {
            for change in changes {
                let mut config = PpoConfig::preset(preset);
                change(&mut config);
                config.validate().unwrap();
            }
        }
    }

    #[test]
    fn what_a_value_model_needs_is_taken_where_there_is_one() {
        let config = PpoConfig {
            value_model: ValueModel::Separate,
            value_optimizer: Some(OptimizerConfig::default()),
            value_clip: 0.3,
            value_coefficient: 0.3,
            lambda: 0.5,
            ..PpoConfig::default()
        };
        config.validate().unwrap();
        let grouped = PpoConfig { advantage: Advantage::Rloo, ..config };
        assert!(grouped.validate().is_err());
    }
}
