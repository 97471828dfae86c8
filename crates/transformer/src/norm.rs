//! Root mean square normalisation (arXiv 1910.07467).

use burn::module::{Module, Param};
use burn::tensor::{Tensor, backend::Backend};

/// Divides every position by the root of its mean square and scales every dimension.
#[derive(Module, Debug)]
pub(crate) struct RmsNorm<B: Backend> {
    /// `[model]`.
    pub(crate) weight: Param<Tensor<B, 1>>,
    epsilon: f64,
}

impl<B: Backend> RmsNorm<B> {
    pub(crate) fn new(weight: Tensor<B, 1>, epsilon: f64) -> Self {
        Self { weight: Param::from_tensor(weight), epsilon }
    }

    /// `x / sqrt(mean(x^2) + epsilon) * weight`, `[positions, model]` to the same.
    pub(crate) fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let scale = (mean_square(x.clone()) + self.epsilon).sqrt().recip();
        x * scale * self.weight.val().unsqueeze()
    }
}

/// Mean of the squares of every row, `[positions, model]` to `[positions, 1]`.
///
/// One factor of each square is detached, which halves the gradient; counting the result twice and taking one detached
/// copy off restores it, on one number a position instead of a second gradient as large as `x`. The mean itself is a
/// product with a constant column, whose backward pass is again a single product.
fn mean_square<B: Backend>(x: Tensor<B, 2>) -> Tensor<B, 2> {
    let [_, model] = x.dims();
    let column = Tensor::full([model, 1], 1.0 / model as f64, &x.device());
    let squares = x.clone() * x.detach();
    let mean = squares.matmul(column);
    let constant = mean.clone().detach();
    mean * 2.0 - constant
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Tolerance;
    use burn_flex::{Flex, FlexDevice};

    #[test]
    fn every_position_is_scaled_on_its_own() {
        let norm = RmsNorm::<Flex>::new(Tensor::from_data([1.0, 2.0], &FlexDevice), 0.5);
        let x = Tensor::from_data([[3.0, 4.0], [0.0, 1.0]], &FlexDevice);
        // Mean squares 12.5 and 0.5, so roots of 13 and 1.
        let root = 13.0_f32.sqrt();
        let expected =
            Tensor::<Flex, 2>::from_data([[3.0 / root, 8.0 / root], [0.0, 2.0]], &FlexDevice);
        let found = norm.forward(x).into_data();
        found.assert_approx_eq::<f32>(&expected.into_data(), Tolerance::absolute(1e-6));
    }
}
