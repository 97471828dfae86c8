//! Replies of several models, judged two by two.

use crate::{Error, Game, Winner};
use dialogue::{Comparison, Dialogue};
use std::collections::BTreeMap;

/// Replies that were judged two by two.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// The games.
    pub games: Vec<Game>,
    /// Games that were not held, since the judge refused to compare the replies in one order or both.
    pub refused: usize,
    /// Games that were not held, since one player or both have no reply.
    pub unanswered: usize,
}

/// Compares the replies of every two players to every prompt, in both orders.
///
/// `replies` holds a list for every player, one reply a prompt, none to one that was refused. `judge` gives the probability that the reply shown first is
/// the better one, for every comparison it is handed, or none where it refuses; all of them are one call. The reply that wins is the one that both
/// orders prefer, each with a probability further than `margin` above one half; everything else is a tie, so that a judge who
/// goes by the place of a reply makes ties and not wins. Two equal replies tie without being shown.
///
/// Games carry [`Dialogue::id`] of their prompt. They come two players after two players in alphabetical order, prompt after
/// prompt.
///
/// # Errors
/// Those of the judge; [`Error::Setting`] if `margin` is not from 0 to below one half, [`Error::PlayerReplies`],
/// [`Error::Nothing`] for fewer than two players or no prompt, [`Error::AllRefused`], and [`Error::Count`] or [`Error::Number`] if the judge gives no
/// probability each.
///
/// # References
/// Zheng et al. (2023), arXiv 2306.05685, section 3.4: both orders, and a tie where they disagree.
pub fn judge_pairwise<E: From<Error>>(
    replies: &BTreeMap<String, Vec<Option<String>>>,
    prompts: &[Dialogue],
    margin: f64,
    judge: impl FnOnce(&[Comparison]) -> Result<Vec<Option<f64>>, E>,
) -> Result<Judged, E> {
    check(replies, prompts, margin)?;
    let players: Vec<(&String, &Vec<Option<String>>)> = replies.iter().collect();
    let mut unanswered = 0;
    let mut games = Vec::new();
    let mut asked = Vec::new();
    let mut shown = Vec::new();
    for (index, (first, one)) in players.iter().enumerate() {
        for (second, other) in &players[index + 1..] {
            for ((prompt, one), other) in prompts.iter().zip(*one).zip(*other) {
                let (Some(one), Some(other)) = (one, other) else {
                    unanswered += 1;
                    continue;
                };
                if one != other {
                    let replies = [one.clone(), other.clone()];
                    let pair = Comparison { prompt: prompt.clone(), replies };
                    asked.push(games.len());
                    shown.extend([pair.clone(), pair.swapped()]);
                }
                games.push(Some(Game::new(*first, *second, Winner::Tie).about(prompt.id())));
            }
        }
    }
    let probabilities = if shown.is_empty() { Vec::new() } else { judge(&shown)? };
    let (expected, found) = (shown.len(), probabilities.len());
    if found != expected {
        return Err(Error::Count { what: "judgements", expected, found }.into());
    }
    for (place, orders) in asked.into_iter().zip(probabilities.chunks_exact(2)) {
        let Some(game) = games[place].take() else { continue };
        if let [Some(as_they_stand), Some(exchanged)] = *orders {
            let winner = winner([as_they_stand, exchanged], margin)?;
            let Game { first, second, prompt, .. } = game;
            games[place] = Some(Game { prompt, ..Game::new(first, second, winner) });
        }
    }
    let all = games.len();
    let games: Vec<Game> = games.into_iter().flatten().collect();
    if games.is_empty() {
        return Err(Error::AllRefused("game").into());
    }
    Ok(Judged { refused: all - games.len(), unanswered, games })
}

fn check(
    replies: &BTreeMap<String, Vec<Option<String>>>,
    prompts: &[Dialogue],
    margin: f64,
) -> Result<(), Error> {
    if !(0.0..0.5).contains(&margin) {
        let (setting, found) = ("margin", margin.to_string());
        let expected = "a number of at least 0 and below 0.5";
        return Err(Error::Setting { setting, found, expected });
    }
    if replies.len() < 2 {
        return Err(Error::Nothing("two models"));
    }
    if prompts.is_empty() {
        return Err(Error::Nothing("prompt"));
    }
    match replies.iter().find(|(_, replies)| replies.len() != prompts.len()) {
        Some((player, replies)) => Err(Error::PlayerReplies {
            player: player.clone(),
            expected: prompts.len(),
            found: replies.len(),
        }),
        None => Ok(()),
    }
}

