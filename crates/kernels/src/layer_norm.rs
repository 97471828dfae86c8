//! Layer normalisation (arXiv 1607.06450).

use crate::flex::{copied, for_each_row, in_order, ordered, to_tensor, vectorised};
use crate::lanes::{sum, sum_of_products};
use crate::rms_norm::rms_norm;
use crate::tracked::{Rule, Tracked, both_tracked, learned, record, tracked};
use burn::tensor::{Tensor, TensorData, backend::Backend};
use burn_flex::FlexTensor;
use rayon::prelude::*;

/// Numbers that one thread works on at a time in the backward pass; the order of sums over positions depends on it.
const CHUNK: usize = 1 << 14;

/// `(x - mean(x)) / sqrt(var(x) + epsilon) * weight + bias`.
///
/// Numbers may be as large as in [`rms_norm`].
///
/// # Shapes
/// `x` `[positions, model]`, `weight` and `bias` `[model]`, to `[positions, model]`.
///
/// # Panics
/// If the rows are not as wide as the weight and the bias.
pub fn layer_norm<B: Backend>(
    x: Tensor<B, 2>,
    weight: Tensor<B, 1>,
    bias: Tensor<B, 1>,
    epsilon: f64,
) -> Tensor<B, 2> {
    let widths = [weight.dims(), bias.dims()];
    assert_eq!([[x.dims()[1]]; 2], widths, "rows as wide as the weight and the bias");
    #[allow(clippy::cast_possible_truncation, reason = "the numbers have 32 bits too")]
    let small = epsilon as f32;
    let (x, weight) = match both_tracked(x, weight) {
        Ok([x, weight]) => {
            return match tracked(bias) {
                Ok(bias) => learned(recorded(&x, &weight, &bias, small)),
                Err(bias) => of_primitives(learned(x), learned(weight), bias, epsilon),
            };
        }
        Err(operands) => operands,
    };
    let x = match in_order(x) {
        Ok(x) => x,
        Err(x) => return of_primitives(x, weight, bias, epsilon),
    };
    match (in_order(weight), in_order(bias)) {
        (Ok(weight), Ok(bias)) => to_tensor(normed(x, &weight, &bias, small)),
        (weight, bias) => {
            let [weight, bias] = [weight, bias].map(|x| x.map_or_else(|x| x, to_tensor));
            of_primitives(to_tensor(x), weight, bias, epsilon)
        }
    }
}

fn of_primitives<B: Backend>(
    x: Tensor<B, 2>,
    weight: Tensor<B, 1>,
    bias: Tensor<B, 1>,
    epsilon: f64,
) -> Tensor<B, 2> {
    let centred = x.clone() - x.mean_dim(1);
    rms_norm(centred, weight, epsilon) + bias.unsqueeze()
}

fn recorded(x: &Tracked, weight: &Tracked, bias: &Tracked, epsilon: f32) -> Tracked {
    let [held, weights, biases] = [x, weight, bias].map(|x| ordered(x.primitive.clone()));
    let result = normed(copied(&held), &weights, &biases, epsilon);
    record([x, weight, bias], result, |_| LayerNorm { x: held, weight: weights, epsilon })
}

fn normed(mut x: FlexTensor, weight: &FlexTensor, bias: &FlexTensor, epsilon: f32) -> FlexTensor {
    let (weights, biases): (&[f32], &[f32]) = (weight.storage(), bias.storage());
    for_each_row(
        x.storage_mut(),
        weights.len(),
        #[inline(always)]
        |_, row| {
            standardise(row, epsilon);
            for ((x, weight), bias) in row.iter_mut().zip(weights).zip(biases) {
                *x = *x * weight + bias;
            }
        },
    );
    x
}

/// Brings a row to mean 0 and variance 1; gives what it was multiplied by.
#[inline(always)]
fn standardise(row: &mut [f32], epsilon: f32) -> f32 {
    let count = row.len() as f32;
    let mean = sum(row) / count;
    for x in row.iter_mut() {
        *x -= mean;
    }
    let scale = (sum_of_products(row, row) / count + epsilon).sqrt().recip();
    for x in row.iter_mut() {
        *x *= scale;
    }
    scale
}

#[derive(Debug, Clone)]
struct LayerNorm {
    x: FlexTensor,
    weight: FlexTensor,
    epsilon: f32,
}

impl Rule<3> for LayerNorm {
    /// With the standardised `z`, what it was multiplied by `r`, and `u = w g`: `r (u - mean(u) - z mean(u z))`, and
    /// the sums of `g z` and of `g` over positions.
    fn gradients(self, mut gradient: FlexTensor, _: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let Self { mut x, weight, epsilon } = self;
        let weights: &[f32] = weight.storage();
        let width = weights.len();
        let chunk = (CHUNK / width.max(1)).max(1) * width.max(1);
        let gradients: &mut [f32] = gradient.storage_mut();
        let chunks =
            gradients.par_chunks_mut(chunk).zip(x.storage_mut::<f32>().par_chunks_mut(chunk));
        let sums: Vec<[Vec<f32>; 2]> = chunks
            .map(|(gradients, xs)| {
                let mut sums = [vec![0.0; width], vec![0.0; width]];
                let rows = gradients.chunks_exact_mut(width).zip(xs.chunks_exact_mut(width));
                vectorised(
                    #[inline(always)]
                    || {
                        for (gradient, x) in rows {
                            backward(gradient, x, weights, epsilon, &mut sums);
                        }
                    },
                );
                sums
            })
            .collect();
        let mut totals = [vec![0.0; width], vec![0.0; width]];
        for sums in sums {
            for (total, sums) in totals.iter_mut().zip(sums) {
                total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
            }
        }
        let [of_weight, of_bias] =
            totals.map(|total| FlexTensor::from_data(TensorData::new(total, [width])));
        [Some(gradient), Some(of_weight), Some(of_bias)]
    }
}

