//! Causal attention of whole rows.

use crate::operations::case::Operation;
use crate::operations::shapes::{HEAD_DIM, HEADS, WIDTH, wave};
use burn::tensor::{Tensor, TensorData, activation::softmax, backend::Backend};
use kernels::{Heads, Rows, Tree, causal_attention};

/// How the heads of the model lie.
pub(crate) const MODEL: Heads = Heads { key_value_heads: HEADS, group: 1, head_dim: HEAD_DIM };

/// Rows of equal length.
pub(crate) struct CausalAttention<B: Backend> {
    rows: usize,
    time: usize,
    shared: Rows<B>,
    /// Minus infinity for every later token, 0 elsewhere, `[1, time * time]`.
    mask: Tensor<B, 2>,
}

impl<B: Backend> CausalAttention<B> {
    pub(crate) fn new(rows: usize, time: usize) -> Self {
        let row = |row: usize| Tree::from(row * time..(row + 1) * time);
        let later = |place: usize| place % time > place / time;
        let mask = (0..time * time).map(|place| if later(place) { f32::NEG_INFINITY } else { 0.0 });
        let mask = TensorData::new(mask.collect::<Vec<f32>>(), [1, time * time]);
        Self {
            rows,
            time,
            shared: Rows::new((0..rows).map(row).collect()),
            mask: Tensor::from_data(mask, &B::Device::default()),
        }
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
        causal_attention(operands, &[], MODEL, &self.shared, None)
    }

    fn primitives(&self, operands: &[Tensor<B, 2>]) -> Tensor<B, 2> {
        let [query, key, value] = [0, 1, 2].map(|index| self.apart(&operands[index]));
        let scores = query.matmul(key.swap_dims(3, 4));
        let shape = scores.dims();
        // Flattened, since a shared row is added much faster than a tensor that broadcasts in the middle.
        let flat = scores.reshape([self.rows * HEADS, self.time * self.time]);
        let weights = softmax((flat + self.mask.clone()).reshape(shape), 4);
        let attended = weights.matmul(value).permute([0, 3, 1, 2, 4]);
        attended.reshape([self.rows * self.time, WIDTH])
    }
}
