//! What a token weighs in the loss.

use crate::precision::narrow;
use serde::{Deserialize, Serialize};

/// How the losses of tokens become the loss of an optimiser step.
///
/// | name | weight of a token |
/// |---|---|
/// | `token` | one over the tokens of the optimiser step: every token of the step alike |
/// | `sequence` | one over the tokens of its reply and the replies of the step: every reply alike |
/// | `round` | one over the mean number of tokens of a step of the round: every token of the round alike |
/// | `length` | one over `max_tokens` and the replies of the step, as in Dr. GRPO (arXiv 2503.20783) |
///
/// The tokens counted are those of the whole step, never those of a micro-batch, so that the cut into micro-batches leaves
/// the loss unchanged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Aggregation {
    /// The mean over tokens.
    #[default]
    Token,
    /// The mean over replies of the mean over their tokens.
    Sequence,
    /// The sum over tokens by a number that is the same for all steps of a round.
    Round,
    /// The mean over replies of the sum over their tokens, by the longest possible.
    Length,
}

/// What the weights of an optimiser step are made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Counts {
    /// Replies of the step.
    pub replies: usize,
    /// Tokens of the step.
    pub tokens: usize,
    /// Tokens of the round.
    pub round_tokens: usize,
    /// Optimiser steps that a pass over the round takes.
    pub minibatches: usize,
    /// The longest possible reply.
    pub max_tokens: usize,
}

impl Aggregation {
    /// The weight of every token of a reply of `length` tokens.
    ///
    /// Where slots are counted and not tokens, as in a value loss, `length` and all counts are those of slots.
    pub fn weight(self, length: usize, counts: &Counts) -> f32 {
        let of = |count: usize| count.max(1) as f64;
        let divisor = match self {
            Self::Token => of(counts.tokens),
            Self::Sequence => of(length) * of(counts.replies),
            Self::Round => of(counts.round_tokens) / of(counts.minibatches),
            Self::Length => of(counts.max_tokens) * of(counts.replies),
        };
        narrow(divisor.recip())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array1;
    use proptest::prelude::*;

    #[test]
    fn weights_by_hand() {
        let counts =
            Counts { replies: 2, tokens: 5, round_tokens: 24, minibatches: 4, max_tokens: 8 };
        let weight = |aggregation: Aggregation| aggregation.weight(3, &counts);
        assert!((weight(Aggregation::Token) - 0.2).abs() < 1e-7);
        assert!((weight(Aggregation::Sequence) - 1.0 / 6.0).abs() < 1e-7);
        assert!((weight(Aggregation::Round) - 1.0 / 6.0).abs() < 1e-7);
        assert!((weight(Aggregation::Length) - 1.0 / 16.0).abs() < 1e-7);
    }

    proptest! {
        #[test]
        fn means_have_weights_that_add_up_to_one(
            lengths in prop::collection::vec(1_usize..30, 1..20),
        ) {
            let tokens = lengths.iter().sum();
            let counts = Counts {
                replies: lengths.len(), tokens, round_tokens: tokens, minibatches: 1, max_tokens: 30,
            };
            for aggregation in [Aggregation::Token, Aggregation::Sequence, Aggregation::Round] {
                let sum: f64 = lengths
                    .iter()
                    .map(|&length| length as f64 * f64::from(aggregation.weight(length, &counts)))
                    .sum();
                prop_assert!((sum - 1.0).abs() < 1e-5);
            }
        }

        /// A weighted sum over tokens is the mean that the setting names, on the arrays themselves.
        #[test]
        fn agree_with_the_means_of_ndarray(
            replies in prop::collection::vec(prop::collection::vec(-2.0..2.0_f64, 1..20), 1..12),
            others in 0_usize..100,
            minibatches in 1_usize..5,
        ) {
            let rows: Vec<Array1<f64>> = replies.iter().cloned().map(Array1::from_vec).collect();
            let all = Array1::from_vec(replies.concat());
            let tokens = all.len();
            let (round_tokens, max_tokens) = (tokens + others, 20);
            let counts = Counts { replies: rows.len(), tokens, round_tokens, minibatches, max_tokens };
            let of_replies = |of: fn(&Array1<f64>) -> f64| {
                rows.iter().map(of).collect::<Array1<f64>>().mean().unwrap()
            };
            for (aggregation, expected) in [
                (Aggregation::Token, all.mean().unwrap()),
                (Aggregation::Sequence, of_replies(|row| row.mean().unwrap())),
                (Aggregation::Round, all.sum() * minibatches as f64 / round_tokens as f64),
                (Aggregation::Length, of_replies(|row| row.sum() / 20.0)),
            ] {
                let weighted = |row: &Array1<f64>| {
                    row.sum() * f64::from(aggregation.weight(row.len(), &counts))
                };
                let found: f64 = rows.iter().map(weighted).sum();
                prop_assert!((found - expected).abs() < 1e-5, "{aggregation:?} {found} {expected}");
            }
        }
    }
}
