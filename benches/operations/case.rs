//! An operation with its operands, ready to run in both arms.

use burn::backend::{Autodiff, Flex};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::operations::work::Work;

/// Records what is done to tensors for the backward pass, with fused operations where `kernels` has them.
pub(crate) type Learning = Autodiff<Flex>;

/// One run: how long it took, and what came out, flat.
pub(crate) type Run = Box<dyn FnMut() -> (Duration, Vec<Tensor<Flex, 1>>)>;

/// An operation on matrices, of `kernels` and of burn's own operations.
///
/// Operands have another owner, so neither arm may write over them: in a model the residual or the backward pass
/// owns most of them too.
pub(crate) trait Operation<B: Backend>: 'static {
    /// Those that learn in training.
    fn operands(&self) -> Vec<Tensor<B, 2>>;

    /// By `kernels`.
    fn ours(&self, operands: &[Tensor<B, 2>]) -> Tensor<B, 2>;

    /// The same numbers by burn's own operations.
    fn primitives(&self, operands: &[Tensor<B, 2>]) -> Tensor<B, 2>;
}

/// What there is to time.
pub(crate) struct Case {
    /// Of one run.
    pub(crate) work: Work,
    /// By `kernels` and `transformer`.
    pub(crate) ours: Run,
    /// By burn's own operations, if they suffice.
    pub(crate) primitives: Option<Run>,
}

/// The operation alone, nothing recorded.
pub(crate) fn forward(operation: impl Operation<Flex>, work: Work) -> Case {
    let operation = Rc::new(operation);
    let (other, operands) = (operation.clone(), operation.operands());
    let same = operands.clone();
    Case {
        work,
        ours: timed(move || vec![flat(operation.ours(&operands))]),
        primitives: Some(timed(move || vec![flat(other.primitives(&same))])),
    }
}

/// The operation and the gradients of all its operands. The gradient of the result is 1 everywhere, written anew in every
/// run.
pub(crate) fn training(operation: impl Operation<Learning>, work: Work) -> Case {
    let operation = Rc::new(operation);
    let operands: Vec<_> = operation.operands().into_iter().map(Tensor::require_grad).collect();
    let (other, same) = (operation.clone(), operands.clone());
    Case {
        work,
        ours: timed(move || learned(&operands, operation.ours(&operands))),
        primitives: Some(timed(move || learned(&same, other.primitives(&same)))),
    }
}

/// The result, and the gradients of the operands.
fn learned(operands: &[Tensor<Learning, 2>], result: Tensor<Learning, 2>) -> Vec<Tensor<Flex, 1>> {
    let mut gradients = result.backward();
    let of_operands = operands.iter().filter_map(|x| x.grad_remove(&mut gradients)).map(flat);
    let mut found: Vec<_> = of_operands.collect();
    found.push(flat(result.inner()));
    found
}

pub(crate) fn timed(mut work: impl FnMut() -> Vec<Tensor<Flex, 1>> + 'static) -> Run {
    Box::new(move || {
        let start = Instant::now();
        let found = work();
        (start.elapsed(), found)
    })
}

fn flat(x: Tensor<Flex, 2>) -> Tensor<Flex, 1> {
    x.flatten(0, 1)
}
