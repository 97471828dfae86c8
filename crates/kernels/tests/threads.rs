//! Operations that share their work out by the number of threads give the same bits with any number of them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use burn::backend::Autodiff;
use burn::tensor::{Tensor, TensorData};
use burn_flex::{Flex, FlexDevice};
use kernels::{Target, project, project_transposed, sum_of_squares, token_log_probs};
use rayon::ThreadPoolBuilder;

fn wave(shape: [usize; 2], salt: f32) -> Tensor<Flex, 2> {
    let data: Vec<f32> = (0..shape[0] * shape[1]).map(|i| (i as f32 * salt).sin()).collect();
    Tensor::from_data(TensorData::new(data, shape), &FlexDevice)
}

fn bits<const D: usize>(x: Tensor<Flex, D>) -> Vec<u32> {
    x.into_data().iter::<f32>().map(f32::to_bits).collect()
}

/// One row, a few, and many, times matrices that are worth several threads; one column; sums.
fn computed() -> Vec<Vec<u32>> {
    let weight = wave([1030, 700], 0.61);
    let mut found = Vec::new();
    for rows in [1, 5, 32, 33, 70] {
        let x = wave([rows, 1030], 0.37);
        found.push(bits(project(x.clone(), weight.clone())));
        found.push(bits(project(x.clone(), wave([1030, 1], 0.83))));
        found.push(bits(project_transposed(x, weight.clone().transpose())));
    }
    found.push(bits(project(wave([1500, 1030], 0.37), wave([1030, 1], 0.83))));
    found.push(bits(sum_of_squares(weight)));
    found
}

/// Log-probabilities and entropies in several tiles of positions and of tokens, and the gradients of both operands.
fn learned() -> Vec<Vec<u32>> {
    let operands = [wave([300, 64], 0.37), wave([9_000, 64], 0.61)];
    let operands = operands.map(|x| Tensor::<Autodiff<Flex>, 2>::from_inner(x).require_grad());
    let target = |position| Target { position, token: position * 131 % 9_000 };
    let targets: Vec<Target> = (0..300).map(target).collect();
    let [states, weight] = operands.clone();
    let result = token_log_probs(states, weight, &targets, true);
    let weights = Tensor::<Autodiff<Flex>, 2>::from_inner(wave([300, 2], 0.9));
    let gradients = (result.clone() * weights).sum().backward();
    let [of_states, of_weight] = operands.map(|x| bits(x.grad(&gradients).unwrap()));
    vec![bits(result.inner()), of_states, of_weight]
}

fn with_threads(count: usize, compute: fn() -> Vec<Vec<u32>>) -> Vec<Vec<u32>> {
    ThreadPoolBuilder::new().num_threads(count).build().unwrap().install(compute)
}

fn same_with_any_number(compute: fn() -> Vec<Vec<u32>>) {
    let alone = with_threads(1, compute);
    for count in [2, 3, 5] {
        assert!(with_threads(count, compute) == alone, "{count} threads");
    }
}

#[test]
fn products_and_sums_are_the_same_to_the_bit() {
    same_with_any_number(computed);
}

#[test]
fn so_are_log_probabilities_and_their_gradients() {
    same_with_any_number(learned);
}
