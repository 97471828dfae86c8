//! The Bradley-Terry model of a league.

use super::Tally;
use crate::Error;
use crate::linear_system::inverse;
use std::collections::BTreeSet;

/// Newton steps before the fit gives up; it takes about five.
const STEPS: usize = 100;

/// Who scored how much against whom.
pub(super) struct League {
    /// The players in alphabetical order.
    pub(super) players: Vec<String>,
    /// `points[i][j]`: wins of `i` over `j`, and half their ties.
    points: Vec<Vec<f64>>,
}

impl League {
    pub(super) fn new(tallies: &[Tally], prior_ties: f64) -> Result<Self, Error> {
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

    /// The place of a player.
    pub(super) fn place(&self, player: &str) -> Result<usize, Error> {
        let place = self.players.iter().position(|name| name == player);
        place.ok_or_else(|| Error::UnknownAnchor(player.to_owned()))
    }

    /// Players that the anchor is not linked to by a chain of points in both directions.
    pub(super) fn unbounded(&self, anchor: usize) -> Vec<String> {
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
    pub(super) fn fit(&self, anchor: usize) -> Result<(Vec<f64>, Vec<f64>), Error> {
        let free = self.free(anchor);
        let mut log_odds = vec![0.0; self.players.len()];
        for _ in 0..STEPS {
            let Some(covariance) = inverse(&self.information(&log_odds, &free)) else { break };
            let gradient: Vec<f64> =
                free.iter().map(|&player| self.gradient(&log_odds, player)).collect();
            let step: Vec<f64> = covariance.iter().map(|row| dot(row, &gradient)).collect();
            log_odds = self.climb(&log_odds, &free, &step);
            // The error of the next point is about the square of this step, measured in standard errors.
            if dot(&step, &gradient) < 1e-12 {
                return Ok((log_odds, self.diagonal(&covariance, &free)));
            }
        }
        Err(Error::Unsettled(STEPS))
    }

    /// The variances of log-odds against the anchor that the curvature of the likelihood gives where they are `log_odds`.
    pub(super) fn variances(&self, log_odds: &[f64], anchor: usize) -> Result<Vec<f64>, Error> {
        let free = self.free(anchor);
        let covariance = inverse(&self.information(log_odds, &free));
        let covariance = covariance.ok_or(Error::Unsettled(STEPS))?;
        Ok(self.diagonal(&covariance, &free))
    }

    /// All players but the anchor.
    fn free(&self, anchor: usize) -> Vec<usize> {
        (0..self.players.len()).filter(|&player| player != anchor).collect()
    }

    /// The variance of every player; 0 for the anchor.
    fn diagonal(&self, covariance: &[Vec<f64>], free: &[usize]) -> Vec<f64> {
        let mut variances = vec![0.0; self.players.len()];
        for (index, &player) in free.iter().enumerate() {
            variances[player] = covariance[index][index];
        }
        variances
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

pub(super) fn sigmoid(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}

fn count(name: &'static str, found: f64) -> Result<(), Error> {
    if found.is_finite() && found >= 0.0 {
        return Ok(());
    }
    Err(Error::Number { name, found, expected: "a finite number of at least 0" })
}
