//! Products with a matrix of one column, which fused kernels of burn 0.21 get wrong on cards.
//!
//! With burn's feature `fusion`, whatever follows such a product is fused with it, and the kernel that is chosen may be one
//! for products of one row: every number but the first is then left as it was in memory (burn, issue 5122; seen on Vulkan
//! where the inner size is odd). A program that adds these crates may have turned the feature on. Sums of elementwise
//! products are right everywhere. On flex, a product is the faster of the two once the backward pass is counted.

use crate::flex::on_flex;
use crate::project::project;
use burn::tensor::{Tensor, backend::Backend};

/// `x w`, also where `w` has one column, or one row: the backward pass of such a product is one with one column.
///
/// # Shapes
/// `x` `[rows, in]`, `w` `[in, out]`, to `[rows, out]`.
///
/// # Panics
/// If `x` has not as many columns as `w` has rows.
pub fn product<B: Backend>(x: Tensor<B, 2>, w: Tensor<B, 2>) -> Tensor<B, 2> {
    assert_eq!(x.dims()[1], w.dims()[0], "as many inputs as weights of an output");
    match w.dims() {
        _ if on_flex::<B>() => project(x, w),
        [_, 1] => weighted_sum(x, w),
        [1, _] => x * w,
        _ => x.matmul(w),
    }
}

/// Sums over the last dimension, which stays as one of size 1.
///
/// # Shapes
/// `[..., width]` to `[..., 1]`.
///
/// # Panics
/// If `x` has less than two dimensions.
pub fn row_sums<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    assert!(D > 1, "sums of rows are of two dimensions or more");
    if !on_flex::<B>() {
        return x.sum_dim(D - 1);
    }
    let mut column = [1; D];
    column[D - 2] = x.dims()[D - 1];
    let ones = Tensor::ones(column, (&x.device(), x.dtype()));
    x.matmul(ones)
}

/// `[rows, in]` and `[in, 1]` to `[rows, 1]`.
fn weighted_sum<B: Backend>(x: Tensor<B, 2>, column: Tensor<B, 2>) -> Tensor<B, 2> {
    (x * column.transpose()).sum_dim(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Autodiff;
    use burn_flex::{Flex, FlexDevice};

    type Learning = Autodiff<Flex>;

    fn matrix() -> Tensor<Learning, 2> {
        Tensor::from_data([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], &FlexDevice).require_grad()
    }

    fn column() -> Tensor<Learning, 2> {
        Tensor::from_data([[1.0], [-1.0], [2.0]], &FlexDevice).require_grad()
    }

    fn numbers<B: Backend, const D: usize>(x: Tensor<B, D>) -> Vec<f32> {
        x.into_data().iter().collect()
    }

    #[test]
    fn a_product_and_a_weighted_sum_are_the_same() {
        for multiply in [product::<Learning>, weighted_sum::<Learning>] {
            let (x, w) = (matrix(), column());
            let y = multiply(x.clone(), w.clone());
            assert_eq!(y.dims(), [2, 1]);
            assert_eq!(numbers(y.clone()), [5.0, 11.0]);
            let weights = Tensor::from_data([[1.0], [10.0]], &FlexDevice);
            let gradients = (y * weights).sum().backward();
            assert_eq!(numbers(w.grad(&gradients).unwrap()), [41.0, 52.0, 63.0]);
            let expected = [1.0, -1.0, 2.0, 10.0, -10.0, 20.0];
            assert_eq!(numbers(x.grad(&gradients).unwrap()), expected);
        }
    }

    #[test]
    #[should_panic(expected = "as many inputs as weights of an output")]
    fn other_inputs_are_a_mistake() {
        let _ = product(matrix(), matrix());
    }

    #[test]
    fn sums_of_rows() {
        let x = Tensor::<Flex, 3>::from_data([[[1.0, 2.0, 4.0]], [[8.0, 16.0, 32.0]]], &FlexDevice);
        let sums = row_sums(x);
        assert_eq!(sums.dims(), [2, 1, 1]);
        assert_eq!(numbers(sums), [7.0, 56.0]);
    }
}
