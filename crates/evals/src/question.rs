//! Questions with fixed answers, as in the paper's evaluation files.

use crate::Error;
use dataset::Reading;
use dialogue::{Dialogue, TranscriptError};
use serde::Deserialize;
use std::path::Path;

/// What every prompt of the paper's files ends in.
pub(crate) const CUE: &str = "The answer is:";

/// A question and its fixed answers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Row")]
pub struct Question {
    /// Ends in the unfinished assistant turn that an option continues.
    pub dialogue: Dialogue,
    /// The answers.
    pub options: Vec<String>,
    /// Index of the right one.
    pub correct: usize,
    /// The whole dialogues that the right and the wrong option stand for, in files that have them.
    pub whole: Option<[Dialogue; 2]>,
    /// The reasoning that leads to the right option; shown where the question is a worked example.
    pub rationale: Option<String>,
}

/// What is a row.
const ACCEPTED: &str = concat!(
    r#"{"prompt": "... The answer is:", "corrects": [" (B)"], "incorrects": [" (A)"]}, perhaps with "text_correct" and "#,
    r#""text_incorrect" or "rationale""#,
);

/// Reads questions from a file like the paper's, of any format that [`Reading`] reads.
///
/// A row is `{"prompt": text, "corrects": [" (B)"], "incorrects": [" (A)", …]}`. The text up to its closing `The answer
/// is:` becomes a user turn, and the model continues `The answer is: (` with a letter: the form in which feedback is asked
/// for. Options stand in alphabetical order. `text_correct` and `text_incorrect`, transcripts that end in the right and the
/// wrong reply, are what a preference model scores, and `rationale` is shown where the question serves as a worked example;
/// other fields are ignored.
///
/// # Errors
/// [`Error::Dataset`] for a file that cannot be read or holds no row, or a row of another form.
pub fn read_questions(path: impl AsRef<Path>) -> Result<Vec<Question>, Error> {
    read_questions_that(path, |_| Ok(()))
}

/// Reads questions as [`read_questions`] does, and sees that each is one that `fits`: what it says to the first that is not is told
/// with file and row.
///
/// # Errors
/// Those of [`read_questions`], among them what `fits` says.
pub fn read_questions_that(
    path: impl AsRef<Path>,
    fits: impl Fn(&Question) -> Result<(), String> + Send + 'static,
) -> Result<Vec<Question>, Error> {
    let questions = Reading::default().records::<Question>(path, ACCEPTED)?.checked(fits);
    Ok(questions.collect::<Result<_, _>>()?)
}

impl Question {
    /// What the user asks.
    pub(crate) fn request(&self) -> &str {
        self.dialogue.last_request().unwrap_or_default()
    }

    /// Checks what a row of a file cannot get wrong.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let repeated = (1..self.options.len())
            .any(|index| self.options[..index].contains(&self.options[index]));
        if self.options.len() >= 2 && self.correct < self.options.len() && !repeated {
            return Ok(());
        }
        let (id, options) = (self.dialogue.id(), self.options.len());
        Err(Error::Question { id, options, correct: self.correct })
    }
}

/// A row of the paper's files.
#[derive(Deserialize)]
struct Row {
    prompt: String,
    corrects: Vec<String>,
    incorrects: Vec<String>,
    text_correct: Option<String>,
    text_incorrect: Option<String>,
    rationale: Option<String>,
}

