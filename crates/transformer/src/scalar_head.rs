//! One number for a hidden state: the head of reward and value models.

use crate::fresh::normal;
use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData, backend::Backend};
use kernels::product;
use language_model::stream;

/// A linear map from a hidden state to one number, without a constant.
#[derive(Module, Debug)]
pub struct ScalarHead<B: Backend> {
    /// `[model, 1]`.
    weight: Param<Tensor<B, 2>>,
}

impl<B: Backend> ScalarHead<B> {
    /// A head with normal weights of variance `1 / (model + 1)`, so that fresh scores of normed states vary by about 1
    /// (arXiv 2009.01325).
    pub fn init(model: usize, seed: u64, device: &B::Device) -> Self {
        let mut rng = stream(seed);
        let deviation = (model as f64 + 1.0).sqrt().recip();
        let weight = (0..model).map(|_| normal(&mut rng, deviation)).collect();
        Self::from_weight(weight, device)
    }

    /// A head that gives 0 for everything.
    pub fn zeros(model: usize, device: &B::Device) -> Self {
        Self::from_weight(vec![0.0; model], device)
    }

    /// A head with these weights, one a dimension of the hidden state.
    pub fn from_weight(weight: Vec<f32>, device: &B::Device) -> Self {
        let shape = [weight.len(), 1];
        let weight = Tensor::from_data(TensorData::new(weight, shape), device);
        Self { weight: Param::from_tensor(weight) }
    }

    /// The weights, `[model, 1]`.
    pub fn weight(&self) -> Tensor<B, 2> {
        self.weight.val()
    }

    /// `[positions, model]` to `[positions]`.
    pub fn forward(&self, hidden: Tensor<B, 2>) -> Tensor<B, 1> {
        product(hidden, self.weight.val()).squeeze_dim(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_flex::{Flex, FlexDevice};

    #[test]
    fn a_weighted_sum_a_position() {
        let head = ScalarHead::<Flex>::from_weight(vec![1.0, -2.0], &FlexDevice);
        let hidden = Tensor::from_data([[3.0, 1.0], [0.5, 0.0]], &FlexDevice);
        assert_eq!(head.forward(hidden.clone()).into_data().to_vec::<f32>().unwrap(), [1.0, 0.5]);
        let zeros = ScalarHead::<Flex>::zeros(2, &FlexDevice).forward(hidden);
        assert_eq!(zeros.into_data().to_vec::<f32>().unwrap(), [0.0, 0.0]);
    }

    #[test]
    fn fresh_scores_of_normed_states_vary_by_about_one() {
        let weight = ScalarHead::<Flex>::init(4000, 2, &FlexDevice).weight().into_data();
        let square: f32 = weight.iter::<f32>().map(|weight| weight * weight).sum();
        assert!((square - 4000.0 / 4001.0).abs() < 0.1, "{square}");
    }
}
