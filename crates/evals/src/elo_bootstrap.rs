//! Intervals of ratings from games drawn again.

use crate::bootstrap::{check_replicates, interval, replicate_seed};
use crate::elo_alike::widen;
use crate::game::{AT_MOST, MOST};
use crate::{Error, Game, Rating, Tally, elo, tallies};
use language_model::stream;
use rand::Rng;
use rand_distr::{Binomial, Distribution};
use std::collections::BTreeMap;

/// Ratings whose intervals come from samples drawn again.
#[derive(Debug, Clone, PartialEq)]
pub struct Bootstrapped {
    /// The ratings, highest first.
    pub ratings: Vec<Rating>,
    /// Samples in which somebody won all or lost all, so that no finite rating is the most likely one. They were fitted
    /// with a tie more between every two that met.
    pub tied: usize,
    /// Every two that had the same share of the points at every prompt where they met. If there are any, all intervals are at least
    /// those of the curvature.
    pub alike: Vec<[String; 2]>,
}

/// As [`elo`], with intervals from the 2.5% to the 97.5% quantile of the ratings of `replicates` samples.
///
/// What is drawn with replacement are prompts, each with all of its games, since games with the same prompt go the same way
/// more often than others; every game without a prompt is drawn alone. A sample has as many prompts as there are, and its
/// stream is named by `seed` and its number. The anchor stays at 0 in every sample.
///
/// Two players who had the same share of the points at every prompt, since one won everything, say, or all games were ties or have
/// one prompt, have it in every sample. That it might have been another is then not to be seen in samples: with two players the
/// interval would be a point, however few games there are. The likelihood does say how well such a share is known. So if there are
/// such two, each end of every interval is that of the samples or that of the curvature at the ratings, whichever is further away:
/// the ratings of all hang together, and an interval is rather too wide than too narrow. In the curvature two players count as
/// many games as the effective sample of [`rate_by_prompt`](crate::rate_by_prompt), which is one a prompt where all are alike.
///
/// # Errors
/// Those of [`elo`], [`Error::Setting`] for fewer samples than [`FEWEST_REPLICATES`](crate::FEWEST_REPLICATES), and
/// [`Error::Number`] for more comparisons than 2^53.
///
/// # References
/// Efron (1979), "Bootstrap methods: another look at the jackknife", Annals of Statistics 7; Field and Welsh (2007),
/// "Bootstrapping clustered data", JRSS B 69, for the drawing of whole clusters.
pub fn bootstrap_elo(
    games: &[Game],
    anchor: &str,
    prior_ties: f64,
    replicates: usize,
    seed: u64,
) -> Result<Bootstrapped, Error> {
    check_replicates(replicates)?;
    let found: f64 = games.iter().map(Game::games).sum();
    if found > MOST {
        return Err(Error::Number { name: "comparisons", found, expected: AT_MOST });
    }
    let met = tallies(games);
    let mut ratings = elo(&met, anchor, prior_ties)?;
    let clusters = clusters(games, &met);
    let mut drawn: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let mut tied = 0;
    for index in 0..replicates {
        let mut rng = stream(replicate_seed(seed, "elo", index));
        let sample = draw(&clusters, &met, &mut rng)?;
        let found = match elo(&sample, anchor, prior_ties) {
            Err(Error::Unbounded { .. } | Error::Unsettled(_)) => {
                tied += 1;
                elo(&with_a_tie(sample), anchor, prior_ties)?
            }
            found => found?,
        };
        for rating in found {
            drawn.entry(rating.player).or_default().push(rating.elo);
        }
    }
    for rating in &mut ratings {
        let values = drawn.remove(&rating.player).unwrap_or_else(|| vec![rating.elo]);
        [rating.low, rating.high] = interval(values);
    }
    let alike = widen(&mut ratings, games, &met, anchor, prior_ties)?;
    Ok(Bootstrapped { ratings, tied, alike })
}

/// Games that are drawn together, and how many clusters like this there are.
struct Cluster {
    /// Places among the tallies, with what is added to wins, losses and ties.
    games: Vec<(usize, [f64; 3])>,
    copies: u64,
}

/// The clusters in an order that does not depend on that of the games.
fn clusters(games: &[Game], met: &[Tally]) -> Vec<Cluster> {
    let mut by_prompt: BTreeMap<&str, BTreeMap<usize, [f64; 3]>> = BTreeMap::new();
    let mut alone: BTreeMap<usize, [f64; 3]> = BTreeMap::new();
    for game in games {
        let (players, counts) = game.sorted();
        let place =
            met.partition_point(|tally| [tally.first.as_str(), tally.second.as_str()] < players);
        let together = match &game.prompt {
            Some(prompt) => by_prompt.entry(prompt).or_default(),
            None => &mut alone,
        };
        let total = together.entry(place).or_default();
        total.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
    }
    let prompts = by_prompt
        .into_values()
        .map(|games| Cluster { games: games.into_iter().collect(), copies: 1 });
    let alone = alone.into_iter().flat_map(|(place, counts)| {
        (0..3).flat_map(move |outcome| single_games(place, outcome, counts[outcome]))
    });
    prompts.chain(alone).collect()
}

