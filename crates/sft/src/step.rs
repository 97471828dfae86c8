//! The loss of an optimiser step and its gradients.

use crate::example::targets;
use crate::{Example, cross_entropy};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{ElementConversion, Tensor};
use transformer::{Decoder, Packed, Targets, token_log_probs, token_log_probs_for_training};

/// What an optimiser step computes before its update.
pub(crate) struct StepGradients {
    /// The loss of all rows; see [`cross_entropy`].
    pub(crate) loss: f64,
    pub(crate) gradients: GradientsParams,
}

/// The loss of a whole step and its gradients, one micro-batch after the other.
pub(crate) fn gradients<B: AutodiffBackend>(
    decoder: &Decoder<B>,
    rows: &[&Example],
    tokens_per_micro_batch: usize,
) -> StepGradients {
    let weight_sum = weight_sum(rows);
    let mut accumulator = GradientsAccumulator::new();
    let mut total = Tensor::<B::InnerBackend, 1>::zeros([1], &decoder.device());
    for batch in micro_batches(rows, tokens_per_micro_batch) {
        let loss = training_loss_part(decoder, &batch, weight_sum);
        total = total + loss.clone().inner();
        // Backward consumes the graph, so that no more than one micro-batch is held.
        accumulator.accumulate(decoder, GradientsParams::from_grads(loss.backward(), decoder));
    }
    StepGradients { loss: total.into_scalar().elem(), gradients: accumulator.grads() }
}

/// The rows of a step, cut so that at most `tokens` tokens go through the model at once; those that begin alike lie together.
/// A longer row is alone.
pub fn micro_batches<'a>(rows: &[&'a Example], tokens: usize) -> Vec<Vec<&'a Example>> {
    let inputs: Vec<&[u32]> = rows.iter().map(|row| row.inputs()).collect();
    let batches = transformer::micro_batches(&inputs, tokens);
    batches.iter().map(|batch| batch.iter().map(|&row| rows[row]).collect()).collect()
}

/// The part of a step's loss that some of its rows contribute, in nats a token; see [`cross_entropy`].
///
/// `weight_sum` is that of all rows of the step, so that the parts add up to its loss.
///
/// # Shapes
/// To `[1]`.
pub fn loss_part<B: Backend>(
    decoder: &Decoder<B>,
    rows: &[&Example],
    weight_sum: f64,
) -> Tensor<B, 1> {
    part(decoder, rows, weight_sum, Decoder::hidden_packed, token_log_probs)
}

/// [`loss_part`] to learn from, by [`Decoder::hidden_packed_for_training`] and [`token_log_probs_for_training`].
///
/// # Shapes
/// To `[1]`.
pub fn training_loss_part<B: AutodiffBackend>(
    decoder: &Decoder<B>,
    rows: &[&Example],
    weight_sum: f64,
) -> Tensor<B, 1> {
    let hidden = Decoder::hidden_packed_for_training;
    part(decoder, rows, weight_sum, hidden, token_log_probs_for_training)
}

fn part<B: Backend>(
    decoder: &Decoder<B>,
    rows: &[&Example],
    weight_sum: f64,
    hidden: impl FnOnce(&Decoder<B>, &Packed) -> Tensor<B, 3>,
    log_probs: impl FnOnce(&Decoder<B>, Tensor<B, 3>, &Targets) -> Tensor<B, 1>,
) -> Tensor<B, 1> {
    let inputs: Vec<&[u32]> = rows.iter().map(|row| row.inputs()).collect();
    let packed = Packed::wanting(&inputs, |row, token| rows[row].learns(token + 1));
    let (targets, weights) = targets(rows, &packed);
    let log_probs = log_probs(decoder, hidden(decoder, &packed), &targets);
    let weights = Tensor::from_floats(weights.as_slice(), &decoder.device());
    cross_entropy(log_probs, weights, weight_sum)
}

