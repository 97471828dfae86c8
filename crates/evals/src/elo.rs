//! Ratings from comparisons of pairs.

use crate::Error;
use crate::linear_system::inverse;
use crate::rate::Z;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::f64::consts::LN_10;

/// Elo points a unit of log-odds: 400 / ln 10.
const POINTS: f64 = 400.0 / LN_10;

/// Newton steps before the fit gives up; it takes about five.
const STEPS: usize = 100;

/// Outcomes of the comparisons of two players.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// One player.
    pub first: String,
    /// The other.
    pub second: String,
    /// Comparisons that the first won.
    pub wins: f64,
    /// Comparisons that the second won.
    pub losses: f64,
    /// Comparisons without a winner, half a win for each.
    pub ties: f64,
}

impl Tally {
    fn games(&self) -> f64 {
        self.wins + self.losses + self.ties
    }
}

/// A player's rating with its interval at 95%.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rating {
    /// The player.
    pub player: String,
    /// Elo points above the anchor.
    pub elo: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// Comparisons it took part in.
    pub games: f64,
}

/// The probability that a player rated `elo` wins against one rated `opponent`, ties counted half.
///
/// ```text
/// 1 / (1 + 10^((opponent - elo) / 400))
/// ```
///
/// # References
/// Elo (1978), "The rating of chessplayers, past and present".
pub fn expected_score(elo: f64, opponent: f64) -> f64 {
    sigmoid((elo - opponent) / POINTS)
}

/// The most likely ratings of all players, highest first, with `anchor` at 0.
///
/// Maximises `Σ s_ij ln P_ij` over all ordered pairs, where `s_ij` are the points of `i` against `j` (ties count half)
/// and `P_ij` is [`expected_score`]: the Bradley-Terry model, fitted by Newton's method. Intervals come from the
/// inverse of the Hessian; the anchor has none. `prior_ties` are added to every pair that met, and pull its players
/// together; with 0 the fit is the maximum likelihood, and with more every player is rated that is linked to the
/// anchor at all.
///
/// # Errors
/// [`Error::Number`], [`Error::SamePlayer`], [`Error::UnknownAnchor`]; [`Error::Unbounded`] names the players whose
/// most likely rating is infinite (Ford 1957 gives the condition); [`Error::Unsettled`].
///
/// # References
/// Bradley and Terry (1952), Biometrika 39. The paper compares its models by such scores
/// (arXiv 2212.08073, figure 2).
pub fn elo(tallies: &[Tally], anchor: &str, prior_ties: f64) -> Result<Vec<Rating>, Error> {
    let league = League::new(tallies, prior_ties)?;
    let Some(anchored) = league.players.iter().position(|player| player == anchor) else {
        return Err(Error::UnknownAnchor(anchor.to_owned()));
    };
    let players = league.unbounded(anchored);
    if !players.is_empty() {
        return Err(Error::Unbounded { players, anchor: anchor.to_owned() });
    }
    let (log_odds, variances) = league.fit(anchored)?;
    let mut ratings: Vec<Rating> = (0..league.players.len())
        .map(|player| {
            let elo = POINTS * log_odds[player];
            let half = Z * POINTS * variances[player].sqrt();
            let games = played(tallies, &league.players[player]);
            let player = league.players[player].clone();
            Rating { player, elo, low: elo - half, high: elo + half, games }
        })
        .collect();
    ratings.sort_by(|one, other| other.elo.total_cmp(&one.elo));
    Ok(ratings)
}

fn played(tallies: &[Tally], player: &str) -> f64 {
    tallies
        .iter()
        .filter(|tally| tally.first == player || tally.second == player)
        .map(Tally::games)
        .sum()
}

fn sigmoid(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}

/// Who scored how much against whom.
struct League {
    /// The players in alphabetical order.
    players: Vec<String>,
    /// `points[i][j]`: wins of `i` over `j`, and half their ties.
    points: Vec<Vec<f64>>,
}

