//! Norms of the states of all tokens of a batch.

use crate::operations::case::Operation;
use crate::operations::shapes::{TOKENS, WIDTH, wave};
use burn::tensor::{Tensor, backend::Backend};
use kernels::{layer_norm, rms_norm, row_sums};

const EPSILON: f64 = 1e-5;

pub(crate) struct RmsNorm;

impl<B: Backend> Operation<B> for RmsNorm {
    fn operands(&self) -> Vec<Tensor<B, 2>> {
        vec![wave([TOKENS, WIDTH], 0.37, 2.0), wave([1, WIDTH], 0.11, 1.0)]
    }

    fn ours(&self, operands: &[Tensor<B, 2>]) -> Tensor<B, 2> {
        rms_norm(operands[0].clone(), vector(&operands[1]), EPSILON)
    }

    fn primitives(&self, operands: &[Tensor<B, 2>]) -> Tensor<B, 2> {
        scaled(operands[0].clone(), operands[1].clone())
    }
}

pub(crate) struct LayerNorm;

impl<B: Backend> Operation<B> for LayerNorm {
    fn operands(&self) -> Vec<Tensor<B, 2>> {
        vec![
            wave([TOKENS, WIDTH], 0.37, 2.0),
            wave([1, WIDTH], 0.11, 1.0),
            wave([1, WIDTH], 0.73, 1.0),
        ]
    }

    fn ours(&self, operands: &[Tensor<B, 2>]) -> Tensor<B, 2> {
        layer_norm(operands[0].clone(), vector(&operands[1]), vector(&operands[2]), EPSILON)
    }

    fn primitives(&self, operands: &[Tensor<B, 2>]) -> Tensor<B, 2> {
        let x = operands[0].clone();
        let centred = x.clone() - x.mean_dim(1);
        scaled(centred, operands[1].clone()) + operands[2].clone()
    }
}

fn vector<B: Backend>(row: &Tensor<B, 2>) -> Tensor<B, 1> {
    row.clone().flatten(0, 1)
}

/// `x / sqrt(mean(x^2) + epsilon) * weight`; sums as products with ones, which are the fastest that burn has here.
fn scaled<B: Backend>(x: Tensor<B, 2>, weight: Tensor<B, 2>) -> Tensor<B, 2> {
    let mean = row_sums(x.clone() * x.clone()) / WIDTH as f64;
    x * (mean + EPSILON).sqrt().recip() * weight
}
