//! The judge's answers, and what they add up to.

use super::items::{Drawn, Item};
use crate::question::{OPTIONS, concluding_question};
use crate::{AnswerLabel, Error, Label, OrderLabel, PrincipleLabel};
use dialogue::Dialogue;
use language_model::Choose;

/// A question that is ready for its answer.
pub(super) struct Asked {
    pub(super) question: Dialogue,
    pub(super) rationale: Option<String>,
}

impl Asked {
    /// The question behind its rationale.
    pub(super) fn behind(reasoning_question: &Dialogue, rationale: &str) -> Self {
        let rationale = rationale.trim().to_owned();
        let question = concluding_question(reasoning_question, &rationale);
        Self { question, rationale: Some(rationale) }
    }
}

/// Lets the judge choose and makes a label of every item. `asked` holds the questions by item, principle, order and
/// answer, with `answers` of these an order.
pub(super) fn answer(
    judge: &dyn Choose,
    items: Vec<Item<'_>>,
    asked: Vec<Asked>,
    answers: usize,
) -> Result<Vec<Label>, Error> {
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let prompts: Vec<Dialogue> = asked.iter().map(|asked| asked.question.clone()).collect();
    let rows = judge.choose(&prompts, &OPTIONS)?;
    check_count(prompts.len(), rows.len())?;
    let mut answered = asked.into_iter().zip(rows);
    items.into_iter().map(|item| item_label(item, &mut answered, answers)).collect()
}

/// The questions with their answers, in order.
type Answered<'a> = &'a mut dyn Iterator<Item = (Asked, Vec<f64>)>;

fn item_label(item: Item<'_>, answered: Answered<'_>, answers: usize) -> Result<Label, Error> {
    let Item { id, mut orders, principles } = item;
    let count = orders.len();
    let judged = principles.iter().map(|drawn| {
        let orders = (0..count).map(|_| order_label(&id, answered, answers));
        Ok(principle_label(drawn, orders.collect::<Result<_, Error>>()?))
    });
    let principles = judged.collect::<Result<Vec<_>, Error>>()?;
    let probability_a = mean(principles.iter().map(|principle| principle.probability_a));
    Ok(Label { id, pair: orders.swap_remove(0), probability_a, principles })
}

fn principle_label(drawn: &Drawn<'_>, orders: Vec<OrderLabel>) -> PrincipleLabel {
    let firsts: Vec<f64> = orders.iter().map(|order| order.probability_of_first).collect();
    PrincipleLabel {
        id: drawn.principle.id.clone(),
        text: drawn.principle.text.clone(),
        probability_a: probability_a(&firsts),
        probe: false,
        orders,
    }
}

fn order_label(id: &str, answered: Answered<'_>, answers: usize) -> Result<OrderLabel, Error> {
    let answers = answered.take(answers).map(|(Asked { question, rationale }, row)| {
        Ok(AnswerLabel { probability_of_first: first_share(id, row)?, rationale, question })
    });
    let answers = answers.collect::<Result<Vec<_>, Error>>()?;
    let probability_of_first = mean(answers.iter().map(|answer| answer.probability_of_first));
    Ok(OrderLabel { probability_of_first, answers })
}

/// The probability of reply (A) from those of the reply shown first, in one order or in both.
fn probability_a(firsts: &[f64]) -> f64 {
    match firsts {
        [as_they_are, exchanged] => f64::midpoint(*as_they_are, 1.0 - exchanged),
        _ => firsts[0],
    }
}

/// The mean of at least one number.
fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

/// The judge's weight of the first option, normalised over both.
fn first_share(id: &str, row: Vec<f64>) -> Result<f64, Error> {
    match row[..] {
        [a, b] if a >= 0.0 && b >= 0.0 && (a + b).is_finite() && a + b > 0.0 => Ok(a / (a + b)),
        _ => Err(Error::Probabilities { id: id.to_owned(), found: row }),
    }
}

pub(super) fn check_count(expected: usize, found: usize) -> Result<(), Error> {
    if expected == found { Ok(()) } else { Err(Error::Count { expected, found }) }
}
