//! The loss.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// Weighted cross-entropy of tokens: the share of `weight_sum` that these tokens contribute.
///
/// ```text
/// loss = - sum_i w_i ln p_i / W
/// ```
///
/// `W` is the sum of the weights over the whole optimiser step, these tokens and those of all its other micro-batches. So
/// the losses of the micro-batches add up to the loss of the step, and their gradients to its gradient; a mean for each
/// micro-batch would count tokens of small ones more.
///
/// # Shapes
/// `log_probs` and `weights` `[tokens]`, in nats; the result `[1]`.
pub fn cross_entropy<B: Backend>(
    log_probs: Tensor<B, 1>,
    weights: Tensor<B, 1>,
    weight_sum: f64,
) -> Tensor<B, 1> {
    (log_probs * weights).sum().mul_scalar(-1.0 / weight_sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Autodiff;
    use burn::tensor::ElementConversion;
    use burn_flex::{Flex, FlexDevice};
    use ndarray::Array1;
    use proptest::prelude::*;

    fn loss(log_probs: &[f32], weights: &[f32], weight_sum: f64) -> f64 {
        let tensor = |values: &[f32]| Tensor::<Flex, 1>::from_floats(values, &FlexDevice);
        cross_entropy(tensor(log_probs), tensor(weights), weight_sum).into_scalar().elem()
    }

    #[test]
    fn weighs_each_token() {
        // -(1 ln 0.5 + 3 ln 0.25) / 4 = (ln 2 + 6 ln 2) / 4.
        let found = loss(&[0.5_f32.ln(), 0.25_f32.ln()], &[1.0, 3.0], 4.0);
        assert!((found - 7.0 * 2.0_f64.ln() / 4.0).abs() < 1e-6, "{found}");
    }

    proptest! {
        #[test]
        fn agrees_with_double_precision_and_adds_up(
            tokens in prop::collection::vec((-9.0_f32..0.0, 0.01_f32..3.0), 2..40),
            cut in 0.0_f64..1.0,
        ) {
            let (log_probs, weights): (Vec<f32>, Vec<f32>) = tokens.into_iter().unzip();
            let wide = |row: &[f32]| row.iter().copied().map(f64::from).collect::<Array1<f64>>();
            let weight_sum = wide(&weights).sum();
            let expected = -wide(&log_probs).dot(&wide(&weights)) / weight_sum;
            let whole = loss(&log_probs, &weights, weight_sum);
            prop_assert!((whole - expected).abs() < 1e-5 * expected.max(1.0));

            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a share of a short length"
            )]
            let cut = (cut * log_probs.len() as f64) as usize;
            let parts = loss(&log_probs[..cut], &weights[..cut], weight_sum)
                + loss(&log_probs[cut..], &weights[cut..], weight_sum);
            prop_assert!((whole - parts).abs() < 1e-5 * whole.max(1.0));
        }

        #[test]
        fn every_token_pulls_by_its_weight_whatever_the_order_and_what_weighs_nothing(
            tokens in prop::collection::vec((-9.0_f32..0.0, 0.01_f32..3.0), 1..40),
        ) {
            let (mut log_probs, mut weights): (Vec<f32>, Vec<f32>) = tokens.into_iter().unzip();
            let weight_sum: f64 = weights.iter().copied().map(f64::from).sum();
            let whole = loss(&log_probs, &weights, weight_sum);

            let tensor = |row: &[f32]| Tensor::<Autodiff<Flex>, 1>::from_floats(row, &FlexDevice);
            let leaf = tensor(&log_probs).require_grad();
            let gradients = cross_entropy(leaf.clone(), tensor(&weights), weight_sum).backward();
            let gradient = leaf.grad(&gradients).unwrap().into_data().to_vec::<f32>().unwrap();
            for (found, weight) in gradient.into_iter().zip(&weights) {
                prop_assert!((f64::from(found) + f64::from(*weight) / weight_sum).abs() < 1e-6);
            }

            log_probs.reverse();
            weights.reverse();
            log_probs.extend([-3.0; 4]);
            weights.extend([0.0; 4]);
            let more = loss(&log_probs, &weights, weight_sum);
            prop_assert!((whole - more).abs() < 1e-5 * whole.max(1.0), "{whole} {more}");
        }
    }
}
