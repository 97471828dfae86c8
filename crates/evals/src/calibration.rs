//! How far probabilities can be taken at their word.

use crate::{Error, Rate};
use serde::{Deserialize, Serialize};
use std::ops::AddAssign;

/// Bins of equal width that [`reliability`] divides the probabilities into.
pub const BINS: usize = 10;

/// Nearest that [`log_loss`] lets a probability come to 0 or 1.
const NEAREST: f64 = 1e-12;

/// The probability given to an event, and whether it happened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Forecast {
    probability: f64,
    outcome: f64,
}

impl Forecast {
    /// A forecast and its outcome: 1 if the event happened, 0 if not, between them for a soft label.
    ///
    /// # Errors
    /// [`Error::Number`] if one of them is not from 0 to 1.
    pub fn new(probability: f64, outcome: f64) -> Result<Self, Error> {
        for (name, found) in [("probability", probability), ("outcome", outcome)] {
            if !(0.0..=1.0).contains(&found) {
                return Err(Error::Number { name, found, expected: "a number from 0 to 1" });
            }
        }
        Ok(Self { probability, outcome })
    }

    fn log_loss(self) -> f64 {
        let Self { probability, outcome } = self;
        let probability = probability.clamp(NEAREST, 1.0 - NEAREST);
        -(outcome * probability.ln() + (1.0 - outcome) * (1.0 - probability).ln())
    }

    fn brier(self) -> f64 {
        (self.probability - self.outcome).powi(2)
    }

    /// 1 if probability and outcome are on the same side of one half, half of it if one of them is on none.
    fn right(self) -> f64 {
        match (self.probability.total_cmp(&0.5), self.outcome.total_cmp(&0.5)) {
            (predicted, found) if predicted.is_eq() || found.is_eq() => 0.5,
            (predicted, found) if predicted == found => 1.0,
            _ => 0.0,
        }
    }
}

/// The forecasts whose probability lies in \[`low`, `high`), or up to 1 in the last bin.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Lower edge.
    pub low: f64,
    /// Upper edge.
    pub high: f64,
    /// Number of forecasts.
    pub count: usize,
    /// Mean probability.
    pub predicted: f64,
    /// Mean outcome.
    pub outcome: f64,
}

/// The bins of a reliability diagram that hold a forecast, from low to high.
///
/// # References
/// Guo et al. (2017), arXiv 1706.04599, section 2, with the probability of the event in place of the confidence.
pub fn reliability(forecasts: &[Forecast]) -> Vec<Bin> {
    let tally: CalibrationTally = forecasts.iter().copied().collect();
    tally.bins()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a probability lies in [0, 1]"
)]
fn bin_of(probability: f64) -> usize {
    ((probability * BINS as f64) as usize).min(BINS - 1)
}

/// The mean gap between probability and outcome of [`reliability`] bins, weighted by their counts.
///
/// ```text
/// ECE = Σ_b (n_b / n) |outcome_b - predicted_b|
/// ```
///
/// None without forecasts.
///
/// # References
/// Guo et al. (2017), arXiv 1706.04599, equation 3.
pub fn expected_calibration_error(bins: &[Bin]) -> Option<f64> {
    let count: usize = bins.iter().map(|bin| bin.count).sum();
    let gaps: f64 =
        bins.iter().map(|bin| bin.count as f64 * (bin.outcome - bin.predicted).abs()).sum();
    (count > 0).then(|| gaps / count as f64)
}

/// The mean cross-entropy in nats, with `p` the probability and `o` the outcome; none without forecasts.
///
/// ```text
/// -mean(o ln p + (1 - o) ln(1 - p))
/// ```
///
/// Probabilities are kept 1e-12 away from 0 and 1, so that one certain mistake does not make it infinite.
pub fn log_loss(forecasts: &[Forecast]) -> Option<f64> {
    mean(forecasts, Forecast::log_loss)
}

