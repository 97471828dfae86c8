//! The loss of an optimiser step and its gradients.

use crate::bradley_terry;
use crate::pairs::{Pair, Pairs};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{ElementConversion, Tensor};
use rand::Rng;
use training::batches;
use transformer::ScalarModel;

/// What an optimiser step computes before its update.
pub(crate) struct StepGradients {
    /// Mean of [`bradley_terry`] over the pairs of the step.
    pub(crate) loss: f64,
    /// `score(chosen) - score(rejected)` and label of every pair, in no particular order.
    pub(crate) margins: Vec<(f64, f64)>,
    pub(crate) gradients: GradientsParams,
}

/// The mean loss of a step's pairs and its gradients, one micro-batch after the other.
///
/// Each micro-batch is divided by the number of pairs in the whole step, so that the cut into micro-batches leaves the sum
/// unchanged.
pub(crate) fn gradients<B: AutodiffBackend>(
    model: &ScalarModel<B>,
    pairs: &Pairs,
    step: &[&Pair],
    tokens_per_micro_batch: usize,
    rng: &mut impl Rng,
) -> StepGradients {
    let lengths: Vec<usize> = step.iter().map(|pair| pairs.padded_tokens(pair)).collect();
    let device = model.decoder().device();
    let mut accumulator = GradientsAccumulator::new();
    let mut total = Tensor::<B::InnerBackend, 1>::zeros([1], &device);
    let (mut found, mut labels) = (Vec::new(), Vec::new());
    for batch in batches(&lengths, tokens_per_micro_batch, rng) {
        let batch: Vec<&Pair> = batch.iter().map(|&pair| step[pair]).collect();
        let probabilities: Vec<f64> = batch.iter().map(|pair| pair.probability).collect();
        let margins = margins(model, pairs, &batch);
        let targets = Tensor::from_floats(probabilities.as_slice(), &device);
        let loss = bradley_terry(margins.clone(), targets).sum() / step.len() as f64;
        total = total + loss.clone().inner();
        found.push(margins.inner());
        labels.extend(probabilities);
        // Backward consumes the graph, so that no more than one micro-batch is held.
        accumulator.accumulate(model, GradientsParams::from_grads(loss.backward(), model));
    }
    let margins = Tensor::cat(found, 0).into_data().iter::<f64>().zip(labels).collect();
    StepGradients { loss: total.into_scalar().elem(), margins, gradients: accumulator.grads() }
}

/// `score(chosen) - score(rejected)`, `[pairs]`; both replies of every pair in one batch.
fn margins<B: Backend>(model: &ScalarModel<B>, pairs: &Pairs, batch: &[&Pair]) -> Tensor<B, 1> {
    let chosen = batch.iter().map(|pair| pairs.row(pair.chosen));
    let rejected = batch.iter().map(|pair| pairs.row(pair.rejected));
    let rows: Vec<&[u32]> = chosen.chain(rejected).collect();
    let scores = model.forward(&rows);
    let count = batch.len();
    scores.clone().slice(0..count) - scores.slice(count..2 * count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{B, codec, model_config, preference};
    use burn::module::{Module, ModuleVisitor, Param};
    use burn_flex::FlexDevice;
    use language_model::stream;
    use training::Overlong;
    use transformer::{Decoder, ScalarHead};

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

    fn model(head: ScalarHead<B>) -> ScalarModel<B> {
        ScalarModel::new(Decoder::init(&model_config(), 1, &FlexDevice), head)
    }

    fn flat(model: &ScalarModel<B>, pairs: &Pairs, tokens: usize) -> (StepGradients, Vec<f32>) {
        let step: Vec<&Pair> = pairs.kept.iter().collect();
        let found = gradients(model, pairs, &step, tokens, &mut stream(1));
        let mut visitor = Flat { gradients: &found.gradients, values: Vec::new() };
        model.visit(&mut visitor);
        let values = visitor.values;
        (found, values)
    }

    fn pairs() -> Pairs {
        let replies = ["a", "b c", "c d good", "bad", "good a b c", "q q"];
        let mut preferences = Vec::new();
        for (index, chosen) in replies.iter().enumerate() {
            for rejected in &replies[..index] {
                preferences.push(preference("q", chosen, rejected, 0.5 + 0.1 * index as f64));
            }
        }
        Pairs::new(&codec(), &model_config(), &preferences, Overlong::Error).unwrap()
    }

    #[test]
    fn micro_batches_leave_loss_and_gradients_unchanged() {
        let model = model(ScalarHead::init(16, 1, &FlexDevice));
        let pairs = pairs();
        let (whole, whole_gradient) = flat(&model, &pairs, 10_000);
        assert!(whole_gradient.iter().any(|value| value.abs() > 1e-2));
        for tokens in [1, 60] {
            let (parts, gradient) = flat(&model, &pairs, tokens);
            assert!((parts.loss - whole.loss).abs() < 1e-5, "{} {}", parts.loss, whole.loss);
            assert_eq!(parts.margins.len(), 15);
            for (part, whole) in gradient.iter().zip(&whole_gradient) {
                assert!((part - whole).abs() < 1e-5, "{part} {whole}");
            }
        }
        let losses = whole.margins.iter().map(|&(margin, label)| {
            let softplus = |x: f64| x.exp().ln_1p();
            label * softplus(-margin) + (1.0 - label) * softplus(margin)
        });
        assert!((whole.loss - losses.sum::<f64>() / 15.0).abs() < 1e-5);
    }

    #[test]
    fn an_even_label_with_equal_scores_has_no_gradient() {
        let model = model(ScalarHead::zeros(16, &FlexDevice));
        let preferences = [preference("q", "a", "b", 0.5), preference("q", "good", "bad", 0.5)];
        let pairs = Pairs::new(&codec(), &model_config(), &preferences, Overlong::Error).unwrap();
        let (found, gradient) = flat(&model, &pairs, 100);
        assert!((found.loss - 2.0_f64.ln()).abs() < 1e-6);
        assert!(gradient.iter().all(|value| value.abs() < 1e-9));
    }
}
