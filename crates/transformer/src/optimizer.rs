//! One optimiser step: clipping by the norm of all gradients, then `AdamW`.

use crate::parameters::{learning, paths, with_learning};
use crate::weights::{Array, Weights};
use crate::{Error, Precision};
use burn::module::{AutodiffModule, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{ElementConversion, Tensor, TensorData};
use kernels::{AdamW, Moving, sum_of_squares};
use std::collections::HashMap;
use training::{OptimizerConfig, State};

/// The files of a state.
const WEIGHTS: &str = "model.safetensors";
const MOMENTS: &str = "optimizer.safetensors";

/// What is kept of every parameter beside it, by the ends of their names in [`MOMENTS`].
const MEAN: &str = "exp_avg";
const SQUARE: &str = "exp_avg_sq";
const TIME: &str = "step";

/// `AdamW` over every parameter of a module, with gradients clipped by their global norm.
///
/// With `g` all gradients of the step as one vector, the step uses `g * min(1, clip_norm / |g|)`. Weight decay shrinks
/// matrices (embeddings among them) and leaves the scales of norms alone, unless a group says otherwise.
#[derive(Debug)]
pub struct Optimizer<B: AutodiffBackend> {
    config: OptimizerConfig,
    moments: HashMap<ParamId, Moments<B>>,
}

/// What is kept of a parameter: running means of its gradients and of their squares, `[numbers]`.
#[derive(Debug)]
struct Moments<B: AutodiffBackend> {
    mean: Tensor<B::InnerBackend, 1>,
    square: Tensor<B::InnerBackend, 1>,
    /// Steps taken.
    time: u64,
}

impl<B: AutodiffBackend> Optimizer<B> {
    /// An optimiser that has not seen a gradient yet.
    pub fn new(config: &OptimizerConfig) -> Self {
        Self { config: config.clone(), moments: HashMap::new() }
    }

    /// Updates `module` at `learning_rate` and gives the norm of the gradients before clipping.
    ///
    /// If the norm is not finite, the module comes back as it was, so that a caller can stop with its weights intact.
    pub fn step<M: AutodiffModule<B>>(
        &mut self,
        learning_rate: f64,
        module: M,
        gradients: GradientsParams,
    ) -> (M, f64) {
        let norm = gradient_norm(&module, &gradients);
        if !norm.is_finite() {
            return (module, norm);
        }
        let gradient_scale =
            if norm > self.config.clip_norm { self.config.clip_norm / norm } else { 1.0 };
        let paths = if self.config.groups.is_empty() { HashMap::new() } else { paths(&module) };
        let mut step = Step { optimizer: self, learning_rate, gradient_scale, gradients, paths };
        (module.map(&mut step), norm)
    }

    /// The numbers of a step over a parameter of `dimensions` dimensions.
    fn settings(&self, learning_rate: f64, path: Option<&String>, dimensions: usize) -> AdamW {
        let group = path.and_then(|path| self.config.group(path));
        let usual = if dimensions > 1 { self.config.weight_decay } else { 0.0 };
        AdamW {
            learning_rate: learning_rate * group.map_or(1.0, |group| group.learning_rate_scale),
            beta_1: self.config.beta_1,
            beta_2: self.config.beta_2,
            epsilon: self.config.epsilon,
            weight_decay: group.and_then(|group| group.weight_decay).unwrap_or(usual),
            time: 1,
            gradient_scale: 1.0,
        }
    }

    /// The parameters that learn, and what is kept of each, to be kept with the state of a stage.
    ///
    /// # Errors
    /// [`Error::Safetensors`] if they cannot be written.
    pub fn save<M: AutodiffModule<B>>(&self, module: &M) -> Result<State, Error> {
        let mut moments = Weights::default();
        for (id, path) in paths(module) {
            let Some(kept) = self.moments.get(&id) else { continue };
            #[allow(clippy::cast_precision_loss, reason = "exact up to 16 million steps")]
            let time = Array { shape: vec![1], data: vec![kept.time as f32] };
            moments.insert(format!("{path}.{TIME}"), time);
            for (name, tensor) in [(MEAN, &kept.mean), (SQUARE, &kept.square)] {
                let data = tensor.to_data();
                let array = Array { shape: data.shape.to_vec(), data: data.iter().collect() };
                moments.insert(format!("{path}.{name}"), array);
            }
        }
        let files = vec![
            (WEIGHTS.to_owned(), learning(module).to_bytes(Precision::F32)?),
            (MOMENTS.to_owned(), moments.to_bytes(Precision::F32)?),
        ];
        Ok(State { files, ..State::default() })
    }

    /// Puts what [`Optimizer::save`] gave back into the module and the optimiser.
    ///
    /// # Errors
    /// If a file of the state is missing or damaged, or does not fit the module.
    pub fn restore<M: AutodiffModule<B>>(
        &mut self,
        module: M,
        state: &mut State,
    ) -> Result<M, Error> {
        let weights = Weights::from_bytes(state.take(WEIGHTS)?, WEIGHTS)?;
        let mut moments = Weights::from_bytes(state.take(MOMENTS)?, MOMENTS)?;
        let module = with_learning(module, weights)?;
        self.moments.clear();
        let Some(device) = module.devices().into_iter().next() else { return Ok(module) };
        for (id, path) in paths(&module) {
            let count = moments.shape(&format!("{path}.{MEAN}")).map(<[usize]>::to_vec);
            let Some(count) = count.and_then(|shape| shape.first().copied()) else { continue };
            let mut take =
                |name: &str, count: usize| moments.take(&format!("{path}.{name}"), &[count]);
            let tensor = |numbers: Vec<f32>| {
                let shape = [numbers.len()];
                Tensor::from_data(TensorData::new(numbers, shape), &device)
            };
            let (mean, square) = (tensor(take(MEAN, count)?), tensor(take(SQUARE, count)?));
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "written as a whole number of at least 1"
            )]
            let time = take(TIME, 1)?[0] as u64;
            self.moments.insert(id, Moments { mean, square, time });
        }
        moments.finish()?;
        Ok(module)
    }
}

