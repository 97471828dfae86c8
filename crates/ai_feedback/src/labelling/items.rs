//! What is drawn for a pair before the judge is asked.

use crate::question::{question, reasoning_question};
use crate::{Error, FeedbackConfig, FewShot, pair_id};
use constitution::{ComparisonPrinciple, Constitution, Drawing};
use dialogue::{Comparison, Dialogue};
use language_model::{item_seed, stream};

/// A pair with all that is drawn for it.
pub(super) struct Item<'a> {
    pub(super) id: String,
    /// The pair in each order that is asked.
    pub(super) orders: Vec<Comparison>,
    pub(super) principles: Vec<Drawn<'a>>,
}

/// A principle to judge by, and those that the worked examples in front of its question are judged by.
pub(super) struct Drawn<'a> {
    pub(super) principle: &'a ComparisonPrinciple,
    examples: Vec<(&'a FewShot, &'a ComparisonPrinciple)>,
}

impl Drawn<'_> {
    pub(super) fn question(&self, pair: &Comparison) -> Dialogue {
        self.behind_examples(FewShot::answered, question(pair, &self.principle.text))
    }

    pub(super) fn reasoning_question(&self, pair: &Comparison) -> Dialogue {
        self.behind_examples(FewShot::reasoned, reasoning_question(pair, &self.principle.text))
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

/// Which principles a pair is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judged {
    /// As the settings say.
    AsSet,
    /// None twice before all were drawn, and otherwise as the settings say: the first is the one that it would be, behind the
    /// same worked examples.
    Distinct,
}

/// Draws principles for each pair.
pub(super) fn draw_items<'a>(
    constitution: &'a Constitution,
    pairs: &[Comparison],
    config: &'a FeedbackConfig,
    judged: Judged,
    seed: u64,
) -> Result<Vec<Item<'a>>, Error> {
    let item = |pair: &Comparison| {
        let id = pair_id(pair);
        let principles = draw_principles(constitution, config, judged, seed, &id)?;
        let mut orders = vec![pair.clone()];
        if config.both_orders {
            orders.push(pair.swapped());
        }
        Ok(Item { id, orders, principles })
    };
    pairs.iter().map(item).collect()
}

/// What the worked examples in front of one question draw is not taken from the next question: without replacement the
/// principles to judge by are different ones, whatever stands in front of them.
fn draw_principles<'a>(
    constitution: &'a Constitution,
    config: &'a FeedbackConfig,
    judged: Judged,
    seed: u64,
    id: &str,
) -> Result<Vec<Drawn<'a>>, Error> {
    let Drawing { replacement, .. } = config.principles;
    let replaced = replacement && judged == Judged::AsSet;
    let all = constitution.comparisons(&config.principles)?;
    let mut left = constitution
        .comparisons(&Drawing { replacement: replaced, ..config.principles.clone() })?;
    let draw = |number| {
        let mut rng = stream(principle_seed(seed, id, number));
        let principle = left.draw(&mut rng);
        let mut shown = if replacement { all.clone() } else { left.clone() };
        let examples = config.few_shots.iter().map(|shot| (shot, shown.draw(&mut rng))).collect();
        Drawn { principle, examples }
    };
    Ok((0..config.principles_per_comparison).map(draw).collect())
}

/// The first principle has a shorter name than the others, so that it is the same however many there are.
fn principle_seed(seed: u64, id: &str, number: usize) -> u64 {
    match number {
        0 => item_seed(seed, &["ai_feedback", id, "principles"]),
        _ => item_seed(seed, &["ai_feedback", id, "principles", &number.to_string()]),
    }
}