impl League {
    fn new(tallies: &[Tally], prior_ties: f64) -> Result<Self, Error> {
        count("prior_ties", prior_ties)?;
        let players: BTreeSet<&str> =
            tallies.iter().flat_map(|tally| [&*tally.first, &*tally.second]).collect();
        let players: Vec<String> = players.into_iter().map(str::to_owned).collect();
        let index = |name: &String| players.binary_search(name).unwrap_or_default();
        let mut points = vec![vec![0.0; players.len()]; players.len()];
        let mut met = BTreeSet::new();
        for tally in tallies {
            if tally.first == tally.second {
                return Err(Error::SamePlayer(tally.first.clone()));
            }
            count("wins", tally.wins)?;
            count("losses", tally.losses)?;
            count("ties", tally.ties)?;
            let (first, second) = (index(&tally.first), index(&tally.second));
            points[first][second] += tally.wins + tally.ties / 2.0;
            points[second][first] += tally.losses + tally.ties / 2.0;
            if tally.games() > 0.0 {
                met.insert((first.min(second), first.max(second)));
            }
        }
        for (first, second) in met {
            points[first][second] += prior_ties / 2.0;
            points[second][first] += prior_ties / 2.0;
        }
        Ok(Self { players, points })
    }

    /// Players that the anchor is not linked to by a chain of points in both directions.
    fn unbounded(&self, anchor: usize) -> Vec<String> {
        let beaten = self.reached(anchor, |from, to| self.points[from][to] > 0.0);
        let beating = self.reached(anchor, |from, to| self.points[to][from] > 0.0);
        let players = self.players.iter().enumerate();
        players
            .filter(|&(player, _)| !(beaten[player] && beating[player]))
            .map(|(_, name)| name.clone())
            .collect()
    }

    fn reached(&self, start: usize, linked: impl Fn(usize, usize) -> bool) -> Vec<bool> {
        let mut reached = vec![false; self.players.len()];
        reached[start] = true;
        let mut open = vec![start];
        while let Some(from) = open.pop() {
            for (to, reached) in reached.iter_mut().enumerate() {
                if !*reached && linked(from, to) {
                    *reached = true;
                    open.push(to);
                }
            }
        }
        reached
    }

    /// Log-odds against the anchor and their variances.
    fn fit(&self, anchor: usize) -> Result<(Vec<f64>, Vec<f64>), Error> {
        let free: Vec<usize> = (0..self.players.len()).filter(|&player| player != anchor).collect();
        let mut log_odds = vec![0.0; self.players.len()];
        for _ in 0..STEPS {
            let Some(covariance) = inverse(&self.information(&log_odds, &free)) else { break };
            let gradient: Vec<f64> =
                free.iter().map(|&player| self.gradient(&log_odds, player)).collect();
            let step: Vec<f64> = covariance.iter().map(|row| dot(row, &gradient)).collect();
            log_odds = self.climb(&log_odds, &free, &step);
            // The error of the next point is about the square of this step, measured in standard errors.
            if dot(&step, &gradient) < 1e-12 {
                let mut variances = vec![0.0; self.players.len()];
                for (index, &player) in free.iter().enumerate() {
                    variances[player] = covariance[index][index];
                }
                return Ok((log_odds, variances));
            }
        }
        Err(Error::Unsettled(STEPS))
    }

    /// The longest of the step, half the step, a quarter, … that does not lower the likelihood.
    fn climb(&self, from: &[f64], free: &[usize], step: &[f64]) -> Vec<f64> {
        let start = self.log_likelihood(from);
        let mut scale = 1.0;
        loop {
            let mut to = from.to_vec();
            for (&player, step) in free.iter().zip(step) {
                to[player] += scale * step;
            }
            if scale < 1e-6 || self.log_likelihood(&to) >= start - 1e-12 * start.abs() {
                return to;
            }
            scale /= 2.0;
        }
    }

    fn log_likelihood(&self, log_odds: &[f64]) -> f64 {
        let row = |player: usize| {
            let points = self.points[player].iter().zip(log_odds);
            // ln sigmoid(x) = -ln(1 + e^-x), without overflow for either sign.
            points.map(|(points, other)| points * -softplus(other - log_odds[player])).sum::<f64>()
        };
        (0..self.players.len()).map(row).sum()
    }

