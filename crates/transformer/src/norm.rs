//! Norms of hidden states: root mean square (arXiv 1910.07467) and layer norm (arXiv 1607.06450).

use crate::config::{Family, ModelConfig};
use burn::module::{Module, Param};
use burn::tensor::{DType, FloatDType, Tensor, backend::Backend};
use kernels::{layer_norm, rms_norm};

/// Brings every position to the same spread and scales every dimension.
#[derive(Module, Debug)]
pub(crate) struct Norm<B: Backend> {
    /// `[model]`.
    pub(crate) weight: Param<Tensor<B, 1>>,
    /// `[model]`; there is one if and only if the mean is taken off too.
    pub(crate) bias: Option<Param<Tensor<B, 1>>>,
    epsilon: f64,
    /// Gemma stores the scale less 1.
    plus_one: bool,
}

impl<B: Backend> Norm<B> {
    pub(crate) fn new(
        weight: Tensor<B, 1>,
        bias: Option<Tensor<B, 1>>,
        config: &ModelConfig,
    ) -> Self {
        Self {
            weight: Param::from_tensor(weight),
            bias: bias.map(Param::from_tensor),
            epsilon: config.norm_epsilon,
            plus_one: config.family == Family::Gemma3,
        }
    }

    /// `x / sqrt(mean(x^2) + epsilon) * weight`, or `(x - mean(x)) / sqrt(var(x) + epsilon) * weight + bias`,
    /// `[positions, model]` to the same. Half-precision numbers are normed in 32 bits.
    pub(crate) fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let dtype = x.dtype();
        if matches!(dtype, DType::F16 | DType::BF16) {
            return self.of_full_precision(x.cast(FloatDType::F32)).cast(dtype);
        }
        self.of_full_precision(x)
    }

    fn of_full_precision(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let mut weight = self.weight.val().cast(x.dtype());
        if self.plus_one {
            weight = weight + 1.0;
        }
        let Some(bias) = &self.bias else { return rms_norm(x, weight, self.epsilon) };
        let bias = bias.val().cast(x.dtype());
        layer_norm(x, weight, bias, self.epsilon)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Tolerance;
    use burn_flex::{Flex, FlexDevice};

    fn norm(bias: Option<[f32; 2]>, family: Family) -> Norm<Flex> {
        let config = ModelConfig { norm_epsilon: 0.5, family, ..crate::decoder::tests::config() };
        let bias = bias.map(|bias| Tensor::from_data(bias, &FlexDevice));
        Norm::new(Tensor::from_data([1.0, 2.0], &FlexDevice), bias, &config)
    }

    #[track_caller]
    fn assert_normed(norm: &Norm<Flex>, x: [[f32; 2]; 2], expected: [[f32; 2]; 2]) {
        let expected = Tensor::<Flex, 2>::from_data(expected, &FlexDevice).into_data();
        let found = norm.forward(Tensor::from_data(x, &FlexDevice)).into_data();
        found.assert_approx_eq::<f32>(&expected, Tolerance::absolute(1e-6));
    }

    #[test]
    fn every_position_is_scaled_on_its_own() {
        // Mean squares 12.5 and 0.5, so roots of 13 and 1.
        let (x, root) = ([[3.0, 4.0], [0.0, 1.0]], 13.0_f32.sqrt());
        assert_normed(&norm(None, Family::Llama), x, [[3.0 / root, 8.0 / root], [0.0, 2.0]]);
        assert_normed(&norm(None, Family::Gemma3), x, [[6.0 / root, 12.0 / root], [0.0, 3.0]]);
    }

    #[test]
    fn layer_norms_take_off_the_mean() {
        // Means 4 and 3, variances 1 and 0.
        let (x, root) = ([[3.0, 5.0], [3.0, 3.0]], 1.5_f32.sqrt());
        let expected = [[0.5 - 1.0 / root, 7.0 + 2.0 / root], [0.5, 7.0]];
        assert_normed(&norm(Some([0.5, 7.0]), Family::Gpt2), x, expected);
    }
}