/// A step over all parameters of a module, one after the other: each is one pass over its own memory, by all cores if it is large,
/// and a small one costs next to nothing, so that there is nothing to gain from gathering them.
struct Step<'a, B: AutodiffBackend> {
    optimizer: &'a mut Optimizer<B>,
    learning_rate: f64,
    gradient_scale: f64,
    gradients: GradientsParams,
    paths: HashMap<ParamId, String>,
}

impl<B: AutodiffBackend> ModuleMapper<B> for Step<'_, B> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let Some(gradient) = self.gradients.remove::<B::InnerBackend, D>(param.id) else {
            return param;
        };
        let (id, tensor, mapper) = param.consume();
        let (learns, shape) = (tensor.is_require_grad(), tensor.dims());
        let count = shape.iter().product::<usize>();
        let weights = tensor.inner().reshape([count]);
        let kept = self.optimizer.moments.remove(&id).unwrap_or_else(|| Moments {
            mean: weights.zeros_like(),
            square: weights.zeros_like(),
            time: 0,
        });
        let settings = self.optimizer.settings(self.learning_rate, self.paths.get(&id), D);
        let step = AdamW { time: kept.time + 1, gradient_scale: self.gradient_scale, ..settings };
        let moving = Moving { weights, mean: kept.mean, square: kept.square };
        let Moving { weights, mean, square } = step.step(moving, gradient.reshape([count]));
        self.optimizer.moments.insert(id, Moments { mean, square, time: step.time });
        let tensor = Tensor::from_inner(weights.reshape(shape)).set_require_grad(learns);
        Param::from_mapped_value(id, tensor, mapper)
    }
}

/// The Euclidean norm of all gradients together; 0 without any.
fn gradient_norm<M: AutodiffModule<B>, B: AutodiffBackend>(
    module: &M,
    gradients: &GradientsParams,
) -> f64 {
    let mut visitor = SumOfSquares::<B> { gradients, sum: None };
    module.visit(&mut visitor);
    visitor.sum.map_or(0.0, |sum| sum.into_scalar().elem::<f64>().sqrt())
}