    /// Points won less points expected.
    fn gradient(&self, log_odds: &[f64], player: usize) -> f64 {
        (0..self.players.len())
            .map(|other| {
                let games = self.points[player][other] + self.points[other][player];
                self.points[player][other] - games * sigmoid(log_odds[player] - log_odds[other])
            })
            .sum()
    }

    /// The negative Hessian over the free players.
    fn information(&self, log_odds: &[f64], free: &[usize]) -> Vec<Vec<f64>> {
        let weight = |one: usize, other: usize| {
            let expected = sigmoid(log_odds[one] - log_odds[other]);
            let games = self.points[one][other] + self.points[other][one];
            games * expected * (1.0 - expected)
        };
        let entry = |one: usize, other: usize| {
            if one == other {
                (0..self.players.len()).map(|any| weight(one, any)).sum()
            } else {
                -weight(one, other)
            }
        };
        free.iter().map(|&one| free.iter().map(|&other| entry(one, other)).collect()).collect()
    }
}

fn softplus(value: f64) -> f64 {
    value.max(0.0) + (-value.abs()).exp().ln_1p()
}

fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

fn count(name: &'static str, found: f64) -> Result<(), Error> {
    if found.is_finite() && found >= 0.0 {
        return Ok(());
    }
    Err(Error::Number { name, found, expected: "a finite number of at least 0" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array1, Array2};
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn tally(first: &str, second: &str, [wins, losses, ties]: [f64; 3]) -> Tally {
        Tally { first: first.to_owned(), second: second.to_owned(), wins, losses, ties }
    }

    fn rating<'a>(ratings: &'a [Rating], player: &str) -> &'a Rating {
        ratings.iter().find(|rating| rating.player == player).unwrap()
    }

    /// Minorisation-maximisation of the same likelihood (Hunter 2004, Annals of Statistics 32, equation 3).
    fn oracle(points: &Array2<f64>, anchor: usize) -> Array1<f64> {
        let games = points + &points.t();
        let wins = points.sum_axis(ndarray::Axis(1));
        let mut strength = Array1::<f64>::ones(wins.len());
        for _ in 0..100_000 {
            let next = Array1::from_shape_fn(wins.len(), |one| {
                let rows = games.row(one);
                let sum: f64 = (rows.iter().zip(&strength))
                    .map(|(games, other)| games / (strength[one] + other))
                    .sum();
                wins[one] / sum
            });
            let next = &next / next[anchor];
            let moved = (&next / &strength).mapv(|ratio| ratio.ln().abs()).sum();
            strength = next;
            if moved < 1e-13 {
                break;
            }
        }
        strength.mapv(|strength| 400.0 * strength.log10())
    }

    #[test]
    fn two_players_have_a_closed_form() {
        // 3 of 4 points: 400 log10(3) = 190.849, variance 1 / (4 x 3/4 x 1/4) = 4/3.
        let ratings = elo(&[tally("a", "b", [2.0, 0.0, 2.0])], "b", 0.0).unwrap();
        let best = rating(&ratings, "a");
        assert!((best.elo - 190.848_5).abs() < 1e-4, "{best:?}");
        let half = 1.959_964 * 400.0 / 10.0_f64.ln() * (4.0_f64 / 3.0).sqrt();
        assert!((best.high - best.elo - half).abs() < 1e-3, "{best:?}");
        assert_eq!(
            ratings[1],
            Rating { player: "b".to_owned(), elo: 0.0, low: 0.0, high: 0.0, games: 4.0 }
        );
        assert!((expected_score(best.elo, 0.0) - 0.75).abs() < 1e-12);
        assert!((expected_score(400.0, 0.0) - 10.0 / 11.0).abs() < 1e-12);
    }

    #[test]
    fn a_prior_tie_makes_a_clean_sweep_finite() {
        let sweep = [tally("a", "b", [5.0, 0.0, 0.0])];
        let message = elo(&sweep, "b", 0.0).unwrap_err().to_string();
        assert!(message.contains("no finite rating of a relative to b"), "{message}");
        // 5.5 points to 0.5.
        let ratings = elo(&sweep, "b", 1.0).unwrap();
        assert!((ratings[0].elo - 400.0 * 11.0_f64.log10()).abs() < 1e-9);
    }

    #[test]
    fn names_players_that_cannot_be_rated() {
        let apart = [tally("a", "b", [1.0, 1.0, 0.0]), tally("c", "d", [1.0, 1.0, 0.0])];
        let Err(Error::Unbounded { players, .. }) = elo(&apart, "a", 1.0) else { panic!() };
        assert_eq!(players, ["c", "d"]);
        assert!(matches!(elo(&apart, "e", 0.0), Err(Error::UnknownAnchor(_))));
        assert!(matches!(elo(&[tally("a", "a", [1.0; 3])], "a", 0.0), Err(Error::SamePlayer(_))));
        for bad in [-1.0, f64::NAN, f64::INFINITY] {
            let result = elo(&[tally("a", "b", [1.0, bad, 0.0])], "a", 0.0);
            assert!(matches!(result, Err(Error::Number { name: "losses", .. })));
        }
    }

    #[test]
    fn a_simulated_league_is_found_again() {
        let truth = [("base", -120.0), ("sl", 0.0), ("rl", 90.0), ("rl_cot", 130.0)];
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut tallies = Vec::new();
        for (index, (first, strong)) in truth.iter().enumerate() {
            for (second, weak) in &truth[..index] {
                let expected = expected_score(*strong, *weak);
                let wins = (0..2_000).filter(|_| rng.random_bool(expected)).count() as f64;
                tallies.push(tally(first, second, [wins, 2_000.0 - wins, 0.0]));
            }
        }
        let ratings = elo(&tallies, "sl", 0.0).unwrap();
        assert_eq!(ratings[0].player, "rl_cot");
        for (player, truth) in truth {
            let found = rating(&ratings, player);
            // Twice the 95% interval, about four standard errors.
            let half = (found.high - found.elo).max(1e-9);
            assert!((found.elo - truth).abs() < 2.0 * half, "{found:?} should be {truth}");
            assert!(half < 15.0, "{found:?}");
        }
    }

    #[test]
    fn a_lopsided_league_settles() {
        let tallies = [
            tally("a", "b", [1e6, 1.0, 0.0]),
            tally("b", "c", [1e6, 1.0, 0.0]),
            tally("a", "c", [1.0, 0.0, 0.0]),
        ];
        let ratings = elo(&tallies, "c", 0.0).unwrap();
        assert!((ratings[1].elo - 2_400.0).abs() < 5.0, "{ratings:?}");
        assert!((ratings[0].elo - 4_800.0).abs() < 10.0, "{ratings:?}");
    }

    proptest! {
        #[test]
        fn agrees_with_the_oracle(
            scores in prop::collection::vec((0_u8..20, 0_u8..20, 0_u8..5), 6),
            anchor in 0_usize..4,
        ) {
            let names = ["a", "b", "c", "d"];
            let mut points = Array2::<f64>::zeros((4, 4));
            let mut tallies = Vec::new();
            let pairs = (0..4).flat_map(|one| (0..one).map(move |other| (one, other)));
            for ((one, other), (wins, losses, ties)) in pairs.zip(scores) {
                // One more of each keeps the maximum finite.
                let [wins, losses, ties] = [wins + 1, losses + 1, ties].map(f64::from);
                points[[one, other]] += wins + ties / 2.0;
                points[[other, one]] += losses + ties / 2.0;
                tallies.push(tally(names[one], names[other], [wins, losses, ties]));
            }
            let expected = oracle(&points, anchor);
            let ratings = elo(&tallies, names[anchor], 0.0).unwrap();
            for (name, expected) in names.iter().zip(&expected) {
                let found = rating(&ratings, name).elo;
                prop_assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
            }
        }
    }
}
