//! Answers to questions, and how good they are.

use crate::{Calibration, Error, Forecast, Question, Rate, ask_each};
use dialogue::Dialogue;
use language_model::Choose;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
    /// Questions that the model refused in one form or another, which are in no figure.
    #[serde(default)]
    pub refused: usize,
    /// One answer to each of the other questions, in their order.
    pub answers: Vec<Answer>,
}

/// Asks a model every question once, as it stands. [`crate::by_choice`] and [`crate::by_chain_of_thought`] ask in other ways.
///
/// # Errors
/// [`Error::NoQuestions`], [`Error::Question`], [`Error::AllRefused`], those of [`ask_each`], or [`Error::Answer`] if the
/// model does not give a distribution.
pub fn multiple_choice(
    model: &dyn Choose,
    questions: &[Question],
) -> Result<MultipleChoice, Error> {
    let prompts: Vec<Vec<Dialogue>> =
        questions.iter().map(|question| vec![question.dialogue.clone()]).collect();
    MultipleChoice::of(answers(model, questions, &prompts)?)
}

/// The answers to questions that are each asked in some forms: the mean over the forms. None to a question without forms, or
/// of which the model refuses one.
///
/// All forms of all questions with the same options are one batch.
pub(crate) fn answers<M: Choose + ?Sized>(
    model: &M,
    questions: &[Question],
    forms: &[Vec<Dialogue>],
) -> Result<Vec<Option<Answer>>, Error> {
    let mut batches: BTreeMap<&[String], Vec<usize>> = BTreeMap::new();
    for (index, question) in questions.iter().enumerate() {
        question.validate()?;
        batches.entry(&question.options).or_default().push(index);
    }
    let mut answers = vec![None; questions.len()];
    for (options, batch) in batches {
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let prompts: Vec<Dialogue> =
            batch.iter().flat_map(|&index| forms[index].iter().cloned()).collect();
        let rows = ask_each("answers", &prompts, |prompts| model.choose(prompts, &options))?;
        let mut rows = rows.into_iter();
        for index in batch {
            // All rows of the question are taken, whichever is missing.
            let own: Vec<Option<Vec<f64>>> = rows.by_ref().take(forms[index].len()).collect();
            let own = own.into_iter().collect::<Option<Vec<Vec<f64>>>>();
            if let Some(own) = own.filter(|own| !own.is_empty()) {
                answers[index] = Some(Answer::mean(&questions[index], own)?);
            }
        }
    }
    Ok(answers)
}

impl MultipleChoice {
    /// Counts answers; there is none to a question that was refused.
    pub(crate) fn of(found: Vec<Option<Answer>>) -> Result<Self, Error> {
        let asked = found.len();
        let answers: Vec<Answer> = found.into_iter().flatten().collect();
        let refused = asked - answers.len();
        if refused > 0 && answers.is_empty() {
            return Err(Error::AllRefused("question"));
        }
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
        Ok(Self { accuracy, calibration, refused, answers })
    }
}

impl Answer {
    /// The mean of what a model said to the forms of a question.
    fn mean(question: &Question, rows: Vec<Vec<f64>>) -> Result<Self, Error> {
        let (id, options) = (question.dialogue.id(), question.options.len());
        let count = rows.len() as f64;
        let mut probabilities = vec![0.0; options];
        for row in rows {
            let sound = row.len() == options
                && row.iter().all(|&probability| probability >= 0.0)
                && (row.iter().sum::<f64>() - 1.0).abs() < 1e-3;
            if !sound {
                return Err(Error::Answer { id, found: row, options });
            }
            for (mean, probability) in probabilities.iter_mut().zip(row) {
                *mean += probability / count;
            }
        }
        Ok(Self { id, probabilities, correct: question.correct })
    }

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
        let options = options.iter().map(|&option| option.to_owned()).collect();
        Question { dialogue, options, correct, whole: None, rationale: None }
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

    /// Refuses questions that say so, and takes the first option of all others.
    struct Filter;

    impl Choose for Filter {
        fn choose(
            &self,
            prompts: &[Dialogue],
            _options: &[&str],
        ) -> Result<Vec<Vec<f64>>, language_model::Error> {
            let is_bad = |prompt: &Dialogue| prompt.last_request() == Some("bad");
            if prompts.iter().any(is_bad) {
                return Err(language_model::Error::Refused("a filter".into()));
            }
            Ok(vec![vec![1.0, 0.0]; prompts.len()])
        }
    }

    #[test]
    fn a_refused_question_is_counted_and_left_out() {
        let bad = Question {
            dialogue: Dialogue::from_user("bad").with_assistant("The answer is: ("),
            ..question(&["A", "B"], 0)
        };
        let questions =
            [question(&["A", "B"], 0), bad.clone(), question(&["A", "B"], 1), bad.clone()];
        let found = multiple_choice(&Filter, &questions).unwrap();
        assert_eq!((found.refused, found.answers.len(), found.accuracy.n), (2, 2, 2));
        assert_eq!(found.answers[1].id, questions[2].dialogue.id());
        assert!((found.accuracy.value - 0.5).abs() < 1e-12);
        let none = multiple_choice(&Filter, &[bad]);
        assert!(matches!(none, Err(Error::AllRefused("question"))), "{none:?}");
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
