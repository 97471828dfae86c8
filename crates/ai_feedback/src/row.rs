//! A label on disk.

use crate::{Answer, Label, PrincipleLabel};
use dialogue::{Comparison, Dialogue, Message, Preference, Role};
use serde::{Deserialize, Serialize};

/// The columns of [`Label`].
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    id: String,
    prompt: Dialogue,
    chosen: [Message; 1],
    rejected: [Message; 1],
    probability: f64,
    probability_a: f64,
    chosen_as: Answer,
    principles: Vec<PrincipleLabel>,
}

/// How far `probability` may be from what `probability_a` says, for the rounding of numbers in text.
const ROUNDING: f64 = 1e-9;

/// Why a row is no label.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RowError {
    #[error("`{0}` is {1}, expected a number from 0 to 1")]
    Probability(&'static str, f64),
    #[error("`probability` is {found}, but `probability_a` and `chosen_as` say {expected}")]
    Contradiction { found: f64, expected: f64 },
    #[error("`{0}` must be a list that holds one assistant message")]
    Reply(&'static str),
    #[error(
        "`principles` holds no judgement that counts; a label is made by at least one that is no probe"
    )]
    NoPrinciple,
}

impl From<Label> for Row {
    fn from(label: Label) -> Self {
        let Preference { prompt, chosen, rejected, probability } = label.preference();
        let reply = |text| [Message::new(Role::Assistant, text)];
        Self {
            id: label.id,
            prompt,
            chosen: reply(chosen),
            rejected: reply(rejected),
            probability,
            probability_a: label.probability_a,
            chosen_as: if label.probability_a >= 0.5 { Answer::A } else { Answer::B },
            principles: label.principles,
        }
    }
}

impl TryFrom<Row> for Label {
    type Error = RowError;

    fn try_from(row: Row) -> Result<Self, RowError> {
        for (name, found) in
            [("probability", row.probability), ("probability_a", row.probability_a)]
        {
            if !(0.0..=1.0).contains(&found) {
                return Err(RowError::Probability(name, found));
            }
        }
        let replies = [reply("chosen", row.chosen)?, reply("rejected", row.rejected)?];
        let as_chosen = Comparison { prompt: row.prompt, replies };
        let (pair, expected) = match row.chosen_as {
            Answer::A => (as_chosen, row.probability_a),
            Answer::B => (as_chosen.swapped(), 1.0 - row.probability_a),
        };
        if (row.probability - expected).abs() > ROUNDING {
            return Err(RowError::Contradiction { found: row.probability, expected });
        }
        if row.principles.iter().all(|judged| judged.probe) {
            return Err(RowError::NoPrinciple);
        }
        let Row { id, probability_a, principles, .. } = row;
        Ok(Self { id, pair, probability_a, principles })
    }
}

fn reply(field: &'static str, [message]: [Message; 1]) -> Result<String, RowError> {
    match message {
        Message { role: Role::Assistant, content } => Ok(content),
        _ => Err(RowError::Reply(field)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AnswerLabel, OrderLabel};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn label(probability_a: f64, rationale: Option<&str>) -> Label {
        let answer = AnswerLabel {
            probability_of_first: probability_a,
            rationale: rationale.map(str::to_owned),
            question: Dialogue::from_user("(A) or (B)?").with_assistant("("),
        };
        let order = OrderLabel { probability_of_first: probability_a, answers: vec![answer] };
        let replies = ["one".to_owned(), "two".to_owned()];
        Label {
            id: "7".to_owned(),
            pair: Comparison { prompt: Dialogue::from_user("q"), replies },
            probability_a,
            principles: vec![PrincipleLabel {
                id: "law".to_owned(),
                text: "Which is lawful?".to_owned(),
                probability_a,
                probe: false,
                orders: vec![order],
            }],
        }
    }

    #[test]
    fn is_the_row_that_trl_reads_with_its_provenance() {
        let found = serde_json::to_value(label(0.25, None)).unwrap();
        let expected = json!({
            "id": "7",
            "prompt": [{"role": "user", "content": "q"}],
            "chosen": [{"role": "assistant", "content": "two"}],
            "rejected": [{"role": "assistant", "content": "one"}],
            "probability": 0.75,
            "probability_a": 0.25,
            "chosen_as": "B",
            "principles": [{
                "id": "law", "text": "Which is lawful?", "probability_a": 0.25, "probe": false,
                "orders": [{"probability_of_first": 0.25, "answers": [{
                    "probability_of_first": 0.25, "rationale": null,
                    "question": [
                        {"role": "user", "content": "(A) or (B)?"},
                        {"role": "assistant", "content": "("},
                    ],
                }]}],
            }],
        });
        assert_eq!(found, expected);
    }

    /// The keys of a value, and of all values in it, without the values.
    fn schema(value: &Value) -> Value {
        match value {
            Value::Object(fields) => {
                fields.iter().map(|(key, value)| (key.clone(), schema(value))).collect()
            }
            Value::Array(values) => values.first().map(schema).into_iter().collect(),
            _ => Value::Null,
        }
    }

    #[test]
    fn every_row_has_the_same_columns() {
        let row = |probability, rationale| {
            schema(&serde_json::to_value(label(probability, rationale)).unwrap())
        };
        assert_eq!(row(0.9, None), row(0.1, Some("because")));
    }

    #[test]
    fn names_what_is_wrong_with_a_row() {
        let spoiled = |field: &str, value: Value| {
            let mut row = serde_json::to_value(label(0.75, None)).unwrap();
            row[field] = value;
            serde_json::from_value::<Label>(row).unwrap_err().to_string()
        };
        for (field, value) in [
            ("probability", json!(0.25)),
            ("probability", json!(1.5)),
            ("probability_a", json!(-0.25)),
            ("chosen_as", json!("B")),
            ("chosen", json!([{"role": "user", "content": "x"}])),
            ("principles", json!([])),
            (
                "principles",
                json!([{"id": "law", "text": "", "probability_a": 0.5, "probe": true, "orders": []}]),
            ),
        ] {
            let message = spoiled(field, value);
            assert!(message.contains(&format!("`{field}`")), "{message}");
        }
        assert!(spoiled("extra", json!(1)).contains("extra"));
    }

    proptest! {
        #[test]
        fn survives_the_disk(probability_a in 0.0..=1.0_f64, rationale: Option<String>) {
            let label = label(probability_a, rationale.as_deref());
            let again: Label = serde_json::from_value(serde_json::to_value(&label).unwrap()).unwrap();
            prop_assert_eq!(again, label);
        }
    }
}
