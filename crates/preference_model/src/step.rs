//! The loss of an optimiser step and its gradients.

use crate::heads::Heads;
use crate::pairs::{Pair, Pairs};
use crate::{PreferenceModelConfig, bradley_terry_with_margin, centring};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{ElementConversion, Tensor};
use training::cut;

/// What an optimiser step computes before its update.
pub(crate) struct StepGradients {
    /// Mean of the loss over the pairs of the step and the heads.
    pub(crate) loss: f64,
    /// What every pair was given, in no particular order.
    pub(crate) pairs: Vec<ScoredPair>,
    pub(crate) gradients: GradientsParams,
}

/// The scores of a pair, the mean over the heads, and its label.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ScoredPair {
    pub(crate) chosen: f64,
    pub(crate) rejected: f64,
    pub(crate) label: f64,
}

/// The mean loss of a step's pairs and its gradients, one micro-batch after the other.
///
/// Each micro-batch is divided by the number of pairs in the whole step, so that the cut into micro-batches leaves the sum
/// unchanged.
pub(crate) fn gradients<B: AutodiffBackend>(
    config: &PreferenceModelConfig,
    model: &Heads<B>,
    pairs: &Pairs,
    step: &[&Pair],
) -> StepGradients {
    let device = model.decoder().device();
    let mut accumulator = GradientsAccumulator::new();
    let mut total = Tensor::<B::InnerBackend, 1>::zeros([1], &device);
    let (mut chosen, mut rejected, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    for batch in micro_batches(pairs, step, config.tokens_per_micro_batch) {
        let batch: Vec<&Pair> = batch.iter().map(|&pair| step[pair]).collect();
        let rows = rows(pairs, &batch);
        let by_head = model.forward_for_training(&rows);
        let (heads, count) = (by_head.len() as f64, batch.len());
        let scores = by_head.iter().map(|scores| scores.clone().inner()).collect();
        let scores = Tensor::stack::<2>(scores, 0).mean_dim(0).squeeze_dim(0);
        chosen.push(scores.clone().slice(0..count));
        rejected.push(scores.slice(count..2 * count));
        labels.extend(batch.iter().map(|pair| pair.probability));
        // Added one by one: a concatenation lets go of its operands before it is recorded (burn 0.21), and a backward pass
        // in another thread may take them for garbage then.
        let nothing = Tensor::zeros([1], &device);
        let losses = by_head.into_iter().map(|scores| losses(config, scores, &batch).sum());
        let loss = losses.fold(nothing, |sum, loss| sum + loss) / (step.len() as f64 * heads);
        total = total + loss.clone().inner();
        // Backward consumes the graph, so that no more than one micro-batch is held.
        accumulator.accumulate(model, GradientsParams::from_grads(loss.backward(), model));
    }
    StepGradients {
        loss: total.into_scalar().elem(),
        pairs: read(chosen, rejected, labels),
        gradients: accumulator.grads(),
    }
}

/// Places of pairs, cut so that at most `tokens` tokens go through the model at once; those with the same prompt lie together,
/// for it to be read once.
fn micro_batches(pairs: &Pairs, step: &[&Pair], tokens: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..step.len()).collect();
    order.sort_by_key(|&pair| pairs.row(step[pair].chosen));
    let lengths: Vec<usize> = step.iter().map(|pair| pairs.tokens(pair)).collect();
    cut(&order, &lengths, tokens)
}

/// Scores that were left on the device until the end of the step, so that they cost one read-back each.
fn read<B: Backend>(
    chosen: Vec<Tensor<B, 1>>,
    rejected: Vec<Tensor<B, 1>>,
    labels: Vec<f64>,
) -> Vec<ScoredPair> {
    let [chosen, rejected] = [chosen, rejected].map(|scores| Tensor::cat(scores, 0).into_data());
    let scores = chosen.iter::<f64>().zip(rejected.iter::<f64>()).zip(labels);
    scores.map(|((chosen, rejected), label)| ScoredPair { chosen, rejected, label }).collect()
}

