//! Products of a few rows with a matrix.
//!
//! A general product first brings its operands into an order of its own, which costs more than the product if there are
//! only a few rows: drawing reads all weights for a handful of tokens. Here the weights are read once, as they are.

use crate::flex::{in_order, to_tensor, vectorised};
use burn::tensor::{DType, Tensor, backend::Backend};
use burn_flex::FlexTensor;
use rayon::prelude::*;

/// With more rows than this a general product is faster.
const FEW_ROWS: usize = 32;

/// Rows that share what is loaded of the weights.
const BLOCK: usize = 4;

/// Sums of products that are kept side by side, since compilers do not reorder additions.
const LANES: usize = 16;

/// Outputs that one thread computes at a time, a whole number of cache lines.
const TILE: usize = 64;

/// Products of two numbers that are worth a second thread.
const CHUNK: usize = 1 << 17;

/// `x W`.
///
/// What is computed for one row does not depend on the others, to the bit, as long as they are few.
///
/// # Shapes
/// `x` `[rows, in]`, `weight` `[in, out]`, to `[rows, out]`.
pub fn project<B: Backend>(x: Tensor<B, 2>, weight: Tensor<B, 2>) -> Tensor<B, 2> {
    match few_rows(x, weight) {
        Ok((x, weight)) => to_tensor(multiply(&x, &weight)),
        Err((x, weight)) => x.matmul(weight),
    }
}

/// `x W^T`, of a matrix whose rows belong to the outputs, such as an embedding.
///
/// # Shapes
/// `x` `[rows, in]`, `weight` `[out, in]`, to `[rows, out]`.
pub fn project_transposed<B: Backend>(x: Tensor<B, 2>, weight: Tensor<B, 2>) -> Tensor<B, 2> {
    match few_rows(x, weight) {
        Ok((x, weight)) => to_tensor(multiply_transposed(&x, &weight)),
        Err((x, weight)) => x.matmul(weight.transpose()),
    }
}

type Pair<T> = (T, T);

/// Both as flex holds them, if there are few rows and the processor multiplies and adds at once: without that the
/// general product is faster.
fn few_rows<B: Backend>(
    x: Tensor<B, 2>,
    weight: Tensor<B, 2>,
) -> Result<Pair<FlexTensor>, Pair<Tensor<B, 2>>> {
    let [rows, inner] = x.dims();
    let fits = (1..=FEW_ROWS).contains(&rows) && inner > 0 && weight.dtype() == DType::F32;
    if !fits || matches!(pulp::Arch::new(), pulp::Arch::Scalar) {
        return Err((x, weight));
    }
    let x = match in_order(x) {
        Ok(x) => x,
        Err(x) => return Err((x, weight)),
    };
    match in_order(weight) {
        Ok(weight) => Ok((x, weight)),
        Err(weight) => Err((to_tensor(x), weight)),
    }
}

#[derive(Debug, Clone, Copy)]
struct Sizes {
    rows: usize,
    inner: usize,
    outer: usize,
}

fn multiply(x: &FlexTensor, weight: &FlexTensor) -> FlexTensor {
    let (x_shape, shape) = (x.layout().shape(), weight.layout().shape());
    let sizes = Sizes { rows: x_shape[0], inner: x_shape[1], outer: shape[1] };
    let (x, weight): (&[f32], &[f32]) = (x.storage(), weight.storage());
    by_stretches(
        sizes,
        #[inline(always)]
        |first, out| stretch(x, weight, sizes, first, out),
    )
}

fn multiply_transposed(x: &FlexTensor, weight: &FlexTensor) -> FlexTensor {
    let (x_shape, shape) = (x.layout().shape(), weight.layout().shape());
    let sizes = Sizes { rows: x_shape[0], inner: x_shape[1], outer: shape[0] };
    let (x, weight): (&[f32], &[f32]) = (x.storage(), weight.storage());
    by_stretches(
        sizes,
        #[inline(always)]
        |first, out| stretch_transposed(x, weight, sizes, first, out),
    )
}

