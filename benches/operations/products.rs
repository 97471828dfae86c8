//! Products of a few rows with weights.

use crate::operations::case::Operation;
use crate::operations::shapes::wave;
use burn::tensor::{Tensor, backend::Backend};
use kernels::{project, project_transposed};

/// `x W`.
pub(crate) struct Project {
    pub(crate) rows: usize,
    pub(crate) inner: usize,
    pub(crate) outer: usize,
}

impl<B: Backend> Operation<B> for Project {
    fn operands(&self) -> Vec<Tensor<B, 2>> {
        vec![wave([self.rows, self.inner], 0.37, 1.0), wave([self.inner, self.outer], 0.73, 1.0)]
    }

    fn ours(&self, operands: &[Tensor<B, 2>]) -> Tensor<B, 2> {
        project(operands[0].clone(), operands[1].clone())
    }

    fn primitives(&self, operands: &[Tensor<B, 2>]) -> Tensor<B, 2> {
        operands[0].clone().matmul(operands[1].clone())
    }
}

/// `x W^T`.
pub(crate) struct ProjectTransposed {
    pub(crate) rows: usize,
    pub(crate) inner: usize,
    pub(crate) outer: usize,
}

impl<B: Backend> Operation<B> for ProjectTransposed {
    fn operands(&self) -> Vec<Tensor<B, 2>> {
        vec![wave([self.rows, self.inner], 0.37, 1.0), wave([self.outer, self.inner], 0.73, 1.0)]
    }

    fn ours(&self, operands: &[Tensor<B, 2>]) -> Tensor<B, 2> {
        project_transposed(operands[0].clone(), operands[1].clone())
    }

    fn primitives(&self, operands: &[Tensor<B, 2>]) -> Tensor<B, 2> {
        operands[0].clone().matmul(operands[1].clone().transpose())
    }
}
