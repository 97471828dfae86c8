//! Questions with fixed answers, as in the paper's evaluation files.

use crate::{Calibration, Error, Forecast, Rate};
use dialogue::Dialogue;
use language_model::Choose;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// What every prompt of the paper's files ends in.
const CUE: &str = "The answer is:";

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
}

/// What a model makes of a question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// [`Dialogue::id`] of the question.
    pub id: String,
    /// Probability of each option.
    pub probabilities: Vec<f64>,
    /// Index of the right option.
    pub correct: usize,
}

/// The result of [`multiple_choice`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MultipleChoice {
    /// Share of questions whose likeliest option is the right one; of `k` likeliest options each counts 1/k.
    pub accuracy: Rate,
    /// Calibration of the probabilities, each option of each question being a forecast.
    pub calibration: Calibration,
    /// One answer a question, in the order of the questions.
    pub answers: Vec<Answer>,
}

/// Reads questions from one of the paper's files.
///
/// A row is `{"prompt": text, "corrects": [" (B)"], "incorrects": [" (A)", …]}`; other fields are ignored. The text
/// up to its closing `The answer is:` becomes a user turn, and the model continues `The answer is: (` with a letter:
/// the form in which feedback is asked for. Options stand in alphabetical order.
///
/// # Errors
/// [`Error::Dataset`] for a file that cannot be read or a row of another form, [`Error::NoQuestions`].
pub fn read_questions(path: impl AsRef<Path>) -> Result<Vec<Question>, Error> {
    let questions: Vec<Question> = dataset::read_jsonl(path)?;
    if questions.is_empty() { Err(Error::NoQuestions) } else { Ok(questions) }
}

/// Asks a model every question.
///
/// # Errors
/// [`Error::NoQuestions`], [`Error::Question`], [`Error::Model`] if the model fails, or [`Error::Answer`] if it does
/// not give a distribution.
pub fn multiple_choice(
    model: &dyn Choose,
    questions: &[Question],
) -> Result<MultipleChoice, Error> {
    let answers = ask(model, questions)?;
    let right = answers.iter().map(Answer::score).sum();
    let mut forecasts = Vec::new();
    for answer in &answers {
        for (option, &probability) in answer.probabilities.iter().enumerate() {
            let outcome = if option == answer.correct { 1.0 } else { 0.0 };
            forecasts.push(Forecast::new(probability.clamp(0.0, 1.0), outcome)?);
        }
    }
    let accuracy = Rate::new(right, answers.len()).ok_or(Error::NoQuestions)?;
    let calibration = Calibration::of(&forecasts).ok_or(Error::NoQuestions)?;
    Ok(MultipleChoice { accuracy, calibration, answers })
}

/// One batch for each set of options.
fn ask(model: &dyn Choose, questions: &[Question]) -> Result<Vec<Answer>, Error> {
    let mut batches: BTreeMap<&[String], Vec<usize>> = BTreeMap::new();
    for (index, question) in questions.iter().enumerate() {
        question.validate()?;
        batches.entry(&question.options).or_default().push(index);
    }
    let mut answers = vec![None; questions.len()];
    for (options, batch) in batches {
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let prompts: Vec<Dialogue> =
            batch.iter().map(|&index| questions[index].dialogue.clone()).collect();
        let mut rows = model.choose(&prompts, &options)?.into_iter();
        for index in batch {
            answers[index] = Some(questions[index].answer(rows.next().unwrap_or_default())?);
        }
    }
    Ok(answers.into_iter().flatten().collect())
}

impl Question {
    fn validate(&self) -> Result<(), Error> {
        let repeated = (1..self.options.len())
            .any(|index| self.options[..index].contains(&self.options[index]));
        if self.options.len() >= 2 && self.correct < self.options.len() && !repeated {
            return Ok(());
        }
        let (id, options) = (self.dialogue.id(), self.options.len());
        Err(Error::Question { id, options, correct: self.correct })
    }

    fn answer(&self, probabilities: Vec<f64>) -> Result<Answer, Error> {
        let id = self.dialogue.id();
        let sum: f64 = probabilities.iter().sum();
        let sound = probabilities.len() == self.options.len()
            && probabilities.iter().all(|&probability| probability >= 0.0)
            && (sum - 1.0).abs() < 1e-3;
        if sound {
            Ok(Answer { id, probabilities, correct: self.correct })
        } else {
            Err(Error::Answer { id, found: probabilities, options: self.options.len() })
        }
    }
}

