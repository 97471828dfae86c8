//! The losses.

use burn::tensor::Tensor;
use burn::tensor::activation::log_sigmoid;
use burn::tensor::backend::Backend;

/// The Bradley-Terry loss of soft labels, one number a pair, in nats.
///
/// With the difference `d = score(chosen) - score(rejected)` and the probability `p` that the chosen reply is better:
///
/// ```text
/// loss = - [ p ln sigmoid(d) + (1 - p) ln sigmoid(-d) ]
/// ```
///
/// At `p = 1` this is the usual `-ln sigmoid(d)` of hard labels. Its gradient with respect to `d` is `sigmoid(d) - p`, so
/// that it is least where the model's probability is the label. Large differences of either sign stay finite.
///
/// # Shapes
/// `differences` and `probabilities` `[pairs]` to `[pairs]`.
///
/// # References
/// Soft labels: Constitutional AI (arXiv 2212.08073), section 4.1.
pub fn bradley_terry<B: Backend>(
    differences: Tensor<B, 1>,
    probabilities: Tensor<B, 1>,
) -> Tensor<B, 1> {
    let margins = differences.zeros_like();
    bradley_terry_with_margin(differences, probabilities, margins)
}

/// The loss of [`bradley_terry`] with a margin `m` by which the better reply should win, in nats.
///
/// ```text
/// loss = - [ p ln sigmoid(d - m) + (1 - p) ln sigmoid(-d - m) ]
/// ```
///
/// Whichever reply is the better one is asked for the margin, so that swapping a pair changes nothing. At `p = 1` the
/// loss is `-ln sigmoid(d - m)`, as in TRL and `OpenRLHF`. With a margin above 0 it is no longer least where the model's
/// probability is the label: the scores are spread on purpose.
///
/// # Shapes
/// `differences`, `probabilities` and `margins` `[pairs]` to `[pairs]`.
///
/// # References
/// Llama 2 (arXiv 2307.09288), equation 2.
pub fn bradley_terry_with_margin<B: Backend>(
    differences: Tensor<B, 1>,
    probabilities: Tensor<B, 1>,
    margins: Tensor<B, 1>,
) -> Tensor<B, 1> {
    let chosen = log_sigmoid(differences.clone() - margins.clone()) * probabilities.clone();
    let rejected = log_sigmoid(-differences - margins) * (-probabilities + 1.0);
    -(chosen + rejected)
}

/// What pulls the scores of a pair towards 0, one number a pair.
///
/// ```text
/// (score(chosen) + score(rejected))^2
/// ```
///
/// The Bradley-Terry loss sees differences alone and leaves the mean of the scores free; this fixes it and leaves the
/// differences free. Multiplied by a coefficient, usually 0.01, it is added to the loss.
///
/// # Shapes
/// `chosen` and `rejected` `[pairs]` to `[pairs]`.
///
/// # References
/// Eisenstein et al. (2023), arXiv 2312.09244, equation 2; `center_rewards_coefficient` of TRL.
pub fn centring<B: Backend>(chosen: Tensor<B, 1>, rejected: Tensor<B, 1>) -> Tensor<B, 1> {
    (chosen + rejected).square()
}

