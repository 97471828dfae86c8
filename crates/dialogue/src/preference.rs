//! A judged pair of replies.

use crate::{Comparison, Dialogue, Message, Role};
use serde::{Deserialize, Serialize};

/// A pair of replies with the probability that the first is the better one.
///
/// People and models both produce it. On disk it is the conversational preference row that TRL reads (`prompt`,
/// `chosen`, `rejected` as lists of messages), with `probability` beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Row", into = "Row")]
pub struct Preference {
    /// What both replies answer.
    pub prompt: Dialogue,
    /// The reply that is more likely the better one.
    pub chosen: String,
    /// The other reply.
    pub rejected: String,
    /// Probability in \[0.5, 1\] that `chosen` is better: the soft label.
    pub probability: f64,
}

impl Preference {
    /// The preference that follows from the probability in \[0, 1\] that reply (A) is better; (A) is chosen at 0.5.
    pub fn from_comparison(comparison: Comparison, probability_a: f64) -> Self {
        let Comparison { prompt, replies: [a, b] } = comparison;
        if probability_a >= 0.5 {
            Self { prompt, chosen: a, rejected: b, probability: probability_a }
        } else {
            Self { prompt, chosen: b, rejected: a, probability: 1.0 - probability_a }
        }
    }

    /// The whole dialogue that ends in the chosen reply.
    pub fn chosen_dialogue(&self) -> Dialogue {
        self.prompt.clone().with_assistant(self.chosen.clone())
    }

    /// The whole dialogue that ends in the rejected reply.
    pub fn rejected_dialogue(&self) -> Dialogue {
        self.prompt.clone().with_assistant(self.rejected.clone())
    }
}

/// The row on disk.
#[derive(Serialize, Deserialize)]
struct Row {
    prompt: Dialogue,
    chosen: Vec<Message>,
    rejected: Vec<Message>,
    #[serde(default = "certain")]
    probability: f64,
}

/// A row without a soft label is a hard one.
fn certain() -> f64 {
    1.0
}

impl From<Preference> for Row {
    fn from(preference: Preference) -> Self {
        let reply = |text| vec![Message::new(Role::Assistant, text)];
        Self {
            prompt: preference.prompt,
            chosen: reply(preference.chosen),
            rejected: reply(preference.rejected),
            probability: preference.probability,
        }
    }
}

impl TryFrom<Row> for Preference {
    type Error = RowError;

    fn try_from(row: Row) -> Result<Self, RowError> {
        if !(0.0..=1.0).contains(&row.probability) {
            return Err(RowError::Probability(row.probability));
        }
        Ok(Self {
            prompt: row.prompt,
            chosen: only_reply(row.chosen, "chosen")?,
            rejected: only_reply(row.rejected, "rejected")?,
            probability: row.probability,
        })
    }
}

fn only_reply(messages: Vec<Message>, field: &'static str) -> Result<String, RowError> {
    match <[Message; 1]>::try_from(messages) {
        Ok([Message { role: Role::Assistant, content }]) => Ok(content),
        _ => Err(RowError::Reply(field)),
    }
}

/// Why a row is not a preference.
#[derive(Debug, thiserror::Error)]
enum RowError {
    #[error("`probability` is {0}, expected a number from 0 to 1")]
    Probability(f64),
    #[error("`{0}` must be a list that holds one assistant message")]
    Reply(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> Comparison {
        Comparison { prompt: Dialogue::from_user("q"), replies: ["a".to_owned(), "b".to_owned()] }
    }

    #[test]
    fn the_likelier_reply_is_chosen() {
        let preference = Preference::from_comparison(pair(), 0.25);
        assert_eq!(preference.chosen, "b");
        assert!((preference.probability - 0.75).abs() < 1e-12);
        assert_eq!(Preference::from_comparison(pair(), 0.5).chosen, "a");
    }

    #[test]
    fn survives_the_disk_and_names_a_bad_field() {
        let preference = Preference::from_comparison(pair(), 0.9);
        let json = serde_json::to_string(&preference).unwrap();
        assert_eq!(serde_json::from_str::<Preference>(&json).unwrap(), preference);
        let error = serde_json::from_str::<Preference>(
            r#"{"prompt":[],"chosen":[],"rejected":[{"role":"assistant","content":""}]}"#,
        )
        .unwrap_err();
        assert!(error.to_string().contains("`chosen`"), "{error}");
    }
}
