//! How the learning rate moves during training.

use crate::Error;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// The shape of the fall after the warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decay {
    /// No fall.
    #[default]
    Constant,
    /// A straight line.
    Linear,
    /// Half a period of a cosine (arXiv 1608.03983, equation 5, without restarts).
    Cosine,
}

/// How long the rate rises at the start.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WarmUp {
    /// A number of steps.
    Steps(u64),
    /// A share of all steps, rounded to the nearest step.
    Share(f64),
}

/// A learning-rate schedule: a straight warm-up, then a fall to `floor`.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `decay` | `"constant"` | `"constant"`, `"linear"` or `"cosine"` |
/// | `warm_up` | `{ steps = 0 }` | `{ steps = N }` or `{ share = S }`, S in \[0, 1\] of all steps |
/// | `floor` | 0.0 | share of the highest rate that the fall ends in, in \[0, 1\]; of no use to `"constant"`, see [`Schedule::validate_use`] |
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Schedule {
    /// The shape of the fall.
    pub decay: Decay,
    /// The length of the rise.
    pub warm_up: WarmUp,
    /// Share of the highest rate at the end of the fall.
    pub floor: f64,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { decay: Decay::Constant, warm_up: WarmUp::Steps(0), floor: 0.0 }
    }
}

impl Schedule {
    /// The full rate at every step.
    pub fn constant() -> Self {
        Self::default()
    }

    /// A straight fall to zero.
    pub fn linear() -> Self {
        Self { decay: Decay::Linear, ..Self::default() }
    }

    /// A cosine fall to zero.
    pub fn cosine() -> Self {
        Self { decay: Decay::Cosine, ..Self::default() }
    }

    /// The same with another warm-up.
    #[must_use]
    pub fn with_warm_up(self, warm_up: WarmUp) -> Self {
        Self { warm_up, ..self }
    }

    /// The same with another floor.
    #[must_use]
    pub fn with_floor(self, floor: f64) -> Self {
        Self { floor, ..self }
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Setting`] names the first setting out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let share = |setting, value: f64| {
            if (0.0..=1.0).contains(&value) {
                return Ok(());
            }
            let expected = "a number from 0 to 1";
            Err(Error::Setting { setting, found: value.to_string(), expected })
        };
        if let WarmUp::Share(value) = self.warm_up {
            share("warm_up.share", value)?;
        }
        share("floor", self.floor)
    }

    /// Refuses a floor beside a rate that does not fall, which would do nothing. Those of `defaults` may stay: whoever
    /// changes `decay` alone has not set it.
    ///
    /// # Errors
    /// [`Error::Setting`] names the floor.
    pub fn validate_use(&self, defaults: &[Self]) -> Result<(), Error> {
        let is_default =
            defaults.iter().any(|default| default.floor.total_cmp(&self.floor).is_eq());
        if self.decay != Decay::Constant || self.floor == 0.0 || is_default {
            return Ok(());
        }
        let (setting, found) = ("schedule.floor", self.floor.to_string());
        let expected = "the default, since with `schedule.decay = \"constant\"` no rate falls to it, or another decay";
        Err(Error::Setting { setting, found, expected })
    }

    /// The factor in \[0, 1\] on the highest learning rate at `step`, counted from 0, of `steps`.
    ///
    /// With `w` steps of warm-up and `p = (step - w) / (steps - w)`:
    ///
    /// ```text
    /// step < w    (step + 1) / w
    /// constant    1
    /// linear      floor + (1 - floor) (1 - p)
    /// cosine      floor + (1 - floor) (1 + cos(pi p)) / 2
    /// ```
    ///
    /// The first step is never taken at rate 0. Past the end the rate stays where the fall ends.
    pub fn rate(&self, step: u64, steps: u64) -> f64 {
        let warm_up = self.warm_up_steps(steps);
        if step < warm_up {
            return (step + 1) as f64 / warm_up as f64;
        }
        let progress =
            if step >= steps { 1.0 } else { (step - warm_up) as f64 / (steps - warm_up) as f64 };
        let height = match self.decay {
            Decay::Constant => return 1.0,
            Decay::Linear => 1.0 - progress,
            Decay::Cosine => f64::midpoint(1.0, (PI * progress).cos()),
        };
        self.floor + (1.0 - self.floor) * height
    }

    /// The length of the warm-up in steps.
    fn warm_up_steps(&self, steps: u64) -> u64 {
        match self.warm_up {
            WarmUp::Steps(warm_up) => warm_up,
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "the share lies in [0, 1], and a cast from f64 saturates"
            )]
            WarmUp::Share(share) => (share * steps as f64).round() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array1;
    use proptest::prelude::*;

    fn rates(schedule: Schedule, steps: u64) -> Vec<f64> {
        (0..steps).map(|step| schedule.rate(step, steps)).collect()
    }

