//! What lies between the products of a feed-forward block.

use crate::operations::case::Operation;
use crate::operations::shapes::{INNER, TOKENS, wave};
use burn::tensor::{Tensor, activation::silu, backend::Backend};
use kernels::{Activation, activate, gated};
use std::f32::consts::PI;

pub(crate) struct GatedSilu;

impl<B: Backend> Operation<B> for GatedSilu {
    fn operands(&self) -> Vec<Tensor<B, 2>> {
        vec![wave([TOKENS, INNER], 0.37, 4.0), wave([TOKENS, INNER], 0.73, 1.0)]
    }

    fn ours(&self, operands: &[Tensor<B, 2>]) -> Tensor<B, 2> {
        gated(Activation::Silu, operands[0].clone(), operands[1].clone())
    }

    fn primitives(&self, operands: &[Tensor<B, 2>]) -> Tensor<B, 2> {
        silu(operands[0].clone()) * operands[1].clone()
    }
}

pub(crate) struct GeluTanh;

impl<B: Backend> Operation<B> for GeluTanh {
    fn operands(&self) -> Vec<Tensor<B, 2>> {
        vec![wave([TOKENS, INNER], 0.37, 4.0)]
    }

    fn ours(&self, operands: &[Tensor<B, 2>]) -> Tensor<B, 2> {
        activate(Activation::GeluTanh, operands[0].clone())
    }

    fn primitives(&self, operands: &[Tensor<B, 2>]) -> Tensor<B, 2> {
        let x = operands[0].clone();
        let cubed = x.clone() * x.clone() * x.clone();
        let inner = (x.clone() + cubed * 0.044_715) * (2.0 / PI).sqrt();
        x * 0.5 * (inner.tanh() + 1.0)
    }
}
