//! Several heads on one trunk.

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use transformer::{
    Architecture, Decoder, Packed, ScalarHead, ScalarModel, micro_batches, select_positions,
};

/// A decoder with linear heads instead of its output projection. Every head gives a row a score, read at its last token.
///
/// With one head it computes what [`ScalarModel`] does.
#[derive(Module, Debug)]
pub(crate) struct Heads<B: Backend> {
    decoder: Decoder<B>,
    heads: Vec<ScalarHead<B>>,
}

impl<B: Backend> Heads<B> {
    pub(crate) fn new(decoder: Decoder<B>, heads: Vec<ScalarHead<B>>) -> Self {
        Self { decoder: decoder.with_architecture(Architecture::Score), heads }
    }

    pub(crate) fn decoder(&self) -> &Decoder<B> {
        &self.decoder
    }

    /// The corrections of an adapter added to the weights; the same model without an adapter.
    pub(crate) fn merged(self) -> Self {
        let decoder = match self.decoder.adapter() {
            Some(_) => self.decoder.merge_adapter(),
            None => self.decoder,
        };
        Self { decoder, ..self }
    }

    /// Every head with the trunk, which all share.
    pub(crate) fn scalar_models(&self) -> Vec<ScalarModel<B>> {
        let model = |head: &ScalarHead<B>| ScalarModel::new(self.decoder.clone(), head.clone());
        self.heads.iter().map(model).collect()
    }

    /// The scores of every head, `[heads][rows]`; every row has at least one token.
    pub(crate) fn forward(&self, rows: &[&[u32]]) -> Vec<Tensor<B, 1>> {
        self.scored(rows, Decoder::hidden_packed)
    }

    fn scored(
        &self,
        rows: &[&[u32]],
        hidden: impl FnOnce(&Decoder<B>, &Packed) -> Tensor<B, 3>,
    ) -> Vec<Tensor<B, 1>> {
        let packed = Packed::wanting_last(rows);
        let states = select_positions(hidden(&self.decoder, &packed), &packed.last());
        self.heads.iter().map(|head| head.forward(states.clone())).collect()
    }

    /// As [`Heads::forward`], at most `tokens_per_batch` tokens at once.
    pub(crate) fn scores(&self, rows: &[&[u32]], tokens_per_batch: usize) -> Vec<Vec<f32>> {
        let mut scores = vec![vec![0.0; rows.len()]; self.heads.len()];
        for batch in micro_batches(rows, tokens_per_batch) {
            let chosen: Vec<&[u32]> = batch.iter().map(|&row| rows[row]).collect();
            for (scores, found) in scores.iter_mut().zip(self.forward(&chosen)) {
                for (&row, score) in batch.iter().zip(found.into_data().iter::<f32>()) {
                    scores[row] = score;
                }
            }
        }
        scores
    }
}

impl<B: AutodiffBackend> Heads<B> {
    /// [`Heads::forward`] to learn from, by [`Decoder::hidden_packed_for_training`].
    pub(crate) fn forward_for_training(&self, rows: &[&[u32]]) -> Vec<Tensor<B, 1>> {
        self.scored(rows, Decoder::hidden_packed_for_training)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::model_config;
    use burn_flex::{Flex, FlexDevice};

    #[test]
    fn every_head_scores_as_it_would_alone() {
        let decoder = Decoder::<Flex>::init(&model_config(), 1, &FlexDevice);
        let heads = [1, 2].map(|seed| ScalarHead::init(16, seed, &FlexDevice)).to_vec();
        let model = Heads::new(decoder, heads);
        let rows: [&[u32]; 3] = [&[1, 8, 0, 2, 4, 0], &[1, 9, 0], &[5]];
        let together = model.scores(&rows, 12);
        for (scores, alone) in together.iter().zip(model.scalar_models()) {
            assert_eq!(*scores, alone.scores(&rows, 12));
        }
        assert_ne!(together[0], together[1]);
    }
}
