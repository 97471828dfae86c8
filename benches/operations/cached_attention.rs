//! Attention of one new token a row to a cache.

use crate::operations::case::Operation;
use crate::operations::shapes::{HEAD_DIM, HEADS, SLOTS, WIDTH, wave};
use burn::tensor::{Tensor, activation::softmax, backend::Backend};
use kernels::{Visibility, attend_step};

/// Rows that have all filled their slots.
pub(crate) struct AttendStep<B: Backend> {
    /// `[rows, slots, heads, 1, head_dim]`.
    keys: Tensor<B, 5>,
    values: Tensor<B, 5>,
    visible: Visibility<B>,
}

impl<B: Backend> AttendStep<B> {
    pub(crate) fn new(rows: usize) -> Self {
        let stored = [rows, SLOTS, HEADS, 1, HEAD_DIM];
        Self {
            keys: wave(stored, 0.73, 1.0),
            values: wave(stored, 0.11, 1.0),
            visible: Visibility::new(vec![SLOTS - 1], 1, None),
        }
    }

    fn rows(&self) -> usize {
        self.keys.dims()[0]
    }

    /// `[rows, heads, 1, 1, head_dim]`.
    fn query(&self, operands: &[Tensor<B, 2>]) -> Tensor<B, 5> {
        operands[0].clone().reshape([self.rows(), HEADS, 1, 1, HEAD_DIM])
    }
}

impl<B: Backend> Operation<B> for AttendStep<B> {
    fn operands(&self) -> Vec<Tensor<B, 2>> {
        vec![wave([self.rows(), WIDTH], 0.37, 1.0)]
    }

    fn ours(&self, operands: &[Tensor<B, 2>]) -> Tensor<B, 2> {
        attend_step(self.query(operands), &self.keys, &self.values, &self.visible)
            .reshape([self.rows(), WIDTH])
    }

    fn primitives(&self, operands: &[Tensor<B, 2>]) -> Tensor<B, 2> {
        let keys = self.keys.clone().permute([0, 2, 3, 4, 1]);
        let values = self.values.clone().permute([0, 2, 3, 1, 4]);
        let weights = softmax(self.query(operands).matmul(keys), 4);
        weights.matmul(values).reshape([self.rows(), WIDTH])
    }
}