/// The mean square of probability less outcome; none without forecasts.
///
/// # References
/// Brier (1950), "Verification of forecasts expressed in terms of probability"; half of its sum over both classes.
pub fn brier(forecasts: &[Forecast]) -> Option<f64> {
    mean(forecasts, Forecast::brier)
}

/// The share of forecasts on the same side of one half as the outcome; none without forecasts.
///
/// Where either is exactly one half, the forecast counts as half right.
pub fn accuracy(forecasts: &[Forecast]) -> Option<Rate> {
    let right: f64 = forecasts.iter().copied().map(Forecast::right).sum();
    Rate::new(right, forecasts.len())
}

fn mean(forecasts: &[Forecast], of: impl Fn(Forecast) -> f64) -> Option<f64> {
    let sum: f64 = forecasts.iter().map(|&forecast| of(forecast)).sum();
    (!forecasts.is_empty()).then(|| sum / forecasts.len() as f64)
}

/// Everything this module measures of one set of forecasts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// See [`accuracy`].
    pub accuracy: Rate,
    /// See [`log_loss`].
    pub log_loss: f64,
    /// See [`brier`].
    pub brier: f64,
    /// See [`expected_calibration_error`].
    pub expected_calibration_error: f64,
    /// See [`reliability`].
    pub bins: Vec<Bin>,
}

impl Calibration {
    /// Measures `forecasts`; none without any.
    pub fn of(forecasts: &[Forecast]) -> Option<Self> {
        forecasts.iter().copied().collect::<CalibrationTally>().calibration()
    }
}

/// What a [`Calibration`] is made of, for forecasts that are not all in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CalibrationTally {
    bins: [BinTally; BINS],
    right: f64,
    log_loss: f64,
    brier: f64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct BinTally {
    count: usize,
    predicted: f64,
    outcome: f64,
}

impl CalibrationTally {
    /// Takes in a forecast.
    pub fn add(&mut self, forecast: Forecast) {
        let bin = &mut self.bins[bin_of(forecast.probability)];
        bin.count += 1;
        bin.predicted += forecast.probability;
        bin.outcome += forecast.outcome;
        self.right += forecast.right();
        self.log_loss += forecast.log_loss();
        self.brier += forecast.brier();
    }

    /// What the forecasts come to; none without any.
    pub fn calibration(&self) -> Option<Calibration> {
        let n: usize = self.bins.iter().map(|bin| bin.count).sum();
        let bins = self.bins();
        Some(Calibration {
            accuracy: Rate::new(self.right, n)?,
            log_loss: self.log_loss / n as f64,
            brier: self.brier / n as f64,
            expected_calibration_error: expected_calibration_error(&bins)?,
            bins,
        })
    }

    fn bins(&self) -> Vec<Bin> {
        let edge = |index: u32| f64::from(index) / BINS as f64;
        let bin = |(index, &BinTally { count, predicted, outcome }): (u32, &BinTally)| Bin {
            low: edge(index),
            high: edge(index + 1),
            count,
            predicted: predicted / count as f64,
            outcome: outcome / count as f64,
        };
        (0..).zip(&self.bins).filter(|(_, bin)| bin.count > 0).map(bin).collect()
    }
}

impl AddAssign for CalibrationTally {
    fn add_assign(&mut self, other: Self) {
        for (bin, other) in self.bins.iter_mut().zip(other.bins) {
            bin.count += other.count;
            bin.predicted += other.predicted;
            bin.outcome += other.outcome;
        }
        self.right += other.right;
        self.log_loss += other.log_loss;
        self.brier += other.brier;
    }
}

impl FromIterator<Forecast> for CalibrationTally {
    fn from_iter<I: IntoIterator<Item = Forecast>>(forecasts: I) -> Self {
        let mut tally = Self::default();
        forecasts.into_iter().for_each(|forecast| tally.add(forecast));
        tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn forecasts(pairs: &[(f64, f64)]) -> Vec<Forecast> {
        pairs.iter().map(|&(p, o)| Forecast::new(p, o).unwrap()).collect()
    }

    fn assert_close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
    }

