//! Whether scores follow the length of replies.

use crate::correlation::{pearson, spearman};
use evals::Rate;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// Buckets that [`LengthReport`] divides dialogues into at most.
const BUCKETS: usize = 8;

/// How the score of a dialogue goes with the length of its last reply, in tokens.
///
/// A policy that is trained against scores that rise with length learns to write long replies. What the labels say is the
/// measure: if they prefer the longer reply in 55% of the pairs and the model in 80%, the model has learned length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LengthReport {
    /// Dialogues measured, every distinct one once.
    pub dialogues: usize,
    /// Linear correlation of score and reply tokens; none if one of them does not vary.
    pub pearson: Option<f64>,
    /// The same of their ranks.
    pub spearman: Option<f64>,
    /// Dialogues from the shortest replies to the longest.
    pub buckets: Vec<LengthBucket>,
    /// Share of the pairs whose longer reply is the better one by its label. As below, of pairs with a label other than
    /// 0.5 and replies of unequal length; none without such pairs.
    pub longer_wins_by_label: Option<Rate>,
    /// Share of the same pairs whose longer reply has the higher score, a tie counting half.
    pub longer_wins_by_model: Option<Rate>,
}

/// Dialogues with replies of similar length.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LengthBucket {
    /// Tokens of the shortest reply.
    pub shortest: usize,
    /// Tokens of the longest.
    pub longest: usize,
    /// Number of dialogues.
    pub count: usize,
    /// Their mean score.
    pub mean_score: f64,
}

/// A dialogue, as far as length matters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// Tokens of its last reply.
    pub tokens: usize,
    /// Its score.
    pub score: f64,
}

impl LengthReport {
    /// Measures dialogues, and pairs (chosen, rejected, probability that chosen is better); none without dialogues.
    pub fn of(dialogues: &[Scored], pairs: &[(Scored, Scored, f64)]) -> Option<Self> {
        if dialogues.is_empty() {
            return None;
        }
        let lengths: Vec<f64> = dialogues.iter().map(|dialogue| dialogue.tokens as f64).collect();
        let scores: Vec<f64> = dialogues.iter().map(|dialogue| dialogue.score).collect();
        let contests: Vec<Contest> = pairs.iter().filter_map(Contest::of).collect();
        Some(Self {
            dialogues: dialogues.len(),
            pearson: pearson(&lengths, &scores),
            spearman: spearman(&lengths, &scores),
            buckets: buckets(dialogues),
            longer_wins_by_label: share(contests.iter().map(|contest| contest.by_label)),
            longer_wins_by_model: share(contests.iter().map(|contest| contest.by_model)),
        })
    }
}

/// How much of a win the longer reply of a pair has: 1, one half or 0.
struct Contest {
    by_label: f64,
    by_model: f64,
}

impl Contest {
    /// None if the replies are equally long, or the label is even.
    fn of(&(chosen, rejected, probability): &(Scored, Scored, f64)) -> Option<Self> {
        let label = probability.total_cmp(&0.5);
        let longer = chosen.tokens.cmp(&rejected.tokens);
        if longer.is_eq() || label.is_eq() {
            return None;
        }
        let model = chosen.score.partial_cmp(&rejected.score).unwrap_or(Ordering::Equal);
        let win = |winner: Ordering| match winner {
            Ordering::Equal => 0.5,
            winner if winner == longer => 1.0,
            _ => 0.0,
        };
        Some(Self { by_label: win(label), by_model: win(model) })
    }
}

fn share(wins: impl ExactSizeIterator<Item = f64>) -> Option<Rate> {
    let count = wins.len();
    Rate::new(wins.sum(), count)
}

/// Dialogues by length in buckets of about the same count; equal lengths stay together.
fn buckets(dialogues: &[Scored]) -> Vec<LengthBucket> {
    let mut sorted = dialogues.to_vec();
    sorted.sort_by_key(|dialogue| dialogue.tokens);
    let full = sorted.len().div_ceil(BUCKETS);
    let mut found = Vec::new();
    let mut held: Vec<Scored> = Vec::new();
    for alike in sorted.chunk_by(|a, b| a.tokens == b.tokens) {
        if held.len() >= full {
            found.extend(bucket(&held));
            held.clear();
        }
        held.extend(alike);
    }
    found.extend(bucket(&held));
    found
}

