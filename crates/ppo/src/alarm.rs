//! Over-optimisation: a score that rises while another judge of the same replies says that they get worse.

use serde::{Deserialize, Serialize};

/// Rounds, at least, whose means are compared with those of as many rounds before: so few that short runs are watched
/// too.
const FEWEST: usize = 5;

/// The same, at most, once there are so many: a slow fall shows in spite of the noise.
const MOST: usize = 10;

/// Standard errors of the difference of the means that both scores have to move.
///
/// They are tested anew every round: with one standard error noise alone would ring in most runs of 60 rounds. The
/// tests below hold how seldom it does with three, and how soon a real fall is found.
const STANDARD_ERRORS: f64 = 3.0;

/// The mean scores of the last rounds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Alarm {
    scores: Vec<f64>,
    held_out: Vec<f64>,
    /// True from the round that rang until either score has turned back.
    rung: bool,
}

impl Alarm {
    /// Takes in a round; true if with it the score has risen over the last rounds while the held-out score fell, each
    /// by more than noise would move it. It rings once, and again only after either score has turned back.
    pub(crate) fn rings(&mut self, score: f64, held_out: f64) -> bool {
        for (history, value) in [(&mut self.scores, score), (&mut self.held_out, held_out)] {
            history.push(value);
            let surplus = history.len().saturating_sub(2 * MOST);
            history.drain(..surplus);
        }
        let moved = |history: &[f64]| change(history).unwrap_or(0.0);
        let (rise, fall) = (moved(&self.scores), -moved(&self.held_out));
        let apart = rise > STANDARD_ERRORS && fall > STANDARD_ERRORS;
        let rings = apart && !self.rung;
        self.rung = apart || (self.rung && rise > 0.0 && fall > 0.0);
        rings
    }
}

/// The difference of the means of the newer and the older half, in standard errors; none before both are long enough.
/// Of an odd number of rounds the oldest is left out.
fn change(history: &[f64]) -> Option<f64> {
    let half = history.len() / 2;
    if half < FEWEST {
        return None;
    }
    let (older, newer) = history[history.len() % 2..].split_at(half);
    let count = half as f64;
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
    use language_model::stream;
    use ndarray::{Array1, s};
    use proptest::prelude::*;
    use rand::Rng;

    /// Rounds of the runs of chance below, and how many such runs.
    const ROUNDS: u32 = 60;
    const RUNS: u64 = 1000;

    fn rung(rounds: impl Iterator<Item = (f64, f64)>) -> Vec<bool> {
        let mut alarm = Alarm::default();
        rounds.map(|(score, held_out)| alarm.rings(score, held_out)).collect()
    }

    /// The rounds at which it rings.
    fn rings(rung: &[bool]) -> Vec<usize> {
        (0..rung.len()).filter(|&round| rung[round]).collect()
    }

    #[test]
    fn rings_when_the_scores_part() {
        let apart = rung((0..40).map(f64::from).map(|round| (round, 5.0 - 0.1 * round)));
        assert_eq!(rings(&apart), [2 * FEWEST - 1]);
        let together = rung((0..40).map(f64::from).map(|round| (round, round)));
        assert!(rings(&together).is_empty());
        let level = rung((0..40).map(|round| (f64::from(round), f64::from(round % 2))));
        assert!(rings(&level).is_empty());
    }

    #[test]
    fn rings_once_an_episode() {
        // The held-out score falls for 30 rounds, rises for 30 and falls again.
        let held_out = |round: i32| f64::from((round % 60 - 30).abs());
        let found = rings(&rung((0..120).map(|round| (f64::from(round), held_out(round)))));
        assert!(matches!(found[..], [9, 60..75]), "{found:?}");
    }

    /// Numbers with mean 0 and standard deviation 1, nearly normal.
    fn noise(rng: &mut impl Rng) -> f64 {
        (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
    }

    /// The rounds at which it rings in runs whose scores are trends of the round with noise of standard deviation 1,
    /// which correlates between both.
    fn runs(correlation: f64, trends: fn(f64) -> [f64; 2]) -> Vec<Vec<usize>> {
        let run = |seed| {
            let mut rng = stream(seed);
            let rounds = (0..ROUNDS).map(f64::from).map(|round| {
                let (one, other) = (noise(&mut rng), noise(&mut rng));
                let [score, held_out] = trends(round);
                let alone = (1.0 - correlation * correlation).sqrt();
                (score + one, held_out + correlation * one + alone * other)
            });
            rings(&rung(rounds))
        };
        (0..RUNS).map(run).collect()
    }

    /// The documented rates of false alarms.
    #[test]
    fn noise_alone_seldom_rings() {
        type Trends = fn(f64) -> [f64; 2];
        let cases: [(f64, Trends, f64); 4] = [
            (0.0, |_| [0.0, 0.0], 0.005),
            (0.5, |_| [0.0, 0.0], 0.005),
            (0.0, |round| [0.1 * round, 0.0], 0.06),
            (0.0, |round| [0.3 * round, 0.0], 0.15),
        ];
        for (correlation, trends, most) in cases {
            let found = runs(correlation, trends);
            let rung = found.iter().filter(|rings| !rings.is_empty()).count();
            let rate = rung as f64 / RUNS as f64;
            assert!(rate <= most, "{correlation}: {rate}, at most {most}");
        }
    }

    /// The documented power: a held-out score that rises with the score and falls from round 25 on, each round by a
    /// fifth of what noise moves it.
    #[test]
    fn a_real_fall_is_found_once_and_soon() {
        let turn = 25;
        let found = runs(0.5, |round| [0.2 * round, 0.2 * (25.0 - (round - 25.0).abs())]);
        let early = found.iter().filter(|rings| rings.first().is_some_and(|&round| round < turn));
        assert!(early.count() <= 5);
        let within = |rounds: usize| {
            let soon = |rings: &&Vec<usize>| rings.iter().any(|&round| round <= turn + rounds);
            found.iter().filter(soon).count() as f64 / RUNS as f64
        };
        assert!(within(34) > 0.98, "{}", within(34));
        assert!(within(18) > 0.7, "{}", within(18));
        let once = found.iter().filter(|rings| rings.len() == 1).count();
        assert!(once as f64 > 0.97 * RUNS as f64, "{once}");
    }

    proptest! {
        /// The statistic of Welch's test.
        #[test]
        fn the_change_agrees_with_ndarray_whatever_the_unit(
            history in prop::collection::vec(-3.0..3.0_f64, 2 * FEWEST..=2 * MOST),
            factor in 0.1..10.0_f64,
            shift in -5.0..5.0_f64,
        ) {
            let half = history.len() / 2;
            let even = &history[history.len() % 2..];
            let array = Array1::from_vec(even.to_vec());
            let (older, newer) = (array.slice(s![..half]), array.slice(s![half..]));
            let error = ((older.var(1.0) + newer.var(1.0)) / half as f64).sqrt();
            prop_assume!(error > 0.01);
            let expected = (newer.mean().unwrap() - older.mean().unwrap()) / error;
            let found = change(&history).unwrap();
            prop_assert!((found - expected).abs() < 1e-9, "{found} {expected}");

            let moved: Vec<f64> = history.iter().map(|value| factor * value + shift).collect();
            prop_assert!((change(&moved).unwrap() - found).abs() < 1e-6);
            let backwards: Vec<f64> = even.iter().rev().copied().collect();
            prop_assert!((change(&backwards).unwrap() + found).abs() < 1e-9);
            prop_assert_eq!(change(&history[..2 * FEWEST - 1]), None);
        }
    }
}
