//! What the probes ask about.

use crate::Error;
use dataset::Reading;
use serde::Deserialize;
use std::path::Path;

/// An item of a probe.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Row")]
pub enum SycophancyItem {
    /// A text that feedback is asked for.
    Feedback(Work),
    /// A question whose answer is doubted.
    AreYouSure(KnownQuestion),
    /// A question that the user has an opinion on.
    Answer(KnownQuestion),
    /// A work that the user takes for another author's.
    Mimicry(Attribution),
}

/// A text that feedback is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Work {
    /// What it is: `poem`, `argument`.
    pub kind: String,
    /// The text.
    pub text: String,
}

/// A question with a known answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownQuestion {
    /// The question.
    pub question: String,
    /// Two to 26 answers.
    pub options: Vec<String>,
    /// The right one of them.
    pub correct: String,
    /// A wrong one of them, which the user believes in.
    pub mistaken: String,
}

/// A request that rests on a mistake.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attribution {
    /// What the user asks, with the mistake in it.
    pub request: String,
    /// What the user wrongly believes, such as the name of a poet, as a reply would repeat it.
    pub mistaken: String,
    /// What is right, as a reply would put it.
    pub correct: String,
}

/// What is a row.
const ACCEPTED: &str = r#"{"probe": "feedback", "are_you_sure", "answer" or "mimicry", …}"#;

/// Reads items from a file of any format that [`Reading`] reads.
///
/// | `probe` | other fields |
/// |---|---|
/// | `feedback` | `kind`, `text` |
/// | `are_you_sure` | `question`, `options`, `correct` |
/// | `answer` | `question`, `options`, `correct`, `mistaken` |
/// | `mimicry` | `request`, `mistaken`, `correct` |
///
/// # Errors
/// [`Error::Dataset`] for a file without a row, and names file and row of the first row that is none of these.
pub fn read_sycophancy_items(path: impl AsRef<Path>) -> Result<Vec<SycophancyItem>, Error> {
    Ok(Reading::default().records::<SycophancyItem>(path, ACCEPTED)?.collect::<Result<_, _>>()?)
}

#[derive(Deserialize)]
#[serde(tag = "probe", rename_all = "snake_case", deny_unknown_fields)]
enum Row {
    Feedback { kind: String, text: String },
    AreYouSure { question: String, options: Vec<String>, correct: String },
    Answer { question: String, options: Vec<String>, correct: String, mistaken: String },
    Mimicry { request: String, mistaken: String, correct: String },
}

/// Why a row is no item.
#[derive(Debug, PartialEq, thiserror::Error)]
enum RowError {
    #[error("`{0}` is blank")]
    Blank(&'static str),
    #[error("`options` are {0}, expected 2 to 26 different ones")]
    Options(usize),
    #[error("`{0}` is {1:?}, which is none of the `options`")]
    NoOption(&'static str, String),
    #[error("`mistaken` and `correct` are both {0:?}")]
    Same(String),
}

impl TryFrom<Row> for SycophancyItem {
    type Error = RowError;

    fn try_from(row: Row) -> Result<Self, RowError> {
        match row {
            Row::Feedback { kind, text } => {
                filled([("kind", &kind), ("text", &text)])?;
                Ok(Self::Feedback(Work { kind, text }))
            }
            Row::AreYouSure { question, options, correct } => {
                // Nobody states a belief here, so any wrong option would do.
                let wrong = options.iter().find(|option| **option != correct);
                let mistaken = wrong.cloned().ok_or(RowError::Options(options.len()))?;
                let question = KnownQuestion { question, options, correct, mistaken };
                Ok(Self::AreYouSure(question.checked()?))
            }
            Row::Answer { question, options, correct, mistaken } => {
                let question = KnownQuestion { question, options, correct, mistaken };
                Ok(Self::Answer(question.checked()?))
            }
            Row::Mimicry { request, mistaken, correct } => {
                filled([("request", &request), ("mistaken", &mistaken), ("correct", &correct)])?;
                if mistaken.trim().to_lowercase() == correct.trim().to_lowercase() {
                    return Err(RowError::Same(correct));
                }
                Ok(Self::Mimicry(Attribution { request, mistaken, correct }))
            }
        }
    }
}

impl KnownQuestion {
    fn checked(self) -> Result<Self, RowError> {
        filled([("question", &self.question)])?;
        let (count, options) = (self.options.len(), &self.options);
        let repeated = (1..count).any(|place| options[..place].contains(&options[place]));
        if !(2..=26).contains(&count) || repeated {
            return Err(RowError::Options(count));
        }
        for (field, option) in [("correct", &self.correct), ("mistaken", &self.mistaken)] {
            if !options.contains(option) {
                return Err(RowError::NoOption(field, option.clone()));
            }
        }
        if self.correct == self.mistaken {
            return Err(RowError::Same(self.correct));
        }
        Ok(self)
    }
}

fn filled<const N: usize>(fields: [(&'static str, &String); N]) -> Result<(), RowError> {
    match fields.into_iter().find(|(_, text)| text.trim().is_empty()) {
        Some((field, _)) => Err(RowError::Blank(field)),
        None => Ok(()),
    }
}
