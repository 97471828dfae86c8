//! How often players win against each other.

use crate::clusters::{Cluster, share};
use crate::{Game, Tally, tallies};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How often one player wins against another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WinRate {
    /// The player that wins.
    pub player: String,
    /// The other.
    pub opponent: String,
    /// Share of the comparisons that it won, ties counted half.
    pub share: f64,
    /// Lower end of the interval at 95%.
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

/// The win rate of the first, in alphabetical order, of every two players that met.
///
/// The interval is that of [`rate_by_prompt`](crate::rate_by_prompt), a tie being half a success: games with the same prompt go
/// the same way more often than others. Every game without a prompt counts alone.
pub fn win_rates(games: &[Game]) -> Vec<WinRate> {
    tallies(games).iter().filter_map(|tally| win_rate(tally, games)).collect()
}

fn win_rate(tally: &Tally, games: &[Game]) -> Option<WinRate> {
    let (value, [low, high]) = share(&clusters(tally, games))?;
    Some(WinRate {
        player: tally.first.clone(),
        opponent: tally.second.clone(),
        share: value,
        low,
        high,
        wins: tally.wins,
        losses: tally.losses,
        ties: tally.ties,
    })
}

/// The games of two players: those of each prompt, and each without a prompt alone.
pub(crate) fn clusters(tally: &Tally, games: &[Game]) -> Vec<Cluster> {
    let mut by_prompt: BTreeMap<&str, [f64; 3]> = BTreeMap::new();
    let mut alone = [0.0; 3];
    for game in games {
        let (players, counts) = game.sorted();
        if players != [tally.first.as_str(), tally.second.as_str()] {
            continue;
        }
        let total = match &game.prompt {
            Some(prompt) => by_prompt.entry(prompt).or_default(),
            None => &mut alone,
        };
        total.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
    }
    let together = by_prompt.into_values().map(|[wins, losses, ties]| Cluster {
        successes: wins + ties / 2.0,
        outcomes: wins + losses + ties,
        copies: 1.0,
    });
    let single = |(successes, copies)| Cluster { successes, outcomes: 1.0, copies };
    let singles = [1.0, 0.0, 0.5].into_iter().zip(alone).map(single);
    together.filter(|one| one.outcomes > 0.0).chain(singles).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Rate, Winner};

    fn game(first: &str, second: &str, [wins, losses, ties]: [f64; 3]) -> Game {
        Game { wins, losses, ties, ..Game::new(first, second, Winner::Tie) }
    }

    fn same(found: &WinRate, expected: Rate) {
        for (found, expected) in
            [(found.share, expected.value), (found.low, expected.low), (found.high, expected.high)]
        {
            assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
        }
    }

    #[test]
    fn ties_count_half() {
        let games = [
            game("a", "b", [3.0, 5.0, 1.0]),
            game("b", "a", [0.0, 0.0, 1.0]),
            game("b", "c", [0.0; 3]),
        ];
        let found = win_rates(&games);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].player.as_str(), found[0].opponent.as_str()), ("a", "b"));
        same(&found[0], Rate::new(4.0, 10).unwrap());
    }

    #[test]
    fn games_with_a_prompt_are_one_sample_of_it() {
        let names = ["p", "q", "r", "s"];
        let won = |prompt: &str| prompt != "s";
        let games = |copies: usize| -> Vec<Game> {
            let one = |prompt: &&str| {
                let winner = if won(prompt) { Winner::First } else { Winner::Second };
                Game::new("a", "b", winner).about(*prompt)
            };
            (0..copies).flat_map(|_| names.iter().map(one)).collect()
        };
        let once = win_rates(&games(1));
        same(&once[0], Rate::new(3.0, 4).unwrap());
        let often = win_rates(&games(10));
        assert!((often[0].share - 0.75).abs() < 1e-12);
        // Forty games say hardly more than four.
        let width = |found: &WinRate| found.high - found.low;
        assert!(width(&often[0]) > 0.95 * width(&once[0]), "{often:?}");
    }
}
