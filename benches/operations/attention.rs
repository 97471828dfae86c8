//! Causal attention of whole rows.

use crate::operations::case::Operation;
use crate::operations::shapes::{HEAD_DIM, HEADS, WIDTH, wave};
use burn::tensor::{Tensor, activation::softmax, backend::Backend};
use kernels::{Heads, Stretch, Tree, Visibility, causal_attention};

/// How the heads of the model lie.
pub(crate) const MODEL: Heads = Heads { key_value_heads: HEADS, group: 1, head_dim: HEAD_DIM };

/// Rows of equal length.
pub(crate) struct CausalAttention<B: Backend> {
    rows: usize,
    time: usize,
    visible: Visibility<B>,
}

impl<B: Backend> CausalAttention<B> {
    pub(crate) fn new(rows: usize, time: usize) -> Self {
        Self { rows, time, visible: Visibility::new(vec![0], time, None) }
    }

    /// `[tokens, width]` to `[rows, heads, 1, time, head_dim]`.
    fn apart(&self, x: &Tensor<B, 2>) -> Tensor<B, 5> {
        let heads = x.clone().reshape([self.rows, self.time, HEADS, 1, HEAD_DIM]);
        heads.permute([0, 2, 3, 1, 4])
    }
}

impl<B: Backend> Operation<B> for CausalAttention<B> {
    fn operands(&self) -> Vec<Tensor<B, 2>> {
        let shape = [self.rows * self.time, WIDTH];
        vec![wave(shape, 0.37, 1.0), wave(shape, 0.73, 1.0), wave(shape, 0.11, 1.0)]
    }

    fn ours(&self, operands: &[Tensor<B, 2>]) -> Tensor<B, 2> {
        let operands = [0, 1, 2].map(|index| operands[index].clone());
        let row = |row: usize| Tree::from(row * self.time..(row + 1) * self.time);
        let rows = (0..self.rows).map(row).collect();
        causal_attention(operands, &[], MODEL, rows, None).expect("flex has this operation")
    }

    fn primitives(&self, operands: &[Tensor<B, 2>]) -> Tensor<B, 2> {
        let [query, key, value] = [0, 1, 2].map(|index| self.apart(&operands[index]));
        let scores = query.matmul(key.swap_dims(3, 4));
        let weights = softmax(self.visible.mask(Stretch { scores, start: 0 }, 0), 4);
        let attended = weights.matmul(value).permute([0, 3, 1, 2, 4]);
        attended.reshape([self.rows * self.time, WIDTH])
    }
}
