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
