//! Comparisons of players, as files hold them.

use crate::{Error, Tally};
use dataset::Reading;
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;
use std::path::Path;

/// A comparison of two players, or the counts of several.
///
/// A row of a file is `{"first": "a", "second": "b", "winner": "first"}`, `"second"` or `"tie"`, or has some of `wins`,
/// `losses` and `ties`. Rows may name the `prompt` that was answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Row")]
pub struct Game {
    /// What both answered, in any words that tell it from others: games with one prompt are not independent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// One player.
    pub first: String,
    /// The other.
    pub second: String,
    /// Comparisons that the first won.
    #[serde(serialize_with = "count")]
    pub wins: f64,
    /// Comparisons that the second won.
    #[serde(serialize_with = "count")]
    pub losses: f64,
    /// Comparisons without a winner.
    #[serde(serialize_with = "count")]
    pub ties: f64,
}

/// The most comparisons there may be: 2^53, from which on an `f64` holds only every other whole number.
pub(crate) const MOST: f64 = 9_007_199_254_740_992.0;

/// What is said of more.
pub(crate) const AT_MOST: &str = "a number of at most 9007199254740992 (2^53)";

/// Writes a whole number as one.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde asks for it")]
fn count<S: Serializer>(count: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    match count.to_string().parse::<u64>() {
        Ok(whole) => serializer.serialize_u64(whole),
        Err(_) => serializer.serialize_f64(*count),
    }
}

/// Who won.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Winner {
    /// The first of the two.
    First,
    /// The second of the two.
    Second,
    /// Neither.
    Tie,
}

impl Game {
    /// One comparison.
    pub fn new(first: impl Into<String>, second: impl Into<String>, winner: Winner) -> Self {
        let [wins, losses, ties] = match winner {
            Winner::First => [1.0, 0.0, 0.0],
            Winner::Second => [0.0, 1.0, 0.0],
            Winner::Tie => [0.0, 0.0, 1.0],
        };
        Self { prompt: None, first: first.into(), second: second.into(), wins, losses, ties }
    }

    /// The same, with the prompt that was answered.
    #[must_use]
    pub fn about(mut self, prompt: impl Into<String>) -> Self {
        self.prompt = Some(prompt.into());
        self
    }

    /// Comparisons that it stands for.
    pub(crate) fn games(&self) -> f64 {
        self.wins + self.losses + self.ties
    }

    /// The players in alphabetical order, with the wins of the one, those of the other, and ties.
    pub(crate) fn sorted(&self) -> ([&str; 2], [f64; 3]) {
        if self.first <= self.second {
            ([&self.first, &self.second], [self.wins, self.losses, self.ties])
        } else {
            ([&self.second, &self.first], [self.losses, self.wins, self.ties])
        }
    }
}

/// What is a row.
const ACCEPTED: &str = concat!(
    r#"{"first": NAME, "second": NAME, "winner": "first", "second" or "tie"}, or "wins", "losses" and "ties" in the place "#,
    r#"of "winner", perhaps with "prompt""#,
);

/// Reads games from a file of any format that [`Reading`] reads.
///
/// # Errors
/// [`Error::Dataset`] for a file without a row, and names file, row and field of the first row that is no game;
/// [`Error::TooManyGames`] if all rows together have more comparisons than 2^53.
pub fn read_games(path: impl AsRef<Path>) -> Result<Vec<Game>, Error> {
    let path = path.as_ref();
    let games = Reading::default().records::<Game>(path, ACCEPTED)?;
    let games = games.collect::<Result<Vec<Game>, _>>()?;
    let found: f64 = games.iter().map(Game::games).sum();
    if found > MOST {
        return Err(Error::TooManyGames { path: path.to_owned(), found });
    }
    Ok(games)
}

/// One tally for each two that met, in alphabetical order.
pub fn tallies(games: &[Game]) -> Vec<Tally> {
    let mut met: BTreeMap<[&str; 2], [f64; 3]> = BTreeMap::new();
    for game in games {
        let (players, counts) = game.sorted();
        let total = met.entry(players).or_default();
        total.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
    }
    let tally = |([first, second], [wins, losses, ties]): ([&str; 2], [f64; 3])| Tally {
        first: first.to_owned(),
        second: second.to_owned(),
        wins,
        losses,
        ties,
    };
    met.into_iter().map(tally).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    prompt: Option<String>,
    first: String,
    second: String,
    winner: Option<Winner>,
    wins: Option<f64>,
    losses: Option<f64>,
    ties: Option<f64>,
}

