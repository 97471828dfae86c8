//! One step of `AdamW` over one parameter.

use crate::flex::{for_each_chunk, in_order, is_flex, to_tensor};
use burn::tensor::{Tensor, backend::Backend};

/// The numbers of one step of `AdamW` (arXiv 1711.05101, algorithm 2, with the bias corrections of arXiv 1412.6980).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// The learning rate of this step.
    pub learning_rate: f64,
    /// Decay of the mean of the gradients.
    pub beta_1: f64,
    /// Decay of the mean of their squares.
    pub beta_2: f64,
    /// Added to the root of that mean.
    pub epsilon: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// The number of this step, counted from 1.
    pub time: u64,
    /// Gradients are multiplied by this, as clipping asks.
    pub gradient_scale: f64,
}

/// Weights and the running means of their gradients and of the squares of these.
#[derive(Debug, Clone)]
pub struct Moving<B: Backend> {
    /// `[numbers]`.
    pub weights: Tensor<B, 1>,
    /// `[numbers]`; 0 before the first step.
    pub mean: Tensor<B, 1>,
    /// `[numbers]`; 0 before the first step.
    pub square: Tensor<B, 1>,
}

impl AdamW {
    /// Moves the weights.
    ///
    /// ```text
    /// g       gradient_scale * gradient
    /// mean    beta_1 mean + (1 - beta_1) g
    /// square  beta_2 square + (1 - beta_2) g^2
    /// weights (1 - learning_rate weight_decay) weights
    ///         - learning_rate / (1 - beta_1^time) * mean / (sqrt(square / (1 - beta_2^time)) + epsilon)
    /// ```
    ///
    /// `epsilon` is added after the bias correction, as in `PyTorch`. On flex all of it is one pass, in place where
    /// tensors have no other owner. That pass is worth all cores where a tensor is large, and costs next to nothing where it is
    /// small, so every parameter is a call of its own.
    ///
    /// # Shapes
    /// All tensors have one dimension, of the same length.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn step<B: Backend>(&self, moving: Moving<B>, gradient: Tensor<B, 1>) -> Moving<B> {
        let Moving { weights, mean, square } = moving;
        let lengths = [weights.dims(), mean.dims(), square.dims()];
        assert_eq!(lengths, [gradient.dims(); 3], "weights, means and a gradient of one length");
        if !is_flex::<B>() {
            return self.of_primitives(Moving { weights, mean, square }, gradient);
        }
        match (in_order(weights), in_order(mean), in_order(square), in_order(gradient)) {
            (Ok(mut weights), Ok(mut mean), Ok(mut square), Ok(gradient)) => {
                let step = Numbers::of(self);
                for_each_chunk(
                    [weights.storage_mut(), mean.storage_mut(), square.storage_mut()],
                    gradient.storage(),
                    #[inline(always)]
                    |[weights, mean, square], gradient| {
                        step.apply(weights, mean, square, gradient);
                    },
                );
                let [weights, mean, square] = [weights, mean, square].map(to_tensor);
                Moving { weights, mean, square }
            }
            (weights, mean, square, gradient) => {
                let [weights, mean, square, gradient] = [weights, mean, square, gradient]
                    .map(|tensor| tensor.map_or_else(|tensor| tensor, to_tensor));
                self.of_primitives(Moving { weights, mean, square }, gradient)
            }
        }
    }

    fn of_primitives<B: Backend>(&self, moving: Moving<B>, gradient: Tensor<B, 1>) -> Moving<B> {
        let gradient = gradient * self.gradient_scale;
        let mean = moving.mean * self.beta_1 + gradient.clone() * (1.0 - self.beta_1);
        let square = moving.square * self.beta_2 + gradient.square() * (1.0 - self.beta_2);
        let [first, second] = self.corrections();
        let root = (square.clone() / second).sqrt() + self.epsilon;
        let decayed = moving.weights * (1.0 - self.learning_rate * self.weight_decay);
        let weights = decayed - mean.clone() / root * (self.learning_rate / first);
        Moving { weights, mean, square }
    }

    /// `1 - beta^time` of both means.
    fn corrections(&self) -> [f64; 2] {
        let time = i32::try_from(self.time).unwrap_or(i32::MAX);
        [self.beta_1, self.beta_2].map(|beta| 1.0 - beta.powi(time))
    }
}

/// The same numbers in single precision, as far as they can be prepared.
#[derive(Clone, Copy)]
struct Numbers {
    scale: f32,
    beta_1: f32,
    rest_1: f32,
    beta_2: f32,
    rest_2: f32,
    root: f32,
    epsilon: f32,
    keep: f32,
    rate: f32,
}

impl Numbers {
    #[allow(clippy::cast_possible_truncation, reason = "weights have 32 bits")]
    fn of(step: &AdamW) -> Self {
        let [first, second] = step.corrections();
        Self {
            scale: step.gradient_scale as f32,
            beta_1: step.beta_1 as f32,
            rest_1: (1.0 - step.beta_1) as f32,
            beta_2: step.beta_2 as f32,
            rest_2: (1.0 - step.beta_2) as f32,
            root: second.sqrt().recip() as f32,
            epsilon: step.epsilon as f32,
            keep: (1.0 - step.learning_rate * step.weight_decay) as f32,
            rate: (step.learning_rate / first) as f32,
        }
    }

