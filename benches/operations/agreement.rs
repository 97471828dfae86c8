//! Whether both arms of an operation compute the same.

use crate::operations::case::Case;
use crate::program::Outcome;
use burn::backend::Flex;
use burn::tensor::Tensor;

/// Differences in units of the greatest number, of sums of thousands of numbers of 32 bits in different orders.
const ALLOWED: f32 = 1e-3;

/// # Errors
/// If a result or a gradient differs: a comparison of their speeds would mean nothing.
pub(crate) fn arms_agree(name: &str, case: &mut Case) -> Outcome<()> {
    let Some(primitives) = &mut case.primitives else { return Ok(()) };
    let (found, expected) = ((case.ours)().1, primitives().1);
    if found.len() != expected.len() {
        return Err(format!("{name}: {} results, not {}", found.len(), expected.len()).into());
    }
    for (index, (found, expected)) in found.into_iter().zip(expected).enumerate() {
        let difference = distance(&numbers(found), &numbers(expected));
        if !difference.is_some_and(|difference| difference <= ALLOWED) {
            return Err(format!("{name}: the arms differ in result {index}: {difference:?}").into());
        }
    }
    Ok(())
}

fn numbers(x: Tensor<Flex, 1>) -> Vec<f32> {
    x.into_data().iter().collect()
}

/// The greatest difference in units of the greatest number; nothing where lengths differ or something is not a number.
fn distance(found: &[f32], expected: &[f32]) -> Option<f32> {
    let largest = expected.iter().fold(f32::MIN_POSITIVE, |most, x| most.max(x.abs()));
    let differences = || found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    let comparable = found.len() == expected.len() && differences().all(f32::is_finite);
    comparable.then(|| differences().fold(0.0, f32::max) / largest)
}
