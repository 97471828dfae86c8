//! Operations that learn on any backend, with a backward pass that is written by hand.
//!
//! Automatic differentiation records burn's own operations one by one, each with a backward pass of its own. An operation
//! that is recorded here counts as one: it keeps what it needs, and gives the gradients of its operands in one pass.

use crate::flex::cast;
use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::tensor::backend::{AutodiffBackend, Backend, BackendTypes};
use burn::tensor::{Tensor, TensorPrimitive};
use std::any::TypeId;
use std::fmt::Debug;
use std::marker::PhantomData;

/// A tensor as automatic differentiation around `I` holds it, whatever else that keeps.
pub(crate) type Recorded<I> = <Autodiff<I> as BackendTypes>::FloatTensorPrimitive;

/// A tensor as `I` holds it.
type Numbers<I> = <I as BackendTypes>::FloatTensorPrimitive;

/// What an operation keeps for its backward pass, and what it does there.
pub(crate) trait Rule<I: Backend, const N: usize>: Clone + Send + Debug + 'static {
    /// The gradients of the operands, in their order, from that of the result; those of operands that do not learn are not
    /// `wanted`, and need not be computed.
    fn gradients(self, gradient: Numbers<I>, wanted: [bool; N]) -> [Option<Numbers<I>>; N];
}

#[derive(Debug)]
struct Step<R>(PhantomData<R>);

impl<I: Backend, R: Rule<I, N>, const N: usize> Backward<I, N> for Step<R> {
    type State = R;

    fn backward(self, ops: Ops<R, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<I>(&ops.node);
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let found = ops.state.gradients(gradient, wanted);
        for operand in ops.parents.into_iter().zip(found) {
            if let (Some(operand), Some(gradient)) = operand {
                gradients.register::<I>(operand.id, gradient);
            }
        }
    }
}

/// The result of an operation on `operands`, recorded if one of them learns; `rule` is given the result then.
pub(crate) fn record<I: Backend, R: Rule<I, N>, const N: usize>(
    operands: [&Recorded<I>; N],
    result: Numbers<I>,
    rule: impl FnOnce(&Numbers<I>) -> R,
) -> Recorded<I> {
    let nodes = operands.map(|operand| operand.node.clone());
    let step = Step::<R>(PhantomData);
    match Backward::<I, N>::prepare::<NoCheckpointing>(step, nodes).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(rule(&result), result),
        OpsKind::UnTracked(prepared) => prepared.finish(result),
    }
}

/// The operands as [`Autodiff`] holds them; or the operands, if something else learns.
pub(crate) fn recorded<B: AutodiffBackend, const N: usize>(
    operands: [Tensor<B, 2>; N],
) -> Result<[Recorded<B::InnerBackend>; N], [Tensor<B, 2>; N]> {
    if TypeId::of::<B::FloatTensorPrimitive>() != TypeId::of::<Recorded<B::InnerBackend>>() {
        return Err(operands);
    }
    Ok(operands.map(|operand| match cast(operand.into_primitive().tensor()) {
        Some(recorded) => recorded,
        None => unreachable!("it has been compared"),
    }))
}

/// The inverse of [`recorded`].
///
/// # Panics
/// If [`Autodiff`] is not what learns.
pub(crate) fn learning<B: AutodiffBackend>(recorded: Recorded<B::InnerBackend>) -> Tensor<B, 2> {
    match cast(recorded) {
        Some(primitive) => Tensor::from_primitive(TensorPrimitive::Float(primitive)),
        None => unreachable!("only what automatic differentiation held becomes its tensor again"),
    }
}

/// What a backend holds as its tensor.
pub(crate) fn tensor<I: Backend>(numbers: Numbers<I>) -> Tensor<I, 2> {
    Tensor::from_primitive(TensorPrimitive::Float(numbers))
}

/// The inverse of [`tensor`].
pub(crate) fn numbers<I: Backend>(tensor: Tensor<I, 2>) -> Numbers<I> {
    tensor.into_primitive().tensor()
}
