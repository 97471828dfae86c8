//! Rows of an embedding for the tokens of a batch.

use crate::operations::case::Operation;
use crate::operations::shapes::{VOCABULARY, WIDTH, indices, tokens, wave};
use burn::tensor::{Int, Tensor, backend::Backend};
use kernels::select_rows;

pub(crate) struct SelectRows<B: Backend> {
    places: Tensor<B, 1, Int>,
}

impl<B: Backend> SelectRows<B> {
    pub(crate) fn new() -> Self {
        Self { places: Tensor::from_data(indices(&tokens()), &B::Device::default()) }
    }
}

impl<B: Backend> Operation<B> for SelectRows<B> {
    fn operands(&self) -> Vec<Tensor<B, 2>> {
        vec![wave([VOCABULARY, WIDTH], 0.37, 1.0)]
    }

    fn ours(&self, operands: &[Tensor<B, 2>]) -> Tensor<B, 2> {
        select_rows(operands[0].clone(), self.places.clone())
    }

    fn primitives(&self, operands: &[Tensor<B, 2>]) -> Tensor<B, 2> {
        operands[0].clone().select(0, self.places.clone())
    }
}