/// `count` games with one outcome: as many whole ones as there are, and the rest of one.
fn single_games(place: usize, outcome: usize, count: f64) -> impl Iterator<Item = Cluster> {
    let cluster = move |weight: f64, copies: u64| {
        let mut counts = [0.0; 3];
        counts[outcome] = weight;
        Cluster { games: vec![(place, counts)], copies }
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count is finite, at least 0 and at most 2^53"
    )]
    let whole = count.floor() as u64;
    let rest = count.fract();
    let whole = (whole > 0).then(|| cluster(1.0, whole));
    whole.into_iter().chain((rest > 0.0).then(|| cluster(rest, 1)))
}

/// The tallies of as many clusters as there are, drawn with replacement.
///
/// How often each is drawn is multinomial: one binomial number after the other.
fn draw(clusters: &[Cluster], met: &[Tally], rng: &mut impl Rng) -> Result<Vec<Tally>, Error> {
    let mut sample: Vec<Tally> = met
        .iter()
        .map(|tally| Tally { wins: 0.0, losses: 0.0, ties: 0.0, ..tally.clone() })
        .collect();
    let mut left = clusters.iter().fold(0_u64, |sum, one| sum.saturating_add(one.copies));
    let mut to_draw = left;
    for Cluster { games, copies } in clusters {
        let share = if *copies >= left { 1.0 } else { *copies as f64 / left as f64 };
        let times = Binomial::new(to_draw, share).map_err(|_| Error::Number {
            name: "share of a cluster",
            found: share,
            expected: "a number from 0 to 1",
        })?;
        let times = times.sample(rng);
        (left, to_draw) = (left.saturating_sub(*copies), to_draw - times);
        for (place, counts) in games {
            let Tally { wins, losses, ties, .. } = &mut sample[*place];
            for (total, count) in [wins, losses, ties].into_iter().zip(counts) {
                *total += count * times as f64;
            }
        }
    }
    Ok(sample)
}

