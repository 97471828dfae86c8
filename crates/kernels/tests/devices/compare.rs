//! What a card computes beside what the CPU computes.

use burn::backend::Autodiff;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};
use burn_flex::{Flex, FlexDevice};
use proptest::test_runner::{Config, TestCaseError};
use std::any::type_name;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

#[cfg(feature = "cuda")]
pub(crate) type Card = burn::backend::Cuda;
#[cfg(all(feature = "wgpu", not(feature = "cuda")))]
pub(crate) type Card = burn::backend::Wgpu;

/// What rounding leaves, as a share of what is added up.
pub(crate) const ROUNDING: f32 = 1e-5;

/// The same where matrices are multiplied: CUDA's units for them round factors to 11 bits (tf32), gradients and weights of
/// attention among them.
#[cfg(feature = "cuda")]
pub(crate) const PRODUCTS: f32 = 2e-3;
#[cfg(not(feature = "cuda"))]
pub(crate) const PRODUCTS: f32 = ROUNDING;

/// Of as many numbers within 1, of either sign; the error of its rounding grows alike.
pub(crate) fn size_of_sum(count: usize) -> f32 {
    (count as f32).sqrt()
}

/// Software takes its time over each of them; a file of those that failed would lie among the sources.
pub(crate) fn few_cases() -> Config {
    Config { cases: 5, failure_persistence: None, max_shrink_iters: 30, ..Config::default() }
}

/// Rows of numbers, from which both devices get their operands.
#[derive(Debug, Clone)]
pub(crate) struct Matrix {
    pub(crate) shape: [usize; 2],
    pub(crate) numbers: Vec<f32>,
}

impl Matrix {
    /// Numbers between -`size` and `size` that no short pattern repeats. They have 7 bits if `size` is a power of two, so a
    /// card that rounds the factors of products leaves them as they are, and extreme scores are the same on both sides.
    pub(crate) fn wave(shape: [usize; 2], salt: f32, size: f32) -> Self {
        let wave = |i: usize| (((i + 1) as f32 * salt).sin() * 64.0).round() / 64.0 * size;
        Self { shape, numbers: (0..shape[0] * shape[1]).map(wave).collect() }
    }

    pub(crate) fn tensor<B: Backend>(&self, device: &B::Device) -> Tensor<B, 2> {
        Tensor::from_data(TensorData::new(self.numbers.clone(), self.shape), device)
    }
}

pub(crate) fn numbers<B: Backend, const D: usize>(x: Tensor<B, D>) -> Vec<f32> {
    x.into_data().iter().collect()
}

/// Of an operation on `N` operands: its result and their gradients, or how large that is of which these are sums, one number
/// for all rows or one for each.
#[derive(Debug)]
pub(crate) struct Passes<const N: usize> {
    pub(crate) result: Vec<f32>,
    pub(crate) gradients: [Vec<f32>; N],
}

/// What learns.
pub(crate) trait Operation<const N: usize> {
    /// The greatest difference, as a share of the sizes.
    const TOLERANCE: f32;

    fn operands(&self) -> [Matrix; N];

    fn apply<B: Backend>(&self, operands: [Tensor<B, 2>; N]) -> Tensor<B, 2>;

    /// As training asks it, if that is not the same.
    fn learn<B: AutodiffBackend>(&self, operands: [Tensor<B, 2>; N]) -> Tensor<B, 2> {
        self.apply(operands)
    }

    fn sizes(&self) -> Passes<N>;
}

/// What is only computed, not learnt.
pub(crate) trait Forward {
    fn compute<B: Backend>(&self, device: &B::Device) -> Vec<f32>;
}

