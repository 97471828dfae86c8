//! Intervals of ratings where samples drawn again cannot show that a result is chance.

use crate::clusters::{Cluster, effective_sample};
use crate::elo::half_intervals;
use crate::win_rate::clusters;
use crate::{Error, Game, Rating, Tally};

/// Makes the intervals at least those of the curvature, each end the further one of both, if the games of some two players were
/// alike at every prompt; names all such two. Otherwise the intervals stay as they are.
pub(crate) fn widen(
    ratings: &mut [Rating],
    games: &[Game],
    met: &[Tally],
    anchor: &str,
    prior_ties: f64,
) -> Result<Vec<[String; 2]>, Error> {
    let held: Vec<Vec<Cluster>> = met.iter().map(|tally| clusters(tally, games)).collect();
    let alike: Vec<[String; 2]> = met
        .iter()
        .zip(&held)
        .filter(|(_, clusters)| are_alike(clusters))
        .map(|(tally, _)| [tally.first.clone(), tally.second.clone()])
        .collect();
    if alike.is_empty() {
        return Ok(alike);
    }
    let independent: Vec<Tally> =
        met.iter().zip(&held).map(|(tally, clusters)| independent(tally, clusters)).collect();
    let halves = half_intervals(&independent, ratings, anchor, prior_ties)?;
    for rating in ratings {
        let half = halves.get(&rating.player).copied().unwrap_or_default();
        rating.low = rating.low.min(rating.elo - half);
        rating.high = rating.high.max(rating.elo + half);
    }
    Ok(alike)
}

/// True if two players had the same share of the points at every prompt, so that they have it in every sample, too.
fn are_alike(clusters: &[Cluster]) -> bool {
    let held = clusters.iter().filter(|one| one.copies > 0.0 && one.outcomes > 0.0);
    let mut shares = held.map(|one| (one.successes / one.outcomes).to_bits());
    shares.next().is_some_and(|first| shares.all(|share| share == first))
}

/// The tally of as many independent games as say as much: one a prompt where the games are alike, as nothing shows how alike those
/// of one prompt would be if they were not.
fn independent(tally: &Tally, clusters: &[Cluster]) -> Tally {
    let games = tally.games();
    if games <= 0.0 {
        return tally.clone();
    }
    let sample = if are_alike(clusters) {
        clusters.iter().map(|one| one.copies).sum::<f64>().min(games)
    } else {
        let share = ((tally.wins + tally.ties / 2.0) / games).clamp(0.0, 1.0);
        effective_sample(clusters, share, games)
    };
    let [wins, losses, ties] =
        [tally.wins, tally.losses, tally.ties].map(|count| count * sample / games);
    Tally { wins, losses, ties, ..tally.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bootstrapped, Winner, bootstrap_elo, elo, tallies};

    fn rated(games: &[Game], prior_ties: f64) -> Bootstrapped {
        bootstrap_elo(games, "b", prior_ties, 200, 1).unwrap()
    }

    fn curved(games: &[Game], prior_ties: f64) -> Vec<Rating> {
        elo(&tallies(games), "b", prior_ties).unwrap()
    }

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 0.01, "{found} is not {expected}");
    }

    #[test]
    fn a_clean_sweep_and_nothing_but_ties_have_the_interval_of_the_curvature() {
        for winner in [Winner::First, Winner::Second, Winner::Tie] {
            let games = vec![Game::new("a", "b", winner); 3];
            let found = rated(&games, 1.0);
            assert_eq!(found.alike, [["a", "b"].map(str::to_owned)]);
            for (found, expected) in found.ratings.iter().zip(&curved(&games, 1.0)) {
                assert_eq!(found.player, expected.player);
                close(found.low, expected.low);
                close(found.high, expected.high);
            }
            let other = found.ratings.iter().find(|rating| rating.player == "a").unwrap();
            assert!(other.high - other.low > 600.0, "{other:?}");
        }
    }

    #[test]
    fn games_of_a_prompt_that_are_alike_say_no_more_than_one() {
        let prompt = |prompt: usize| Game::new("a", "b", Winner::First).about(prompt.to_string());
        let once: Vec<Game> = (0..3).map(prompt).collect();
        let often: Vec<Game> = (0..60).map(|game| prompt(game % 3)).collect();
        let half = |rating: &Rating| rating.high - rating.elo;
        let found = rated(&often, 1.0);
        // 3 games and the tie in the place of 60 and the tie, where the rating is the same.
        let ratio = half(&found.ratings[0]) / half(&curved(&often, 1.0)[0]);
        close(ratio, (61.0_f64 / 4.0).sqrt());
        assert!(half(&found.ratings[0]) > half(&rated(&once, 1.0).ratings[0]));
    }

    #[test]
    fn one_prompt_alone_shows_no_spread() {
        let winners = [Winner::First, Winner::First, Winner::Second];
        let games = winners.map(|winner| Game::new("a", "b", winner).about("q"));
        let found = rated(&games, 0.0);
        assert_eq!(found.alike.len(), 1);
        // One game in the place of three.
        let widened = found.ratings[0].high - found.ratings[0].low;
        let curved = &curved(&games, 0.0)[0];
        close(widened, (curved.high - curved.low) * 3.0_f64.sqrt());
    }

    #[test]
    fn who_is_rated_through_others_is_no_more_certain_than_they_are() {
        let mut games = vec![Game::new("a", "b", Winner::First); 4];
        games.extend((0..40).map(|game| {
            Game::new("b", "c", if game % 4 == 0 { Winner::Second } else { Winner::First })
        }));
        let found = bootstrap_elo(&games, "c", 1.0, 200, 1).unwrap();
        assert_eq!(found.alike, [["a", "b"].map(str::to_owned)]);
        let curved = elo(&tallies(&games), "c", 1.0).unwrap();
        for (found, curved) in found.ratings.iter().zip(&curved) {
            assert!(
                found.low <= curved.low + 0.01 && found.high >= curved.high - 0.01,
                "{found:?}"
            );
        }
        let anchor = found.ratings.iter().find(|rating| rating.player == "c").unwrap();
        assert!(anchor.low.abs() < 1e-12 && anchor.high.abs() < 1e-12, "{anchor:?}");
    }

    #[test]
    fn games_that_differ_between_prompts_leave_intervals_as_they_are() {
        let games = [Winner::First, Winner::Second, Winner::First]
            .map(|winner| Game::new("a", "b", winner));
        let met = tallies(&games);
        let mut ratings = elo(&met, "b", 0.0).unwrap();
        ratings[0].low = ratings[0].elo;
        let before = ratings.clone();
        assert!(widen(&mut ratings, &games, &met, "b", 0.0).unwrap().is_empty());
        assert_eq!(ratings, before);
    }
}
