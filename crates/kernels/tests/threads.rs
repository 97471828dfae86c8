//! Operations that share their work out by the number of threads give the same bits with any number of them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use burn::tensor::{Tensor, TensorData};
use burn_flex::{Flex, FlexDevice};
use kernels::{project, project_transposed, sum_of_squares};
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

#[test]
fn products_and_sums_are_the_same_to_the_bit() {
    let with_threads = |count| {
        let pool = ThreadPoolBuilder::new().num_threads(count).build().unwrap();
        pool.install(computed)
    };
    let alone = with_threads(1);
    for count in [2, 3, 5] {
        assert!(with_threads(count) == alone, "{count} threads");
    }
}
