//! The feed-forward block, with a gate (`SwiGLU` and its relatives, arXiv 2002.05202) or without.

use crate::config::Activation;
use crate::linear::Linear;
use burn::module::Module;
use burn::tensor::{Tensor, activation, backend::Backend};
use kernels::silu_mul;
use std::f64::consts::PI;

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
                let up = self.up.forward(x.clone());
                let gate = gate.forward(x);
                match self.activation {
                    Activation::Silu => silu_mul(gate, up),
                    other => activate(other, gate) * up,
                }
            }
            None => activate(self.activation, self.up.forward(x)),
        };
        self.down.forward(inner)
    }
}

fn activate<B: Backend>(function: Activation, x: Tensor<B, 2>) -> Tensor<B, 2> {
    match function {
        Activation::Silu => activation::silu(x),
        Activation::Gelu => activation::gelu(x),
        Activation::GeluTanh => gelu_tanh(x),
        Activation::Relu => activation::relu(x),
    }
}

/// `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))` (arXiv 1606.08415, section 2).
fn gelu_tanh<B: Backend>(x: Tensor<B, 2>) -> Tensor<B, 2> {
    let cubed = x.clone() * x.clone() * x.clone();
    let inner = (x.clone() + cubed * 0.044_715) * (2.0 / PI).sqrt();
    x * 0.5 * (inner.tanh() + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_flex::{Flex, FlexDevice};

    #[test]
    fn the_tanh_form_is_close_to_the_exact_one_and_not_the_same() {
        let x = Tensor::<Flex, 2>::from_data([[-3.0, -0.5, 0.0, 1.0, 2.0]], &FlexDevice);
        let found = gelu_tanh(x.clone()).into_data().to_vec::<f32>().unwrap();
        // By hand: tanh(0.797885 * 1.044715) = 0.682384.
        assert!((found[3] - 0.5 * (1.0 + 0.682_384)).abs() < 1e-5, "{}", found[3]);
        let exact = activation::gelu(x).into_data().to_vec::<f32>().unwrap();
        for (found, exact) in found.iter().zip(&exact) {
            assert!((found - exact).abs() < 1e-3);
        }
        assert!((found[3] - exact[3]).abs() > 1e-5);
    }
}
