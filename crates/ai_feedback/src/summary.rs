//! What a set of labels says about its judge.

use crate::Label;
use serde::{Deserialize, Serialize};

/// Habits of a judge over a set of labels; `None` where no label tells.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Labels counted.
    pub labels: usize,
    /// How far the judge leans to the reply shown first, in \[-0.5, 0.5\]; 0 without a lean.
    ///
    /// The mean over labels in both orders of `(p1 + p2) / 2 - 1/2`, with `p1` and `p2` the probability of the reply
    /// shown first.
    pub position_bias: Option<f64>,
    /// Share of labels in both orders whose answers name the same reply; an even answer names none, and two of them
    /// agree.
    pub consistency: Option<f64>,
    /// Mean entropy of the final labels in nats, from 0 (certain) to ln 2 (even).
    pub entropy: Option<f64>,
}

/// Summarises labels; those asked in one order count only towards the entropy.
pub fn summarise(labels: &[Label]) -> Summary {
    let both: Vec<[f64; 2]> = labels.iter().filter_map(in_both_orders).collect();
    let bias = both.iter().map(|[first, second]| f64::midpoint(*first, *second) - 0.5);
    let agreement = both.iter().map(|orders| if agree(*orders) { 1.0 } else { 0.0 });
    Summary {
        labels: labels.len(),
        position_bias: mean(bias),
        consistency: mean(agreement),
        entropy: mean(labels.iter().map(|label| entropy(label.probability_a))),
    }
}

fn in_both_orders(label: &Label) -> Option<[f64; 2]> {
    match &label.orders[..] {
        [first, second] => Some([first.probability_of_first, second.probability_of_first]),
        _ => None,
    }
}

/// True if the answers to a pair and to the exchanged pair name the same reply.
fn agree([first, second]: [f64; 2]) -> bool {
    first.partial_cmp(&0.5) == 0.5.partial_cmp(&second)
}

/// Entropy in nats of a yes with probability `p`.
fn entropy(p: f64) -> f64 {
    [p, 1.0 - p].iter().filter(|&&p| p > 0.0).map(|p| -p * p.ln()).sum()
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> Option<f64> {
    let count = values.len();
    (count > 0).then(|| values.sum::<f64>() / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OrderLabel;
    use dialogue::{Comparison, Dialogue};
    use std::f64::consts::LN_2;

    fn label(probability_a: f64, firsts: &[f64]) -> Label {
        let order = |&probability_of_first: &f64| OrderLabel {
            probability_of_first,
            rationale: None,
            question: Dialogue::default(),
        };
        Label {
            id: String::new(),
            pair: Comparison { prompt: Dialogue::default(), replies: Default::default() },
            principle: String::new(),
            principle_text: String::new(),
            probability_a,
            orders: firsts.iter().map(order).collect(),
        }
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
        assert_eq!(summary.labels, 5);
        assert_close(summary.position_bias, 0.45 / 4.0);
        assert_close(summary.consistency, 0.5);
        let of_08 = -(0.8_f64 * 0.8_f64.ln() + 0.2 * 0.2_f64.ln());
        let of_045 = -(0.45_f64 * 0.45_f64.ln() + 0.55 * 0.55_f64.ln());
        assert_close(summary.entropy, (of_08 + of_045 + 2.0 * LN_2) / 5.0);
    }

    #[test]
    fn says_nothing_about_nothing() {
        let summary = summarise(&[]);
        assert_eq!((summary.position_bias, summary.entropy), (None, None));
        let summary = summarise(&[label(1.0, &[1.0])]);
        assert_eq!((summary.consistency, summary.entropy), (None, Some(0.0)));
    }
}
