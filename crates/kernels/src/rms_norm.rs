//! Root mean square normalisation (arXiv 1910.07467).

use crate::flex::{copied, for_each_row, in_order, ordered, to_tensor, vectorised};
use crate::lanes::sum_of_products;
use crate::one_column::row_sums;
use crate::tracked::{Rule, both_tracked, learned, record};
use burn::tensor::{Tensor, TensorData, backend::Backend};
use burn_flex::FlexTensor;
use rayon::prelude::*;

/// Numbers that one thread works on at a time in the backward pass; the order of sums over positions depends on it.
const CHUNK: usize = 1 << 14;

/// `x / sqrt(mean(x^2) + epsilon) * weight`.
///
/// Squares are added up in the 32 bits of the numbers, as in `PyTorch`. A row is therefore sound if its squares come to less than
/// 3.4e38: numbers up to 1.8e19 divided by the root of the width, 2.8e17 at a width of 4,096. What comes out of larger ones means
/// nothing.
///
/// # Shapes
/// `x` `[positions, model]`, `weight` `[model]`, to `[positions, model]`.
///
/// # Panics
/// If the rows are not as wide as the weight.
pub fn rms_norm<B: Backend>(x: Tensor<B, 2>, weight: Tensor<B, 1>, epsilon: f64) -> Tensor<B, 2> {
    assert_eq!(x.dims()[1], weight.dims()[0], "rows as wide as the weight");
    #[allow(clippy::cast_possible_truncation, reason = "the numbers have 32 bits too")]
    let small = epsilon as f32;
    let (x, weight) = match both_tracked(x, weight) {
        Ok([x, weight]) => {
            let rule = RmsNorm {
                x: ordered(x.primitive.clone()),
                weight: ordered(weight.primitive.clone()),
                epsilon: small,
            };
            let result = normed(copied(&rule.x), &rule.weight, small);
            return learned(record([&x, &weight], result, |_| rule));
        }
        Err(operands) => operands,
    };
    let x = match in_order(x) {
        Ok(x) => x,
        Err(x) => return of_primitives(x, weight, epsilon),
    };
    match in_order(weight) {
        Ok(weight) => to_tensor(normed(x, &weight, small)),
        Err(weight) => of_primitives(to_tensor(x), weight, epsilon),
    }
}

/// In the storage of `x`.
fn normed(mut x: FlexTensor, weight: &FlexTensor, epsilon: f32) -> FlexTensor {
    let weights: &[f32] = weight.storage();
    for_each_row(
        x.storage_mut(),
        weights.len(),
        #[inline(always)]
        |_, row| {
            let scale = scale_of(row, epsilon);
            for (x, weight) in row.iter_mut().zip(weights) {
                *x = *x * scale * weight;
            }
        },
    );
    x
}

#[inline(always)]
fn scale_of(row: &[f32], epsilon: f32) -> f32 {
    (sum_of_products(row, row) / row.len() as f32 + epsilon).sqrt().recip()
}

#[derive(Debug, Clone)]
struct RmsNorm {
    x: FlexTensor,
    weight: FlexTensor,
    epsilon: f32,
}

impl Rule<2> for RmsNorm {
    /// With `r = 1 / sqrt(mean(x^2) + epsilon)`: `r (w g - x r^2 mean(w g x))` and the sum of `g x r` over positions.
    fn gradients(self, mut gradient: FlexTensor, _: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let (weights, xs): (&[f32], &[f32]) = (self.weight.storage(), self.x.storage());
        let width = weights.len();
        let chunk = (CHUNK / width.max(1)).max(1) * width.max(1);
        let gradients: &mut [f32] = gradient.storage_mut();
        let chunks = gradients.par_chunks_mut(chunk).zip(xs.par_chunks(chunk));
        let sums: Vec<Vec<f32>> = chunks
            .map(|(gradients, xs)| {
                let mut of_weight = vec![0.0; width];
                let rows = gradients.chunks_exact_mut(width).zip(xs.chunks_exact(width));
                vectorised(
                    #[inline(always)]
                    || {
                        for (gradient, x) in rows {
                            backward(gradient, x, weights, self.epsilon, &mut of_weight);
                        }
                    },
                );
                of_weight
            })
            .collect();
        let mut of_weight = vec![0.0; width];
        for sums in sums {
            of_weight.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
        }
        [Some(gradient), Some(FlexTensor::from_data(TensorData::new(of_weight, [width])))]
    }
}

