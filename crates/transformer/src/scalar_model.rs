//! A decoder that scores.

use crate::batch::select_positions;
use crate::config::Architecture;
use crate::decoder::Decoder;
use crate::packed::{Packed, micro_batches};
use crate::scalar_head::ScalarHead;
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// A decoder with a linear head instead of its output projection.
///
/// The score of a row is read at its last token. Attention is causal and stays within the row, so a score does not depend on
/// what else is in the batch.
#[derive(Module, Debug)]
pub struct ScalarModel<B: Backend> {
    decoder: Decoder<B>,
    head: ScalarHead<B>,
}

impl<B: Backend> ScalarModel<B> {
    /// Puts `head` in place of the decoder's output projection.
    pub fn new(decoder: Decoder<B>, head: ScalarHead<B>) -> Self {
        Self { decoder: decoder.with_architecture(Architecture::Score), head }
    }

    /// What reads the tokens.
    pub fn decoder(&self) -> &Decoder<B> {
        &self.decoder
    }

    /// What makes a state a score.
    pub fn head(&self) -> &ScalarHead<B> {
        &self.head
    }

    /// One score a row, `[rows]`; every row has at least one token.
    pub fn forward(&self, rows: &[&[u32]]) -> Tensor<B, 1> {
        let packed = Packed::wanting_last(rows);
        self.head.forward(select_positions(self.decoder.hidden_packed(&packed), &packed.last()))
    }

    /// One score a row, in the order of the rows; at most `tokens_per_batch` tokens go through the model at once.
    pub fn scores(&self, rows: &[&[u32]], tokens_per_batch: usize) -> Vec<f32> {
        let mut scores = vec![0.0; rows.len()];
        for batch in micro_batches(rows, tokens_per_batch) {
            let chosen: Vec<&[u32]> = batch.iter().map(|&row| rows[row]).collect();
            let found = self.forward(&chosen).into_data();
            for (&row, score) in batch.iter().zip(found.iter::<f32>()) {
                scores[row] = score;
            }
        }
        scores
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pad_right;
    use burn_flex::{Flex, FlexDevice};

    fn scalar_model(seed: u64) -> ScalarModel<Flex> {
        let decoder = Decoder::init(&crate::decoder::tests::config(), seed, &FlexDevice);
        let head = ScalarHead::init(decoder.config().hidden_size, seed, &FlexDevice);
        ScalarModel::new(decoder, head)
    }

    #[test]
    fn a_score_depends_on_neither_batch_nor_padding() {
        let model = scalar_model(1);
        let rows: [&[u32]; 4] = [&[1, 2, 3], &[4], &[5, 6, 7, 8, 9, 1, 2], &[3, 2, 1]];
        let alone: Vec<f32> = rows.iter().flat_map(|row| model.scores(&[row], 100)).collect();
        assert!((alone[0] - alone[3]).abs() > 1e-3, "order matters: {alone:?}");
        for tokens_per_batch in [1, 8, 100] {
            let together = model.scores(&rows, tokens_per_batch);
            for (together, alone) in together.iter().zip(&alone) {
                assert!((together - alone).abs() < 1e-5, "{together} {alone}");
            }
        }
    }

    #[test]
    fn the_score_is_read_at_the_last_token() {
        let model = scalar_model(1);
        let tokens: &[u32] = &[1, 2, 3];
        let hidden = model.decoder().hidden(pad_right(&[tokens], &model.decoder().device()));
        let last = model.head().forward(select_positions(hidden, &[2])).into_scalar();
        assert!((model.scores(&[tokens], 8)[0] - last).abs() < 1e-6);
    }
}