/// A tie more between every two that met.
fn with_a_tie(mut sample: Vec<Tally>) -> Vec<Tally> {
    for tally in &mut sample {
        tally.ties += 1.0;
    }
    sample
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Winner, expected_score};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    /// Games of a league with planted ratings, one for every prompt and every two players; a fifth are ties.
    fn season(truth: &[(&str, f64)], prompts: usize, seed: u64) -> Vec<Game> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut games = Vec::new();
        for prompt in 0..prompts {
            for (index, (first, strong)) in truth.iter().enumerate() {
                for (second, weak) in &truth[..index] {
                    let expected = expected_score(*strong, *weak);
                    // A tie takes as much from both, so that the expected points stay.
                    let tie = 0.4 * expected.min(1.0 - expected);
                    let drawn: f64 = rng.random();
                    let winner = match drawn {
                        drawn if drawn < tie => Winner::Tie,
                        drawn if drawn < expected + tie / 2.0 => Winner::First,
                        _ => Winner::Second,
                    };
                    games.push(Game::new(*first, *second, winner).about(prompt.to_string()));
                }
            }
        }
        games
    }

    fn rating<'a>(ratings: &'a [Rating], player: &str) -> &'a Rating {
        ratings.iter().find(|rating| rating.player == player).unwrap()
    }

    #[test]
    fn planted_ratings_lie_in_their_intervals() {
        let truth = [("base", -150.0), ("sl", 0.0), ("rl", 80.0), ("rl_cot", 140.0)];
        let mut inside = 0;
        for seed in 0..10 {
            let games = season(&truth, 150, seed);
            let found = bootstrap_elo(&games, "sl", 0.0, 100, 1).unwrap();
            assert!(found.tied == 0 && found.alike.is_empty(), "{found:?}");
            for (player, truth) in truth.iter().filter(|(player, _)| *player != "sl") {
                let Rating { elo, low, high, .. } = rating(&found.ratings, player);
                assert!((elo - truth).abs() < 110.0, "{player}: {elo} should be {truth}");
                assert!(high - low > 40.0 && high - low < 160.0, "{player}: {low} to {high}");
                inside += usize::from((low..=high).contains(&truth));
            }
        }
        // 28.5 of 30 on average.
        assert!(inside >= 25, "{inside} of 30");
    }

    #[test]
    fn intervals_agree_with_the_curvature_where_games_are_independent() {
        let games: Vec<Game> = season(&[("a", 0.0), ("b", 60.0), ("c", 120.0)], 400, 5)
            .into_iter()
            .map(|game| Game { prompt: None, ..game })
            .filter(|game| game.ties < 0.5)
            .collect();
        let curved = elo(&tallies(&games), "a", 0.0).unwrap();
        let drawn = bootstrap_elo(&games, "a", 0.0, 1000, 1).unwrap().ratings;
        for expected in curved.iter().filter(|rating| rating.player != "a") {
            let found = rating(&drawn, &expected.player);
            assert!((found.elo - expected.elo).abs() < 1e-12);
            let ratio = (found.high - found.low) / (expected.high - expected.low);
            assert!((0.9..1.1).contains(&ratio), "{found:?} {expected:?}");
        }
        let anchor = rating(&drawn, "a");
        assert_eq!([anchor.low, anchor.high].map(f64::to_bits), [0.0_f64.to_bits(); 2]);
    }

    #[test]
    fn games_with_one_prompt_are_drawn_together() {
        // Each prompt has 20 games that all go the same way: 20 games are worth one.
        let mut games = Vec::new();
        for prompt in 0..40 {
            let winner = if prompt % 4 == 0 { Winner::Second } else { Winner::First };
            let game = Game::new("a", "b", winner).about(prompt.to_string());
            games.extend(std::iter::repeat_n(game, 20));
        }
        let width = |games: &[Game]| {
            let found = bootstrap_elo(games, "b", 0.0, 400, 1).unwrap();
            let best = rating(&found.ratings, "a");
            best.high - best.low
        };
        let together = width(&games);
        let alone: Vec<Game> =
            games.into_iter().map(|game| Game { prompt: None, ..game }).collect();
        let ratio = together / width(&alone);
        // The root of 20.
        assert!((3.6..5.4).contains(&ratio), "{ratio}");
    }

    #[test]
    fn counts_are_as_many_games_and_order_does_not_matter() {
        let single = |winner, count| std::iter::repeat_n(Game::new("a", "b", winner), count);
        let games: Vec<Game> = single(Winner::First, 12).chain(single(Winner::Second, 5)).collect();
        let counted = Game { wins: 12.0, losses: 5.0, ..games[0].clone() };
        let expected = bootstrap_elo(&games, "b", 0.0, 50, 1).unwrap();
        assert_eq!(bootstrap_elo(&[counted], "b", 0.0, 50, 1).unwrap(), expected);
        let reversed: Vec<Game> = games.into_iter().rev().collect();
        assert_eq!(bootstrap_elo(&reversed, "b", 0.0, 50, 1).unwrap(), expected);
        assert_ne!(bootstrap_elo(&reversed, "b", 0.0, 50, 2).unwrap(), expected);
    }

    #[test]
    fn a_sample_without_a_finite_rating_gets_ties() {
        let games = [
            Game::new("a", "b", Winner::First),
            Game::new("a", "b", Winner::First),
            Game::new("a", "b", Winner::Second),
        ];
        let found = bootstrap_elo(&games, "b", 0.0, 200, 1).unwrap();
        // All three go the same way with probability 8/27 + 1/27.
        assert!((40..95).contains(&found.tied), "{}", found.tied);
        let best = rating(&found.ratings, "a");
        assert!(best.low.is_finite() && best.low < best.elo && best.high > best.elo, "{best:?}");
        assert!(matches!(bootstrap_elo(&games, "b", 0.0, 39, 1), Err(Error::Setting { .. })));
        let sweep = [Game::new("a", "b", Winner::First)];
        assert!(matches!(bootstrap_elo(&sweep, "b", 0.0, 40, 1), Err(Error::Unbounded { .. })));
    }

    #[test]
    fn counts_that_cannot_be_told_apart_are_refused() {
        let game = |wins| Game { wins, losses: 2e15, ..Game::new("a", "b", Winner::First) };
        let large = bootstrap_elo(&[game(4e15)], "b", 0.0, 40, 1).unwrap();
        let best = rating(&large.ratings, "a");
        // Two to one: 400 log10(2), by so many games that nothing is left to chance.
        for end in [best.low, best.elo, best.high] {
            assert!((end - 120.411_998).abs() < 1e-3, "{best:?}");
        }
        let error = bootstrap_elo(&[game(8e15), game(8e15)], "b", 0.0, 40, 1).unwrap_err();
        assert!(matches!(error, Error::Number { name: "comparisons", .. }), "{error}");
    }
}
