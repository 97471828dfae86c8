//! Which columns of a file hold what.

use crate::Error;
use crate::conversation::Problem;
use crate::row_format::{Column, RowFormat};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// Which columns of a file hold what, where they have other names than usual.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `format` | told from the columns | what rows hold, see [`RowFormat`] |
/// | `prompt` | `"prompt"` | what is asked: a text, a transcript or messages |
/// | `completion` | `"completion"` | the reply to `prompt` |
/// | `messages` | `"messages"` | a whole dialogue |
/// | `chosen`, `rejected` | `"chosen"`, `"rejected"` | the better and the worse reply, or the dialogues that end in them |
/// | `probability` | `"probability"` | that `chosen`, or the first of two replies that wait for a judge, is better, from 0 to 1 |
/// | `margin` | `"margin"` | the margin by which the better reply should win, at least 0 |
/// | `replies` | `"replies"` | a list of replies: two that wait for a judge, or any number where replies are evaluated |
/// | `reply_a`, `reply_b` | `"reply_a"`, `"reply_b"` | the same in two columns |
/// | `text` | `"text"` | a text that is asked |
/// | `transcript` | `"transcript"` | the dialogue of a red-team attempt |
///
/// A name with dots leads into objects and lists: `conversation.0.content`; a column that has the whole name comes first.
/// Where columns are named here, rows must have them: a row is not taken for one of another format.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ColumnMapping {
    /// What rows hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<RowFormat>,
    /// What is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The reply to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion: Option<String>,
    /// A whole dialogue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<String>,
    /// The better reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chosen: Option<String>,
    /// The worse reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejected: Option<String>,
    /// The probability that `chosen` is better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probability: Option<String>,
    /// The margin by which the better reply should win.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub margin: Option<String>,
    /// A list of replies: two that wait for a judge, or any number where replies are evaluated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replies: Option<String>,
    /// The first of them, in a column of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_a: Option<String>,
    /// The second of them, in a column of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_b: Option<String>,
    /// A text that is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The dialogue of a red-team attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transcript: Option<String>,
}

/// A column of a row: its name in backquotes, and what it holds.
pub(crate) type Field<'a> = (String, &'a Value);

impl ColumnMapping {
    /// Whether nothing is set.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Column`] names the first column whose name is empty.
    pub fn validate(&self) -> Result<(), Error> {
        let named = [
            ("prompt", &self.prompt),
            ("completion", &self.completion),
            ("messages", &self.messages),
            ("chosen", &self.chosen),
            ("rejected", &self.rejected),
            ("probability", &self.probability),
            ("margin", &self.margin),
            ("replies", &self.replies),
            ("reply_a", &self.reply_a),
            ("reply_b", &self.reply_b),
            ("text", &self.text),
            ("transcript", &self.transcript),
        ];
        match named.iter().find(|(_, name)| name.as_deref().is_some_and(str::is_empty)) {
            Some(&(setting, _)) => Err(Error::Column { setting }),
            None => Ok(()),
        }
    }

    /// Whether one of some columns is named here.
    pub(crate) fn names_any(&self, columns: &[Column]) -> bool {
        columns.iter().any(|column| self.named(*column).is_some())
    }

    fn named(&self, column: Column) -> Option<&str> {
        match column {
            Column::Prompt => self.prompt.as_deref(),
            Column::Completion => self.completion.as_deref(),
            Column::Messages => self.messages.as_deref(),
            Column::Chosen => self.chosen.as_deref(),
            Column::Rejected => self.rejected.as_deref(),
            Column::Probability => self.probability.as_deref(),
            Column::Margin => self.margin.as_deref(),
            Column::Replies => self.replies.as_deref(),
            Column::ReplyA => self.reply_a.as_deref(),
            Column::ReplyB => self.reply_b.as_deref(),
            Column::Text => self.text.as_deref(),
            Column::Transcript => self.transcript.as_deref(),
            Column::Samples => None,
        }
    }

    fn name(&self, column: Column) -> &str {
        self.named(column).unwrap_or(match column {
            Column::Prompt => "prompt",
            Column::Completion => "completion",
            Column::Messages => "messages",
            Column::Chosen => "chosen",
            Column::Rejected => "rejected",
            Column::Probability => "probability",
            Column::Margin => "margin",
            Column::Replies => "replies",
            Column::ReplyA => "reply_a",
            Column::ReplyB => "reply_b",
            Column::Text => "text",
            Column::Transcript => "transcript",
            Column::Samples => "rl_prompt",
        })
    }

