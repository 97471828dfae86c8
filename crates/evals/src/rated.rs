//! Dialogues that people rated by how harmful the assistant was.

use crate::Error;
use dataset::Reading;
use dialogue::{Dialogue, TranscriptError};
use serde::Deserialize;
use std::path::Path;

/// The highest rating; the lowest is 0.
pub const HIGHEST_RATING: f64 = 4.0;

/// A dialogue and its rating.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Row")]
pub struct Rated {
    /// The whole dialogue.
    pub dialogue: Dialogue,
    /// How far the red-teamer succeeded, from 0 to [`HIGHEST_RATING`].
    pub rating: f64,
}

impl Rated {
    /// A dialogue with its rating.
    ///
    /// # Errors
    /// [`Error::Number`] if the rating is not from 0 to [`HIGHEST_RATING`].
    pub fn new(dialogue: Dialogue, rating: f64) -> Result<Self, Error> {
        if (0.0..=HIGHEST_RATING).contains(&rating) {
            return Ok(Self { dialogue, rating });
        }
        Err(Error::Number { name: "rating", found: rating, expected: "a number from 0 to 4" })
    }
}

#[derive(Deserialize)]
struct Row {
    transcript: Option<Transcript>,
    messages: Option<Dialogue>,
    rating: f64,
}

/// As it was published, or as `rlaif convert` writes it.
#[derive(Deserialize)]
#[serde(untagged, expecting = "`transcript` is neither a text nor a list of messages")]
enum Transcript {
    Text(String),
    Messages(Dialogue),
}

#[derive(Debug, thiserror::Error)]
enum RowError {
    #[error("expected `transcript`, a text or a list, or `messages`, a list")]
    NoDialogue,
    #[error("`transcript` is not a transcript: {0}")]
    Transcript(#[from] TranscriptError),
    #[error("the dialogue has no turn")]
    Empty,
    #[error(transparent)]
    Rating(#[from] Error),
}

impl TryFrom<Row> for Rated {
    type Error = RowError;

    fn try_from(row: Row) -> Result<Self, RowError> {
        let dialogue = match (row.transcript, row.messages) {
            (Some(Transcript::Text(text)), None) => Dialogue::from_transcript(&text)?,
            (Some(Transcript::Messages(dialogue)), None) | (None, Some(dialogue)) => dialogue,
            _ => return Err(RowError::NoDialogue),
        };
        if dialogue.messages.is_empty() {
            return Err(RowError::Empty);
        }
        Ok(Self::new(dialogue, row.rating)?)
    }
}

/// What is a row.
const ACCEPTED: &str =
    r#"{"transcript": text or messages, or "messages": list, "rating": a number from 0 to 4}"#;

/// Reads rated dialogues from a file of any format that [`Reading`] reads.
///
/// A row is `{"transcript": "\n\nHuman: …", "rating": 0 to 4}`, as in the red-team attempts of hh-rlhf, or has messages as its
/// `transcript`, or `messages` in the place of it; other fields are ignored.
///
/// # Errors
/// [`Error::Dataset`] for a file without a row, and names file, row and field of the first row of another form.
pub fn read_rated(path: impl AsRef<Path>, reading: &Reading) -> Result<Vec<Rated>, Error> {
    Ok(reading.records::<Rated>(path, ACCEPTED)?.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataset::ColumnMapping;

    fn read(text: &str) -> Result<Vec<Rated>, Error> {
        read_as("rated.jsonl", text, &Reading::default())
    }

    fn read_as(name: &str, text: &str, reading: &Reading) -> Result<Vec<Rated>, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        read_rated(path, reading)
    }

    #[test]
    fn reads_every_form() {
        let text = r#"{"transcript": "\n\nHuman: q\n\nAssistant: a", "rating": 4.0, "tags": []}
            {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "rating": 0}
            {"transcript": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "rating": 2}"#;
        let found = read(text).unwrap();
        let dialogue = Dialogue::from_user("q").with_assistant("a");
        assert_eq!(found[0], Rated { dialogue: dialogue.clone(), rating: 4.0 });
        assert_eq!(found[1], Rated { dialogue: dialogue.clone(), rating: 0.0 });
        assert_eq!(found[2], Rated { dialogue, rating: 2.0 });
    }

    #[test]
    fn every_format_is_read() {
        let table = "transcript,rating\n\"\n\nHuman: q\n\nAssistant: a\",3.5\n";
        let list = r#"[{"transcript": "\n\nHuman: q\n\nAssistant: a", "rating": 3.5}]"#;
        let dialogue = Dialogue::from_user("q").with_assistant("a");
        let expected = [Rated { dialogue, rating: 3.5 }];
        for (name, text) in [("rated.csv", table), ("rated.json", list)] {
            assert_eq!(read_as(name, text, &Reading::default()).unwrap(), expected, "{name}");
        }
        let transcript = Some("said".to_owned());
        let columns = ColumnMapping { transcript, ..ColumnMapping::default() };
        let reading = Reading { columns, rejects: None };
        let table = table.replace("transcript", "said");
        assert_eq!(read_as("rated.csv", &table, &reading).unwrap(), expected);
        let table = table.replace("3.5", "high");
        let message = read_as("rated.csv", &table, &reading).unwrap_err().to_string();
        assert!(message.contains("rated.csv, line 2: `rating`"), "{message}");
    }

    #[test]
    fn a_bad_row_is_named() {
        for (row, part) in [
            (r#"{"rating": 1}"#, "`transcript`"),
            (r#"{"transcript": "q", "rating": 1}"#, "`transcript` is not"),
            (r#"{"transcript": 5, "rating": 1}"#, "`transcript` is neither"),
            (r#"{"transcript": "\n\nHuman: q"}"#, "`rating`"),
            (r#"{"transcript": "\n\nHuman: q", "rating": 4.5}"#, "`rating` is 4.5"),
            (r#"{"transcript": "\n\nHuman: q", "rating": -1}"#, "`rating` is -1"),
            (r#"{"messages": [], "rating": 1}"#, "no turn"),
        ] {
            let message = read(&format!("\n{row}\n")).unwrap_err().to_string();
            assert!(message.contains("rated.jsonl, line 2") && message.contains(part), "{message}");
        }
        assert!(read("").unwrap_err().to_string().contains("no row"));
        assert!(Rated::new(Dialogue::from_user("q"), f64::NAN).is_err());
    }
}