/// Computes all outputs, each thread a stretch of them for all rows. `stretch` is given the first output and adds to
/// `[rows, width]`.
fn by_stretches(sizes: Sizes, stretch: impl Fn(usize, &mut [f32]) + Sync) -> FlexTensor {
    let Sizes { rows, inner, outer } = sizes;
    let products = rows * inner * outer;
    let threads = rayon::current_num_threads().min(products / CHUNK).max(1);
    let width = outer.div_ceil(threads).next_multiple_of(TILE);
    let work = |(index, out): (usize, &mut [f32])| {
        vectorised(
            #[inline(always)]
            || stretch(index * width, out),
        );
    };
    let mut out = FlexTensor::zeros([rows, outer].into(), DType::F32);
    let numbers: &mut [f32] = out.storage_mut();
    if width >= outer || rows == 1 {
        // One row is its own stretches.
        if width >= outer {
            work((0, numbers));
        } else {
            numbers.par_chunks_mut(width).enumerate().for_each(work);
        }
        return out;
    }
    let mut stretches = vec![0.0_f32; rows * outer];
    stretches.par_chunks_mut(rows * width).enumerate().for_each(work);
    for (index, stretch) in stretches.chunks(rows * width).enumerate() {
        let wide = stretch.len() / rows;
        for (row, part) in stretch.chunks_exact(wide).enumerate() {
            numbers[row * outer + index * width..][..wide].copy_from_slice(part);
        }
    }
    out
}

/// Adds `x W` for the outputs from `first` on. A few rows of the weights at a time, so that they are read in order, and
/// are near when the next rows of `x` need them.
#[inline(always)]
fn stretch(x: &[f32], weight: &[f32], sizes: Sizes, first: usize, out: &mut [f32]) {
    let Sizes { rows, inner, outer } = sizes;
    let width = out.len() / rows;
    let line = |index: usize| &weight[index * outer + first..][..width];
    let mut index = 0;
    while index + 4 <= inner {
        let lines = [line(index), line(index + 1), line(index + 2), line(index + 3)];
        let factors = |row: usize| &x[row * inner + index..][..4];
        let mut row = 0;
        let mut blocks = out.chunks_exact_mut(BLOCK * width);
        for block in blocks.by_ref() {
            let (first, rest) = block.split_at_mut(width);
            let (second, rest) = rest.split_at_mut(width);
            let (third, fourth) = rest.split_at_mut(width);
            let factors = [factors(row), factors(row + 1), factors(row + 2), factors(row + 3)];
            add_to_four(first, second, third, fourth, lines, factors);
            row += BLOCK;
        }
        for out in blocks.into_remainder().chunks_exact_mut(width) {
            add_to_one(out, lines[0], lines[1], lines[2], lines[3], factors(row));
            row += 1;
        }
        index += 4;
    }
    for index in index..inner {
        for (row, out) in out.chunks_exact_mut(width).enumerate() {
            let factor = x[row * inner + index];
            for (sum, weight) in out.iter_mut().zip(line(index)) {
                *sum = factor.mul_add(*weight, *sum);
            }
        }
    }
}

/// Four rows of outputs: what is loaded of the weights serves all of them.
#[inline(always)]
fn add_to_four(
    first: &mut [f32],
    second: &mut [f32],
    third: &mut [f32],
    fourth: &mut [f32],
    [a, b, c, d]: [&[f32]; 4],
    x: [&[f32]; 4],
) {
    let width = first.len();
    let (second, third, fourth) = (&mut second[..width], &mut third[..width], &mut fourth[..width]);
    let (a, b, c, d) = (&a[..width], &b[..width], &c[..width], &d[..width]);
    let [x0, x1, x2, x3] = x.map(|x| [x[0], x[1], x[2], x[3]]);
    for place in 0..width {
        let weights = [a[place], b[place], c[place], d[place]];
        first[place] = add(first[place], x0, weights);
        second[place] = add(second[place], x1, weights);
        third[place] = add(third[place], x2, weights);
        fourth[place] = add(fourth[place], x3, weights);
    }
}

#[inline(always)]
fn add_to_one(out: &mut [f32], a: &[f32], b: &[f32], c: &[f32], d: &[f32], x: &[f32]) {
    let width = out.len();
    let (a, b, c, d) = (&a[..width], &b[..width], &c[..width], &d[..width]);
    let x = [x[0], x[1], x[2], x[3]];
    for place in 0..width {
        out[place] = add(out[place], x, [a[place], b[place], c[place], d[place]]);
    }
}

#[inline(always)]
fn add(sum: f32, x: [f32; 4], weights: [f32; 4]) -> f32 {
    let sum = x[0].mul_add(weights[0], sum);
    let sum = x[1].mul_add(weights[1], sum);
    let sum = x[2].mul_add(weights[2], sum);
    x[3].mul_add(weights[3], sum)
}