/// The result, with gradients and without, and all gradients are on a card what they are on the CPU.
pub(crate) fn agrees<O: Operation<N>, const N: usize>(operation: &O) -> Result<(), TestCaseError> {
    let Some(device) = card::<Card>() else { return Ok(()) };
    let found = learned::<Autodiff<Card>, O, N>(operation, &device);
    let expected = learned::<Autodiff<Flex>, O, N>(operation, &FlexDevice);
    let sizes = operation.sizes();
    near("result", &found.result, &expected.result, &sizes.result, O::TOLERANCE)?;
    let read = numbers(operation.apply(operation.operands().map(|x| x.tensor::<Card>(&device))));
    near("what learns nothing", &read, &expected.result, &sizes.result, O::TOLERANCE)?;
    let gradients = found.gradients.iter().zip(&expected.gradients).zip(&sizes.gradients);
    for (operand, ((found, expected), sizes)) in gradients.enumerate() {
        near(&format!("gradient of operand {operand}"), found, expected, sizes, O::TOLERANCE)?;
    }
    Ok(())
}

fn learned<B: AutodiffBackend, O: Operation<N>, const N: usize>(
    operation: &O,
    device: &B::Device,
) -> Passes<N> {
    let operands = operation.operands().map(|x| x.tensor::<B>(device).require_grad());
    let result = operation.learn(operands.clone());
    let weights = Matrix::wave(result.dims(), 0.7, 1.0).tensor::<B>(device);
    let gradients = (result.clone() * weights).sum().backward();
    Passes {
        result: numbers(result),
        gradients: operands.map(|x| numbers(x.grad(&gradients).unwrap())),
    }
}

/// As [`agrees`]; the sizes are of as many rows.
pub(crate) fn computes_alike<F: Forward>(
    forward: &F,
    sizes: &[f32],
    tolerance: f32,
) -> Result<(), TestCaseError> {
    match both(forward) {
        Some([found, expected]) => near("result", &found, &expected, sizes, tolerance),
        None => Ok(()),
    }
}

/// What is moved, not computed, is the same to the bit.
pub(crate) fn computes_the_same<F: Forward>(forward: &F) -> Result<(), TestCaseError> {
    match both(forward) {
        Some([found, expected]) if found != expected => {
            Err(TestCaseError::fail(format!("{found:?} is not {expected:?}")))
        }
        _ => Ok(()),
    }
}

/// On a card, if there is one, and on the CPU.
fn both<F: Forward>(forward: &F) -> Option<[Vec<f32>; 2]> {
    let device = card::<Card>()?;
    Some([forward.compute::<Card>(&device), forward.compute::<Flex>(&FlexDevice)])
}

/// Whether all numbers are finite and differ from those expected by at most `tolerance` times the greatest of their row, or
/// times its size: where the parts of a sum cancel, nothing is left but rounding.
fn near(
    what: &str,
    found: &[f32],
    expected: &[f32],
    sizes: &[f32],
    tolerance: f32,
) -> Result<(), TestCaseError> {
    if found.len() != expected.len() {
        let counts = format!("{what}: {} numbers, not {}", found.len(), expected.len());
        return Err(TestCaseError::fail(counts));
    }
    let width = expected.len().div_ceil(sizes.len()).max(1);
    let rows = found.chunks(width).zip(expected.chunks(width)).zip(sizes);
    for (row, ((found, expected), size)) in rows.enumerate() {
        let largest = expected.iter().fold(*size, |most, x| most.max(x.abs()));
        for (column, (found, expected)) in found.iter().zip(expected).enumerate() {
            let off = (found - expected).abs();
            let near = largest.is_finite() && off <= tolerance * largest;
            if !near {
                return Err(TestCaseError::fail(format!(
                    "{what}: {found} at [{row}, {column}] is not {expected}, among parts of {largest}"
                )));
            }
        }
    }
    Ok(())
}

/// The first card, or the software that stands in for one; without either it says so once.
pub(crate) fn card<B: Backend>() -> Option<B::Device> {
    static FOUND: OnceLock<bool> = OnceLock::new();
    let device = B::Device::default();
    let found = *FOUND.get_or_init(|| {
        let found = is_there::<B>(&device);
        let said =
            if found { "compared with the CPU" } else { "nothing is compared: no device for" };
        eprintln!("{said}: {}", type_name::<B>());
        found
    });
    found.then_some(device)
}

fn is_there<B: Backend>(device: &B::Device) -> bool {
    let touched = catch_unwind(AssertUnwindSafe(|| {
        (Tensor::<B, 1>::ones([1], device) + 1.0).into_data().iter::<f32>().next()
    }));
    touched.is_ok()
}
