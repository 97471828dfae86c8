//! Ratings from comparisons of pairs.

mod league;

use crate::Error;
use crate::rate::Z;
use league::{League, sigmoid};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::f64::consts::LN_10;

/// Elo points a unit of log-odds: 400 / ln 10.
const POINTS: f64 = 400.0 / LN_10;

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
    pub(crate) fn games(&self) -> f64 {
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
    let anchored = league.place(anchor)?;
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

/// Half the interval of every player, by its name, that the curvature of the likelihood of `tallies` gives at ratings that may be
/// those of others.
pub(crate) fn half_intervals(
    tallies: &[Tally],
    ratings: &[Rating],
    anchor: &str,
    prior_ties: f64,
) -> Result<BTreeMap<String, f64>, Error> {
    let league = League::new(tallies, prior_ties)?;
    let by_name: BTreeMap<&str, f64> =
        ratings.iter().map(|rating| (rating.player.as_str(), rating.elo)).collect();
    let log_odds = |player: &String| by_name.get(player.as_str()).map_or(0.0, |elo| elo / POINTS);
    let log_odds: Vec<f64> = league.players.iter().map(log_odds).collect();
    let variances = league.variances(&log_odds, league.place(anchor)?)?;
    let halves = variances.into_iter().map(|variance| Z * POINTS * variance.sqrt());
    Ok(league.players.into_iter().zip(halves).collect())
}

fn played(tallies: &[Tally], player: &str) -> f64 {
    tallies
        .iter()
        .filter(|tally| tally.first == player || tally.second == player)
        .map(Tally::games)
        .sum()
}

#[cfg(test)]
mod tests;
