//! One optimiser step: clipping by the norm of all gradients, then `AdamW`.

use burn::module::{AutodiffModule, ModuleVisitor, Param};
use burn::optim::adaptor::OptimizerAdaptor;
use burn::optim::{
    AdamW, AdamWConfig, AdamWState, GradientsParams, Optimizer as _, SimpleOptimizer,
};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{ElementConversion, Tensor};
use std::fmt;
use training::OptimizerConfig;

/// `AdamW` over every parameter of a module, with gradients clipped by their global norm.
///
/// With `g` all gradients of the step as one vector, the step uses `g * min(1, clip_norm / |g|)`. Weight decay shrinks
/// matrices (embeddings among them) and leaves the scales of norms alone.
pub struct Optimizer<M: AutodiffModule<B>, B: AutodiffBackend> {
    adamw: OptimizerAdaptor<DecayMatrices, M, B>,
    clip_norm: f64,
}

impl<M: AutodiffModule<B>, B: AutodiffBackend> Optimizer<M, B> {
    /// An optimiser that has not seen a gradient yet.
    pub fn new(config: &OptimizerConfig) -> Self {
        let adamw = AdamWConfig::new()
            .with_beta_1(config.beta_1)
            .with_beta_2(config.beta_2)
            .with_epsilon(config.epsilon);
        let decayed = adamw.clone().with_weight_decay(config.weight_decay).build();
        let plain = adamw.with_weight_decay(0.0).build();
        Self {
            adamw: OptimizerAdaptor::from(DecayMatrices { decayed, plain }),
            clip_norm: f64::from(config.clip_norm),
        }
    }

    /// Updates `module` at `learning_rate` and gives the norm of the gradients before clipping.
    ///
    /// If the norm is not finite, the module comes back as it was, so that a caller can stop with its weights intact.
    pub fn step(&mut self, learning_rate: f64, module: M, gradients: GradientsParams) -> (M, f64) {
        let norm = gradient_norm(&module, &gradients);
        if !norm.is_finite() {
            return (module, norm);
        }
        let gradients = if norm > self.clip_norm {
            scaled(&module, gradients, self.clip_norm / norm)
        } else {
            gradients
        };
        (self.adamw.step(learning_rate, module, gradients), norm)
    }
}

impl<M: AutodiffModule<B>, B: AutodiffBackend> fmt::Debug for Optimizer<M, B> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Optimizer")
            .field("clip_norm", &self.clip_norm)
            .finish_non_exhaustive()
    }
}

/// `AdamW` that decays weights of two or more dimensions only.
#[derive(Clone)]
struct DecayMatrices {
    decayed: AdamW,
    plain: AdamW,
}

impl<B: Backend> SimpleOptimizer<B> for DecayMatrices {
    type State<const D: usize> = AdamWState<B, D>;

    fn step<const D: usize>(
        &self,
        learning_rate: f64,
        tensor: Tensor<B, D>,
        gradient: Tensor<B, D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<B, D>, Option<Self::State<D>>) {
        let adamw = if D > 1 { &self.decayed } else { &self.plain };
        adamw.step(learning_rate, tensor, gradient, state)
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &B::Device) -> Self::State<D> {
        AdamW::to_device(state, device)
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
            let squares = gradient.square().sum();
            self.sum = Some(match self.sum.take() {
                Some(sum) => sum + squares,
                None => squares,
            });
        }
    }
}

fn scaled<M: AutodiffModule<B>, B: AutodiffBackend>(
    module: &M,
    mut gradients: GradientsParams,
    factor: f64,
) -> GradientsParams {
    module.visit(&mut Scale { gradients: &mut gradients, factor });
    gradients
}

struct Scale<'a> {
    gradients: &'a mut GradientsParams,
    factor: f64,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(gradient) = self.gradients.remove::<B::InnerBackend, D>(param.id) {
            self.gradients.register(param.id, gradient.mul_scalar(self.factor));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Autodiff;
    use burn::module::Module;
    use burn_flex::{Flex, FlexDevice};

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
    fn clips_by_the_norm_of_all_gradients_together() {
        let pair = pair();
        let gradients = gradients(&pair, [[2.0, 3.0]], [6.0]);
        // 4 + 9 + 36 = 49.
        assert!((gradient_norm(&pair, &gradients) - 7.0).abs() < 1e-6);
        let clipped = scaled(&pair, gradients, 0.5);
        assert!((gradient_norm(&pair, &clipped) - 3.5).abs() < 1e-6);
    }

    /// Without momentum an epsilon far above the gradient turns `AdamW` into gradient descent: `rate * g / epsilon`.
    fn descent(clip_norm: f32, weight_decay: f32) -> Optimizer<Pair<B>, B> {
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
}