/// One position, in the place of its gradient.
#[inline(always)]
fn backward(gradient: &mut [f32], x: &[f32], weights: &[f32], epsilon: f32, of_weight: &mut [f32]) {
    let scale = scale_of(x, epsilon);
    for (((gradient, x), weight), sum) in gradient.iter_mut().zip(x).zip(weights).zip(of_weight) {
        *sum += *gradient * x * scale;
        *gradient *= weight;
    }
    let mean = sum_of_products(gradient, x) / x.len() as f32;
    for (gradient, x) in gradient.iter_mut().zip(x) {
        *gradient = scale * (*gradient - x * scale * scale * mean);
    }
}

fn of_primitives<B: Backend>(x: Tensor<B, 2>, weight: Tensor<B, 1>, epsilon: f64) -> Tensor<B, 2> {
    let scale = (mean_square(x.clone()) + epsilon).sqrt().recip();
    x * scale * weight.unsqueeze()
}

/// Mean of the squares of every row, `[positions, model]` to `[positions, 1]`.
///
/// One factor of each square is detached, which halves the gradient; counting the result twice and taking one detached
/// copy off restores it, on one number a position instead of a second gradient as large as `x`.
fn mean_square<B: Backend>(x: Tensor<B, 2>) -> Tensor<B, 2> {
    let [_, model] = x.dims();
    let mean = row_sums(x.clone() * x.detach()) / model as f64;
    let constant = mean.clone().detach();
    mean * 2.0 - constant
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exact::any_off;
    use crate::exact_norm::Case;
    use crate::tracked::tests::{Fused, Primitives, none_or_up_to, numbers, wave};
    use burn::tensor::backend::AutodiffBackend;
    use burn_flex::{Flex, FlexDevice};
    use proptest::prelude::*;

    fn roots<B: Backend>(device: &B::Device) -> Vec<f32> {
        let x = Tensor::<B, 2>::from_data([[3.0, 4.0], [0.0, 1.0]], device);
        let weight = Tensor::from_data([1.0, 2.0], device);
        rms_norm(x, weight, 0.5).into_data().to_vec().unwrap()
    }

    #[test]
    fn every_position_is_scaled_on_its_own() {
        // Mean squares 12.5 and 0.5, so roots of 13 and 1.
        let root = 13.0_f32.sqrt();
        let expected = [3.0 / root, 8.0 / root, 0.0, 2.0];
        for found in [roots::<Flex>(&FlexDevice), roots::<Primitives>(&FlexDevice)] {
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-6, "{found} {expected}");
            }
        }
    }

    fn learned_numbers<B: AutodiffBackend<Device = FlexDevice>>(case: &Case) -> [Vec<f32>; 3] {
        let x = case.rows::<B>(&case.x).require_grad();
        let weight = case.line::<B>(&case.weight).require_grad();
        let result = rms_norm(x.clone(), weight.clone(), case.epsilon);
        let gradients = (result.clone() * case.rows::<B>(&case.gradient)).sum().backward();
        let of_x = numbers(x.grad(&gradients).unwrap());
        [numbers(result), of_x, numbers(weight.grad(&gradients).unwrap())]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        /// Of a few numbers the parts of a gradient nearly cancel, so that both roads are compared with what is exact.
        #[test]
        fn both_roads_agree_with_double_precision(
            rows in none_or_up_to(300),
            width in 1_usize..150,
        ) {
            let case = Case::wave([rows, width]);
            let exact = case.exact(false);
            let found = learned_numbers::<Fused>(&case);
            prop_assert_eq!(any_off(&found, &exact), None);
            prop_assert_eq!(any_off(&learned_numbers::<Primitives>(&case), &exact), None);
            let (x, weight) = (case.rows::<Flex>(&case.x), case.line(&case.weight));
            prop_assert_eq!(&numbers(rms_norm(x, weight, case.epsilon)), &found[0]);
        }
    }

    #[test]
    fn rows_of_a_finite_sum_of_squares_neither_overflow_nor_vanish() {
        for width in [1, 2, 7, 64, 150, 4096] {
            let case = Case::extreme(width);
            let exact = case.exact(false);
            assert_eq!(any_off(&learned_numbers::<Fused>(&case), &exact), None, "{width}");
            assert_eq!(any_off(&learned_numbers::<Primitives>(&case), &exact), None, "{width}");
        }
    }

    #[test]
    #[should_panic(expected = "rows as wide as the weight")]
    fn a_narrower_weight_is_a_mistake() {
        let _ = rms_norm(wave::<Flex, 2>([2, 8], 0.37, 1.0), wave([4], 0.7, 1.0), 1e-5);
    }

    #[test]
    #[should_panic(expected = "rows as wide as the weight")]
    fn so_is_one_number_for_all() {
        let _ = rms_norm(wave::<Primitives, 2>([2, 8], 0.37, 1.0), wave([1], 0.7, 1.0), 1e-5);
    }
}