/// The squared error of scores against ratings, one number a dialogue.
///
/// # Shapes
/// `scores` and `ratings` `[dialogues]` to `[dialogues]`.
///
/// # References
/// Constitutional AI (arXiv 2212.08073), section 4.5.
pub fn squared_error<B: Backend>(scores: Tensor<B, 1>, ratings: Tensor<B, 1>) -> Tensor<B, 1> {
    (scores - ratings).square()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Autodiff;
    use burn_flex::{Flex, FlexDevice};
    use ndarray::{Array1, Zip};
    use proptest::prelude::*;

    type B = Autodiff<Flex>;

    fn tensor(values: &[f32]) -> Tensor<B, 1> {
        Tensor::from_floats(values, &FlexDevice)
    }

    fn vector(tensor: Tensor<impl Backend, 1>) -> Vec<f32> {
        tensor.into_data().to_vec().unwrap()
    }

    /// Losses and the gradient of their sum with respect to the differences.
    fn loss_with_margin(
        differences: &[f32],
        probabilities: &[f32],
        margins: &[f32],
    ) -> (Vec<f32>, Vec<f32>) {
        let differences = tensor(differences).require_grad();
        let losses =
            bradley_terry_with_margin(differences.clone(), tensor(probabilities), tensor(margins));
        let gradients = losses.clone().sum().backward();
        (vector(losses), vector(differences.grad(&gradients).unwrap()))
    }

    fn loss(differences: &[f32], probabilities: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let plain = vector(bradley_terry(tensor(differences), tensor(probabilities)));
        let margins = vec![0.0; differences.len()];
        let (losses, gradient) = loss_with_margin(differences, probabilities, &margins);
        assert_eq!(losses, plain);
        (losses, gradient)
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
    fn stays_finite_at_any_difference() {
        let (losses, gradient) = loss(&[1e4, -1e4, 1e4, -1e4], &[1.0, 1.0, 0.5, 0.0]);
        assert_close(&losses, &[0.0, 1e4, 5e3, 0.0]);
        assert_close(&gradient, &[0.0, -1.0, 0.5, 0.0]);
    }

    #[test]
    fn the_better_reply_is_asked_for_the_margin() {
        // -ln sigmoid(2 - 1), and -ln sigmoid(-2 - 1) the other way round; half of both where the label is even.
        let softplus = |x: f64| x.exp().ln_1p();
        let (losses, gradient) = loss_with_margin(&[2.0, 2.0, 2.0], &[1.0, 0.0, 0.5], &[1.0; 3]);
        let [right, wrong] = [softplus(-1.0), softplus(3.0)];
        assert_close(&losses, &[right, wrong, f64::midpoint(right, wrong)]);
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let [up, down] = [-sigmoid(-1.0), sigmoid(3.0)];
        assert_close(&gradient, &[up, down, f64::midpoint(up, down)]);
        let (_, even) = loss_with_margin(&[0.0], &[0.5], &[1.5]);
        assert_close(&even, &[0.0]);
    }

    #[test]
    fn centring_pulls_both_scores_by_twice_their_sum() {
        let (chosen, rejected) =
            (tensor(&[3.0, 1.0]).require_grad(), tensor(&[-1.0, -1.0]).require_grad());
        let found = centring(chosen.clone(), rejected.clone());
        let gradients = found.clone().sum().backward();
        assert_close(&vector(found), &[4.0, 0.0]);
        for scores in [chosen, rejected] {
            assert_close(&vector(scores.grad(&gradients).unwrap()), &[4.0, 0.0]);
        }
    }

    #[test]
    fn the_gradient_of_the_squared_error_is_twice_the_error() {
        let scores = tensor(&[1.0, 4.0, 2.0]).require_grad();
        let losses = squared_error(scores.clone(), tensor(&[3.0, 3.0, 2.0]));
        let gradients = losses.clone().sum().backward();
        assert_close(&vector(losses), &[4.0, 1.0, 0.0]);
        assert_close(&vector(scores.grad(&gradients).unwrap()), &[-4.0, 2.0, 0.0]);
    }

    proptest! {
        #[test]
        fn a_margin_agrees_with_double_precision_and_does_not_see_the_order(
            pairs in prop::collection::vec((-30.0_f32..30.0, 0.0_f32..=1.0, 0.0_f32..5.0), 1..20),
        ) {
            let of = |of: &dyn Fn(&(f32, f32, f32)) -> f32| pairs.iter().map(of).collect::<Vec<f32>>();
            let (differences, labels, margins) = (of(&|pair| pair.0), of(&|pair| pair.1), of(&|pair| pair.2));
            let (losses, gradient) = loss_with_margin(&differences, &labels, &margins);
            let (swapped, against) =
                loss_with_margin(&of(&|pair| -pair.0), &of(&|pair| 1.0 - pair.1), &margins);
            let double = |values: &[f32]| values.iter().copied().map(f64::from).collect::<Array1<_>>();
            let softplus = |x: f64| x.exp().ln_1p();
            let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
            let (d, p, m) = (double(&differences), double(&labels), double(&margins));
            let oracle = Zip::from(&d).and(&p).and(&m)
                .map_collect(|d, p, m| p * softplus(m - d) + (1.0 - p) * softplus(m + d));
            let slope = Zip::from(&d).and(&p).and(&m)
                .map_collect(|d, p, m| (1.0 - p) * sigmoid(m + d) - p * sigmoid(m - d));
            for index in 0..pairs.len() {
                let close = 2e-5 * oracle[index].max(1.0);
                prop_assert!((f64::from(losses[index]) - oracle[index]).abs() < close);
                prop_assert!((f64::from(swapped[index]) - oracle[index]).abs() < close);
                prop_assert!((f64::from(gradient[index]) - slope[index]).abs() < 1e-5);
                prop_assert!((f64::from(against[index]) + slope[index]).abs() < 1e-5);
            }
        }

        #[test]
        fn centring_agrees_with_double_precision_and_does_not_see_differences(
            pairs in prop::collection::vec((-20.0_f32..20.0, -20.0_f32..20.0), 1..20),
            shift in -5.0_f32..5.0,
        ) {
            let (chosen, rejected): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
            let found = vector(centring(tensor(&chosen), tensor(&rejected)));
            let moved = vector(centring(tensor(&chosen) + shift, tensor(&rejected) - shift));
            for ((a, b), (found, moved)) in pairs.iter().zip(found.iter().zip(moved)) {
                let expected = (f64::from(*a) + f64::from(*b)).powi(2);
                prop_assert!((f64::from(*found) - expected).abs() < 1e-5 * expected.max(1.0));
                prop_assert!((f64::from(moved) - expected).abs() < 1e-3);
            }
        }

        #[test]
        fn agrees_with_double_precision(
            pairs in prop::collection::vec((-30.0_f32..30.0, 0.0_f32..=1.0), 1..20),
        ) {
            let (differences, probabilities): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let (losses, gradient) = loss(&differences, &probabilities);
            let double = |values: &[f32]| values.iter().copied().map(f64::from).collect::<Array1<_>>();
            let (differences, probabilities) = (double(&differences), double(&probabilities));
            // ln(1 + exp(x)), exact in double precision for differences of this size.
            let softplus = |x: f64| x.exp().ln_1p();
            let oracle = Zip::from(&differences)
                .and(&probabilities)
                .map_collect(|&d, &p| p * softplus(-d) + (1.0 - p) * softplus(d));
            let slope = Zip::from(&differences)
                .and(&probabilities)
                .map_collect(|&d, &p| 1.0 / (1.0 + (-d).exp()) - p);
            for (found, expected) in losses.iter().zip(&oracle) {
                prop_assert!((f64::from(*found) - expected).abs() < 1e-5 * expected.max(1.0));
            }
            for (found, expected) in gradient.iter().zip(&slope) {
                prop_assert!((f64::from(*found) - expected).abs() < 1e-5);
            }
        }

        #[test]
        fn the_squared_error_agrees_with_double_precision(
            pairs in prop::collection::vec((-20.0_f32..20.0, -20.0_f32..20.0), 1..20),
        ) {
            let (scores, ratings): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let leaf = tensor(&scores).require_grad();
            let losses = squared_error(leaf.clone(), tensor(&ratings));
            let gradients = losses.clone().sum().backward();
            let gradient = vector(leaf.grad(&gradients).unwrap());
            let double = |row: &[f32]| row.iter().copied().map(f64::from).collect::<Array1<_>>();
            let errors = double(&scores) - double(&ratings);
            let losses = vector(losses);
            for ((loss, slope), error) in losses.iter().zip(gradient).zip(&errors) {
                let expected = error * error;
                prop_assert!((f64::from(*loss) - expected).abs() < 1e-5 * expected.max(1.0));
                prop_assert!((f64::from(slope) - 2.0 * error).abs() < 1e-4);
            }
            let turned = vector(squared_error(tensor(&ratings), tensor(&scores)));
            prop_assert_eq!(turned, losses);
        }
    }
}
