//! From pairs to labels, in one batch.

use crate::question::{ANSWERED, OPTIONS, concluding_question, question, reasoning_question};
use crate::{ChainOfThought, Error, FeedbackConfig, FewShot, Judge, Label, OrderLabel, pair_id};
use constitution::{ComparisonPrinciple, Constitution};
use dialogue::{Comparison, Dialogue};
use language_model::{Choose, Generate, Prompt, item_seed, stream};

/// Labels pairs by the principles of a constitution, after a chain of thought if `config` asks for one (section 4.1 of
/// arXiv 2212.08073).
///
/// One principle is drawn for each pair. With `p1` the probability of (A) over (A) and (B) as the replies stand, and `p2`
/// that of the reply shown as (A) when they are exchanged,
///
/// ```text
/// probability_a = p1                     in one order
///               = (p1 + (1 - p2)) / 2    in both
/// ```
///
/// and after a chain of thought this is clamped. All questions of all pairs are one call of the judge, after one more for
/// all rationales; hand in as many pairs at once as the judge should hold. Principles and rationales come from the
/// stream of the pair, named by its content, so labels do not depend on how pairs are batched or ordered.
///
/// A judge that implements [`Choose`] alone goes to [`label_directly`].
///
/// # Errors
/// If a setting is out of range, the constitution has no principle to draw, the judge fails, or its answer is no
/// probability.
pub fn label(
    judge: &dyn Judge,
    constitution: &Constitution,
    pairs: &[Comparison],
    config: &FeedbackConfig,
    seed: u64,
) -> Result<Vec<Label>, Error> {
    let Some(chain_of_thought) = &config.chain_of_thought else {
        return label_directly(judge, constitution, pairs, config, seed);
    };
    config.validate()?;
    let items = draw_items(constitution, pairs, config, seed)?;
    let questions = reason(judge, &items, chain_of_thought, seed)?;
    let [low, high] = chain_of_thought.clamp;
    choose(judge, items, questions, |probability| probability.clamp(low, high))
}

/// [`label`] for a judge that only chooses, without a chain of thought.
///
/// # Errors
/// Those of [`label`], and [`Error::CannotReason`] if `config` asks for a chain of thought.
pub fn label_directly(
    judge: &dyn Choose,
    constitution: &Constitution,
    pairs: &[Comparison],
    config: &FeedbackConfig,
    seed: u64,
) -> Result<Vec<Label>, Error> {
    config.validate()?;
    if config.chain_of_thought.is_some() {
        return Err(Error::CannotReason);
    }
    let items = draw_items(constitution, pairs, config, seed)?;
    let questions = items.iter().map(|item| {
        let shown = |pair: &Comparison| Asked {
            question: item.behind_examples(FewShot::answered, question(pair, item.text())),
            rationale: None,
        };
        item.orders.iter().map(shown).collect()
    });
    let questions = questions.collect();
    choose(judge, items, questions, |probability| probability)
}

/// A pair with all that is drawn for it.
struct Item<'a> {
    id: String,
    principle: &'a ComparisonPrinciple,
    examples: Vec<(&'a FewShot, &'a ComparisonPrinciple)>,
    /// The pair in each order that is asked.
    orders: Vec<Comparison>,
}

/// A question that is ready for its answer.
struct Asked {
    question: Dialogue,
    rationale: Option<String>,
}

impl Item<'_> {
    fn text(&self) -> &str {
        &self.principle.text
    }

    /// `question` with the worked examples as earlier turns.
    fn behind_examples(
        &self,
        render: impl Fn(&FewShot, &str) -> Dialogue,
        question: Dialogue,
    ) -> Dialogue {
        let examples = self.examples.iter().map(|(shot, principle)| render(shot, &principle.text));
        Dialogue::new(examples.chain([question]).flat_map(|turns| turns.messages).collect())
    }
}

/// Draws principles from the stream of each pair.
fn draw_items<'a>(
    constitution: &'a Constitution,
    pairs: &[Comparison],
    config: &'a FeedbackConfig,
    seed: u64,
) -> Result<Vec<Item<'a>>, Error> {
    let draw = |pair: &Comparison| {
        let id = pair_id(pair);
        let mut stream = stream(item_seed(seed, &["ai_feedback", &id, "principles"]));
        let mut draws = constitution.comparisons(&config.principles)?;
        let principle = draws.draw(&mut stream);
        let examples = config.few_shots.iter();
        let examples = examples.map(|shot| (shot, draws.draw(&mut stream))).collect();
        let mut orders = vec![pair.clone()];
        if config.both_orders {
            orders.push(pair.swapped());
        }
        Ok(Item { id, principle, examples, orders })
    };
    pairs.iter().map(draw).collect()
}

