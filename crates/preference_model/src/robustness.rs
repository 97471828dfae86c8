//! How much of a model hangs on which half of the data it saw.

use crate::correlation::pearson;
use evals::Rate;
use serde::{Deserialize, Serialize};

/// How far two models agree that were fitted to disjoint halves of the training prompts, on pairs that neither has seen.
///
/// What the halves do not agree on is noise of the data or of training, and so it is in the whole model, if less: a
/// policy can gain there without any gain that another sample of labels would confirm.
///
/// # References
/// The robustness experiments of Bai et al. (2022), arXiv 2204.05862, where a policy is trained against one half's model and
/// watched by the other's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Robustness {
    /// Pairs measured.
    pub pairs: usize,
    /// Share of the pairs that both order alike; a pair that one of them scores evenly counts half.
    pub agreement: Rate,
    /// Linear correlation of their margins; none if those of one do not vary.
    pub correlation: Option<f64>,
}

impl Robustness {
    /// Compares the margins (`score(chosen) - score(rejected)`) that two models give the same pairs; none without pairs.
    ///
    /// # Shapes
    /// One margin a pair, of both.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn of(first: &[f64], second: &[f64]) -> Option<Self> {
        let pairs = first.len();
        assert_eq!(pairs, second.len(), "one margin a pair from each model");
        let alike = |(a, b): (&f64, &f64)| {
            let product = a.signum() * b.signum();
            if *a == 0.0 || *b == 0.0 { 0.5 } else { f64::midpoint(1.0, product) }
        };
        let agreement = Rate::new(first.iter().zip(second).map(alike).sum(), pairs)?;
        Some(Self { pairs, agreement, correlation: pearson(first, second) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn compares_known_margins() {
        let found = Robustness::of(&[1.0, -1.0, 2.0, 0.0], &[3.0, -2.0, -1.0, 4.0]).unwrap();
        assert_eq!(found.pairs, 4);
        assert_eq!(found.agreement, Rate::new(2.5, 4).unwrap());
        // Deviations 0.5, -1.5, 1.5, -0.5 and 2, -3, -2, 3: 1 / sqrt(5 * 26).
        assert!((found.correlation.unwrap() - 1.0 / 130.0_f64.sqrt()).abs() < 1e-12);
        assert!(Robustness::of(&[], &[]).is_none());
        assert_eq!(Robustness::of(&[1.0, 1.0], &[2.0, 3.0]).unwrap().correlation, None);
    }

    #[test]
    #[should_panic(expected = "one margin a pair from each model")]
    fn both_models_give_a_margin_to_every_pair() {
        let _ = Robustness::of(&[1.0, -1.0], &[3.0]);
    }

    proptest! {
        #[test]
        fn a_model_agrees_with_itself_and_not_with_its_opposite(
            margins in prop::collection::vec(0.001..9.0_f64, 2..30),
            signs in prop::collection::vec(any::<bool>(), 30),
        ) {
            let signed: Vec<f64> =
                margins.iter().zip(signs).map(|(m, up)| if up { *m } else { -m }).collect();
            let opposite: Vec<f64> = signed.iter().map(|margin| -margin).collect();
            let alike = Robustness::of(&signed, &signed).unwrap();
            let unlike = Robustness::of(&signed, &opposite).unwrap();
            prop_assert!((alike.agreement.value - 1.0).abs() < 1e-12);
            prop_assert!(unlike.agreement.value.abs() < 1e-12);
            if let (Some(with), Some(against)) = (alike.correlation, unlike.correlation) {
                prop_assert!((with - 1.0).abs() < 1e-9 && (against + 1.0).abs() < 1e-9);
            }
        }

        #[test]
        fn agreement_agrees_with_counting_and_is_mutual(
            margins in prop::collection::vec((-3_i8..4, -3_i8..4), 1..30),
        ) {
            let alike = margins.iter().filter(|(a, b)| a * b > 0).count() as f64;
            let even = margins.iter().filter(|(a, b)| a * b == 0).count() as f64;
            let (first, second): (Vec<f64>, Vec<f64>) =
                margins.iter().map(|&(a, b)| (f64::from(a), f64::from(b))).unzip();
            let found = Robustness::of(&first, &second).unwrap();
            let expected = (alike + 0.5 * even) / margins.len() as f64;
            prop_assert!((found.agreement.value - expected).abs() < 1e-12);
            let turned = Robustness::of(&second, &first).unwrap();
            prop_assert_eq!(turned.agreement, found.agreement);
            match (turned.correlation, found.correlation) {
                (Some(one), Some(other)) => prop_assert!((one - other).abs() < 1e-12),
                (one, other) => prop_assert!(one.is_none() && other.is_none()),
            }
        }
    }
}