/// One position, in the place of its gradient; `x` is overwritten.
#[inline(always)]
fn backward(
    gradient: &mut [f32],
    x: &mut [f32],
    weights: &[f32],
    epsilon: f32,
    [of_weight, of_bias]: &mut [Vec<f32>; 2],
) {
    let scale = standardise(x, epsilon);
    let places = gradient.iter_mut().zip(&*x).zip(weights).zip(of_weight).zip(of_bias);
    for ((((gradient, z), weight), of_weight), of_bias) in places {
        *of_weight += *gradient * z;
        *of_bias += *gradient;
        *gradient *= weight;
    }
    let count = x.len() as f32;
    let mean = sum(gradient) / count;
    let along = sum_of_products(gradient, x) / count;
    for (gradient, z) in gradient.iter_mut().zip(&*x) {
        *gradient = scale * (*gradient - mean - z * along);
    }
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

    fn by_hand<B: Backend<Device = FlexDevice>>() {
        // Means 4 and 3, variances 1 and 0.
        let x = Tensor::<B, 2>::from_data([[3.0, 5.0], [3.0, 3.0]], &FlexDevice);
        let weight = Tensor::from_data([1.0, 2.0], &FlexDevice);
        let bias = Tensor::from_data([0.5, 7.0], &FlexDevice);
        let root = 1.5_f32.sqrt();
        let found = numbers(layer_norm(x, weight, bias, 0.5));
        for (found, expected) in found.iter().zip([0.5 - 1.0 / root, 7.0 + 2.0 / root, 0.5, 7.0]) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn takes_off_the_mean_and_scales() {
        by_hand::<Flex>();
        by_hand::<Fused>();
        by_hand::<Primitives>();
    }

    fn learned_numbers<B: AutodiffBackend<Device = FlexDevice>>(case: &Case) -> [Vec<f32>; 4] {
        let x = case.rows::<B>(&case.x).require_grad();
        let weight = case.line::<B>(&case.weight).require_grad();
        let bias = case.line::<B>(&case.bias).require_grad();
        let result = layer_norm(x.clone(), weight.clone(), bias.clone(), case.epsilon);
        let gradients = (result.clone() * case.rows::<B>(&case.gradient)).sum().backward();
        let of_x = numbers(x.grad(&gradients).unwrap());
        let of_weight = numbers(weight.grad(&gradients).unwrap());
        [numbers(result), of_x, of_weight, numbers(bias.grad(&gradients).unwrap())]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        /// Numbers close to their mean and parts of a gradient nearly cancel, so that both roads are compared with what is
        /// exact.
        #[test]
        fn both_roads_agree_with_double_precision(
            rows in none_or_up_to(300),
            width in 1_usize..150,
        ) {
            let case = Case::wave([rows, width]);
            let exact = case.exact(true);
            let found = learned_numbers::<Fused>(&case);
            prop_assert_eq!(any_off(&found, &exact), None);
            prop_assert_eq!(any_off(&learned_numbers::<Primitives>(&case), &exact), None);
            let [weight, bias] = [&case.weight, &case.bias].map(|line| case.line::<Flex>(line));
            let plain = layer_norm(case.rows(&case.x), weight, bias, case.epsilon);
            prop_assert_eq!(&numbers(plain), &found[0]);
        }
    }

    #[test]
    fn rows_of_a_finite_sum_of_squares_neither_overflow_nor_vanish() {
        for width in [1, 2, 7, 64, 150, 4096] {
            let case = Case::extreme(width);
            let exact = case.exact(true);
            assert_eq!(any_off(&learned_numbers::<Fused>(&case), &exact), None, "{width}");
            assert_eq!(any_off(&learned_numbers::<Primitives>(&case), &exact), None, "{width}");
        }
    }

    /// Of rows of eight numbers, with a weight and a bias of these widths.
    fn normed_with<B: Backend<Device = FlexDevice>>(weight: usize, bias: usize) {
        let [weight, bias] = [weight, bias].map(|width| wave::<B, 1>([width], 0.7, 1.0));
        let _ = layer_norm(wave([2, 8], 0.37, 1.0), weight, bias, 1e-5);
    }

    #[test]
    #[should_panic(expected = "rows as wide as the weight and the bias")]
    fn a_narrower_weight_is_a_mistake() {
        normed_with::<Flex>(4, 4);
    }

    #[test]
    #[should_panic(expected = "rows as wide as the weight and the bias")]
    fn so_is_a_bias_of_another_width() {
        normed_with::<Flex>(8, 4);
    }

    #[test]
    #[should_panic(expected = "rows as wide as the weight and the bias")]
    fn so_is_one_number_for_all() {
        normed_with::<Primitives>(8, 1);
    }
}
