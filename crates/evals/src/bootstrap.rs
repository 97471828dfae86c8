//! Intervals from samples drawn again.

use crate::Error;
use language_model::{item_seed, stream};
use rand::Rng;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Times that a sample is drawn again where nobody says otherwise.
pub const REPLICATES: usize = 1000;

/// Fewest samples that an interval at 95% is read from: of 40 one is expected beyond each end. With fewer both ends would lie
/// between the two outermost samples, wherever these happen to be.
pub const FEWEST_REPLICATES: usize = 40;

/// A mean with its bootstrap interval at 95%.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Mean {
    /// The mean.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// Size of the sample.
    pub n: usize,
}

impl Mean {
    /// The mean of a sample, none of an empty one.
    ///
    /// The interval is that from the 2.5% to the 97.5% quantile of the means of [`REPLICATES`] samples of the same size,
    /// drawn with replacement from the streams that `seed` and `purpose` name.
    ///
    /// # References
    /// Efron (1979), "Bootstrap methods: another look at the jackknife", Annals of Statistics 7.
    pub fn of(values: &[f64], seed: u64, purpose: &str) -> Option<Self> {
        Self::of_sums(values.iter().map(|&value| (value, 1)).collect(), seed, purpose)
    }

    /// The mean of all values of a sample that is grouped by prompt, none of an empty one.
    ///
    /// As [`Mean::of`], but what is drawn with replacement are prompts, as many as have a value, each with all of its values:
    /// the values of a prompt are alike, and as many of other prompts would say more. With one value a prompt the interval is
    /// that of [`Mean::of`] to the last bit.
    ///
    /// # References
    /// Field and Welsh (2007), "Bootstrapping clustered data", JRSS B 69.
    pub fn by_prompt<Values>(
        prompts: impl IntoIterator<Item = Values>,
        seed: u64,
        purpose: &str,
    ) -> Option<Self>
    where
        Values: IntoIterator<Item = f64>,
    {
        let sum = |values: Values| {
            values.into_iter().fold((0.0, 0), |(sum, n), value| (sum + value, n + 1))
        };
        let sums = prompts.into_iter().map(sum).filter(|&(_, n)| n > 0);
        Self::of_sums(sums.collect(), seed, purpose)
    }

    /// The mean of what is given as the sum and the number of the values of each prompt.
    fn of_sums(sums: Vec<(f64, usize)>, seed: u64, purpose: &str) -> Option<Self> {
        if sums.is_empty() {
            return None;
        }
        let add = |(sum, n): (f64, usize), (more, count): (f64, usize)| (sum + more, n + count);
        let mean = |(sum, n): (f64, usize)| sum / n as f64;
        let replicate = |index: usize| {
            let mut rng = stream(replicate_seed(seed, purpose, index));
            let mut draw = || sums[rng.random_range(0..sums.len())];
            mean((0..sums.len()).fold((0.0, 0), |total, _| add(total, draw())))
        };
        let [low, high] = interval((0..REPLICATES).map(replicate).collect());
        let total = sums.iter().copied().fold((0.0, 0), add);
        Some(Self { value: mean(total), low, high, n: total.1 })
    }
}

/// `1.25 [0.90, 1.61] of 64`.
impl fmt::Display for Mean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} [{:.2}, {:.2}] of {}", self.value, self.low, self.high, self.n)
    }
}

/// The seed of a sample drawn again.
pub(crate) fn replicate_seed(seed: u64, purpose: &str, index: usize) -> u64 {
    item_seed(seed, &["evals", "bootstrap", purpose, &index.to_string()])
}

/// The 2.5% and 97.5% quantiles, at least one number; between two numbers of the sample they lie on the line that joins them.
pub(crate) fn interval(mut values: Vec<f64>) -> [f64; 2] {
    values.sort_by(f64::total_cmp);
    let quantile = |share: f64| {
        let place = share * (values.len() - 1) as f64;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a place in what is in memory"
        )]
        let (below, above) = (place.floor() as usize, place.ceil() as usize);
        values[below] + (values[above] - values[below]) * place.fract()
    };
    [quantile(0.025), quantile(0.975)]
}