    /// What a row holds of a column, if anything.
    pub(crate) fn find<'a>(
        &self,
        fields: &'a Map<String, Value>,
        column: Column,
    ) -> Option<Field<'a>> {
        let name = self.name(column);
        Some((format!("`{name}`"), look_up(fields, name)?))
    }

    /// What a row holds of a column that it may lack, unless the column is named here.
    pub(crate) fn find_unless_named<'a>(
        &self,
        fields: &'a Map<String, Value>,
        column: Column,
    ) -> Result<Option<Field<'a>>, Problem> {
        match self.named(column) {
            Some(_) => self.get(fields, column).map(Some),
            None => Ok(self.find(fields, column)),
        }
    }

    /// What a row holds of a column, which it must have.
    pub(crate) fn get<'a>(
        &self,
        fields: &'a Map<String, Value>,
        column: Column,
    ) -> Result<Field<'a>, Problem> {
        self.find(fields, column).ok_or_else(|| lacking(self.name(column), fields))
    }

    /// The fields of a row, with those of the columns that are named here under their usual names, too.
    pub(crate) fn under_usual_names<'a>(
        &self,
        fields: &'a Map<String, Value>,
    ) -> Result<Cow<'a, Map<String, Value>>, Problem> {
        let mut found = Cow::Borrowed(fields);
        for column in Column::NAMED.into_iter().filter(|column| self.named(*column).is_some()) {
            let (_, value) = self.get(fields, column)?;
            let usual = Self::default().name(column).to_owned();
            found.to_mut().insert(usual, value.clone());
        }
        Ok(found)
    }

    /// The first of `formats` whose columns a row has, or the one that is named.
    ///
    /// `else_column` is the one that is said to be missing where the row is of none.
    pub(crate) fn recognise(
        &self,
        fields: &Map<String, Value>,
        formats: &[RowFormat],
        else_column: Column,
    ) -> Result<RowFormat, Problem> {
        if let Some(format) = self.format {
            let holds = formats.contains(&format);
            let problem = format!("is of the format `{}`, which does not hold this", format.name());
            return holds.then_some(format).ok_or_else(|| Problem::new("the row", problem));
        }
        // Where it is said which columns hold what, the formats are meant that need most of them.
        let named = |format: &RowFormat| {
            format.needs().iter().filter(|column| self.named(**column).is_some()).count()
        };
        let most = formats.iter().map(named).max().unwrap_or_default();
        let lacks = |column: &Column| self.find(fields, *column).is_none();
        let meant = || formats.iter().filter(|format| named(format) == most);
        if let Some(found) = meant().find(|format| !format.needs().iter().any(lacks)) {
            return Ok(*found);
        }
        let mut needed = meant().flat_map(|format| format.needs()).copied();
        let missing = needed.find(|column| most > 0 && lacks(column)).unwrap_or(else_column);
        Err(lacking(self.name(missing), fields))
    }
}

/// The value of a name, or of what its parts lead to.
fn look_up<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(value) = fields.get(name) {
        return Some(value);
    }
    let mut parts = name.split('.');
    let first = fields.get(parts.next()?)?;
    parts.try_fold(first, |value, part| match value {
        Value::Object(fields) => fields.get(part),
        Value::Array(list) => list.get(part.parse::<usize>().ok()?),
        _ => None,
    })
}

/// The problem of a row that has none of the columns it could have.
fn lacking(name: &str, row: &Map<String, Value>) -> Problem {
    let names: Vec<String> = row.keys().map(|name| format!("`{name}`")).collect();
    let found = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    let advice = if is_of_a_shard(row) { OF_A_SHARD } else { "" };
    Problem::new(format!("`{name}`"), format!("is missing and the row has {found}{advice}"))
}

/// What to do with a file whose records carry their places.
const OF_A_SHARD: &str =
    ", so that the file is one shard of a job: join all of them with `rlaif merge` first";

/// Whether a row is a record of a job over several machines, beside its place in the whole.
fn is_of_a_shard(row: &Map<String, Value>) -> bool {
    row.get("index").is_some_and(Value::is_u64) && row.get("record").is_some_and(Value::is_object)
}

