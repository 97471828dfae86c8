//! Tensors that learn on flex, and operations on them whose backward pass works on their storage.

use crate::flex::{cast, ordered};
use crate::recorded::{self, Recorded};
use burn::backend::Autodiff;
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, TensorPrimitive};
use burn_flex::{Flex, FlexTensor};
use std::any::TypeId;
use std::fmt::Debug;

/// Flex with automatic differentiation that keeps all activations; where some are computed again, what is recorded is that of
/// other backends.
type Learning = Autodiff<Flex>;

/// A tensor as automatic differentiation on flex holds it.
pub(crate) type Tracked = Recorded<Flex>;

/// The tensor as automatic differentiation on flex holds it; or the tensor itself, if another backend holds it or its
/// numbers are not of 32 bits.
pub(crate) fn tracked<B: Backend, const D: usize>(
    tensor: Tensor<B, D>,
) -> Result<Tracked, Tensor<B, D>> {
    if TypeId::of::<B>() != TypeId::of::<Learning>() || tensor.dtype() != DType::F32 {
        return Err(tensor);
    }
    match cast(tensor.into_primitive().tensor()) {
        Some(tracked) => Ok(tracked),
        None => unreachable!("a backend holds its tensors as its tensors"),
    }
}

/// Both, if automatic differentiation on flex holds both.
pub(crate) fn both_tracked<B: Backend, const D: usize, const E: usize>(
    a: Tensor<B, D>,
    b: Tensor<B, E>,
) -> Result<[Tracked; 2], (Tensor<B, D>, Tensor<B, E>)> {
    let a = match tracked(a) {
        Ok(a) => a,
        Err(a) => return Err((a, b)),
    };
    match tracked(b) {
        Ok(b) => Ok([a, b]),
        Err(b) => Err((learned(a), b)),
    }
}

/// The numbers of an operand, so that an operation can work in their place if nothing else holds them.
pub(crate) fn take(operand: &mut Tracked) -> FlexTensor {
    std::mem::replace(&mut operand.primitive, FlexTensor::empty([0].into(), DType::F32))
}

/// Whether an operand has a gradient, or passes one on.
pub(crate) fn learns(operand: &Tracked) -> bool {
    !operand.node.requirement.is_none()
}

/// The inverse of [`tracked`].
///
/// # Panics
/// If `B` is not automatic differentiation on flex.
pub(crate) fn learned<B: Backend, const D: usize>(tracked: Tracked) -> Tensor<B, D> {
    match cast(tracked) {
        Some(primitive) => Tensor::from_primitive(TensorPrimitive::Float(primitive)),
        None => unreachable!("only what automatic differentiation held becomes its tensor again"),
    }
}

/// What an operation keeps for its backward pass, and what it does there.
pub(crate) trait Rule<const N: usize>: Clone + Send + Debug + 'static {
    /// The gradients of the operands, in their order, from that of the result, which lies in order; those of operands
    /// that do not learn are not `wanted`, and need not be computed.
    fn gradients(self, gradient: FlexTensor, wanted: [bool; N]) -> [Option<FlexTensor>; N];
}

/// A rule that is given numbers in order.
#[derive(Debug, Clone)]
struct InOrder<R>(R);

impl<R: Rule<N>, const N: usize> recorded::Rule<Flex, N> for InOrder<R> {
    fn gradients(self, gradient: FlexTensor, wanted: [bool; N]) -> [Option<FlexTensor>; N] {
        self.0.gradients(ordered(gradient), wanted)
    }
}

/// The result of an operation on `operands`, recorded if one of them learns; `rule` is given the result then.
pub(crate) fn record<R: Rule<N>, const N: usize>(
    operands: [&Tracked; N],
    result: FlexTensor,
    rule: impl FnOnce(&FlexTensor) -> R,
) -> Tracked {
    recorded::record(operands, result, |result| InOrder(rule(result)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use burn::backend::autodiff::checkpoint::strategy::BalancedCheckpointing;
    use burn::tensor::TensorData;
    use burn_flex::FlexDevice;
    use proptest::prelude::{Just, Strategy, prop_oneof};

    /// Learns by burn's own operations.
    pub(crate) type Primitives = Autodiff<Flex, BalancedCheckpointing>;
    pub(crate) type Fused = Learning;

    /// Numbers between -`size` and `size` that no short pattern repeats.
    pub(crate) fn wave<B: Backend<Device = FlexDevice>, const D: usize>(
        shape: [usize; D],
        salt: f32,
        size: f32,
    ) -> Tensor<B, D> {
        let count = shape.iter().product::<usize>();
        let data: Vec<f32> = (0..count).map(|i| (i as f32 * salt).sin() * size).collect();
        Tensor::from_data(TensorData::new(data, shape), &FlexDevice)
    }

    /// Sizes of what may also be empty, which is rare among all sizes.
    pub(crate) fn none_or_up_to(most: usize) -> impl Strategy<Value = usize> {
        prop_oneof![1 => Just(0_usize), 7 => 1..=most]
    }

    pub(crate) fn numbers<B: Backend, const D: usize>(x: Tensor<B, D>) -> Vec<f32> {
        x.into_data().iter().collect()
    }

    /// Whether all numbers are finite and differ from those expected by at most `allowed` times the greatest of them, or
    /// times `floor`: where the parts of a sum cancel, nothing is left but rounding.
    pub(crate) fn close(found: &[f32], expected: &[f32], allowed: f32, floor: f32) -> bool {
        let largest = expected.iter().fold(floor, |most, x| most.max(x.abs()));
        let near = |(found, expected): (&f32, &f32)| (found - expected).abs() <= allowed * largest;
        found.len() == expected.len() && found.iter().zip(expected).all(near)
    }

    /// The greatest difference in units of the greatest number expected.
    pub(crate) fn distance(found: &[f32], expected: &[f32]) -> f32 {
        assert_eq!(found.len(), expected.len());
        let largest = expected.iter().fold(f32::MIN_POSITIVE, |most, x| most.max(x.abs()));
        let differences = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
        assert!(found.iter().all(|x| x.is_finite()), "{found:?}");
        differences.fold(0.0, f32::max) / largest
    }
}
