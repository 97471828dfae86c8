//! The loss.

use burn::tensor::Tensor;
use burn::tensor::activation::log_sigmoid;
use burn::tensor::backend::Backend;

/// The Bradley-Terry loss of soft labels, one number a pair, in nats.
///
/// With the margin `d = score(chosen) - score(rejected)` and the probability `p` that the chosen reply is better:
///
/// ```text
/// loss = - [ p ln sigmoid(d) + (1 - p) ln sigmoid(-d) ]
/// ```
///
/// At `p = 1` this is the usual `-ln sigmoid(d)` of hard labels. Its gradient with respect to `d` is `sigmoid(d) - p`, so
/// that it is least where the model's probability is the label. Large margins of either sign stay finite.
///
/// # Shapes
/// `margins` and `probabilities` `[pairs]` to `[pairs]`.
///
/// # References
/// Soft labels: Constitutional AI (arXiv 2212.08073), section 4.1.
pub fn bradley_terry<B: Backend>(
    margins: Tensor<B, 1>,
    probabilities: Tensor<B, 1>,
) -> Tensor<B, 1> {
    let chosen = log_sigmoid(margins.clone()) * probabilities.clone();
    let rejected = log_sigmoid(-margins) * (-probabilities + 1.0);
    -(chosen + rejected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Autodiff;
    use burn_flex::{Flex, FlexDevice};
    use ndarray::{Array1, Zip};
    use proptest::prelude::*;

    /// Losses and the gradient of their sum with respect to the margins.
    fn loss(margins: &[f32], probabilities: &[f32]) -> (Vec<f32>, Vec<f32>) {
        type B = Autodiff<Flex>;
        let margins = Tensor::<B, 1>::from_floats(margins, &FlexDevice).require_grad();
        let losses =
            bradley_terry(margins.clone(), Tensor::from_floats(probabilities, &FlexDevice));
        let gradients = losses.clone().sum().backward();
        let gradient = margins.grad(&gradients).unwrap();
        (losses.into_data().to_vec().unwrap(), gradient.into_data().to_vec().unwrap())
    }

    fn assert_close(found: &[f32], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn hard_labels_give_the_usual_loss() {
        // -ln sigmoid(1) = ln(1 + 1/e), -ln sigmoid(-1) is 1 more.
        let usual = (1.0 + (-1.0_f64).exp()).ln();
        let (losses, _) = loss(&[1.0, -1.0, 1.0, -1.0, 0.0], &[1.0, 1.0, 0.0, 0.0, 1.0]);
        assert_close(&losses, &[usual, usual + 1.0, usual + 1.0, usual, 2.0_f64.ln()]);
    }

    #[test]
    fn an_even_label_pulls_equal_scores_nowhere() {
        let (losses, gradient) = loss(&[0.0, 0.0], &[0.5, 1.0]);
        assert_close(&losses, &[2.0_f64.ln(); 2]);
        assert_close(&gradient, &[0.0, -0.5]);
    }

    #[test]
    fn the_gradient_vanishes_where_the_model_agrees_with_the_label() {
        // sigmoid(ln 3) = 3/4.
        let (losses, gradient) = loss(&[3.0_f32.ln()], &[0.75]);
        let entropy = -(0.75 * 0.75_f64.ln() + 0.25 * 0.25_f64.ln());
        assert_close(&losses, &[entropy]);
        assert_close(&gradient, &[0.0]);
    }

    #[test]
    fn stays_finite_at_any_margin() {
        let (losses, gradient) = loss(&[1e4, -1e4, 1e4, -1e4], &[1.0, 1.0, 0.5, 0.0]);
        assert_close(&losses, &[0.0, 1e4, 5e3, 0.0]);
        assert_close(&gradient, &[0.0, -1.0, 0.5, 0.0]);
    }

    proptest! {
        #[test]
        fn agrees_with_double_precision(
            pairs in prop::collection::vec((-30.0_f32..30.0, 0.0_f32..=1.0), 1..20),
        ) {
            let (margins, probabilities): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let (losses, gradient) = loss(&margins, &probabilities);
            let double = |values: &[f32]| values.iter().copied().map(f64::from).collect::<Array1<_>>();
            let (margins, probabilities) = (double(&margins), double(&probabilities));
            // ln(1 + exp(x)), exact in double precision for margins of this size.
            let softplus = |x: f64| x.exp().ln_1p();
            let oracle = Zip::from(&margins)
                .and(&probabilities)
                .map_collect(|&d, &p| p * softplus(-d) + (1.0 - p) * softplus(d));
            let slope = Zip::from(&margins)
                .and(&probabilities)
                .map_collect(|&d, &p| 1.0 / (1.0 + (-d).exp()) - p);
            for (found, expected) in losses.iter().zip(&oracle) {
                prop_assert!((f64::from(*found) - expected).abs() < 1e-5 * expected.max(1.0));
            }
            for (found, expected) in gradient.iter().zip(&slope) {
                prop_assert!((f64::from(*found) - expected).abs() < 1e-5);
            }
        }
    }
}
