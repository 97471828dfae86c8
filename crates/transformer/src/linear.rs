//! Linear maps, with low-rank adapters (`LoRA`, arXiv 2106.09685).

use burn::module::{Module, Param};
use burn::tensor::{Tensor, backend::Backend};
use kernels::{product, project};

/// `x W + b`, and with an adapter `x W + b + s (x A) B`.
#[derive(Module, Debug)]
pub(crate) struct Linear<B: Backend> {
    /// `[in, out]`.
    pub(crate) weight: Param<Tensor<B, 2>>,
    /// `[out]`.
    pub(crate) bias: Option<Param<Tensor<B, 1>>>,
    pub(crate) adapter: Option<Adapter<B>>,
}

/// A correction of low rank.
#[derive(Module, Debug)]
pub(crate) struct Adapter<B: Backend> {
    /// `[in, rank]`.
    pub(crate) a: Param<Tensor<B, 2>>,
    /// `[rank, out]`.
    pub(crate) b: Param<Tensor<B, 2>>,
    /// `alpha / rank`, or `alpha / sqrt(rank)` if it is stabilised for the rank.
    pub(crate) scale: f64,
}

impl<B: Backend> Linear<B> {
    pub(crate) fn new(weight: Tensor<B, 2>, bias: Option<Tensor<B, 1>>) -> Self {
        Self {
            weight: Param::from_tensor(weight),
            bias: bias.map(Param::from_tensor),
            adapter: None,
        }
    }

    /// `[positions, in]` to `[positions, out]`.
    pub(crate) fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        self.completed(project(x.clone(), self.weight.val()), &x)
    }

    /// `x W` with what else makes up the map, for [`kernels::project_each`] of several maps.
    pub(crate) fn completed(&self, mut y: Tensor<B, 2>, x: &Tensor<B, 2>) -> Tensor<B, 2> {
        if let Some(bias) = &self.bias {
            y = y + bias.val().unsqueeze();
        }
        match &self.adapter {
            Some(adapter) => y + adapter.forward(x.clone()),
            None => y,
        }
    }

    /// The weights with the adapter, if there is one, added to them, `[in, out]`.
    pub(crate) fn merged(&self) -> Tensor<B, 2> {
        let weight = self.weight.val();
        match &self.adapter {
            Some(Adapter { a, b, scale }) => weight + a.val().matmul(b.val()) * *scale,
            None => weight,
        }
    }
}

impl<B: Backend> Adapter<B> {
    fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        product(product(x, self.a.val()), self.b.val()) * self.scale
    }
}
