//! What a set of labels says about its judge.

use crate::{Label, OrderLabel, PrincipleLabel};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::ops::AddAssign;

/// Habits of a judge over a set of labels; `None` where no label tells.
///
/// A verdict is the reply that a probability names as the better one; an even probability names none, and two of these
/// agree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// Labels counted.
    pub labels: usize,
    /// How far the judge leans to the reply shown first, in \[-0.5, 0.5\]; 0 without a lean.
    ///
    /// The mean over judgements in both orders of `(p1 + p2) / 2 - 1/2`, with `p1` and `p2` the probability of the reply
    /// shown first: the mean probability of whatever is shown first, less a half.
    pub position_bias: Option<f64>,
    /// Share of judgements in both orders whose two verdicts agree; the others flip when the replies are exchanged.
    pub order_consistency: Option<f64>,
    /// Share of the pairs of principles that judged the same label, in as many orders, and agree, averaged over labels. A
    /// principle that was drawn twice is not compared with itself.
    pub principle_consistency: Option<f64>,
    /// Mean entropy of the final labels in nats, from 0 (certain) to ln 2 (even).
    pub entropy: Option<f64>,
    /// The same before labels are clamped: of [`Label::unclamped`].
    pub unclamped_entropy: Option<f64>,
}

/// Summarises labels; what was asked in one order or by one principle does not count towards the figures that need two.
pub fn summarise(labels: &[Label]) -> Summary {
    let mut tally = Tally::default();
    for label in labels {
        tally += label.into();
    }
    tally.summary()
}

/// What a [`Summary`] is made of, for labels that are not all in memory: one label after another is added.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tally {
    labels: usize,
    position_bias: Mean,
    order_consistency: Mean,
    principle_consistency: Mean,
    entropy: Mean,
    unclamped_entropy: Mean,
}

impl From<&Label> for Tally {
    fn from(label: &Label) -> Self {
        let both = || label.principles.iter().filter_map(in_both_orders);
        let bias = both().map(|[first, second]| f64::midpoint(first, second) - 0.5);
        let kept = both().map(|[first, second]| share(verdict(first) == verdict(second).reverse()));
        Self {
            labels: 1,
            position_bias: bias.collect(),
            order_consistency: kept.collect(),
            principle_consistency: agreement(label).into_iter().collect(),
            entropy: std::iter::once(entropy(label.probability_a)).collect(),
            unclamped_entropy: std::iter::once(entropy(label.unclamped())).collect(),
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.labels += other.labels;
        self.position_bias += other.position_bias;
        self.order_consistency += other.order_consistency;
        self.principle_consistency += other.principle_consistency;
        self.entropy += other.entropy;
        self.unclamped_entropy += other.unclamped_entropy;
    }
}

impl Tally {
    /// What the labels say.
    pub fn summary(&self) -> Summary {
        Summary {
            labels: self.labels,
            position_bias: self.position_bias.value(),
            order_consistency: self.order_consistency.value(),
            principle_consistency: self.principle_consistency.value(),
            entropy: self.entropy.value(),
            unclamped_entropy: self.unclamped_entropy.value(),
        }
    }
}

/// A mean on the way.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Mean {
    count: usize,
    sum: f64,
}

