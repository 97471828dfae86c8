//! Rotary positions of the queries of a batch.

use crate::operations::case::Operation;
use crate::operations::shapes::{HEAD_DIM, HEADS, ROWS, TIME, TOKENS, WIDTH, wave};
use burn::tensor::{Tensor, TensorData, backend::Backend};
use kernels::{Angles, rotate};

/// The usual base of the frequencies.
const THETA: f32 = 10_000.0;

pub(crate) struct Rotate<B: Backend> {
    angles: Angles<B>,
    /// `[1, time * width]`.
    cos: Tensor<B, 2>,
    /// `[1, time * width]`.
    sin: Tensor<B, 2>,
    /// `[head_dim, head_dim]`: `(a, b)` becomes `(-b, a)`.
    quarter_turn: Tensor<B, 2>,
}

impl<B: Backend> Rotate<B> {
    pub(crate) fn new() -> Self {
        let positions: Vec<usize> = (0..TIME).collect();
        let frequencies: Vec<f32> =
            (0..HEAD_DIM / 2).map(|i| THETA.powf(-2.0 * i as f32 / HEAD_DIM as f32)).collect();
        let device = B::Device::default();
        Self {
            angles: Angles::new(&positions, &frequencies, HEAD_DIM, &[HEADS], &device),
            cos: table(&frequencies, f32::cos),
            sin: table(&frequencies, f32::sin),
            quarter_turn: quarter_turn(),
        }
    }
}

impl<B: Backend> Operation<B> for Rotate<B> {
    fn operands(&self) -> Vec<Tensor<B, 2>> {
        vec![wave([TOKENS, WIDTH], 0.37, 1.0)]
    }

    fn ours(&self, operands: &[Tensor<B, 2>]) -> Tensor<B, 2> {
        rotate(operands[0].clone(), &self.angles, 1.0)
    }

    /// The quarter turn is a product, which needs neither slices nor concatenation.
    fn primitives(&self, operands: &[Tensor<B, 2>]) -> Tensor<B, 2> {
        let x = operands[0].clone();
        let turned = x.clone().reshape([TOKENS * HEADS, HEAD_DIM]);
        let turned = turned.matmul(self.quarter_turn.clone()).reshape([ROWS, TIME * WIDTH]);
        let x = x.reshape([ROWS, TIME * WIDTH]);
        (turned * self.sin.clone() + x * self.cos.clone()).reshape([TOKENS, WIDTH])
    }
}

/// A function of the angle that every number of a row turns by.
fn table<B: Backend>(frequencies: &[f32], function: fn(f32) -> f32) -> Tensor<B, 2> {
    let numbers = (0..TIME * WIDTH).map(|i| {
        let (position, pair) = (i / WIDTH, i % frequencies.len());
        function(position as f32 * frequencies[pair])
    });
    let data = TensorData::new(numbers.collect::<Vec<f32>>(), [1, TIME * WIDTH]);
    Tensor::from_data(data, &B::Device::default())
}

fn quarter_turn<B: Backend>() -> Tensor<B, 2> {
    let half = HEAD_DIM / 2;
    let mut matrix = vec![0.0_f32; HEAD_DIM * HEAD_DIM];
    for pair in 0..half {
        matrix[(pair + half) * HEAD_DIM + pair] = -1.0;
        matrix[pair * HEAD_DIM + pair + half] = 1.0;
    }
    Tensor::from_data(TensorData::new(matrix, [HEAD_DIM, HEAD_DIM]), &B::Device::default())
}