/// Why a row is no game.
#[derive(Debug, thiserror::Error)]
enum RowError {
    #[error("expected either `winner` or some of `wins`, `losses` and `ties`")]
    Outcome,
    #[error("`first` and `second` are both {0:?}, expected two players")]
    Same(String),
    #[error("`{0}` is {1}, expected a finite number of at least 0")]
    Count(&'static str, f64),
    #[error("`{0}` is {1}, expected {most}", most = AT_MOST)]
    TooMany(&'static str, f64),
}

impl TryFrom<Row> for Game {
    type Error = RowError;

    fn try_from(row: Row) -> Result<Self, RowError> {
        let Row { prompt, first, second, winner, wins, losses, ties } = row;
        if first == second {
            return Err(RowError::Same(first));
        }
        let given = [("wins", wins), ("losses", losses), ("ties", ties)];
        for (name, count) in given {
            if let Some(count) = count.filter(|count| !(count.is_finite() && *count >= 0.0)) {
                return Err(RowError::Count(name, count));
            }
            if let Some(count) = count.filter(|count| *count > MOST) {
                return Err(RowError::TooMany(name, count));
            }
        }
        match (winner, given.iter().any(|(_, count)| count.is_some())) {
            (Some(winner), false) => Ok(Self { prompt, ..Self::new(first, second, winner) }),
            (None, true) => {
                let [wins, losses, ties] = given.map(|(_, count)| count.unwrap_or_default());
                Ok(Self { prompt, first, second, wins, losses, ties })
            }
            _ => Err(RowError::Outcome),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Game>, Error> {
        read_as("games.jsonl", text)
    }

    fn read_as(name: &str, text: &str) -> Result<Vec<Game>, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        read_games(path)
    }

    #[test]
    fn games_of_both_orders_are_one_tally() {
        let text = r#"{"first": "b", "second": "a", "winner": "first", "prompt": "q"}
            {"first": "a", "second": "b", "winner": "tie"}
            {"first": "a", "second": "b", "wins": 2, "losses": 0.5}"#;
        let games = read(text).unwrap();
        assert_eq!(games[0], Game::new("b", "a", Winner::First).about("q"));
        let expected = Tally {
            first: "a".to_owned(),
            second: "b".to_owned(),
            wins: 2.0,
            losses: 1.5,
            ties: 1.0,
        };
        assert_eq!(tallies(&games), [expected]);
        let again = serde_json::to_string(&games[2]).unwrap();
        let expected = r#"{"first":"a","second":"b","wins":2,"losses":0.5,"ties":0}"#;
        assert_eq!(again, expected);
        let again = serde_json::to_string(&games[0]).unwrap();
        assert_eq!(serde_json::from_str::<Game>(&again).unwrap(), games[0]);
    }

    #[test]
    fn a_table_holds_games_too() {
        let table = "first,second,winner,wins\n1,2,tie,\n1,2,,3\n";
        let games = read_as("games.csv", table).unwrap();
        assert_eq!(games[0], Game::new("1", "2", Winner::Tie));
        assert!((games[1].wins - 3.0).abs() < 1e-12 && games[1].ties.abs() < 1e-12);
        let message = read_as("games.csv", &table.replace(",3", ",many")).unwrap_err().to_string();
        assert!(message.contains("games.csv, line 3: `wins`"), "{message}");
    }

    #[test]
    fn a_row_that_is_no_game_is_named() {
        for (row, part) in [
            (r#"{"first": "a", "second": "b"}"#, "either `winner`"),
            (r#"{"first": "a", "second": "b", "winner": "tie", "wins": 1}"#, "either `winner`"),
            (r#"{"first": "a", "second": "a", "winner": "tie"}"#, "two players"),
            (r#"{"first": "a", "second": "b", "losses": -1}"#, "`losses` is -1"),
            (
                r#"{"first": "a", "second": "b", "wins": 9007199254740994}"#,
                "`wins` is 9007199254740994",
            ),
            (r#"{"first": "a", "second": "b", "ties": 1e300}"#, "at most 9007199254740992"),
            (r#"{"first": "a", "second": "b", "winner": "draw"}"#, "draw"),
            (r#"{"first": "a", "winner": "tie"}"#, "`second`"),
        ] {
            let message = read(&format!("\n{row}\n")).unwrap_err().to_string();
            assert!(message.contains("games.jsonl, line 2") && message.contains(part), "{message}");
        }
        let message = read("").unwrap_err().to_string();
        assert!(message.contains("games.jsonl") && message.contains("no row"), "{message}");
        let most = r#"{"first": "a", "second": "b", "wins": 9007199254740992}"#;
        assert!(read(most).is_ok());
        let message = read(&[most; 3].join("\n")).unwrap_err().to_string();
        assert!(message.contains("games.jsonl") && message.contains("2^53"), "{message}");
    }
}
