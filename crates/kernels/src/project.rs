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

/// Outputs that are summed up side by side, in registers, and rows that share what is loaded for them.
const TILE: usize = 32;
const BLOCK: usize = 4;

/// Products of two numbers that one thread computes at a time; less is not worth a second thread.
const CHUNK: usize = 1 << 18;

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
    by_tiles(
        sizes,
        #[inline(always)]
        |first, out| columns(x, weight, sizes, first, out),
    )
}

fn multiply_transposed(x: &FlexTensor, weight: &FlexTensor) -> FlexTensor {
    let (x_shape, shape) = (x.layout().shape(), weight.layout().shape());
    let sizes = Sizes { rows: x_shape[0], inner: x_shape[1], outer: shape[0] };
    let (x, weight): (&[f32], &[f32]) = (x.storage(), weight.storage());
    by_tiles(
        sizes,
        #[inline(always)]
        |first, out| rows(x, weight, sizes, first, out),
    )
}

/// Computes all outputs, a tile at a time, on all cores if there is enough to do. `tile` is given the first output and
/// fills `[rows, width]`.
fn by_tiles(sizes: Sizes, tile: impl Fn(usize, &mut [f32]) + Sync) -> FlexTensor {
    let Sizes { rows, inner, outer } = sizes;
    let mut tiles = vec![0.0_f32; rows * outer];
    let of_tile = (rows * inner * TILE).max(1);
    let at_once = (CHUNK / of_tile).max(1);
    let size = at_once * rows * TILE;
    let work = |(chunk, tiles): (usize, &mut [f32])| {
        vectorised(
            #[inline(always)]
            || {
                for (index, out) in tiles.chunks_mut(rows * TILE).enumerate() {
                    tile((chunk * at_once + index) * TILE, out);
                }
            },
        );
    };
    if tiles.len() <= size {
        work((0, &mut tiles));
    } else {
        tiles.par_chunks_mut(size).enumerate().for_each(work);
    }
    let mut out = FlexTensor::empty([rows, outer].into(), DType::F32);
    let numbers: &mut [f32] = out.storage_mut();
    for (index, tile) in tiles.chunks(rows * TILE).enumerate() {
        let width = tile.len() / rows;
        for (row, part) in tile.chunks_exact(width).enumerate() {
            numbers[row * outer + index * TILE..][..width].copy_from_slice(part);
        }
    }
    out
}

#[inline(always)]
fn columns(x: &[f32], weight: &[f32], sizes: Sizes, first: usize, out: &mut [f32]) {
    let Sizes { rows, inner, outer } = sizes;
    let width = out.len() / rows;
    if width < TILE {
        return narrow_columns(x, weight, sizes, first, out);
    }
    let mut row = 0;
    while row + BLOCK <= rows {
        let block = &x[row * inner..(row + BLOCK) * inner];
        let sums = full_tile::<BLOCK>(block, weight, inner, outer, first);
        for (out, sums) in out[row * TILE..].chunks_exact_mut(TILE).zip(&sums) {
            out.copy_from_slice(sums);
        }
        row += BLOCK;
    }
    while row < rows {
        let sums = full_tile::<1>(&x[row * inner..][..inner], weight, inner, outer, first);
        out[row * TILE..][..TILE].copy_from_slice(&sums[0]);
        row += 1;
    }
}

#[inline(always)]
fn full_tile<const ROWS: usize>(
    x: &[f32],
    weight: &[f32],
    inner: usize,
    outer: usize,
    first: usize,
) -> [[f32; TILE]; ROWS] {
    let mut sums = [[0.0_f32; TILE]; ROWS];
    for (index, line) in weight.chunks_exact(outer).enumerate() {
        let Some(line) = line[first..].first_chunk::<TILE>() else { return sums };
        for (row, sums) in sums.iter_mut().enumerate() {
            let factor = x[row * inner + index];
            for (sum, weight) in sums.iter_mut().zip(line) {
                *sum = factor.mul_add(*weight, *sum);
            }
        }
    }
    sums
}

/// The last outputs, which do not fill a tile.
#[inline(always)]
fn narrow_columns(x: &[f32], weight: &[f32], sizes: Sizes, first: usize, out: &mut [f32]) {
    let Sizes { rows, inner, outer } = sizes;
    let width = out.len() / rows;
    for (row, out) in out.chunks_exact_mut(width).enumerate() {
        for (factor, line) in x[row * inner..][..inner].iter().zip(weight.chunks_exact(outer)) {
            for (sum, weight) in out.iter_mut().zip(&line[first..]) {
                *sum = factor.mul_add(*weight, *sum);
            }
        }
    }
}

/// Sums of products that are kept side by side, since compilers do not reorder additions.
const LANES: usize = 16;

#[inline(always)]
fn rows(x: &[f32], weight: &[f32], sizes: Sizes, first: usize, out: &mut [f32]) {
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

#[inline(always)]
fn products<const ROWS: usize>(x: &[f32], line: &[f32]) -> [f32; ROWS] {
    let inner = line.len();
    let mut lanes = [[0.0_f32; LANES]; ROWS];
    let whole = inner / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        let Some(weights) = line[start..].first_chunk::<LANES>() else { break };
        for (row, lanes) in lanes.iter_mut().enumerate() {
            let Some(x) = x[row * inner + start..].first_chunk::<LANES>() else { break };
            for ((lane, x), weight) in lanes.iter_mut().zip(x).zip(weights) {
                *lane = x.mul_add(*weight, *lane);
            }
        }
    }
    std::array::from_fn(|row| {
        let rest = x[row * inner..][whole..inner].iter().zip(&line[whole..]);
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