    fn assert_close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
        }
    }

    #[test]
    fn constant_with_warm_up() {
        let schedule = Schedule::constant().with_warm_up(WarmUp::Steps(4));
        assert_close(&rates(schedule, 6), &[0.25, 0.5, 0.75, 1.0, 1.0, 1.0]);
        assert_close(&rates(Schedule::default(), 3), &[1.0, 1.0, 1.0]);
    }

    #[test]
    fn linear_with_a_share_of_warm_up_and_a_floor() {
        let schedule = Schedule::linear().with_warm_up(WarmUp::Share(0.2)).with_floor(0.2);
        // Two steps up, then eight down from 1 towards 0.2, 0.1 a step.
        let expected = [0.5, 1.0, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3];
        assert_close(&rates(schedule, 10), &expected);
        assert_close(&[schedule.rate(10, 10), schedule.rate(99, 10)], &[0.2, 0.2]);
    }

    #[test]
    fn cosine_passes_known_points() {
        // cos 0, 60, 90 and 120 degrees: 1, 1/2, 0, -1/2.
        let schedule = Schedule::cosine();
        let at = |step| schedule.rate(step, 6);
        assert_close(&[at(0), at(2), at(3), at(4), at(6)], &[1.0, 0.75, 0.5, 0.25, 0.0]);
        let floored = schedule.with_floor(0.5);
        assert_close(&[floored.rate(3, 6), floored.rate(6, 6)], &[0.75, 0.5]);
    }

    #[test]
    fn a_warm_up_longer_than_training_only_rises() {
        let schedule = Schedule::cosine().with_warm_up(WarmUp::Steps(10));
        assert_close(&rates(schedule, 3), &[0.1, 0.2, 0.3]);
        assert!(Schedule::linear().rate(0, 0).abs() < 1e-12);
    }

    #[test]
    fn reads_what_it_writes_and_refuses_the_unknown() {
        let json = r#"{"decay":"cosine","warm_up":{"share":0.03},"floor":0.1}"#;
        let schedule: Schedule = serde_json::from_str(json).unwrap();
        assert_eq!(schedule, Schedule::cosine().with_warm_up(WarmUp::Share(0.03)).with_floor(0.1));
        assert_eq!(serde_json::to_string(&schedule).unwrap(), json);
        assert_eq!(serde_json::from_str::<Schedule>("{}").unwrap(), Schedule::default());
        assert!(serde_json::from_str::<Schedule>(r#"{"warmup":3}"#).is_err());
    }

    #[test]
    fn names_the_setting_out_of_range() {
        let cases = [
            ("floor", Schedule::linear().with_floor(1.5)),
            ("floor", Schedule::linear().with_floor(f64::NAN)),
            ("warm_up.share", Schedule::linear().with_warm_up(WarmUp::Share(-0.1))),
        ];
        for (name, schedule) in cases {
            let message = schedule.validate().unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
        }
        Schedule::cosine().with_warm_up(WarmUp::Share(1.0)).with_floor(1.0).validate().unwrap();
    }

    #[test]
    fn a_floor_that_nothing_falls_to_is_refused_unless_it_is_a_default() {
        let default = Schedule::linear().with_floor(0.1);
        let message = Schedule::constant().with_floor(0.2).validate_use(&[default]).unwrap_err();
        assert!(message.to_string().starts_with("`schedule.floor` is 0.2, "), "{message}");
        for used in [
            Schedule::constant(),
            Schedule::constant().with_floor(0.1),
            Schedule::linear().with_floor(0.2),
            Schedule::cosine().with_floor(0.2),
        ] {
            used.validate_use(&[default]).unwrap();
        }
    }

    proptest! {
        #[test]
        fn rises_then_falls_between_floor_and_one(
            decay in prop::sample::select(vec![Decay::Constant, Decay::Linear, Decay::Cosine]),
            warm_up in 0_u64..40,
            steps in 1_u64..200,
            floor in 0.0..=1.0_f64,
        ) {
            let schedule = Schedule { decay, warm_up: WarmUp::Steps(warm_up), floor };
            let rates = rates(schedule, steps);
            let lowest = if warm_up == 0 { floor } else { 0.0 };
            prop_assert!(rates.iter().all(|rate| (lowest - 1e-12..=1.0 + 1e-12).contains(rate)));
            for (step, pair) in (0..).zip(rates.windows(2)) {
                if step + 1 < warm_up {
                    prop_assert!(pair[1] > pair[0]);
                } else {
                    prop_assert!(pair[1] <= pair[0] + 1e-12);
                }
            }
        }

        /// From the first step to the one after the last, where the fall has ended.
        #[test]
        fn agrees_with_evenly_spaced_numbers(
            decay in prop::sample::select(vec![Decay::Constant, Decay::Linear, Decay::Cosine]),
            warm_up in 0_usize..40,
            falling in 1_usize..200,
            floor in 0.0..=1.0_f64,
        ) {
            let steps = (warm_up + falling) as u64;
            let schedule = Schedule { decay, warm_up: WarmUp::Steps(warm_up as u64), floor };
            let rise = Array1::linspace(0.0, 1.0, warm_up + 1);
            let fall = match decay {
                Decay::Constant => Array1::ones(falling + 1),
                Decay::Linear => Array1::linspace(1.0, floor, falling + 1),
                // (1 + cos 2a) / 2 = cos^2 a.
                Decay::Cosine => {
                    let angles = Array1::linspace(0.0, PI / 2.0, falling + 1);
                    angles.cos().powi(2) * (1.0 - floor) + floor
                }
            };
            let expected: Vec<f64> = rise.iter().skip(1).chain(&fall).copied().collect();
            let found: Vec<f64> = (0..=steps).map(|step| schedule.rate(step, steps)).collect();
            assert_close(&found, &expected);
        }

        #[test]
        fn a_share_of_the_steps_is_so_many_steps(
            warm_up in 0_u64..100,
            more in 0_u64..100,
            step in 0_u64..220,
        ) {
            let steps = warm_up + more + 1;
            let by_share = WarmUp::Share(warm_up as f64 / steps as f64);
            let [one, other] = [by_share, WarmUp::Steps(warm_up)]
                .map(|warm_up| Schedule::cosine().with_warm_up(warm_up).rate(step, steps));
            prop_assert!((one - other).abs() < 1e-12, "{one} {other}");
        }
    }
}