fn bucket(held: &[Scored]) -> Option<LengthBucket> {
    let (shortest, longest) = (held.first()?.tokens, held.last()?.tokens);
    let mean_score = held.iter().map(|dialogue| dialogue.score).sum::<f64>() / held.len() as f64;
    Some(LengthBucket { shortest, longest, count: held.len(), mean_score })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array1;
    use proptest::prelude::*;

    fn scored(tokens: usize, score: f64) -> Scored {
        Scored { tokens, score }
    }

    #[test]
    fn measures_known_dialogues() {
        let [short, middle, long] = [scored(2, 0.0), scored(4, 3.0), scored(9, 1.0)];
        let pairs = [
            (long, short, 0.9),
            (short, middle, 0.8),
            (long, middle, 0.7),
            (short, scored(3, 0.0), 0.6),
            // Neither of these has a longer reply that could win or lose.
            (long, scored(9, 5.0), 0.9),
            (long, short, 0.5),
        ];
        let found = LengthReport::of(&[middle, short, long], &pairs).unwrap();
        assert_eq!(found.dialogues, 3);
        // Deviations -3, -1, 4 and -4/3, 5/3, -1/3: 1 / sqrt(26 * 14/3).
        assert!((found.pearson.unwrap() - (3.0_f64 / 364.0).sqrt()).abs() < 1e-12);
        assert!((found.spearman.unwrap() - 0.5).abs() < 1e-12);
        // By label the longer reply wins the first and third of four, by the model the first two and half of the fourth.
        let [label, model] = [found.longer_wins_by_label, found.longer_wins_by_model];
        assert_eq!(label, Rate::new(2.0, 4));
        assert_eq!(model, Rate::new(2.5, 4));
        assert_eq!(found.buckets.len(), 3);
        assert_eq!(found.buckets[1], bucket(&[middle]).unwrap());
    }

    #[test]
    fn equal_lengths_stay_together() {
        let dialogues: Vec<Scored> = (0..20_u8)
            .map(|index| scored(if index < 15 { 5 } else { 6 }, f64::from(index)))
            .collect();
        let found = LengthReport::of(&dialogues, &[]).unwrap();
        let expected = [
            LengthBucket { shortest: 5, longest: 5, count: 15, mean_score: 7.0 },
            LengthBucket { shortest: 6, longest: 6, count: 5, mean_score: 17.0 },
        ];
        assert_eq!(found.buckets, expected);
        assert_eq!((found.longer_wins_by_label, found.longer_wins_by_model), (None, None));
        assert!(LengthReport::of(&[], &[]).is_none());
        let constant = LengthReport::of(&[scored(3, 1.0), scored(3, 2.0)], &[]).unwrap();
        assert_eq!((constant.pearson, constant.spearman), (None, None));
    }

    proptest! {
        #[test]
        fn buckets_hold_every_dialogue_in_order(
            dialogues in prop::collection::vec((0_usize..50, -5.0..5.0_f64), 1..100),
        ) {
            let dialogues: Vec<Scored> =
                dialogues.into_iter().map(|(tokens, score)| scored(tokens, score)).collect();
            let found = buckets(&dialogues);
            prop_assert!(found.len() <= BUCKETS);
            prop_assert_eq!(found.iter().map(|bucket| bucket.count).sum::<usize>(), dialogues.len());
            for bucket in &found {
                let inside = |d: &&Scored| (bucket.shortest..=bucket.longest).contains(&d.tokens);
                let held: Vec<f64> = dialogues.iter().filter(inside).map(|d| d.score).collect();
                prop_assert_eq!(held.len(), bucket.count);
                let mean = held.iter().sum::<f64>() / held.len() as f64;
                prop_assert!((mean - bucket.mean_score).abs() < 1e-9);
            }
            prop_assert!(found.windows(2).all(|pair| pair[0].longest < pair[1].shortest));
        }

        /// How a pair is stored does not matter.
        #[test]
        fn swapping_a_pair_changes_nothing(
            a in (0_usize..9, -1.0..1.0_f64),
            b in (0_usize..9, -1.0..1.0_f64),
            probability in 0.0..=1.0_f64,
        ) {
            let (a, b) = (scored(a.0, a.1), scored(b.0, b.1));
            let stored = LengthReport::of(&[a, b], &[(a, b, probability)]);
            prop_assert_eq!(stored, LengthReport::of(&[a, b], &[(b, a, 1.0 - probability)]));
        }

        /// Where lengths, labels and scores differ, the signs of the differences say who wins.
        #[test]
        fn wins_agree_with_the_signs_of_differences(
            pairs in prop::collection::vec(
                ((0_usize..6, -2_i8..3), (0_usize..6, -2_i8..3), -2_i8..3), 1..30,
            ),
        ) {
            let of = |(tokens, score): (usize, i8)| scored(tokens, f64::from(score));
            let pairs: Vec<(Scored, Scored, f64)> = pairs
                .into_iter()
                .map(|(chosen, rejected, label)| {
                    (of(chosen), of(rejected), 0.5 + f64::from(label) / 4.0)
                })
                .collect();
            let sign = |number: f64| if number == 0.0 { 0.0 } else { number.signum() };
            let signs = |&(a, b, label): &(Scored, Scored, f64)| {
                [a.tokens as f64 - b.tokens as f64, label - 0.5, a.score - b.score].map(sign)
            };
            let decided: Vec<[f64; 3]> = pairs
                .iter()
                .map(signs)
                .filter(|[length, label, _]| length * label != 0.0)
                .collect();
            let share = |of: usize| {
                let win = |signs: &[f64; 3]| f64::midpoint(1.0, signs[0] * signs[of]);
                decided.iter().map(win).collect::<Array1<f64>>().mean()
            };
            let dialogues: Vec<Scored> = pairs.iter().flat_map(|pair| [pair.0, pair.1]).collect();
            let report = LengthReport::of(&dialogues, &pairs).unwrap();
            for (found, expected) in
                [(report.longer_wins_by_label, share(1)), (report.longer_wins_by_model, share(2))]
            {
                match (found, expected) {
                    (Some(found), Some(expected)) => {
                        prop_assert!((found.value - expected).abs() < 1e-12);
                    }
                    (found, expected) => prop_assert!(found.is_none() && expected.is_none()),
                }
            }
        }
    }
}