impl Answer {
    /// 1 if the right option alone is the likeliest, 1/k if it is one of k, 0 if another is likelier.
    pub fn score(&self) -> f64 {
        let highest = self.probabilities.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let likeliest = self.probabilities.iter().filter(|&&found| found >= highest).count();
        match self.probabilities.get(self.correct) {
            Some(&found) if found >= highest => 1.0 / likeliest as f64,
            _ => 0.0,
        }
    }
}

/// A row of the paper's files.
#[derive(Deserialize)]
struct Row {
    prompt: String,
    corrects: Vec<String>,
    incorrects: Vec<String>,
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
        Ok(Self { dialogue, options, correct })
    }
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

    /// Gives the same probabilities to every question, whatever it says.
    struct Constant(&'static [f64]);

    impl Choose for Constant {
        fn choose(
            &self,
            prompts: &[Dialogue],
            _options: &[&str],
        ) -> Result<Vec<Vec<f64>>, language_model::Error> {
            Ok(vec![self.0.to_vec(); prompts.len()])
        }
    }

    fn question(options: &[&str], correct: usize) -> Question {
        let dialogue = Dialogue::from_user(format!("{options:?} {correct}"))
            .with_assistant("The answer is: (");
        Question { dialogue, options: options.iter().map(|&o| o.to_owned()).collect(), correct }
    }

    #[test]
    fn reads_the_form_of_the_papers_files() {
        let row = r#"{"prompt": "\n\nWhich? Options:\n (A) x\n (B) y\n\nThe answer is:",
            "corrects": [" (B)"], "incorrects": [" (C)", " (A)"], "text_correct": ""}"#;
        let question: Question = serde_json::from_str(row).unwrap();
        let expected = Dialogue::from_user("Which? Options:\n (A) x\n (B) y")
            .with_assistant("The answer is: (");
        assert_eq!(question.dialogue, expected);
        assert_eq!(
            (question.options, question.correct),
            (vec!["A", "B", "C"].into_iter().map(str::to_owned).collect(), 1)
        );
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
        assert!(matches!(read_questions(&path), Err(Error::NoQuestions)));
    }

    #[test]
    fn likeliest_options_share_the_point() {
        let answer = |probabilities: &[f64], correct| {
            Answer { id: String::new(), probabilities: probabilities.to_vec(), correct }.score()
        };
        let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12);
        close(answer(&[0.4, 0.6], 1), 1.0);
        close(answer(&[0.4, 0.6], 0), 0.0);
        close(answer(&[0.5, 0.5], 0), 0.5);
        close(answer(&[0.25, 0.375, 0.375], 2), 0.5);
        close(answer(&[0.25, 0.375, 0.375], 0), 0.0);
    }

    #[test]
    fn keeps_the_order_of_questions_with_other_options_between() {
        let questions =
            [question(&["A", "B"], 0), question(&["yes", "no"], 1), question(&["A", "B"], 1)];
        let result = multiple_choice(&Constant(&[0.8, 0.2]), &questions).unwrap();
        let correct: Vec<usize> = result.answers.iter().map(|answer| answer.correct).collect();
        assert_eq!(correct, [0, 1, 1]);
        assert_eq!(result.answers[1].id, questions[1].dialogue.id());
        assert!((result.accuracy.value - 1.0 / 3.0).abs() < 1e-12);
        // Forecasts 0.8 and 0.2 of which 1/3 and 2/3 came true.
        let expected = 0.8 - 1.0 / 3.0;
        assert!((result.calibration.expected_calibration_error - expected).abs() < 1e-12);
    }

    #[test]
    fn refuses_answers_that_are_no_distribution_and_questions_without_one() {
        let good = [question(&["A", "B"], 0)];
        for bad in [&[1.0][..], &[0.7, 0.7], &[f64::NAN, 0.5], &[1.5, -0.5], &[]] {
            let result = multiple_choice(&Constant(bad), &good);
            assert!(matches!(result, Err(Error::Answer { options: 2, .. })), "{result:?}");
        }
        for bad in [question(&["A"], 0), question(&["A", "B"], 2), question(&["A", "A"], 0)] {
            let result = multiple_choice(&Constant(&[0.5, 0.5]), &[bad]);
            assert!(matches!(result, Err(Error::Question { .. })), "{result:?}");
        }
        assert!(matches!(multiple_choice(&Constant(&[]), &[]), Err(Error::NoQuestions)));
    }
}