/// Who wins by the probability of the reply shown first, as the replies stand and exchanged.
fn winner([as_they_stand, exchanged]: [f64; 2], margin: f64) -> Result<Winner, Error> {
    for found in [as_they_stand, exchanged] {
        if !(0.0..=1.0).contains(&found) {
            let (name, expected) = ("probability", "a number from 0 to 1");
            return Err(Error::Number { name, found, expected });
        }
    }
    let (above, below) = (0.5 + margin, 0.5 - margin);
    Ok(if as_they_stand > above && exchanged < below {
        Winner::First
    } else if as_they_stand < below && exchanged > above {
        Winner::Second
    } else {
        Winner::Tie
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bootstrap_elo, expected_score, tallies};
    use language_model::{item_seed, stream};
    use rand::Rng;

    /// Replies by player; "-" stands for none.
    fn replies(of: &[(&str, &[&str])]) -> BTreeMap<String, Vec<Option<String>>> {
        let reply = |&text: &&str| (text != "-").then(|| text.to_owned());
        let texts = |texts: &[&str]| texts.iter().map(reply).collect();
        of.iter().map(|(player, list)| ((*player).to_owned(), texts(list))).collect()
    }

    fn prompts(count: usize) -> Vec<Dialogue> {
        (0..count).map(|index| Dialogue::from_user(index.to_string())).collect()
    }

    fn longer(pair: &Comparison) -> f64 {
        let [first, second] = pair.replies.each_ref().map(|reply| reply.len() as f64);
        first / (first + second)
    }

    #[test]
    fn both_orders_must_agree() {
        for (orders, margin, expected) in [
            ([0.9, 0.2], 0.0, Winner::First),
            ([0.4, 0.6], 0.0, Winner::Second),
            ([0.9, 0.9], 0.0, Winner::Tie),
            ([0.1, 0.1], 0.0, Winner::Tie),
            ([0.5, 0.1], 0.0, Winner::Tie),
            ([0.9, 0.4], 0.2, Winner::Tie),
            ([0.9, 0.2], 0.2, Winner::First),
        ] {
            assert_eq!(winner(orders, margin).unwrap(), expected, "{orders:?}");
        }
        assert!(winner([f64::NAN, 0.5], 0.0).is_err() && winner([0.5, 1.1], 0.0).is_err());
    }

    #[test]
    fn every_two_meet_at_every_prompt() {
        let replies = replies(&[("c", &["xxx", "x"]), ("a", &["x", "xx"]), ("b", &["x", "xxx"])]);
        let prompts = prompts(2);
        let judge = |pairs: &[Comparison]| {
            // Six games, of which one is between equal replies.
            assert_eq!(pairs.len(), 10);
            Ok::<_, Error>(pairs.iter().map(longer).map(Some).collect())
        };
        let Judged { games, refused, unanswered } =
            judge_pairwise(&replies, &prompts, 0.0, judge).unwrap();
        assert_eq!((refused, unanswered), (0, 0));
        let expected = [
            ("a", "b", Winner::Tie, 0),
            ("a", "b", Winner::Second, 1),
            ("a", "c", Winner::Second, 0),
            ("a", "c", Winner::First, 1),
            ("b", "c", Winner::Second, 0),
            ("b", "c", Winner::First, 1),
        ];
        let expected = expected.map(|(first, second, winner, prompt)| {
            Game::new(first, second, winner).about(prompts[prompt].id())
        });
        assert_eq!(games, expected);
    }

    #[test]
    fn a_judge_who_goes_by_place_makes_ties() {
        let replies = replies(&[("a", &["x"]), ("b", &["y"])]);
        let judge = |pairs: &[Comparison]| Ok::<_, Error>(vec![Some(0.9); pairs.len()]);
        let games = judge_pairwise(&replies, &prompts(1), 0.0, judge).unwrap().games;
        assert!((games[0].ties - 1.0).abs() < 1e-12);
    }

    #[test]
    fn planted_ratings_are_found_through_a_judge() {
        let truth = [("base", -200.0), ("sl", 0.0), ("rl", 120.0)];
        let (prompts, players) = (prompts(1500), truth.map(|(player, _)| player.to_owned()));
        let own = players.clone().map(|player| (player.clone(), vec![Some(player); prompts.len()]));
        let elo_of = |player: &str| truth.iter().find(|(name, _)| *name == player).unwrap().1;
        // Prefers by chance as the ratings say, the same in both orders, and leans to the reply shown first.
        let judge = |pairs: &[Comparison]| {
            let verdict = |pair: &Comparison| {
                let mut names = pair.replies.clone();
                names.sort();
                let seed = item_seed(1, &[&pair.prompt.id(), &names[0], &names[1]]);
                let expected = expected_score(elo_of(&names[0]), elo_of(&names[1]));
                let wins = stream(seed).random_bool(expected);
                let leaning = if wins == (names == pair.replies) { 0.3 } else { -0.3 };
                0.5 + leaning + 0.1
            };
            Ok::<_, Error>(pairs.iter().map(verdict).map(Some).collect())
        };
        let games = judge_pairwise(&own.into(), &prompts, 0.0, judge).unwrap().games;
        assert!(tallies(&games).iter().all(|tally| tally.ties < 0.5));
        let found = bootstrap_elo(&games, "sl", 0.0, 50, 1).unwrap();
        for rating in found.ratings {
            let truth = elo_of(&rating.player);
            assert!((rating.elo - truth).abs() < 30.0, "{rating:?} should be {truth}");
        }
    }

    #[test]
    fn a_game_that_is_refused_in_one_order_is_not_held() {
        let three = replies(&[("a", &["x", "bad", "x"]), ("b", &["yy", "y", "x"])]);
        let verdict = |pair: &Comparison| (pair.replies[0] != "bad").then(|| longer(pair));
        let judge = |pairs: &[Comparison]| Ok::<_, Error>(pairs.iter().map(verdict).collect());
        let prompts = prompts(3);
        let Judged { games, refused, .. } = judge_pairwise(&three, &prompts, 0.0, judge).unwrap();
        let game = |winner, prompt: usize| Game::new("a", "b", winner).about(prompts[prompt].id());
        assert_eq!(games, [game(Winner::Second, 0), game(Winner::Tie, 2)]);
        assert_eq!(refused, 1);
        let nothing = |pairs: &[Comparison]| Ok::<_, Error>(vec![None; pairs.len()]);
        let two = replies(&[("a", &["x"]), ("b", &["y"])]);
        let error = judge_pairwise(&two, &prompts[..1], 0.0, nothing).unwrap_err();
        assert!(matches!(error, Error::AllRefused(_)), "{error}");
    }

    #[test]
    fn a_prompt_that_a_player_was_refused_is_no_game_of_it() {
        let three = replies(&[("a", &["xx", "-"]), ("b", &["x", "x"]), ("c", &["x", "xx"])]);
        let prompts = prompts(2);
        let judge = |pairs: &[Comparison]| {
            Ok::<_, Error>(pairs.iter().map(longer).map(Some).collect::<Vec<_>>())
        };
        let found = judge_pairwise(&three, &prompts, 0.0, judge).unwrap();
        assert_eq!((found.unanswered, found.refused, found.games.len()), (2, 0, 4));
        let silent = replies(&[("a", &["-"]), ("b", &["x"])]);
        let none = judge_pairwise(&silent, &prompts[..1], 0.0, judge);
        assert!(matches!(none, Err(Error::AllRefused(_))), "{none:?}");
    }

    #[test]
    fn what_cannot_be_judged_is_refused() {
        let judge = |pairs: &[Comparison]| Ok::<_, Error>(vec![Some(0.5); pairs.len() - 1]);
        let two = replies(&[("a", &["x"]), ("b", &["y"])]);
        let message = |replies: &BTreeMap<_, _>, count, margin| {
            judge_pairwise(replies, &prompts(count), margin, judge).unwrap_err().to_string()
        };
        assert!(message(&two, 1, 0.0).contains("1 judgements where 2"));
        assert!(message(&two, 2, 0.0).contains("a has 1 replies to 2 prompts"));
        assert!(message(&two, 1, 0.5).contains("`margin` is 0.5"));
        assert!(message(&replies(&[("a", &["x"])]), 1, 0.0).contains("no two models"));
        assert!(message(&replies(&[("a", &[]), ("b", &[])]), 0, 0.0).contains("no prompt"));
    }
}