/// The sum of the weights of all rows.
pub fn weight_sum(rows: &[&Example]) -> f64 {
    rows.iter().map(|row| row.weight_sum()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{B, counting, decoder, embedded, numbers};
    use burn::backend::Autodiff;
    use burn::backend::autodiff::checkpoint::strategy::BalancedCheckpointing;
    use burn::module::{Module, ModuleVisitor, Param};
    use burn_flex::{Flex, FlexDevice};
    use training::OptimizerConfig;
    use transformer::{LoraConfig, Optimizer};

    /// Its operations are those of other backends.
    type Recomputing = Autodiff<Flex, BalancedCheckpointing>;

    /// All gradients as one vector.
    struct Flat<'a> {
        gradients: &'a GradientsParams,
        values: Vec<f32>,
    }

    impl<B: AutodiffBackend> ModuleVisitor<B> for Flat<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            if let Some(gradient) = self.gradients.get::<B::InnerBackend, D>(param.id) {
                self.values.extend(gradient.into_data().to_vec::<f32>().unwrap());
            }
        }
    }

    fn flat<B: AutodiffBackend>(
        decoder: &Decoder<B>,
        rows: &[&Example],
        tokens: usize,
    ) -> (f64, Vec<f32>) {
        let found = gradients(decoder, rows, tokens);
        let mut visitor = Flat { gradients: &found.gradients, values: Vec::new() };
        decoder.visit(&mut visitor);
        (found.loss, visitor.values)
    }

    #[track_caller]
    fn assert_same(found: &(f64, Vec<f32>), expected: &(f64, Vec<f32>)) {
        assert!((found.0 - expected.0).abs() < 1e-5, "{} {}", found.0, expected.0);
        assert!(expected.1.iter().any(|value| value.abs() > 1e-2));
        assert_eq!(found.1.len(), expected.1.len());
        for (found, expected) in found.1.iter().zip(&expected.1) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }

    #[test]
    fn micro_batches_change_neither_loss_nor_gradients() {
        let decoder = decoder(1);
        let examples = counting(32);
        let rows: Vec<&Example> = examples.iter().collect();
        let whole = flat(&decoder, &rows, 1_000);
        for (tokens, at_least, at_most) in [(1_000, 1, 1), (40, 4, 8), (1, 32, 32)] {
            let count = micro_batches(&rows, tokens).len();
            assert!((at_least..=at_most).contains(&count), "{count}");
            assert_same(&flat(&decoder, &rows, tokens), &whole);
        }
    }

    /// How far two vectors are apart, in lengths of the second.
    fn distance(found: &[f32], expected: &[f32]) -> f64 {
        assert_eq!(found.len(), expected.len());
        let pairs = found.iter().zip(expected);
        let apart: f64 = pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
        let length: f64 = expected.iter().map(|value| f64::from(*value).powi(2)).sum();
        (apart / length).sqrt()
    }

    /// Of many weights some have a gradient near Adam's epsilon, so that their first update takes its sign and size from
    /// rounding: what can be compared is the gradients as one vector.
    #[test]
    fn micro_batches_change_millions_of_gradients_by_rounding_alone() {
        let decoder = embedded();
        // Logits at up to 32 places are added up in another order than those at more, so every row alone has more.
        let row = |row: u32| {
            let token = |place: u32| (row * 331 + place * (7 + 2 * row)) % 1500;
            Example::unmasked((0..40).map(token).collect())
        };
        let examples: Vec<Example> = (0..4).map(row).collect();
        let rows: Vec<&Example> = examples.iter().collect();
        let (loss, gradients) = flat(&decoder, &rows, 2048);
        assert!(gradients.len() > 1_500_000, "{}", gradients.len());
        for (tokens, count) in [(2048, 1), (100, 2), (1, 4)] {
            assert_eq!(micro_batches(&rows, tokens).len(), count);
            let (parts_loss, parts) = flat(&decoder, &rows, tokens);
            assert!((parts_loss - loss).abs() < 1e-6 * loss, "{parts_loss} {loss}");
            let distance = distance(&parts, &gradients);
            assert!(distance < 1e-6, "{tokens}: {distance}");
        }
    }

    #[test]
    fn what_rows_begin_with_alike_is_learnt_from_as_often_as_it_is_there() {
        let decoder = decoder(1);
        let row = |last: u32| {
            Example::unmasked([&[1, 2, 3, 4, 5, 6, 7].repeat(2), &[1, 2, 3, last][..]].concat())
        };
        let rows = [row(4), row(5), row(4), row(6)];
        let rows: Vec<&Example> = rows.iter().collect();
        let inputs: Vec<&[u32]> = rows.iter().map(|row| row.inputs()).collect();
        assert_eq!(Packed::new(&inputs).tokens().len(), 17);
        let expected = flat(&decoder, &rows, 1);
        assert_same(&flat(&decoder, &rows, 1_000), &expected);
        // The same where attention is made of primitives.
        let model = crate::testing::model(12);
        let of_primitives = Decoder::<Recomputing>::init(&model, 1, &FlexDevice);
        let fused = Decoder::<B>::init(&model, 1, &FlexDevice);
        assert_same(&flat(&of_primitives, &rows, 1_000), &flat(&fused, &rows, 1_000));
    }

    /// Loss and weights after one update of 32 rows that read 8 tokens each.
    fn updated(rows_at_once: usize) -> (f64, Vec<f32>) {
        let example = |row: usize| {
            let token =
                |place: usize| u32::try_from((row * 5 + place * (1 + row % 3)) % 12).unwrap();
            // Weights differ from row to row, so that means of micro-batches would not do.
            let weights = (0..9).map(|place| ((row + place) % 4) as f32 * 0.5).collect();
            Example { tokens: (0..9).map(token).collect(), weights }
        };
        let mut examples: Vec<Example> = (0..32).map(example).collect();
        for example in &mut examples {
            example.weights[8] = 1.0;
        }
        let rows: Vec<&Example> = examples.iter().collect();
        let decoder = decoder(1);
        let batches = micro_batches(&rows, 8 * rows_at_once);
        assert!(batches.iter().all(|batch| batch.len() == rows_at_once));
        let found = gradients(&decoder, &rows, 8 * rows_at_once);
        let mut optimizer = Optimizer::new(&OptimizerConfig::default());
        let (decoder, _) = optimizer.step(3e-4, decoder, found.gradients);
        (found.loss, numbers(&decoder))
    }

    #[test]
    fn one_times_32_is_four_times_8_is_32_times_one() {
        let (loss, weights) = updated(32);
        let moved = numbers(&decoder(1)).iter().zip(&weights).any(|(a, b)| (a - b).abs() > 1e-4);
        assert!(moved, "the update moves the weights");
        for rows_at_once in [8, 1] {
            let (other_loss, other) = updated(rows_at_once);
            assert!((loss - other_loss).abs() < 1e-6, "{loss} {other_loss}");
            for (weight, other) in weights.iter().zip(&other) {
                assert!((weight - other).abs() < 1e-6, "{weight} {other}");
            }
        }
    }

    #[test]
    fn activations_that_are_computed_again_change_nothing() {
        let examples = counting(12);
        let rows: Vec<&Example> = examples.iter().collect();
        let model = crate::testing::model(12);
        let adapter =
            LoraConfig { target_modules: vec!["all-linear".to_owned()], ..LoraConfig::default() };
        let plain = Decoder::<B>::init(&model, 1, &FlexDevice);
        let recomputing = Decoder::<Recomputing>::init(&model, 1, &FlexDevice);
        assert_same(&flat(&recomputing, &rows, 40), &flat(&plain, &rows, 40));

        // Of an adapter most operations have an operand that is not learnt.
        let plain = plain.with_adapter(&adapter, 1).unwrap();
        let recomputing = recomputing.with_adapter(&adapter, 1).unwrap();
        assert_same(&flat(&recomputing, &rows, 40), &flat(&plain, &rows, 40));
    }

    #[test]
    fn a_fresh_model_without_spread_is_uniform() {
        let mut config = crate::testing::model(12);
        config.initializer_range = 0.0;
        let decoder = Decoder::<B>::init(&config, 1, &FlexDevice);
        let examples = counting(3);
        let rows: Vec<&Example> = examples.iter().collect();
        let found = gradients(&decoder, &rows, 8);
        assert!((found.loss - 12.0_f64.ln()).abs() < 1e-5, "{}", found.loss);
    }
}