/// Adds up on the device, so that the norm costs one read-back a step.
struct SumOfSquares<'a, B: AutodiffBackend> {
    gradients: &'a GradientsParams,
    sum: Option<Tensor<B::InnerBackend, 1>>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for SumOfSquares<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(gradient) = self.gradients.get::<B::InnerBackend, D>(param.id) {
            let squares = sum_of_squares(gradient);
            self.sum = Some(match self.sum.take() {
                Some(sum) => sum + squares,
                None => squares,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learning_paths;
    use burn::backend::Autodiff;
    use burn::module::Module;
    use burn::tensor::backend::Backend;
    use burn_flex::{Flex, FlexDevice};
    use ndarray::{Array1, array};
    use proptest::prelude::*;
    use training::ParameterGroup;

    type B = Autodiff<Flex>;

    /// A matrix, a vector and a loss whose gradient is its factors.
    #[derive(Module, Debug)]
    struct Pair<B: Backend> {
        matrix: Param<Tensor<B, 2>>,
        vector: Param<Tensor<B, 1>>,
    }

    fn pair() -> Pair<B> {
        Pair {
            matrix: Param::from_tensor(Tensor::from_floats([[1.0, 2.0]], &FlexDevice)),
            vector: Param::from_tensor(Tensor::from_floats([3.0], &FlexDevice)),
        }
    }

    fn gradients(pair: &Pair<B>, matrix: [[f32; 2]; 1], vector: [f32; 1]) -> GradientsParams {
        let loss = (pair.matrix.val() * Tensor::from_floats(matrix, &FlexDevice)).sum()
            + (pair.vector.val() * Tensor::from_floats(vector, &FlexDevice)).sum();
        GradientsParams::from_grads(loss.backward(), pair)
    }

    fn values(pair: &Pair<B>) -> [f32; 3] {
        let matrix = pair.matrix.val().into_data().to_vec::<f32>().unwrap();
        let vector = pair.vector.val().into_data().to_vec::<f32>().unwrap();
        [matrix[0], matrix[1], vector[0]]
    }

    #[test]
    fn the_norm_is_that_of_all_gradients_together() {
        let pair = pair();
        let gradients = gradients(&pair, [[2.0, 3.0]], [6.0]);
        // 4 + 9 + 36 = 49.
        assert!((gradient_norm(&pair, &gradients) - 7.0).abs() < 1e-6);
    }

    /// Without momentum an epsilon far above the gradient turns `AdamW` into gradient descent: `rate * g / epsilon`.
    fn descent(clip_norm: f64, weight_decay: f64) -> Optimizer<B> {
        Optimizer::new(&OptimizerConfig {
            beta_1: 0.0,
            beta_2: 0.0,
            epsilon: 1e6,
            weight_decay,
            clip_norm,
            ..OptimizerConfig::default()
        })
    }

    #[test]
    fn steps_along_the_clipped_gradient() {
        for (clip_norm, shrink) in [(100.0, 1.0), (3.5, 0.5)] {
            let pair = pair();
            let gradients = gradients(&pair, [[2.0, 3.0]], [6.0]);
            let (stepped, norm) = descent(clip_norm, 0.0).step(1e5, pair, gradients);
            assert!((norm - 7.0).abs() < 1e-6, "{norm}");
            let expected = [1.0 - 0.2 * shrink, 2.0 - 0.3 * shrink, 3.0 - 0.6 * shrink];
            for (found, expected) in values(&stepped).into_iter().zip(expected) {
                assert!((found - expected).abs() < 1e-4, "{found} {expected}");
            }
        }
    }

    #[test]
    fn decays_matrices_and_leaves_vectors_alone() {
        let pair = pair();
        let gradients = gradients(&pair, [[0.0, 0.0]], [0.0]);
        let (stepped, _) = descent(1.0, 0.5).step(0.1, pair, gradients);
        for (found, expected) in values(&stepped).into_iter().zip([0.95, 1.9, 3.0]) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn a_gradient_that_is_not_finite_changes_nothing() {
        let pair = pair();
        let gradients = gradients(&pair, [[f32::NAN, 0.0]], [0.0]);
        let (stepped, norm) = descent(1.0, 0.5).step(0.1, pair, gradients);
        assert!(norm.is_nan());
        assert_eq!(values(&stepped).map(f32::to_bits), [1.0_f32, 2.0, 3.0].map(f32::to_bits));
    }

    #[test]
    fn groups_have_settings_of_their_own() {
        let group = |names: &str, learning_rate_scale, weight_decay| ParameterGroup {
            names: vec![names.to_owned()],
            learning_rate_scale,
            weight_decay,
        };
        let mut optimizer = Optimizer::new(&OptimizerConfig {
            groups: vec![group("vector", 2.0, Some(0.5)), group("mat", 0.0, None)],
            ..descent(100.0, 0.5).config
        });
        let pair = pair();
        let gradients = gradients(&pair, [[2.0, 3.0]], [5.0]);
        let (stepped, _) = optimizer.step(0.1, pair, gradients);
        // The matrix stays; the vector decays by 0.2 * 0.5.
        for (found, expected) in values(&stepped).into_iter().zip([1.0, 2.0, 2.7]) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }

    #[test]
    fn a_restored_state_goes_on_to_the_same_bits() {
        let config = OptimizerConfig::default();
        let step = |optimizer: &mut Optimizer<B>, pair: Pair<B>, size: f32| {
            let gradients = gradients(&pair, [[size, -0.3]], [0.7 * size]);
            optimizer.step(0.1, pair, gradients).0
        };
        let mut optimizer = Optimizer::new(&config);
        let after_one = step(&mut optimizer, pair(), 0.9);
        let mut state = optimizer.save(&after_one).unwrap();
        let after_two = step(&mut optimizer, after_one, 0.4);

        let mut other = Optimizer::new(&config);
        let restored = other.restore(pair(), &mut state).unwrap();
        let restored = step(&mut other, restored, 0.4);
        assert_eq!(values(&restored).map(f32::to_bits), values(&after_two).map(f32::to_bits));
    }

    #[test]
    fn a_state_of_another_module_is_refused() {
        let optimizer = Optimizer::<B>::new(&OptimizerConfig::default());
        let mut state = optimizer.save(&pair()).unwrap();
        let narrow = Pair::<B> {
            matrix: Param::from_tensor(Tensor::from_floats([[1.0]], &FlexDevice)),
            ..pair()
        };
        let mut other = Optimizer::<B>::new(&OptimizerConfig::default());
        let message = other.restore(narrow, &mut state).unwrap_err().to_string();
        assert!(message.contains("matrix"), "{message}");
        let message = other.restore(pair(), &mut State::default()).unwrap_err().to_string();
        assert!(message.contains("model.safetensors"), "{message}");
    }

    #[test]
    fn what_does_not_learn_is_not_kept() {
        let frozen = Pair::<B> { matrix: pair().matrix.set_require_grad(false), ..pair() };
        let optimizer = Optimizer::<B>::new(&OptimizerConfig::default());
        let mut state = optimizer.save(&frozen).unwrap();
        let kept = Weights::from_bytes(state.take(WEIGHTS).unwrap(), WEIGHTS).unwrap();
        assert_eq!(kept.names().collect::<Vec<_>>(), ["vector"]);
        assert_eq!(learning_paths(&frozen), ["vector"]);
        assert_eq!(learning_paths(&pair()), ["matrix", "vector"]);
    }

    /// The weights of [`pair`] after steps with these gradients, all numbers as one array.
    fn oracle(config: &OptimizerConfig, rate: f64, steps: &[[f32; 3]]) -> Array1<f64> {
        let decay = array![1.0, 1.0, 0.0] * config.weight_decay;
        let mut weights = array![1.0, 2.0, 3.0];
        let (mut mean, mut square) = (Array1::<f64>::zeros(3), Array1::<f64>::zeros(3));
        for (time, gradient) in (1..).zip(steps) {
            let gradient: Array1<f64> = gradient.iter().copied().map(f64::from).collect();
            let norm = gradient.dot(&gradient).sqrt();
            let gradient = gradient * (config.clip_norm / norm).min(1.0);
            mean = mean * config.beta_1 + &gradient * (1.0 - config.beta_1);
            square = square * config.beta_2 + gradient.powi(2) * (1.0 - config.beta_2);
            let first = &mean / (1.0 - config.beta_1.powi(time));
            let second = &square / (1.0 - config.beta_2.powi(time));
            let shrunk = &weights - &(&weights * &decay * rate);
            weights = shrunk - first / (second.sqrt() + config.epsilon) * rate;
        }
        weights
    }

    proptest! {
        /// Over several steps, clipped and not.
        #[test]
        fn steps_agree_with_f64(
            steps in prop::collection::vec(prop::array::uniform3(-3.0_f32..3.0), 1..6),
            rate in 1e-4..0.1_f64,
            betas in (0.0..0.95_f64, 0.5..0.999_f64),
            weight_decay in 0.0..0.5_f64,
            clip_norm in 0.1..6.0_f64,
        ) {
            let (beta_1, beta_2) = betas;
            // This much keeps the rounding of small gradients small.
            let epsilon = 1e-3;
            let config = OptimizerConfig {
                beta_1, beta_2, epsilon, weight_decay, clip_norm, ..OptimizerConfig::default()
            };
            let mut optimizer = Optimizer::new(&config);
            let mut stepped = pair();
            for &[first, second, third] in &steps {
                let gradients = gradients(&stepped, [[first, second]], [third]);
                stepped = optimizer.step(rate, stepped, gradients).0;
            }
            let expected = oracle(&config, rate, &steps);
            for (found, expected) in values(&stepped).into_iter().zip(&expected) {
                let error = (f64::from(found) - expected).abs();
                prop_assert!(error < 1e-5, "{found} is not {expected}");
            }
        }
    }
}
