//! The loss of an optimiser step and its gradients.

use crate::example::targets;
use crate::{Example, cross_entropy};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{ElementConversion, Tensor};
use rand::Rng;
use training::batches;
use transformer::{Decoder, pad_right, token_log_probs};

/// The loss of a whole step and its gradients, one micro-batch after the other.
pub(crate) fn gradients<B: AutodiffBackend>(
    decoder: &Decoder<B>,
    rows: &[&Example],
    tokens_per_micro_batch: usize,
    rng: &mut impl Rng,
) -> (f64, GradientsParams) {
    let weight_sum = weight_sum(rows);
    let mut accumulator = GradientsAccumulator::new();
    let mut total = Tensor::<B::InnerBackend, 1>::zeros([1], &decoder.device());
    for batch in micro_batches(rows, tokens_per_micro_batch, rng) {
        let loss = loss(decoder, &batch, weight_sum);
        total = total + loss.clone().inner();
        // Backward consumes the graph, so that no more than one micro-batch is held.
        accumulator.accumulate(decoder, GradientsParams::from_grads(loss.backward(), decoder));
    }
    (total.into_scalar().elem(), accumulator.grads())
}

/// The part of a step's loss that these rows contribute; see [`cross_entropy`].
pub(crate) fn loss<B: Backend>(
    decoder: &Decoder<B>,
    rows: &[&Example],
    weight_sum: f64,
) -> Tensor<B, 1> {
    let device = decoder.device();
    let inputs: Vec<&[u32]> = rows.iter().map(|row| row.inputs()).collect();
    let tokens = pad_right(&inputs, &device);
    let [_, time] = tokens.dims();
    let (targets, weights) = targets(rows, time);
    let log_probs = token_log_probs(decoder, decoder.hidden(tokens), &targets);
    cross_entropy(log_probs, Tensor::from_floats(weights.as_slice(), &device), weight_sum)
}

/// The sum of the weights of all rows.
pub(crate) fn weight_sum(rows: &[&Example]) -> f64 {
    rows.iter().map(|row| row.weight_sum()).sum()
}

/// Rows of similar length together, so that little is padded.
pub(crate) fn micro_batches<'a>(
    rows: &[&'a Example],
    tokens: usize,
    rng: &mut impl Rng,
) -> Vec<Vec<&'a Example>> {
    let lengths: Vec<usize> = rows.iter().map(|row| row.inputs().len()).collect();
    let batches = batches(&lengths, tokens, rng);
    batches.iter().map(|batch| batch.iter().map(|&row| rows[row]).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{B, counting, decoder};
    use burn::module::{Module, ModuleVisitor, Param};
    use burn_flex::FlexDevice;
    use language_model::stream;

    /// All gradients as one vector.
    struct Flat<'a> {
        gradients: &'a GradientsParams,
        values: Vec<f32>,
    }

    impl ModuleVisitor<B> for Flat<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            let gradient =
                self.gradients.get::<<B as AutodiffBackend>::InnerBackend, D>(param.id).unwrap();
            self.values.extend(gradient.into_data().to_vec::<f32>().unwrap());
        }
    }

    fn flat(decoder: &Decoder<B>, rows: &[&Example], tokens: usize) -> (f64, Vec<f32>) {
        let (loss, gradients) = gradients(decoder, rows, tokens, &mut stream(1));
        let mut visitor = Flat { gradients: &gradients, values: Vec::new() };
        decoder.visit(&mut visitor);
        (loss, visitor.values)
    }

    #[test]
    fn micro_batches_leave_loss_and_gradients_unchanged() {
        let decoder = decoder(1);
        let examples = counting(32);
        let rows: Vec<&Example> = examples.iter().collect();
        let (whole_loss, whole) = flat(&decoder, &rows, 1_000);
        let count = |tokens| micro_batches(&rows, tokens, &mut stream(1)).len();
        assert_eq!(count(1_000), 1);
        for (tokens, at_least) in [(40, 4), (1, 32)] {
            assert!(count(tokens) >= at_least);
            let (loss, parts) = flat(&decoder, &rows, tokens);
            assert!((loss - whole_loss).abs() < 1e-5, "{loss} {whole_loss}");
            assert!(whole.iter().any(|value| value.abs() > 1e-2));
            for (part, whole) in parts.iter().zip(&whole) {
                assert!((part - whole).abs() < 1e-5, "{part} {whole}");
            }
        }
    }

    #[test]
    fn a_fresh_model_without_spread_is_uniform() {
        let mut config = crate::testing::model(12);
        config.initializer_range = 0.0;
        let decoder = Decoder::<B>::init(&config, 1, &FlexDevice);
        let examples = counting(3);
        let rows: Vec<&Example> = examples.iter().collect();
        let (loss, _) = gradients(&decoder, &rows, 8, &mut stream(1));
        assert!((loss - 12.0_f64.ln()).abs() < 1e-5, "{loss}");
    }
}
