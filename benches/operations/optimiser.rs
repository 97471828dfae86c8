//! One step of `AdamW` over all weights of the model.

use crate::operations::case::{Case, Learning, Run, timed};
use crate::operations::shapes::{parameters, wave};
use crate::operations::work::Work;
use burn::backend::Flex;
use burn::tensor::{Tensor, backend::Backend};
use kernels::{AdamW, Moving};

pub(crate) fn adamw() -> Case {
    let weights: usize = parameters().iter().sum();
    Case {
        // Weights and both means read and written, gradients read.
        work: Work::numbers(7 * weights),
        ours: steps::<Flex>(|weights| weights),
        // Only on flex itself is the step one pass.
        primitives: Some(steps::<Learning>(Tensor::inner)),
    }
}

/// Every run is the step after the last one; its weights come out.
fn steps<B: Backend>(result: fn(Tensor<B, 1>) -> Tensor<Flex, 1>) -> Run {
    let gradients: Vec<Tensor<B, 1>> =
        parameters().into_iter().map(|length| wave([length], 0.11, 0.01)).collect();
    let mut moving: Vec<Moving<B>> = parameters().into_iter().map(fresh).collect();
    let mut step = AdamW {
        // Large enough that a wrong step would show in the weights.
        learning_rate: 1e-2,
        beta_1: 0.9,
        beta_2: 0.95,
        epsilon: 1e-8,
        weight_decay: 0.1,
        time: 0,
        gradient_scale: 0.5,
    };
    timed(move || {
        step.time += 1;
        let before = std::mem::take(&mut moving).into_iter().zip(&gradients);
        moving = before.map(|(moving, gradient)| step.step(moving, gradient.clone())).collect();
        moving.iter().map(|moving| result(moving.weights.clone())).collect()
    })
}

fn fresh<B: Backend>(length: usize) -> Moving<B> {
    let zeros = || Tensor::zeros([length], &B::Device::default());
    Moving { weights: wave([length], 0.37, 0.1), mean: zeros(), square: zeros() }
}
