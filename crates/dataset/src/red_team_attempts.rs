//! The attempts of red teams.

use crate::columns::ColumnMapping;
use crate::conversation::{Problem, kind, whole_dialogue};
use crate::row_format::Column;
use dialogue::Dialogue;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

pub(crate) const ACCEPTED: &str = concat!(
    r#"{"transcript": "\n\nHuman: ...\n\nAssistant: ...", "task_description": "text", "rating": 0 to 4, "#,
    r#""min_harmlessness_score_transcript": number, "num_params": "52B", "model_type": "rlhf", "tags": ["text"], ...}"#,
);

/// Someone's attempt to make an assistant do harm, as published with arXiv 2209.07858.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RedTeamAttempt {
    /// What was said.
    pub transcript: Dialogue,
    /// What the red-teamer meant to do.
    pub task_description: Option<String>,
    /// How well it went, by the red-teamer: from 0, not at all, to 4.
    pub rating: Option<f64>,
    /// The lowest score of harmlessness of any of the assistant's turns.
    pub min_harmlessness_score_transcript: Option<f64>,
    /// The score of harmlessness of the description.
    pub task_description_harmlessness_score: Option<f64>,
    /// The size of the assistant, such as `52B`.
    pub num_params: Option<String>,
    /// What the assistant is, such as `plain lm` or `rlhf`.
    pub model_type: Option<String>,
    /// Who it was.
    pub red_team_member_id: Option<i64>,
    /// Where they were found: true for Upwork, false for `MTurk`.
    pub is_upworker: Option<bool>,
    /// What reviewers say it is about; of some attempts only.
    pub tags: Option<Vec<String>>,
}

pub(crate) fn read(columns: &ColumnMapping, row: &Value) -> Result<RedTeamAttempt, Problem> {
    let Value::Object(fields) = row else {
        return Err(Problem::new("the row", format!("is {}", kind(row))));
    };
    let (name, transcript) = columns.get(fields, Column::Transcript)?;
    let rating = read_field::<f64>(fields, "rating", "a number")?;
    if let Some(rating) = rating.filter(|rating| !(0.0..=4.0).contains(rating)) {
        return Err(Problem::new(
            "`rating`",
            format!("is {rating}, expected a number from 0 to 4"),
        ));
    }
    Ok(RedTeamAttempt {
        transcript: whole_dialogue(&name, transcript)?,
        task_description: read_field(fields, "task_description", "a text")?,
        rating,
        min_harmlessness_score_transcript: read_field(
            fields,
            "min_harmlessness_score_transcript",
            "a number",
        )?,
        task_description_harmlessness_score: read_field(
            fields,
            "task_description_harmlessness_score",
            "a number",
        )?,
        num_params: read_field(fields, "num_params", "a text")?,
        model_type: read_field(fields, "model_type", "a text")?,
        red_team_member_id: read_field(fields, "red_team_member_id", "a whole number")?,
        is_upworker: read_field(fields, "is_upworker", "true or false")?,
        tags: read_field(fields, "tags", "a list of texts")?,
    })
}

/// A field that may be missing; the cells of some files hold numbers as text.
fn read_field<T: DeserializeOwned>(
    fields: &Map<String, Value>,
    name: &str,
    expected: &str,
) -> Result<Option<T>, Problem> {
    let Some(value) = fields.get(name) else { return Ok(None) };
    if let Ok(found) = Option::<T>::deserialize(value) {
        return Ok(found);
    }
    let from_text = value.as_str().and_then(|text| serde_json::from_str(text).ok());
    from_text.map(Some).ok_or_else(|| {
        Problem::new(format!("`{name}`"), format!("is {}, expected {expected}", kind(value)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read_one(row: Value) -> Result<RedTeamAttempt, String> {
        let found = read(&ColumnMapping::default(), &row);
        found.map_err(|problem| format!("{} {}", problem.field, problem.text))
    }

    fn row() -> Value {
        json!({
            "min_harmlessness_score_transcript": -1.5,
            "num_params": "52B",
            "model_type": "rlhf",
            "transcript": "\n\nHuman: q\n\nAssistant: a",
            "rating": 4.0,
            "task_description": "see whether it helps",
            "task_description_harmlessness_score": 0.25,
            "red_team_member_id": 7,
            "is_upworker": false,
            "tags": null,
        })
    }

    #[test]
    fn every_field_is_read() {
        let attempt = read_one(row()).unwrap();
        assert_eq!(attempt.transcript, Dialogue::from_user("q").with_assistant("a"));
        assert_eq!(attempt.rating, Some(4.0));
        assert_eq!(attempt.num_params.as_deref(), Some("52B"));
        assert_eq!((attempt.red_team_member_id, attempt.is_upworker), (Some(7), Some(false)));
        assert_eq!(attempt.tags, None);
        let bare = read_one(json!({"transcript": "\n\nHuman: q"})).unwrap();
        assert_eq!((bare.rating, bare.tags), (None, None));
    }

    #[test]
    fn numbers_may_be_text() {
        let mut cells = row();
        for (name, text) in [("rating", "2"), ("is_upworker", "true"), ("red_team_member_id", "9")]
        {
            cells[name] = text.into();
        }
        let attempt = read_one(cells).unwrap();
        assert_eq!((attempt.rating, attempt.is_upworker), (Some(2.0), Some(true)));
    }

    #[test]
    fn a_bad_field_is_named() {
        for (name, value, expected) in [
            ("rating", json!(5), "`rating` is 5, expected a number from 0 to 4"),
            ("rating", json!("high"), "`rating` is a text, expected a number"),
            ("tags", json!("a"), "`tags` is a text, expected a list of texts"),
            ("transcript", json!("q"), "`transcript` is not a transcript"),
        ] {
            let mut bad = row();
            bad[name] = value;
            let message = read_one(bad).unwrap_err();
            assert!(message.contains(expected), "{message} lacks {expected}");
        }
    }
}
