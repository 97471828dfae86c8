//! The shapes of a Llama of 7 million weights, and numbers to fill them.

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};

/// Rows of a batch, and the tokens of each.
pub(crate) const ROWS: usize = 16;
pub(crate) const TIME: usize = 128;
/// Tokens of a batch.
pub(crate) const TOKENS: usize = ROWS * TIME;
/// Tokens of a long prompt.
pub(crate) const PROMPT: usize = 1024;

pub(crate) const WIDTH: usize = 256;
pub(crate) const HEADS: usize = 8;
pub(crate) const HEAD_DIM: usize = WIDTH / HEADS;
/// Width inside a feed-forward block.
pub(crate) const INNER: usize = 688;
pub(crate) const VOCABULARY: usize = 4096;
pub(crate) const LAYERS: usize = 8;

/// Tokens, and a vocabulary so large that no logits of all of it exist together: as many logits as of the batch.
pub(crate) const FEW_TOKENS: usize = 256;
pub(crate) const LARGE_VOCABULARY: usize = 32_768;

/// Slots of a cache, all of them in use: prompt and reply of the workload `decode`.
pub(crate) const SLOTS: usize = 160;

/// Lengths of all parameters: embedding, last norm, and of each layer two norms, four maps of attention and three of
/// the feed-forward block.
pub(crate) fn parameters() -> Vec<usize> {
    let mut lengths = vec![VOCABULARY * WIDTH, WIDTH];
    for _ in 0..LAYERS {
        lengths.extend([WIDTH; 2]);
        lengths.extend([WIDTH * WIDTH; 4]);
        lengths.extend([WIDTH * INNER; 3]);
    }
    lengths
}

/// Numbers between -`size` and `size` that no short pattern repeats.
pub(crate) fn wave<B: Backend, const D: usize>(
    shape: [usize; D],
    salt: f32,
    size: f32,
) -> Tensor<B, D> {
    let count = shape.iter().product::<usize>();
    let data: Vec<f32> = (0..count).map(|i| (i as f32 * salt).sin() * size).collect();
    Tensor::from_data(TensorData::new(data, shape), &B::Device::default())
}

/// A token for every one of the batch, as in the workload `train`.
pub(crate) fn tokens() -> Vec<usize> {
    let token = |row: usize, i: usize| (7919 * i + 104_729 * row) % (VOCABULARY - 1) + 1;
    (0..ROWS).flat_map(|row| (0..TIME).map(move |i| token(row, i))).collect()
}

/// As a device takes them.
#[allow(clippy::cast_possible_wrap, reason = "tokens are far smaller")]
pub(crate) fn indices(tokens: &[usize]) -> TensorData {
    let data: Vec<i64> = tokens.iter().map(|&token| token as i64).collect();
    TensorData::new(data, [tokens.len()])
}
