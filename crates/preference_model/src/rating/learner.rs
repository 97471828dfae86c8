//! A model of ratings while it is fitted.

use super::RatingConfig;
use super::fit::STAGE;
use super::items::Item;
use crate::heads::Heads;
use crate::scores::SCORED_TOKENS;
use crate::{Error, Start, squared_error};
use burn::module::AutodiffModule;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{ElementConversion, Tensor};
use language_model::item_seed;
use training::{State, finite};
use transformer::{Optimizer, ScalarHead, check_parameters, learning_paths, micro_batches};

/// What is measured of a step.
type Metrics = Vec<(&'static str, f64)>;

/// A model and its optimiser.
pub(super) struct Learner<'a, B: AutodiffBackend> {
    config: &'a RatingConfig,
    pub(super) model: Heads<B>,
    optimizer: Optimizer<B>,
    /// The mean rating, which the scores are counted from: a fresh head begins with predictions near it.
    mean: f64,
}

impl<'a, B: AutodiffBackend> Learner<'a, B> {
    /// Before the first step. An adapter of the model that fitting begins with is added to its weights first.
    pub(super) fn begin(
        config: &'a RatingConfig,
        start: Start<B>,
        mean: f64,
        seed: u64,
    ) -> Result<Self, Error> {
        let Start { mut decoder, head, .. } = start;
        if decoder.adapter().is_some() {
            decoder = decoder.merge_adapter();
        }
        if let Some(lora) = &config.lora {
            decoder = decoder.with_adapter(lora, item_seed(seed, &[STAGE, "adapter"]))?;
        }
        let (width, device) = (decoder.config().hidden_size, decoder.device());
        let fresh = || ScalarHead::init(width, item_seed(seed, &[STAGE, "head"]), &device);
        let model = Heads::new(decoder, vec![head.unwrap_or_else(fresh)]);
        config.optimizer.check_groups("optimizer", &learning_paths(&model))?;
        Ok(Self { config, model, optimizer: Optimizer::new(&config.optimizer), mean })
    }

    pub(super) fn state(&self) -> Result<State, Error> {
        Ok(self.optimizer.save(&self.model)?)
    }

    pub(super) fn restored(mut self, state: &mut State) -> Result<Self, Error> {
        let model = self.optimizer.restore(self.model, state)?;
        Ok(Self { model, ..self })
    }

    /// Takes step `step` of `steps`, counted from 1.
    pub(super) fn step(
        mut self,
        batch: &[&Item],
        step: u64,
        steps: u64,
    ) -> Result<(Self, Metrics), Error> {
        let (loss, gradients) = self.gradients(batch);
        let rate = self.config.schedule.rate(step - 1, steps);
        let learning_rate = self.config.optimizer.learning_rate * rate;
        let loss = finite(STAGE, step, "loss", loss)?;
        let (model, norm) = self.optimizer.step(learning_rate, self.model, gradients);
        let tokens = batch.iter().map(|item| item.tokens.len()).sum::<usize>() as f64;
        let metrics = vec![
            ("loss", loss),
            ("dialogues", batch.len() as f64),
            ("tokens", tokens),
            ("learning_rate", learning_rate),
            ("gradient_norm", finite(STAGE, step, "gradient_norm", norm)?),
        ];
        Ok((Self { model, ..self }, metrics))
    }

    /// The mean squared error of a step and its gradients.
    ///
    /// Each micro-batch is divided by the number of dialogues in the whole step, so that the cut into micro-batches leaves the
    /// sum unchanged.
    fn gradients(&self, batch: &[&Item]) -> (f64, GradientsParams) {
        let device = self.model.decoder().device();
        let rows: Vec<&[u32]> = batch.iter().map(|item| item.tokens.as_slice()).collect();
        let mut accumulator = GradientsAccumulator::new();
        let mut total = Tensor::<B::InnerBackend, 1>::zeros([1], &device);
        for chosen in micro_batches(&rows, self.config.tokens_per_micro_batch) {
            let items: Vec<&Item> = chosen.iter().map(|&row| batch[row]).collect();
            let tokens: Vec<&[u32]> = chosen.iter().map(|&row| rows[row]).collect();
            let targets: Vec<f64> = items.iter().map(|item| item.rating - self.mean).collect();
            let targets = Tensor::from_floats(targets.as_slice(), &device);
            let scores = self.model.forward_for_training(&tokens).swap_remove(0);
            let loss = squared_error(scores, targets).sum() / batch.len() as f64;
            total = total + loss.clone().inner();
            // Backward consumes the graph, so that no more than one micro-batch is held.
            let gradients = GradientsParams::from_grads(loss.backward(), &self.model);
            accumulator.accumulate(&self.model, gradients);
        }
        (total.into_scalar().elem(), accumulator.grads())
    }

    /// Sees that the last update, which shows in no loss after it, has left a model that can be used.
    pub(super) fn check_end(&self, batch: &[&Item], step: u64) -> Result<(), Error> {
        check_parameters(STAGE, step, &self.model)?;
        for rating in self.predictions(&batch[..batch.len().min(1)]) {
            finite(STAGE, step, "a rating after the update", rating)?;
        }
        Ok(())
    }

    /// The ratings that the model predicts.
    pub(super) fn predictions(&self, items: &[&Item]) -> Vec<f64> {
        if items.is_empty() {
            return Vec::new();
        }
        let rows: Vec<&[u32]> = items.iter().map(|item| item.tokens.as_slice()).collect();
        let scores =
            self.model.clone().merged().valid().scores(&rows, SCORED_TOKENS).swap_remove(0);
        scores.into_iter().map(|score| f64::from(score) + self.mean).collect()
    }
}
