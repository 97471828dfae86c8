//! Root mean square normalisation (arXiv 1910.07467).

use crate::flex::{for_each_row, in_order, to_tensor};
use burn::tensor::{Tensor, backend::Backend};

/// `x / sqrt(mean(x^2) + epsilon) * weight`.
///
/// # Shapes
/// `x` `[positions, model]`, `weight` `[model]`, to `[positions, model]`.
pub fn rms_norm<B: Backend>(x: Tensor<B, 2>, weight: Tensor<B, 1>, epsilon: f64) -> Tensor<B, 2> {
    let mut x = match in_order(x) {
        Ok(x) => x,
        Err(x) => return of_primitives(x, weight, epsilon),
    };
    let scales = match in_order(weight) {
        Ok(weight) => weight,
        Err(weight) => return of_primitives(to_tensor(x), weight, epsilon),
    };
    let scales: &[f32] = scales.storage();
    let width = scales.len();
    #[allow(clippy::cast_possible_truncation, reason = "the numbers have 32 bits too")]
    let epsilon = epsilon as f32;
    for_each_row(
        x.storage_mut(),
        width,
        #[inline(always)]
        |_, row| {
            let scale = (sum_of_squares(row) / width as f32 + epsilon).sqrt().recip();
            for (x, weight) in row.iter_mut().zip(scales) {
                *x = *x * scale * weight;
            }
        },
    );
    to_tensor(x)
}

/// In many sums side by side, since compilers do not reorder additions.
#[inline(always)]
fn sum_of_squares(row: &[f32]) -> f32 {
    let mut sums = [0.0; 32];
    let chunks = row.chunks_exact(sums.len());
    let rest: f32 = chunks.remainder().iter().map(|x| x * x).sum();
    for chunk in chunks {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *sum += x * x;
        }
    }
    sums.iter().sum::<f32>() + rest
}

fn of_primitives<B: Backend>(x: Tensor<B, 2>, weight: Tensor<B, 1>, epsilon: f64) -> Tensor<B, 2> {
    let scale = (mean_square(x.clone()) + epsilon).sqrt().recip();
    x * scale * weight.unsqueeze()
}

/// Mean of the squares of every row, `[positions, model]` to `[positions, 1]`.
///
/// One factor of each square is detached, which halves the gradient; counting the result twice and taking one detached
/// copy off restores it, on one number a position instead of a second gradient as large as `x`. The mean itself is a
/// product with a constant column, whose backward pass is again a single product.
fn mean_square<B: Backend>(x: Tensor<B, 2>) -> Tensor<B, 2> {
    let [_, model] = x.dims();
    let column = Tensor::full([model, 1], 1.0 / model as f64, (&x.device(), x.dtype()));
    let squares = x.clone() * x.detach();
    let mean = squares.matmul(column);
    let constant = mean.clone().detach();
    mean * 2.0 - constant
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Autodiff;
    use burn::tensor::{TensorData, Tolerance};
    use burn_flex::{Flex, FlexDevice};

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
        for found in [roots::<Flex>(&FlexDevice), roots::<Autodiff<Flex>>(&FlexDevice)] {
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-6, "{found} {expected}");
            }
        }
    }

    #[test]
    fn both_roads_agree() {
        let data: Vec<f32> = (0..301 * 203).map(|i| (i as f32 * 0.37).sin() * 9.0).collect();
        let x = Tensor::<Flex, 2>::from_data(TensorData::new(data, [301, 203]), &FlexDevice);
        let weight: Vec<f32> = (0..203).map(|i| 0.5 + (i as f32).cos()).collect();
        let weight = Tensor::<Flex, 1>::from_data(TensorData::new(weight, [203]), &FlexDevice);
        let expected = of_primitives(x.clone(), weight.clone(), 1e-5).into_data();
        let found = rms_norm(x, weight, 1e-5).into_data();
        found.assert_approx_eq::<f32>(&expected, Tolerance::absolute(1e-5));
    }
}