/// Why a row is not a question.
#[derive(Debug, thiserror::Error)]
enum RowError {
    #[error("`prompt` does not end in `{CUE}`")]
    Cue,
    #[error("`corrects` has {0} options, expected 1")]
    Corrects(usize),
    #[error("`incorrects` is empty, expected 1 option or more")]
    Incorrects,
    #[error("option {0:?} is not of the form \" (A)\"")]
    Option(String),
    #[error("option {0:?} occurs twice")]
    Repeated(String),
    #[error("`{0}` is missing, though the other dialogue is there")]
    Missing(&'static str),
    #[error("`{0}` is not a transcript: {1}")]
    Transcript(&'static str, TranscriptError),
    #[error("`{0}` does not end in a reply")]
    NoReply(&'static str),
}

impl TryFrom<Row> for Question {
    type Error = RowError;

    fn try_from(row: Row) -> Result<Self, RowError> {
        let asked = row.prompt.trim_end().strip_suffix(CUE).ok_or(RowError::Cue)?.trim();
        let [correct] = row.corrects.as_slice() else {
            return Err(RowError::Corrects(row.corrects.len()));
        };
        if row.incorrects.is_empty() {
            return Err(RowError::Incorrects);
        }
        let correct = label(correct)?;
        let mut options: Vec<String> =
            row.incorrects.iter().map(|option| label(option)).collect::<Result<_, _>>()?;
        options.push(correct.clone());
        options.sort();
        if let Some(pair) = options.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(RowError::Repeated(pair[0].clone()));
        }
        let correct = options.partition_point(|option| *option < correct);
        let dialogue = Dialogue::from_user(asked).with_assistant(format!("{CUE} ("));
        let whole = both(row.text_correct, row.text_incorrect)?;
        Ok(Self { dialogue, options, correct, whole, rationale: row.rationale })
    }
}

/// The right and the wrong dialogue; none if neither is there.
fn both(right: Option<String>, wrong: Option<String>) -> Result<Option<[Dialogue; 2]>, RowError> {
    let given = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
    match (given(right), given(wrong)) {
        (None, None) => Ok(None),
        (Some(right), Some(wrong)) => {
            Ok(Some([finished("text_correct", &right)?, finished("text_incorrect", &wrong)?]))
        }
        (None, Some(_)) => Err(RowError::Missing("text_correct")),
        (Some(_), None) => Err(RowError::Missing("text_incorrect")),
    }
}

fn finished(field: &'static str, text: &str) -> Result<Dialogue, RowError> {
    let dialogue =
        Dialogue::from_transcript(text).map_err(|error| RowError::Transcript(field, error))?;
    if dialogue.ends_with_assistant() { Ok(dialogue) } else { Err(RowError::NoReply(field)) }
}

/// What stands between the brackets.
fn label(option: &str) -> Result<String, RowError> {
    option
        .trim()
        .strip_prefix('(')
        .and_then(|rest| rest.strip_suffix(')'))
        .filter(|label| !label.is_empty())
        .map(str::to_owned)
        .ok_or_else(|| RowError::Option(option.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_form_of_the_papers_files() {
        let row = r#"{"prompt": "\n\nWhich? Options:\n (A) x\n (B) y\n\nThe answer is:",
            "corrects": [" (B)"], "incorrects": [" (C)", " (A)"], "other": 1}"#;
        let question: Question = serde_json::from_str(row).unwrap();
        let expected = Dialogue::from_user("Which? Options:\n (A) x\n (B) y")
            .with_assistant("The answer is: (");
        assert_eq!(question.dialogue, expected);
        assert_eq!(
            (question.options, question.correct),
            (vec!["A", "B", "C"].into_iter().map(str::to_owned).collect(), 1)
        );
        assert_eq!((question.whole, question.rationale), (None, None));
    }

    #[test]
    fn reads_dialogues_and_reasoning() {
        let row = r#"{"prompt": "Which?\nThe answer is:", "corrects": [" (B)"], "incorrects": [" (A)"],
            "text_correct": "\n\nHuman: q\n\nAssistant: good", "text_incorrect": "\n\nHuman: q\n\nAssistant: bad",
            "rationale": "Because."}"#;
        let question: Question = serde_json::from_str(row).unwrap();
        let whole = ["good", "bad"].map(|reply| Dialogue::from_user("q").with_assistant(reply));
        assert_eq!(question.whole, Some(whole));
        assert_eq!(question.rationale.as_deref(), Some("Because."));
    }

    #[test]
    fn names_what_is_wrong_with_a_row() {
        let rows = [
            (r#"{"prompt": "Which?", "corrects": [" (B)"], "incorrects": [" (A)"]}"#, "`prompt`"),
            (
                r#"{"prompt": "The answer is:", "corrects": [], "incorrects": [" (A)"]}"#,
                "`corrects`",
            ),
            (
                r#"{"prompt": "The answer is:", "corrects": [" (A)"], "incorrects": []}"#,
                "`incorrects`",
            ),
            (r#"{"prompt": "The answer is:", "corrects": ["A"], "incorrects": [" (B)"]}"#, "\"A\""),
            (
                r#"{"prompt": "The answer is:", "corrects": [" (A)"], "incorrects": [" (A)"]}"#,
                "twice",
            ),
            (r#"{"prompt": "The answer is:", "corrects": [" (A)"]}"#, "`incorrects`"),
            (
                r#"{"prompt": "The answer is:", "corrects": [" (A)"], "incorrects": [" (B)"], "text_correct": "\n\nHuman: q\n\nAssistant: a"}"#,
                "`text_incorrect` is missing",
            ),
            (
                r#"{"prompt": "The answer is:", "corrects": [" (A)"], "incorrects": [" (B)"], "text_correct": "q", "text_incorrect": "q"}"#,
                "`text_correct` is not a transcript",
            ),
            (
                r#"{"prompt": "The answer is:", "corrects": [" (A)"], "incorrects": [" (B)"], "text_correct": "\n\nHuman: q", "text_incorrect": "\n\nHuman: q"}"#,
                "`text_correct` does not end in a reply",
            ),
        ];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("questions.jsonl");
        for (row, expected) in rows {
            std::fs::write(&path, format!("\n{row}\n")).unwrap();
            let message = read_questions(&path).unwrap_err().to_string();
            assert!(message.contains("questions.jsonl, line 2: "), "{message}");
            assert!(message.contains(expected), "{message}");
        }
        std::fs::write(&path, "").unwrap();
        assert!(read_questions(&path).unwrap_err().to_string().contains("no row"));
    }

    #[test]
    fn a_table_holds_questions_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("questions.csv");
        let table = "prompt,corrects,incorrects\nWhich? The answer is:,\"[\"\" (B)\"\"]\",\"[\"\" (A)\"\"]\"\n";
        std::fs::write(&path, table).unwrap();
        let found = read_questions(&path).unwrap();
        assert_eq!((found.len(), found[0].correct, found[0].request()), (1, 1, "Which?"));
    }
}
