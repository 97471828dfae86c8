//! Over-optimisation: a score that rises while another judge of the same replies says that they get worse.

use serde::{Deserialize, Serialize};

/// Rounds whose means are compared with those of as many rounds before.
const WINDOW: usize = 5;

/// The mean scores of the last rounds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Alarm {
    scores: Vec<f64>,
    held_out: Vec<f64>,
}

impl Alarm {
    /// Takes in a round; true if the score has risen over the last rounds while the held-out score fell, each by more
    /// than one standard error of the difference of the means.
    pub(crate) fn rings(&mut self, score: f64, held_out: f64) -> bool {
        for (history, value) in [(&mut self.scores, score), (&mut self.held_out, held_out)] {
            history.push(value);
            let surplus = history.len().saturating_sub(2 * WINDOW);
            history.drain(..surplus);
        }
        let moved = |history: &[f64]| change(history).unwrap_or(0.0);
        moved(&self.scores) > 1.0 && moved(&self.held_out) < -1.0
    }
}

/// The difference of the means of the newer and the older half, in standard errors; none before both are full.
fn change(history: &[f64]) -> Option<f64> {
    if history.len() < 2 * WINDOW {
        return None;
    }
    let (older, newer) = history.split_at(WINDOW);
    let count = WINDOW as f64;
    let mean = |half: &[f64]| half.iter().sum::<f64>() / count;
    let spread = |half: &[f64]| {
        let mean = mean(half);
        half.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0)
    };
    let error = ((spread(older) + spread(newer)) / count).sqrt();
    Some((mean(newer) - mean(older)) / error.max(f64::MIN_POSITIVE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array1, s};
    use proptest::prelude::*;

    fn rung(rounds: impl Iterator<Item = (f64, f64)>) -> Vec<bool> {
        let mut alarm = Alarm::default();
        rounds.map(|(score, held_out)| alarm.rings(score, held_out)).collect()
    }

    #[test]
    fn rings_when_the_scores_part() {
        let apart = rung((0..12).map(f64::from).map(|round| (round, 5.0 - 0.1 * round)));
        assert_eq!(apart.iter().position(|&rings| rings), Some(2 * WINDOW - 1));
        let together = rung((0..12).map(f64::from).map(|round| (round, round)));
        assert!(together.iter().all(|rings| !rings));
        let level = rung((0..12).map(|round| (f64::from(round), f64::from(round % 2))));
        assert!(level.iter().all(|rings| !rings));
    }

    proptest! {
        /// The statistic of Welch's test.
        #[test]
        fn the_change_agrees_with_ndarray_whatever_the_unit(
            history in prop::collection::vec(-3.0..3.0_f64, 2 * WINDOW),
            factor in 0.1..10.0_f64,
            shift in -5.0..5.0_f64,
        ) {
            let array = Array1::from_vec(history.clone());
            let (older, newer) = (array.slice(s![..WINDOW]), array.slice(s![WINDOW..]));
            let error = ((older.var(1.0) + newer.var(1.0)) / WINDOW as f64).sqrt();
            prop_assume!(error > 0.01);
            let expected = (newer.mean().unwrap() - older.mean().unwrap()) / error;
            let found = change(&history).unwrap();
            prop_assert!((found - expected).abs() < 1e-9, "{found} {expected}");

            let moved: Vec<f64> = history.iter().map(|value| factor * value + shift).collect();
            prop_assert!((change(&moved).unwrap() - found).abs() < 1e-6);
            let backwards: Vec<f64> = history.iter().rev().copied().collect();
            prop_assert!((change(&backwards).unwrap() + found).abs() < 1e-9);
            prop_assert_eq!(change(&history[1..]), None);
        }
    }
}
