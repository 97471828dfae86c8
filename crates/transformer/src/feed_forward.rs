//! The gated feed-forward block (`SwiGLU`, arXiv 2002.05202).

use crate::config::Activation;
use burn::module::{Module, Param};
use burn::tensor::{Tensor, activation, backend::Backend};

/// `down(activation(gate(x)) * up(x))`.
#[derive(Module, Debug)]
pub(crate) struct FeedForward<B: Backend> {
    /// `[model, inner]`.
    pub(crate) gate: Param<Tensor<B, 2>>,
    /// `[model, inner]`.
    pub(crate) up: Param<Tensor<B, 2>>,
    /// `[inner, model]`.
    pub(crate) down: Param<Tensor<B, 2>>,
    #[module(skip)]
    pub(crate) activation: Activation,
}

impl<B: Backend> FeedForward<B> {
    /// `[positions, model]` to the same.
    pub(crate) fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let gate = self.activate(x.clone().matmul(self.gate.val()));
        let up = x.matmul(self.up.val());
        (gate * up).matmul(self.down.val())
    }

    fn activate(&self, gate: Tensor<B, 2>) -> Tensor<B, 2> {
        match self.activation {
            Activation::Silu => activation::silu(gate),
            Activation::Gelu => activation::gelu(gate),
            Activation::Relu => activation::relu(gate),
        }
    }
}
