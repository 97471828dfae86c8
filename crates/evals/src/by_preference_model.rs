//! Questions that a preference model answers by the dialogues behind their options.

use crate::refused::score_each;
use crate::{Error, Question, Rate};
use dialogue::Dialogue;
use language_model::Reward;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// The result of [`by_preference_model`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ByPreferenceModel {
    /// Share of questions whose right dialogue has the higher score, equal scores counting half.
    pub accuracy: Rate,
    /// Mean of the margins.
    pub mean_margin: f64,
    /// Questions of which the model cannot score a dialogue, such as one that is longer than its context; they are in no
    /// figure.
    #[serde(default)]
    pub refused: usize,
    /// Score of the right dialogue less that of the wrong one, in the order of the other questions.
    pub margins: Vec<f64>,
}

/// Lets a preference model score both dialogues of every question.
///
/// All dialogues are one batch.
///
/// # Errors
/// [`Error::NoQuestions`], [`Error::NoDialogues`] for the first question without dialogues, [`Error::Model`] if the model
/// fails, [`Error::Count`] or [`Error::NotFinite`] if it does not give a score each, [`Error::AllRefused`] if it can score both
/// dialogues of no question.
///
/// # References
/// Constitutional AI (arXiv 2212.08073), section 2 and figure 4: the accuracy of preference models on the HHH questions.
pub fn by_preference_model(
    model: &dyn Reward,
    questions: &[Question],
) -> Result<ByPreferenceModel, Error> {
    let both = (1..)
        .zip(questions)
        .map(|(index, question)| question.whole.clone().ok_or(Error::NoDialogues { index }));
    let dialogues: Vec<Dialogue> = both.collect::<Result<Vec<_>, _>>()?.concat();
    if dialogues.is_empty() {
        return Err(Error::NoQuestions);
    }
    let scores = score_each(model, &dialogues)?;
    let margins: Vec<f64> =
        scores.chunks_exact(2).filter_map(|pair| Some(pair[0]? - pair[1]?)).collect();
    if margins.is_empty() {
        return Err(Error::AllRefused("question"));
    }
    let points = margins.iter().map(|margin| match margin.partial_cmp(&0.0) {
        Some(Ordering::Greater) => 1.0,
        Some(Ordering::Equal) => 0.5,
        _ => 0.0,
    });
    let accuracy = Rate::new(points.sum(), margins.len()).ok_or(Error::NoQuestions)?;
    let mean_margin = margins.iter().sum::<f64>() / margins.len() as f64;
    let refused = questions.len() - margins.len();
    Ok(ByPreferenceModel { accuracy, mean_margin, refused, margins })
}

#[cfg(test)]
mod tests {
    use super::*;
    use language_model::Error as ModelError;

    fn question(right: &str, wrong: &str) -> Question {
        let whole = [right, wrong].map(|reply| Dialogue::from_user("q").with_assistant(reply));
        Question {
            dialogue: Dialogue::from_user("Which?").with_assistant("The answer is: ("),
            options: vec!["A".to_owned(), "B".to_owned()],
            correct: 0,
            whole: Some(whole),
            rationale: None,
        }
    }

    fn length(dialogue: &Dialogue) -> f32 {
        dialogue.last_reply().map_or(0.0, |reply| reply.len() as f32)
    }

    #[test]
    fn the_higher_score_wins_and_equal_ones_share() {
        let questions = [question("abc", "a"), question("a", "ab"), question("ab", "cd")];
        let found = by_preference_model(&length, &questions).unwrap();
        assert_eq!(found.margins, [2.0, -1.0, 0.0]);
        assert!((found.accuracy.value - 0.5).abs() < 1e-12);
        assert!((found.mean_margin - 1.0 / 3.0).abs() < 1e-12);
    }

    /// Scores by length what has at most two letters.
    struct Short;

    impl Reward for Short {
        fn reward(&self, dialogues: &[Dialogue]) -> Result<Vec<f32>, ModelError> {
            if dialogues.iter().any(|dialogue| length(dialogue) > 2.0) {
                return Err(ModelError::Refused("too long".into()));
            }
            Ok(dialogues.iter().map(length).collect())
        }
    }

    #[test]
    fn a_question_that_is_too_long_is_counted_and_left_out() {
        let questions = [question("abc", "a"), question("ab", "a"), question("a", "abcd")];
        let found = by_preference_model(&Short, &questions).unwrap();
        assert_eq!((found.refused, found.accuracy.n), (2, 1));
        assert_eq!(found.margins, [1.0]);
        let none = by_preference_model(&Short, &questions[..1]);
        assert!(matches!(none, Err(Error::AllRefused("question"))), "{none:?}");
    }

    #[test]
    fn refuses_what_cannot_be_scored() {
        let plain = Question { whole: None, ..question("a", "b") };
        let error = by_preference_model(&length, &[question("a", "b"), plain]).unwrap_err();
        assert!(error.to_string().starts_with("question 2 has no `text_correct`"), "{error}");
        assert!(matches!(by_preference_model(&length, &[]), Err(Error::NoQuestions)));
        let damaged = |_: &Dialogue| f32::NAN;
        let error = by_preference_model(&damaged, &[question("a", "b")]).unwrap_err();
        assert!(matches!(error, Error::NotFinite { .. }), "{error}");
    }
}