/// Checks a number of samples.
pub(crate) fn check_replicates(replicates: usize) -> Result<(), Error> {
    if replicates >= FEWEST_REPLICATES {
        return Ok(());
    }
    let expected =
        "a whole number of at least 40, so that a sample lies beyond each end of the interval";
    Err(Error::Setting { setting: "replicates", found: replicates.to_string(), expected })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_the_numbers() {
        // Places 1 and 39 of 0..=40.
        let [low, high] = interval((0..=40).rev().map(f64::from).collect());
        assert!((low - 1.0).abs() < 1e-9 && (high - 39.0).abs() < 1e-9, "{low} {high}");
        // 2.5% of the way from 3 to 5.
        let [low, high] = interval(vec![5.0, 3.0]);
        assert!((low - 3.05).abs() < 1e-9 && (high - 4.95).abs() < 1e-9, "{low} {high}");
    }

    #[test]
    fn a_mean_has_the_interval_of_the_normal_distribution_where_that_is_right() {
        let values: Vec<f64> = (0..400).map(|index| f64::from(index % 2)).collect();
        let found = Mean::of(&values, 1, "test").unwrap();
        assert!((found.value - 0.5).abs() < 1e-12 && found.n == 400);
        // 1.96 x 0.5 / 20, up to the noise of a thousand samples.
        assert!((found.low - 0.451).abs() < 0.006, "{found}");
        assert!((found.high - 0.549).abs() < 0.006, "{found}");
        assert_eq!(Mean::of(&values, 1, "test"), Some(found));
        assert_ne!(Mean::of(&values, 2, "test"), Some(found));
    }

    #[test]
    fn prompts_are_drawn_with_all_of_their_values() {
        let values: Vec<f64> = (0..40).map(|index| f64::from(index % 7)).collect();
        let alone = Mean::by_prompt(values.iter().map(|&value| [value]), 1, "test");
        assert_eq!(alone, Mean::of(&values, 1, "test"));
        let alike = Mean::by_prompt(values.iter().map(|&value| [value; 9]), 1, "test").unwrap();
        let alone = alone.unwrap();
        assert_eq!(alike.n, 360);
        for (found, expected) in
            [(alike.value, alone.value), (alike.low, alone.low), (alike.high, alone.high)]
        {
            assert!((found - expected).abs() < 1e-9, "{alike} {alone}");
        }
        let uneven = Mean::by_prompt([vec![1.0], vec![], vec![2.0, 3.0, 4.0]], 1, "test").unwrap();
        assert!((uneven.value - 2.5).abs() < 1e-12 && uneven.n == 4);
        // The ends are samples that hold one of the two prompts alone.
        assert!((uneven.low - 1.0).abs() < 1e-12 && (uneven.high - 3.0).abs() < 1e-12);
        assert_eq!(Mean::by_prompt([Vec::new()], 1, "test"), None);
    }

    #[test]
    fn constants_have_no_spread_and_nothing_has_no_mean() {
        let found = Mean::of(&[2.0; 3], 1, "test").unwrap();
        assert_eq!([found.low, found.high].map(f64::to_bits), [2.0_f64.to_bits(); 2]);
        assert_eq!(found.to_string(), "2.00 [2.00, 2.00] of 3");
        assert_eq!(Mean::of(&[], 1, "test"), None);
    }

    #[test]
    fn a_sample_must_lie_beyond_each_end() {
        assert!(check_replicates(FEWEST_REPLICATES).is_ok());
        for few in [0, 1, FEWEST_REPLICATES - 1] {
            let message = check_replicates(few).unwrap_err().to_string();
            let expected = format!("at least {FEWEST_REPLICATES},");
            assert!(message.contains(&expected), "{message}");
        }
    }
}