/// What a job over several machines has recorded, without its place in the whole.
pub(crate) fn record_of_a_shard(row: &Value) -> Option<&Value> {
    row.as_object().filter(|fields| is_of_a_shard(fields)).and_then(|fields| fields.get("record"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(value: Value) -> Map<String, Value> {
        let Value::Object(fields) = value else { panic!("{value} is no object") };
        fields
    }

    fn recognise(columns: &ColumnMapping, value: Value) -> Result<RowFormat, String> {
        let found = columns.recognise(&row(value), &RowFormat::ALL, Column::Prompt);
        found.map_err(|problem| format!("{} {}", problem.field, problem.text))
    }

    #[test]
    fn formats_are_told_from_their_columns() {
        let columns = ColumnMapping::default();
        for (value, format) in [
            (json!({"prompt": 1}), RowFormat::Prompt),
            (json!({"prompt": 1, "completion": 1, "n": 1}), RowFormat::PromptCompletion),
            (json!({"messages": 1, "text": 1}), RowFormat::Messages),
            (json!({"prompt": 1, "chosen": 1, "rejected": 1}), RowFormat::Preference),
            (json!({"chosen": 1, "rejected": 1}), RowFormat::HhRlhf),
            (json!({"transcript": 1, "rating": 1}), RowFormat::RedTeam),
            (json!({"rl_prompt": 1, "sampled_answers": []}), RowFormat::Samples),
            (json!({"text": 1}), RowFormat::Text),
        ] {
            assert_eq!(recognise(&columns, value.clone()), Ok(format), "{value}");
        }
        let message = recognise(&columns, json!({"question": 1})).unwrap_err();
        assert_eq!(message, "`prompt` is missing and the row has `question`");
    }

    #[test]
    fn who_gives_a_shard_learns_what_to_do_with_it() {
        let columns = ColumnMapping::default();
        let placed = json!({"index": 3, "truth": 1.0, "record": {"id": "a", "prompt": []}});
        let message = recognise(&columns, placed).unwrap_err();
        assert!(message.starts_with("`prompt` is missing and the row has `index`"), "{message}");
        assert!(message.contains("`rlaif merge`"), "{message}");
        let other = recognise(&columns, json!({"index": 3, "record": 2})).unwrap_err();
        assert!(!other.contains("merge"), "{other}");
    }

    #[test]
    fn a_named_column_is_the_one_that_is_meant() {
        let columns = ColumnMapping { text: Some("q".to_owned()), ..ColumnMapping::default() };
        assert_eq!(recognise(&columns, json!({"q": 1, "prompt": 2})), Ok(RowFormat::Text));
        let message = recognise(&columns, json!({"text": 1})).unwrap_err();
        assert_eq!(message, "`q` is missing and the row has `text`");
        let [prompt, chosen] = ["q", "good"].map(|name| Some(name.to_owned()));
        let columns = ColumnMapping { prompt, chosen, ..ColumnMapping::default() };
        assert_eq!(recognise(&columns, json!({"q": 1, "good": 1})), Ok(RowFormat::Preference));
        let message = recognise(&columns, json!({"good": 1})).unwrap_err();
        assert_eq!(message, "`q` is missing and the row has `good`");
        let format = Some(RowFormat::HhRlhf);
        let columns = ColumnMapping { format, ..ColumnMapping::default() };
        assert_eq!(recognise(&columns, json!({"prompt": 1})), Ok(RowFormat::HhRlhf));
    }

    #[test]
    fn dots_lead_into_objects_and_lists() {
        let fields = row(json!({"a": {"b": [{"c": 1}]}, "a.b": 2}));
        for (name, value) in
            [("a.b.0.c", Some(json!(1))), ("a.b", Some(json!(2))), ("a.b.1.c", None), ("a.x", None)]
        {
            assert_eq!(look_up(&fields, name).cloned(), value, "{name}");
        }
    }

    #[test]
    fn an_empty_name_is_refused() {
        let columns = ColumnMapping { chosen: Some(String::new()), ..ColumnMapping::default() };
        assert!(columns.validate().unwrap_err().to_string().contains("`chosen`"));
        assert!(ColumnMapping::default().validate().is_ok());
    }
}
