//! The feed-forward block, with a gate (`SwiGLU` and its relatives, arXiv 2002.05202) or without.

use crate::config::Activation;
use crate::linear::Linear;
use burn::module::Module;
use burn::tensor::{Tensor, activation, backend::Backend};
use kernels::{activate, gated, project_each};

/// `down(activation(gate(x)) * up(x))`, or `down(activation(up(x)))` without a gate.
#[derive(Module, Debug)]
pub(crate) struct FeedForward<B: Backend> {
    /// `model` to `inner`.
    pub(crate) gate: Option<Linear<B>>,
    /// `model` to `inner`.
    pub(crate) up: Linear<B>,
    /// `inner` to `model`.
    pub(crate) down: Linear<B>,
    #[module(skip)]
    pub(crate) activation: Activation,
}

impl<B: Backend> FeedForward<B> {
    /// `[positions, model]` to the same.
    pub(crate) fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let inner = match &self.gate {
            Some(gate) => {
                let weights = [&self.up, gate].map(|map| map.weight.val());
                let [up, gated] = project_each(x.clone(), weights);
                multiply(self.activation, gate.completed(gated, &x), self.up.completed(up, &x))
            }
            None => apply(self.activation, self.up.forward(x)),
        };
        self.down.forward(inner)
    }
}

fn multiply<B: Backend>(
    function: Activation,
    gate: Tensor<B, 2>,
    up: Tensor<B, 2>,
) -> Tensor<B, 2> {
    match fused(function) {
        Some(function) => gated(function, gate, up),
        None => activation::relu(gate) * up,
    }
}

fn apply<B: Backend>(function: Activation, x: Tensor<B, 2>) -> Tensor<B, 2> {
    match fused(function) {
        Some(function) => activate(function, x),
        None => activation::relu(x),
    }
}

/// As one operation; nothing if it is `relu`, which is one already.
fn fused(function: Activation) -> Option<kernels::Activation> {
    match function {
        Activation::Silu => Some(kernels::Activation::Silu),
        Activation::Gelu => Some(kernels::Activation::Gelu),
        Activation::GeluTanh => Some(kernels::Activation::GeluTanh),
        Activation::Relu => None,
    }
}