    #[inline(always)]
    fn apply(self, weights: &mut [f32], mean: &mut [f32], square: &mut [f32], gradient: &[f32]) {
        let moments = mean.iter_mut().zip(square);
        for ((weight, (mean, square)), gradient) in weights.iter_mut().zip(moments).zip(gradient) {
            let gradient = gradient * self.scale;
            *mean = self.beta_1 * *mean + self.rest_1 * gradient;
            *square = self.beta_2 * *square + self.rest_2 * gradient * gradient;
            let root = square.sqrt() * self.root + self.epsilon;
            *weight = self.keep * *weight - self.rate * (*mean / root);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracked::tests::{close, none_or_up_to, numbers, wave};
    use burn::tensor::TensorData;
    use burn_flex::{Flex, FlexDevice};
    use proptest::prelude::*;

    fn tensor(numbers: &[f32]) -> Tensor<Flex, 1> {
        Tensor::from_data(TensorData::new(numbers.to_vec(), [numbers.len()]), &FlexDevice)
    }

    fn moving(weights: &[f32]) -> Moving<Flex> {
        let zeros = || Tensor::zeros([weights.len()], &FlexDevice);
        Moving { weights: tensor(weights), mean: zeros(), square: zeros() }
    }

    fn step(time: u64) -> AdamW {
        AdamW {
            learning_rate: 0.1,
            beta_1: 0.9,
            beta_2: 0.95,
            epsilon: 1e-8,
            weight_decay: 0.5,
            time,
            gradient_scale: 0.5,
        }
    }

    #[test]
    fn two_steps_by_hand() {
        // Gradients of 2, halved: both corrected means are 1, so that the step is the rate; 0.95 * 3 - 0.1.
        let first = step(1).step(moving(&[3.0]), tensor(&[2.0]));
        let numbers = |tensor: &Tensor<Flex, 1>| tensor.to_data().to_vec::<f32>().unwrap()[0];
        assert!((numbers(&first.weights) - 2.75).abs() < 1e-6);
        assert!(
            (numbers(&first.mean) - 0.1).abs() < 1e-7
                && (numbers(&first.square) - 0.05).abs() < 1e-7
        );
        // Then 0: mean 0.09 / 0.19, square 0.0475 / 0.0975.
        let second = step(2).step(first, tensor(&[0.0]));
        let expected = 0.95 * 2.75 - 0.1 * (0.09 / 0.19) / (0.0475_f32 / 0.0975).sqrt();
        assert!((numbers(&second.weights) - expected).abs() < 1e-6);
    }

    #[test]
    fn a_copy_of_the_weights_stays_as_it_was() {
        let before = moving(&[1.0, 2.0]);
        let after = step(1).step(before.clone(), tensor(&[1.0, -1.0]));
        assert_eq!(before.weights.into_data().to_vec::<f32>().unwrap(), [1.0, 2.0]);
        assert_ne!(after.weights.into_data().to_vec::<f32>().unwrap(), [1.0, 2.0]);
    }

    #[test]
    #[should_panic(expected = "of one length")]
    fn a_gradient_of_fewer_numbers_is_a_mistake() {
        let _ = step(1).step(moving(&[1.0, 2.0]), tensor(&[1.0]));
    }

    #[test]
    #[should_panic(expected = "of one length")]
    fn so_are_means_of_fewer_numbers() {
        let moving = Moving { mean: tensor(&[0.0]), ..moving(&[1.0, 2.0]) };
        let _ = step(1).step(moving, tensor(&[1.0, 1.0]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        /// Several tensors, some of nothing, some of more than one chunk, most of lengths that fill no vector.
        #[test]
        fn agrees_with_primitives(
            lengths in prop::collection::vec(none_or_up_to(40_000), 1..4),
            time in 1_u64..2000,
            weight_decay in 0.0_f64..0.5,
            gradient_scale in 0.01_f64..1.0,
        ) {
            for length in lengths {
                let start = moving(&numbers(wave::<Flex, 1>([length], 0.37, 3.0)));
                let (mut fast, mut slow) = (start.clone(), start);
                for time in time..time + 3 {
                    let gradient = wave::<Flex, 1>([length], 0.11 * (time % 10 + 1) as f32, 3.0);
                    let step = AdamW { weight_decay, gradient_scale, ..step(time) };
                    fast = step.step(fast, gradient.clone());
                    slow = step.of_primitives(slow, gradient);
                }
                let fast = [fast.weights, fast.mean, fast.square].map(numbers);
                let slow = [slow.weights, slow.mean, slow.square].map(numbers);
                for (fast, slow) in fast.iter().zip(&slow) {
                    prop_assert!(close(fast, slow, 1e-5, 0.0));
                }
            }
        }
    }
}
