//! What holds of any judge.

use super::*;
use constitution::Drawing;
use proptest::prelude::*;

proptest! {
    #[test]
    fn labels_are_probabilities_that_the_flipped_pair_turns_round(
        a in 0.0..=1e300,
        b in 1e-300..=1e300,
        replies in ["(?s).{0,20}", "(?s).{0,20}"],
        both_orders: bool,
        reason: bool,
    ) {
        let judge = Scripted::new(|_: &Dialogue| vec![a, b]);
        let chain_of_thought = reason.then(ChainOfThought::default);
        let config = FeedbackConfig { both_orders, chain_of_thought, ..Default::default() };
        let pair = Comparison { prompt: Dialogue::from_user("q"), replies };
        let label = labels(&judge, &[pair], &config).remove(0);
        let range = if reason { 0.4..=0.6 } else { 0.0..=1.0 };
        prop_assert!(range.contains(&label.probability_a), "{}", label.probability_a);
        prop_assert_eq!(orders(&label).len(), 1 + usize::from(both_orders));
        for order in orders(&label) {
            prop_assert!((0.0..=1.0).contains(&order.probability_of_first));
        }
    }

    /// A verdict that does not reach the label makes a judge worthless without an error, so every mode is tried, down to
    /// the row that is trained on.
    #[test]
    fn a_flipped_verdict_flips_the_label_in_every_mode(
        both_orders: bool,
        principles_per_comparison in 1_usize..4,
        replacement: bool,
        samples in 0_usize..4,
        shots in 0_usize..3,
        low in 0.0..0.49_f64,
        weights in prop::collection::vec((0.0..1.0_f64, 0.001..1.0_f64), 7),
    ) {
        // Any answer at all, decided by the whole question.
        let weigh = |question: &Dialogue| {
            let (a, b) = weights[usize::from_str_radix(&question.id()[..4], 16).unwrap() % 7];
            vec![a, b]
        };
        let shot = |_| FewShot {
            pair: pair("x", "y"),
            answer: crate::Answer::A,
            rationale: Some("So it is.".to_owned()),
        };
        let clamp = [low, 1.0 - low];
        let config = FeedbackConfig {
            both_orders,
            principles: Drawing { replacement, ..Default::default() },
            principles_per_comparison,
            chain_of_thought: (samples > 0).then(|| ChainOfThought { samples, clamp, ..Default::default() }),
            few_shots: (0..shots).map(shot).collect(),
            ..Default::default()
        };
        let judge = Scripted::new(weigh);
        let flipped = Scripted::new(|question: &Dialogue| weigh(question).into_iter().rev().collect());
        let pairs = [pair("one", "two"), pair("three", "four")];
        let found = labels(&judge, &pairs, &config);
        for (label, flipped) in found.iter().zip(labels(&flipped, &pairs, &config)) {
            prop_assert!((label.probability_a + flipped.probability_a - 1.0).abs() < 1e-9);
            prop_assert_eq!(label.principles.len(), principles_per_comparison);
            prop_assert!(answers(label).count() == principles_per_comparison * orders(label).len() * samples.max(1));
            // So near to even rounding decides.
            if (label.probability_a - 0.5).abs() > 1e-9 {
                let [row, other] = [label, &flipped].map(|label| serde_json::to_value(label).unwrap());
                prop_assert_eq!(&row["chosen"], &other["rejected"]);
                prop_assert_eq!(&row["rejected"], &other["chosen"]);
                let chosen = usize::from(label.probability_a < 0.5);
                prop_assert_eq!(&row["chosen"][0]["content"], &label.pair.replies[chosen]);
            }
        }
    }
}