/// Computes `x W^T` for the outputs from `first` on.
#[inline(always)]
fn stretch_transposed(x: &[f32], weight: &[f32], sizes: Sizes, first: usize, out: &mut [f32]) {
    let Sizes { rows, inner, .. } = sizes;
    let width = out.len() / rows;
    for column in 0..width {
        let line = &weight[(first + column) * inner..][..inner];
        let mut row = 0;
        while row + BLOCK <= rows {
            let sums = products::<BLOCK>(&x[row * inner..(row + BLOCK) * inner], line);
            for (index, sum) in sums.into_iter().enumerate() {
                out[(row + index) * width + column] = sum;
            }
            row += BLOCK;
        }
        while row < rows {
            out[row * width + column] = products::<1>(&x[row * inner..][..inner], line)[0];
            row += 1;
        }
    }
}

/// The products of rows with a line of weights.
#[inline(always)]
fn products<const ROWS: usize>(x: &[f32], line: &[f32]) -> [f32; ROWS] {
    let inner = line.len();
    let (weights, weights_rest) = line.as_chunks::<LANES>();
    let rows: [(&[[f32; LANES]], &[f32]); ROWS] =
        std::array::from_fn(|row| x[row * inner..][..inner].as_chunks());
    let rows = rows.map(|(whole, rest)| (&whole[..weights.len()], rest));
    let mut lanes = [[0.0_f32; LANES]; ROWS];
    for (index, weights) in weights.iter().enumerate() {
        for (lanes, (x, _)) in lanes.iter_mut().zip(&rows) {
            let x = &x[index];
            for lane in 0..LANES {
                lanes[lane] = x[lane].mul_add(weights[lane], lanes[lane]);
            }
        }
    }
    std::array::from_fn(|row| {
        let rest = rows[row].1.iter().zip(weights_rest);
        let rest = rest.fold(0.0, |sum: f32, (x, weight)| x.mul_add(*weight, sum));
        lanes[row].iter().sum::<f32>() + rest
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{TensorData, Tolerance};
    use burn_flex::{Flex, FlexDevice};
    use proptest::prelude::*;

    fn numbers(shape: [usize; 2], salt: f32) -> Tensor<Flex, 2> {
        let data: Vec<f32> =
            (0..shape[0] * shape[1]).map(|i| (i as f32 * salt + salt).sin()).collect();
        Tensor::from_data(TensorData::new(data, shape), &FlexDevice)
    }

    fn assert_close(found: Tensor<Flex, 2>, expected: Tensor<Flex, 2>) {
        let tolerance = Tolerance::absolute(1e-4);
        found.into_data().assert_approx_eq::<f32>(&expected.into_data(), tolerance);
    }

    #[test]
    fn one_row_by_hand() {
        let x = Tensor::<Flex, 2>::from_data([[1.0, 2.0]], &FlexDevice);
        let weight = Tensor::from_data([[3.0, 4.0, 5.0], [6.0, 7.0, 8.0]], &FlexDevice);
        let found = project(x.clone(), weight.clone()).into_data().to_vec::<f32>().unwrap();
        assert_eq!(found, [15.0, 18.0, 21.0]);
        let found = project_transposed(x, weight.transpose()).into_data();
        assert_eq!(found.to_vec::<f32>().unwrap(), [15.0, 18.0, 21.0]);
    }

    #[test]
    fn a_row_does_not_depend_on_the_others() {
        let (x, weight) = (numbers([23, 129], 0.37), numbers([129, 997], 0.61));
        let together = project(x.clone(), weight.clone());
        let transposed = project_transposed(x.clone(), weight.clone().transpose());
        for row in [0, 7, 22] {
            let alone = x.clone().slice([row..row + 1, 0..129]);
            let own = |all: &Tensor<Flex, 2>| all.clone().slice([row..row + 1, 0..997]).into_data();
            assert_eq!(project(alone.clone(), weight.clone()).into_data(), own(&together));
            let found = project_transposed(alone, weight.clone().transpose()).into_data();
            assert_eq!(found, own(&transposed));
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_general_product(
            rows in 1_usize..40,
            inner in 1_usize..90,
            outer in 1_usize..300,
        ) {
            let (x, weight) = (numbers([rows, inner], 0.37), numbers([inner, outer], 0.61));
            let expected = x.clone().matmul(weight.clone());
            assert_close(project(x.clone(), weight.clone()), expected.clone());
            assert_close(project_transposed(x, weight.transpose()), expected);
        }
    }
}