/// Lets the judge think aloud about every order of every item.
fn reason(
    judge: &dyn Judge,
    items: &[Item<'_>],
    chain_of_thought: &ChainOfThought,
    seed: u64,
) -> Result<Vec<Vec<Asked>>, Error> {
    let mut sampling = chain_of_thought.sampling.clone();
    if !sampling.stop.iter().any(|stop| stop == ANSWERED) {
        sampling.stop.push(ANSWERED.to_owned());
    }
    let mut prompts = Vec::new();
    for item in items {
        for (order, pair) in item.orders.iter().enumerate() {
            let question = reasoning_question(pair, item.text());
            let dialogue = item.behind_examples(FewShot::reasoned, question);
            let order = order.to_string();
            let seed = item_seed(seed, &["ai_feedback", &item.id, "rationale", &order]);
            prompts.push(Prompt { dialogue, seed });
        }
    }
    if prompts.is_empty() {
        return Ok(Vec::new());
    }
    let completions = Generate::generate(judge, &prompts, &sampling)?;
    check_count(prompts.len(), completions.len())?;
    let mut asked = prompts.iter().zip(completions).map(|(prompt, completion)| {
        let rationale = completion.text.trim().to_owned();
        Asked {
            question: concluding_question(&prompt.dialogue, &rationale),
            rationale: Some(rationale),
        }
    });
    Ok(items.iter().map(|item| asked.by_ref().take(item.orders.len()).collect()).collect())
}

/// Lets the judge choose and makes a label of every item; `questions` holds one list an item, one question an order.
fn choose(
    judge: &dyn Choose,
    items: Vec<Item<'_>>,
    questions: Vec<Vec<Asked>>,
    finish: impl Fn(f64) -> f64,
) -> Result<Vec<Label>, Error> {
    if items.is_empty() {
        return Ok(Vec::new());
    }
    let prompts: Vec<Dialogue> =
        questions.iter().flatten().map(|asked| asked.question.clone()).collect();
    let rows = judge.choose(&prompts, &OPTIONS)?;
    check_count(prompts.len(), rows.len())?;
    let mut rows = rows.into_iter();
    let answered = |(item, questions): (Item<'_>, Vec<Asked>)| {
        let answers = questions.into_iter().zip(&mut rows).map(|(asked, row)| {
            Ok(OrderLabel {
                probability_of_first: first_share(&item.id, row)?,
                rationale: asked.rationale,
                question: asked.question,
            })
        });
        let orders = answers.collect::<Result<Vec<_>, Error>>()?;
        Ok(finished(item, orders, &finish))
    };
    items.into_iter().zip(questions).map(answered).collect()
}

fn finished(item: Item<'_>, orders: Vec<OrderLabel>, finish: impl Fn(f64) -> f64) -> Label {
    let firsts: Vec<f64> = orders.iter().map(|order| order.probability_of_first).collect();
    let Item { id, principle, orders: mut pairs, .. } = item;
    Label {
        id,
        pair: pairs.swap_remove(0),
        principle: principle.id.clone(),
        principle_text: principle.text.clone(),
        probability_a: finish(probability_a(&firsts)),
        orders,
    }
}

/// The probability of reply (A) from those of the reply shown first, in one order or in both.
fn probability_a(firsts: &[f64]) -> f64 {
    match firsts {
        [as_they_are, exchanged] => f64::midpoint(*as_they_are, 1.0 - exchanged),
        _ => firsts[0],
    }
}

/// The judge's weight of the first option, normalised over both.
fn first_share(id: &str, row: Vec<f64>) -> Result<f64, Error> {
    match row[..] {
        [a, b] if a >= 0.0 && b >= 0.0 && (a + b).is_finite() && a + b > 0.0 => Ok(a / (a + b)),
        _ => Err(Error::Probabilities { id: id.to_owned(), found: row }),
    }
}

fn check_count(expected: usize, found: usize) -> Result<(), Error> {
    if expected == found { Ok(()) } else { Err(Error::Count { expected, found }) }
}

#[cfg(test)]
mod tests;
