//! From pairs to labels, in one batch.

mod answering;
mod items;

pub(crate) use items::Judged;

use crate::question::ANSWERED;
use crate::{ChainOfThought, Error, FeedbackConfig, Judge, Label};
use answering::{Asked, answer, check_count};
use constitution::Constitution;
use dialogue::Comparison;
use items::{Item, draw_items};
use language_model::{Choose, Prompt, item_seed};

/// Labels pairs by the principles of a constitution, after a chain of thought if `config` asks for one (section 4.1 of
/// arXiv 2212.08073).
///
/// One principle, or [`FeedbackConfig::principles_per_comparison`], is drawn for each pair. With `p1` the probability of
/// (A) over (A) and (B) as the replies stand, and `p2` that of the reply shown as (A) when they are exchanged, each the
/// mean over the rationales if several are drawn,
///
/// ```text
/// p_principle   = p1                     in one order
///               = (p1 + (1 - p2)) / 2    in both
/// probability_a = mean of p_principle
/// ```
///
/// and after a chain of thought this is clamped. All questions of all pairs are one call of the judge, after one more for
/// all rationales; hand in as many pairs at once as the judge should hold. Principles and rationales come from streams of
/// the pair, named by its content, so labels do not depend on how pairs are batched or ordered; and each has a stream of
/// its own, so that asking for more of them changes none of the first.
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
    label_by(judge, constitution, pairs, config, Judged::AsSet, seed)
}

/// [`label`] by principles that are drawn in one way or another.
pub(crate) fn label_by(
    judge: &dyn Judge,
    constitution: &Constitution,
    pairs: &[Comparison],
    config: &FeedbackConfig,
    judged: Judged,
    seed: u64,
) -> Result<Vec<Label>, Error> {
    config.validate()?;
    let items = draw_items(constitution, pairs, config, judged, seed)?;
    let Some(chain_of_thought) = &config.chain_of_thought else {
        return answer_directly(judge, items);
    };
    let asked = reason(judge, &items, chain_of_thought, seed)?;
    let mut labels = answer(judge, items, asked, chain_of_thought.samples)?;
    let [low, high] = chain_of_thought.clamp;
    for label in &mut labels {
        label.probability_a = label.probability_a.clamp(low, high);
    }
    Ok(labels)
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
    answer_directly(judge, draw_items(constitution, pairs, config, Judged::AsSet, seed)?)
}

/// Lets the judge choose without a rationale.
fn answer_directly(judge: &dyn Choose, items: Vec<Item<'_>>) -> Result<Vec<Label>, Error> {
    let mut asked = Vec::new();
    for item in &items {
        for drawn in &item.principles {
            let questions = item.orders.iter().map(|pair| drawn.question(pair));
            asked.extend(questions.map(|question| Asked { question, rationale: None }));
        }
    }
    answer(judge, items, asked, 1)
}

/// Lets the judge think aloud about every principle, in every order, `samples` times.
fn reason(
    judge: &dyn Judge,
    items: &[Item<'_>],
    chain_of_thought: &ChainOfThought,
    seed: u64,
) -> Result<Vec<Asked>, Error> {
    let mut sampling = chain_of_thought.sampling.clone();
    if !sampling.stop.iter().any(|stop| stop == ANSWERED) {
        sampling.stop.push(ANSWERED.to_owned());
    }
    let mut prompts = Vec::new();
    for item in items {
        for (principle, drawn) in item.principles.iter().enumerate() {
            for (order, pair) in item.orders.iter().enumerate() {
                let dialogue = drawn.reasoning_question(pair);
                prompts.extend((0..chain_of_thought.samples).map(|sample| Prompt {
                    dialogue: dialogue.clone(),
                    seed: rationale_seed(seed, &item.id, principle, order, sample),
                }));
            }
        }
    }
    if prompts.is_empty() {
        return Ok(Vec::new());
    }
    let rationales = judge.generate(&prompts, &sampling)?;
    check_count(prompts.len(), rationales.len())?;
    let asked = prompts.iter().zip(rationales);
    Ok(asked.map(|(prompt, rationale)| Asked::behind(&prompt.dialogue, &rationale.text)).collect())
}

/// The first rationale by the first principle has a shorter name than the others, so that it is the same however many there
/// are.
fn rationale_seed(seed: u64, id: &str, principle: usize, order: usize, sample: usize) -> u64 {
    let is_first = principle == 0 && sample == 0;
    let [principle, order, sample] = [principle, order, sample].map(|number| number.to_string());
    let mut name = vec!["ai_feedback", id, "rationale", &order];
    if !is_first {
        name.extend([principle.as_str(), &sample]);
    }
    item_seed(seed, &name)
}

#[cfg(test)]
mod tests;