impl Mean {
    fn value(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

impl AddAssign for Mean {
    fn add_assign(&mut self, other: Self) {
        self.count += other.count;
        self.sum += other.sum;
    }
}

impl FromIterator<f64> for Mean {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        values.into_iter().fold(Self::default(), |Self { count, sum }, value| Self {
            count: count + 1,
            sum: sum + value,
        })
    }
}

fn in_both_orders(principle: &PrincipleLabel) -> Option<[f64; 2]> {
    let first = |order: &OrderLabel| order.probability_of_first;
    match &principle.orders[..] {
        [as_they_are, exchanged] => Some([first(as_they_are), first(exchanged)]),
        _ => None,
    }
}

/// The share of pairs of different principles whose verdicts agree; `None` if there is no such pair.
fn agreement(label: &Label) -> Option<f64> {
    let principles = label.principles.iter().enumerate();
    let pairs = principles.flat_map(|(index, one)| {
        label.principles[..index]
            .iter()
            .filter(|other| other.id != one.id && other.orders.len() == one.orders.len())
            .map(move |other| [one, other])
    });
    let agree =
        pairs.map(|[one, other]| share(verdict(one.probability_a) == verdict(other.probability_a)));
    agree.collect::<Mean>().value()
}

/// Which of two replies a probability names: that of the probability, the other, or neither.
fn verdict(probability: f64) -> Ordering {
    probability.total_cmp(&0.5)
}

fn share(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

/// Entropy in nats of a yes with probability `p`.
fn entropy(p: f64) -> f64 {
    [p, 1.0 - p].iter().filter(|&&p| p > 0.0).map(|p| -p * p.ln()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dialogue::{Comparison, Dialogue};
    use std::f64::consts::LN_2;

    fn principle(id: &str, probability_a: f64, firsts: &[f64]) -> PrincipleLabel {
        let order =
            |&probability_of_first: &f64| OrderLabel { probability_of_first, answers: Vec::new() };
        let orders = firsts.iter().map(order).collect();
        let (id, text) = (id.to_owned(), String::new());
        PrincipleLabel { id, text, probability_a, probe: false, orders }
    }

    fn by(principles: Vec<PrincipleLabel>, probability_a: f64) -> Label {
        Label {
            id: String::new(),
            pair: Comparison { prompt: Dialogue::default(), replies: Default::default() },
            probability_a,
            principles,
        }
    }

    fn label(probability_a: f64, firsts: &[f64]) -> Label {
        by(vec![principle("one", probability_a, firsts)], probability_a)
    }

    fn assert_close(found: Option<f64>, expected: f64) {
        assert!(found.is_some_and(|found| (found - expected).abs() < 1e-12), "{found:?}");
    }

    #[test]
    fn matches_a_computation_by_hand() {
        let labels = [
            label(0.8, &[0.9, 0.3]),  // agrees; leans by 0.1
            label(0.5, &[0.8, 0.8]),  // contradicts itself; leans by 0.3
            label(0.5, &[0.5, 0.5]),  // even twice
            label(0.45, &[0.5, 0.6]), // even once; leans by 0.05
            label(1.0, &[1.0]),       // one order
        ];
        let summary = summarise(&labels);
        assert_eq!((summary.labels, summary.principle_consistency), (5, None));
        assert_close(summary.position_bias, 0.45 / 4.0);
        assert_close(summary.order_consistency, 0.5);
        let of_08 = -(0.8_f64 * 0.8_f64.ln() + 0.2 * 0.2_f64.ln());
        let of_045 = -(0.45_f64 * 0.45_f64.ln() + 0.55 * 0.55_f64.ln());
        assert_close(summary.entropy, (of_08 + of_045 + 2.0 * LN_2) / 5.0);
        assert_eq!(summary.unclamped_entropy, summary.entropy);
    }

    #[test]
    fn compares_different_principles_and_sees_behind_the_clamp() {
        let judged = |probabilities: [f64; 3], label| {
            let ids = ["one", "two", "one"];
            let principles = ids.iter().zip(probabilities);
            by(principles.map(|(id, p)| principle(id, p, &[p])).collect(), label)
        };
        let labels = [
            judged([0.9, 0.7, 0.8], 0.6), // two pairs of principles, both agree
            judged([0.9, 0.2, 0.1], 0.4), // one of two agrees
            judged([0.5, 0.5, 0.4], 0.5), // an even verdict agrees with an even one alone
            label(0.5, &[0.5]),           // one principle
        ];
        let summary = summarise(&labels);
        assert_close(summary.principle_consistency, (1.0 + 0.5 + 0.5) / 3.0);
        assert_eq!(summary.position_bias, None);
        let nats = |p: f64| -(p * p.ln() + (1.0 - p) * (1.0 - p).ln());
        assert_close(summary.entropy, (2.0 * nats(0.6) + 2.0 * LN_2) / 4.0);
        let means = nats(0.8) + nats(0.4) + nats(1.4 / 3.0) + LN_2;
        assert_close(summary.unclamped_entropy, means / 4.0);
    }

    #[test]
    fn a_probe_counts_for_habits_and_not_for_the_label() {
        let probe = |id, probability_a, firsts: &[f64]| PrincipleLabel {
            probe: true,
            ..principle(id, probability_a, firsts)
        };
        // Asked in one order, and once more in both: what one order says is not compared with what both say.
        let judged = vec![
            principle("one", 0.9, &[0.9]),
            probe("one", 0.4, &[0.9, 0.9]),
            probe("two", 0.3, &[0.2, 0.6]),
        ];
        let label = by(judged, 0.9);
        assert_eq!((label.judgements().count(), label.unclamped()), (1, 0.9));
        let summary = summarise(&[label]);
        assert_eq!((summary.labels, summary.principle_consistency), (1, Some(1.0)));
        assert_eq!((summary.order_consistency, summary.entropy), (Some(0.5), Some(entropy(0.9))));
        assert_close(summary.position_bias, (0.4 - 0.1) / 2.0);
    }

    #[test]
    fn says_nothing_about_nothing() {
        assert_eq!(summarise(&[]), Summary::default());
        let summary = summarise(&[label(1.0, &[1.0])]);
        assert_eq!((summary.order_consistency, summary.entropy), (None, Some(0.0)));
    }
}