    #[test]
    fn agrees_with_numbers_computed_by_hand() {
        let forecasts = forecasts(&[(0.25, 0.0), (0.25, 1.0), (0.75, 1.0), (1.0, 1.0)]);
        let found = Calibration::of(&forecasts).unwrap();
        let bin = |low, count, predicted, outcome| Bin {
            low,
            high: low + 0.1,
            count,
            predicted,
            outcome,
        };
        let expected = [bin(0.2, 2, 0.25, 0.5), bin(0.7, 1, 0.75, 1.0), bin(0.9, 1, 1.0, 1.0)];
        assert_eq!(found.bins.len(), 3);
        for (found, expected) in found.bins.iter().zip(&expected) {
            assert_close(found.low, expected.low);
            assert_close(found.high, expected.high);
            assert_eq!(found.count, expected.count);
            assert_close(found.predicted, expected.predicted);
            assert_close(found.outcome, expected.outcome);
        }
        // (2 x 0.25 + 1 x 0.25 + 0) / 4
        assert_close(found.expected_calibration_error, 0.1875);
        // (1/16 + 9/16 + 1/16 + 0) / 4
        assert_close(found.brier, 11.0 / 64.0);
        // -(ln 3/4 + ln 1/4 + ln 3/4 + ln 1) / 4
        let expected = -(0.75_f64.ln() + 0.25_f64.ln() + 0.75_f64.ln()) / 4.0;
        assert!((found.log_loss - expected).abs() < 1e-11);
        assert_close(found.accuracy.value, 0.75);
    }

    #[test]
    fn soft_labels_and_ties() {
        let forecasts = forecasts(&[(0.75, 0.75), (0.5, 1.0), (0.75, 0.5), (0.75, 0.25)]);
        assert_close(accuracy(&forecasts).unwrap().value, 0.5);
        let entropy = -(0.75 * 0.75_f64.ln() + 0.25 * 0.25_f64.ln());
        assert_close(log_loss(&forecasts[..1]).unwrap(), entropy);
        assert_close(brier(&forecasts[..1]).unwrap(), 0.0);
    }

    #[test]
    fn a_certain_mistake_costs_much_but_not_everything() {
        let loss = log_loss(&forecasts(&[(0.0, 1.0)])).unwrap();
        // 12 ln 10
        assert!((loss - 27.631).abs() < 1e-3, "{loss}");
    }

    #[test]
    fn refuses_what_is_no_probability_and_measures_nothing_of_nothing() {
        for (probability, outcome, name) in
            [(1.1, 0.0, "probability"), (f64::NAN, 0.0, "probability"), (0.5, -0.1, "outcome")]
        {
            let message = Forecast::new(probability, outcome).unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
        }
        assert_eq!(Calibration::of(&[]), None);
    }

    proptest! {
        #[test]
        fn bins_hold_every_forecast_and_errors_stay_in_bounds(
            pairs in prop::collection::vec((0.0..=1.0_f64, 0.0..=1.0_f64), 1..50),
        ) {
            let forecasts = forecasts(&pairs);
            let found = Calibration::of(&forecasts).unwrap();
            prop_assert_eq!(found.bins.iter().map(|bin| bin.count).sum::<usize>(), pairs.len());
            for bin in &found.bins {
                prop_assert!(bin.low - 1e-9 <= bin.predicted && bin.predicted <= bin.high + 1e-9);
            }
            prop_assert!((0.0..=1.0).contains(&found.expected_calibration_error));
            prop_assert!((0.0..=1.0).contains(&found.brier));
            prop_assert!(found.log_loss >= 0.0);
        }

        #[test]
        fn the_truth_has_the_lowest_log_loss(truth in 0.0..=1.0_f64, other in 0.0..=1.0_f64) {
            let loss = |probability| log_loss(&forecasts(&[(probability, truth)])).unwrap();
            prop_assert!(loss(truth) <= loss(other) + 1e-12);
        }
    }
}
