//! How often players win against each other.

use crate::Tally;
use crate::rate::wilson;
use serde::{Deserialize, Serialize};

/// How often one player wins against another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WinRate {
    /// The player that wins.
    pub player: String,
    /// The other.
    pub opponent: String,
    /// Share of the comparisons that it won, ties counted half.
    pub share: f64,
    /// Lower end of the Wilson interval at 95%.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// Comparisons that it won.
    pub wins: f64,
    /// Comparisons that it lost.
    pub losses: f64,
    /// Comparisons without a winner.
    pub ties: f64,
}

/// The win rate of the first player of every tally that has a comparison.
pub fn win_rates(tallies: &[Tally]) -> Vec<WinRate> {
    let rate = |tally: &Tally| {
        let share = (tally.wins + tally.ties / 2.0) / tally.games();
        let [low, high] = wilson(share, tally.games());
        WinRate {
            player: tally.first.clone(),
            opponent: tally.second.clone(),
            share,
            low,
            high,
            wins: tally.wins,
            losses: tally.losses,
            ties: tally.ties,
        }
    };
    tallies.iter().filter(|tally| tally.games() > 0.0).map(rate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rate;

    #[test]
    fn ties_count_half() {
        let tally = |wins, losses, ties| Tally {
            first: "a".to_owned(),
            second: "b".to_owned(),
            wins,
            losses,
            ties,
        };
        let found = win_rates(&[tally(3.0, 5.0, 2.0), tally(0.0, 0.0, 0.0)]);
        assert_eq!(found.len(), 1);
        let expected = Rate::new(4.0, 10).unwrap();
        let [share, low, high] = [found[0].share, found[0].low, found[0].high];
        assert!((share - 0.4).abs() < 1e-12);
        assert!((low - expected.low).abs() < 1e-12 && (high - expected.high).abs() < 1e-12);
    }
}