/// All chosen replies, then all rejected ones: both replies of every pair go through the model in one batch, which reads what
/// they begin with once.
fn rows<'a>(pairs: &'a Pairs, batch: &[&Pair]) -> Vec<&'a [u32]> {
    let chosen = batch.iter().map(|pair| pairs.row(pair.chosen));
    chosen.chain(batch.iter().map(|pair| pairs.row(pair.rejected))).collect()
}

/// The loss of every pair, `[2 * pairs]` scores to `[pairs]`.
fn losses<B: AutodiffBackend>(
    config: &PreferenceModelConfig,
    scores: Tensor<B, 1>,
    batch: &[&Pair],
) -> Tensor<B, 1> {
    let device = scores.device();
    let count = batch.len();
    let [chosen, rejected] = [0..count, count..2 * count].map(|range| scores.clone().slice(range));
    let tensor = |of: &dyn Fn(&Pair) -> f64| {
        let values: Vec<f64> = batch.iter().map(|pair| of(pair)).collect();
        Tensor::from_floats(values.as_slice(), &device)
    };
    let targets = tensor(&|pair| config.target(pair.probability));
    let margins = tensor(&|pair| pair.margin.unwrap_or(config.margin));
    let differences = chosen.clone() - rejected.clone();
    let losses = bradley_terry_with_margin(differences, targets, margins);
    if config.centring == 0.0 {
        return losses;
    }
    losses + centring(chosen, rejected) * config.centring
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{B, codec, embedded, model_config, preference};
    use crate::{Labels, Source};
    use burn::backend::Autodiff;
    use burn::backend::autodiff::checkpoint::strategy::BalancedCheckpointing;
    use burn::module::{Module, ModuleVisitor, Param};
    use burn_flex::{Flex, FlexDevice};
    use training::{OptimizerConfig, Overlong};
    use transformer::{Decoder, Optimizer, ScalarHead};

    /// All gradients as one vector.
    struct Gradients<'a> {
        gradients: &'a GradientsParams,
        values: Vec<f32>,
    }

    impl<B: AutodiffBackend> ModuleVisitor<B> for Gradients<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            let gradient = self.gradients.get::<B::InnerBackend, D>(param.id).unwrap();
            self.values.extend(gradient.into_data().to_vec::<f32>().unwrap());
        }
    }

    /// All weights as one vector.
    struct Weights(Vec<f32>);

    impl ModuleVisitor<B> for Weights {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            self.0.extend(param.val().into_data().to_vec::<f32>().unwrap());
        }
    }

    /// Its operations are those of other backends.
    type Recomputing = Autodiff<Flex, BalancedCheckpointing>;

    fn model(heads: Vec<ScalarHead<B>>) -> Heads<B> {
        Heads::new(Decoder::init(&model_config(), 1, &FlexDevice), heads)
    }

    fn one_head() -> Heads<B> {
        model(vec![ScalarHead::init(16, 1, &FlexDevice)])
    }

    fn config(tokens_per_micro_batch: usize) -> PreferenceModelConfig {
        PreferenceModelConfig { tokens_per_micro_batch, ..PreferenceModelConfig::default() }
    }

    fn flat<B: AutodiffBackend>(
        config: &PreferenceModelConfig,
        model: &Heads<B>,
        pairs: &Pairs,
    ) -> (StepGradients, Vec<f32>) {
        let step: Vec<&Pair> = pairs.kept.iter().collect();
        let found = gradients(config, model, pairs, &step);
        let mut visitor = Gradients { gradients: &found.gradients, values: Vec::new() };
        model.visit(&mut visitor);
        let values = visitor.values;
        (found, values)
    }

    fn pairs_of(source: Source<'_>) -> Pairs {
        Pairs::new(&codec(), &model_config(), &[source], Overlong::Error).unwrap()
    }

    fn pairs() -> Pairs {
        let replies = ["a", "b c", "c d good", "bad", "good a b c", "q q"];
        let mut preferences = Vec::new();
        for (index, chosen) in replies.iter().enumerate() {
            for rejected in &replies[..index] {
                preferences.push(preference("q", chosen, rejected, 0.5 + 0.1 * index as f64));
            }
        }
        pairs_of(Source::new("set", &preferences))
    }

    fn softplus(x: f64) -> f64 {
        x.exp().ln_1p()
    }

    fn assert_all_close(found: &[f32], expected: &[f32], tolerance: f32) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < tolerance, "{found} {expected}");
        }
    }

    #[test]
    fn micro_batches_leave_loss_and_gradients_unchanged() {
        let model = one_head();
        let pairs = pairs();
        let (whole, whole_gradient) = flat(&config(10_000), &model, &pairs);
        assert!(whole_gradient.iter().any(|value| value.abs() > 1e-2));
        for tokens in [1, 60] {
            let (parts, gradient) = flat(&config(tokens), &model, &pairs);
            assert!((parts.loss - whole.loss).abs() < 1e-6, "{} {}", parts.loss, whole.loss);
            assert_eq!(parts.pairs.len(), 15);
            assert_all_close(&gradient, &whole_gradient, 1e-6);
        }
        let losses = whole.pairs.iter().map(|pair| {
            let margin = pair.chosen - pair.rejected;
            pair.label * softplus(-margin) + (1.0 - pair.label) * softplus(margin)
        });
        assert!((whole.loss - losses.sum::<f64>() / 15.0).abs() < 1e-5);
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
        let head = ScalarHead::init(decoder.config().hidden_size, 1, &FlexDevice);
        let (model, pairs) = (Heads::new(decoder, vec![head]), pairs());
        let (whole, gradients) = flat(&config(2048), &model, &pairs);
        assert!(gradients.len() > 1_500_000, "{}", gradients.len());
        for tokens in [60, 1] {
            let (parts, parts_gradients) = flat(&config(tokens), &model, &pairs);
            let error = (parts.loss - whole.loss).abs();
            assert!(error < 1e-6 * whole.loss.max(1.0), "{} {}", parts.loss, whole.loss);
            let distance = distance(&parts_gradients, &gradients);
            assert!(distance < 1e-6, "{tokens}: {distance}");
        }
    }

    #[test]
    fn activations_that_are_computed_again_change_nothing() {
        let recomputing = Heads::new(
            Decoder::<Recomputing>::init(&model_config(), 1, &FlexDevice),
            vec![ScalarHead::init(16, 1, &FlexDevice)],
        );
        let (pairs, config) = (pairs(), PreferenceModelConfig { centring: 0.01, ..config(60) });
        let (expected, gradients) = flat(&config, &one_head(), &pairs);
        let (found, found_gradients) = flat(&config, &recomputing, &pairs);
        assert!((found.loss - expected.loss).abs() < 1e-5, "{} {}", found.loss, expected.loss);
        assert!(gradients.iter().any(|value| value.abs() > 1e-2));
        assert_all_close(&found_gradients, &gradients, 1e-5);
    }

    /// 32 pairs of equal length as one micro-batch, four and thirty-two.
    #[test]
    fn a_step_does_not_depend_on_the_cut_into_micro_batches() {
        let words = ["a", "b", "c", "d", "q", "r", "good", "bad"];
        let mut preferences = Vec::new();
        for (index, chosen) in words.iter().enumerate() {
            for (other, rejected) in words.iter().enumerate().filter(|(other, _)| *other != index) {
                let probability = 0.5 + 0.008 * (7 * index + other) as f64;
                preferences.push(preference("q", chosen, rejected, probability));
            }
        }
        let pairs = pairs_of(Source::new("set", &preferences[..32]));
        let step: Vec<&Pair> = pairs.kept.iter().collect();
        let start = one_head();
        // Twelve tokens a pair.
        let stepped = [32, 8, 1].map(|size| {
            let config = config(12 * size);
            let found = gradients(&config, &start, &pairs, &step);
            let mut optimizer = Optimizer::new(&OptimizerConfig::default());
            let (stepped, norm) = optimizer.step(1e-4, start.clone(), found.gradients);
            let mut weights = Weights(Vec::new());
            stepped.visit(&mut weights);
            (found.loss, norm, weights.0)
        });
        let mut before = Weights(Vec::new());
        start.visit(&mut before);
        let (loss, norm, weights) = &stepped[0];
        assert!(weights.iter().zip(&before.0).any(|(after, before)| (after - before).abs() > 9e-5));
        for (parts_loss, parts_norm, parts) in &stepped[1..] {
            assert!((parts_loss - loss).abs() < 1e-6, "{parts_loss} {loss}");
            assert!((parts_norm - norm).abs() < 1e-5, "{parts_norm} {norm}");
            assert_all_close(parts, weights, 1e-6);
        }
    }

    #[test]
    fn an_even_label_with_equal_scores_has_no_gradient() {
        let model = model(vec![ScalarHead::zeros(16, &FlexDevice)]);
        let preferences = [preference("q", "a", "b", 0.5), preference("q", "good", "bad", 0.5)];
        let pairs = pairs_of(Source::new("set", &preferences));
        let (found, gradient) = flat(&config(100), &model, &pairs);
        assert!((found.loss - 2.0_f64.ln()).abs() < 1e-6);
        assert!(gradient.iter().all(|value| value.abs() < 1e-9));
    }

    #[test]
    fn settings_of_the_loss_are_all_used() {
        let preferences = [preference("q", "a", "b", 0.9), preference("q", "good", "bad", 0.7)];
        let pairs = pairs_of(Source::new("set", &preferences).with_margins(&[0.5, 0.0]));
        let config = PreferenceModelConfig {
            labels: Labels::Clamped([0.2, 0.8]),
            label_smoothing: 0.1,
            // Only of pairs that have none of their own.
            margin: 9.0,
            centring: 0.3,
            ..config(100)
        };
        let (found, _) = flat(&config, &one_head(), &pairs);
        // 0.9 is clamped to 0.8 and smoothed to 0.74, 0.7 is smoothed to 0.66.
        let loss = |pair: &ScoredPair| {
            let (target, margin) = if pair.label > 0.8 { (0.74, 0.5) } else { (0.66, 0.0) };
            let difference = pair.chosen - pair.rejected;
            target * softplus(margin - difference)
                + (1.0 - target) * softplus(margin + difference)
                + 0.3 * (pair.chosen + pair.rejected).powi(2)
        };
        let expected = found.pairs.iter().map(loss).sum::<f64>() / 2.0;
        assert!((found.loss - expected).abs() < 1e-5, "{} {expected}", found.loss);
        let plain = PreferenceModelConfig { margin: 0.5, ..config };
        let pairs = pairs_of(Source::new("set", &preferences[..1]));
        let (found, _) = flat(&plain, &one_head(), &pairs);
        assert!((found.loss - loss(&found.pairs[0])).abs() < 1e-5);
    }

    #[test]
    fn heads_share_the_loss_and_keep_their_own_gradients() {
        let heads = [1, 2].map(|seed| ScalarHead::init(16, seed, &FlexDevice));
        let pairs = pairs();
        let (both, both_gradient) = flat(&config(10_000), &model(heads.to_vec()), &pairs);
        let alone = heads.map(|head| flat(&config(10_000), &model(vec![head]), &pairs));
        let mean = f64::midpoint(alone[0].0.loss, alone[1].0.loss);
        assert!((both.loss - mean).abs() < 1e-6);
        // The gradient of the trunk is the mean of both, that of a head half of its own.
        let trunk = both_gradient.len() - 32;
        let expected: Vec<f32> = (0..trunk)
            .map(|index| f32::midpoint(alone[0].1[index], alone[1].1[index]))
            .chain(alone[0].1[trunk..].iter().map(|value| value / 2.0))
            .chain(alone[1].1[trunk..].iter().map(|value| value / 2.0))
            .collect();
        assert_all_close(&both_gradient, &expected, 1e-6);
    }
}
