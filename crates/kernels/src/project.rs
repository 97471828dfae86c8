//! Products with a matrix, of one row, of a few, or of many.
//!
//! A general product first brings its operands into an order of its own, which costs more than the product if there are
//! only a few rows: drawing reads all weights for a handful of tokens. Here the weights are read once, as they are.

use crate::awake::keep_awake;
use crate::flex::{from_numbers, held, in_order, ordered, to_tensor, vectorised};
use crate::gemm::{Matrix, multiply};
use crate::lanes::sum_of_products;
use crate::tracked::{Rule, Tracked, both_tracked, learned, learns, record};
use burn::tensor::{Tensor, backend::Backend};
use burn_flex::FlexTensor;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use std::ops::{Range, RangeInclusive};

/// With more rows a general product is faster.
const FEW_ROWS: RangeInclusive<usize> = 1..=32;

/// Inputs of a single row whose weights are read side by side, as many streams as processors fetch ahead.
const STREAMS: usize = 8;

/// Rows that share what is loaded of a transposed matrix.
const BLOCK: usize = 4;

/// Inputs of several rows whose weights are read side by side: processors follow about so many pages at once.
const LINES: usize = 32;

/// Outputs that a thread computes are a multiple of this, a whole number of cache lines.
const TILE: usize = 64;

/// Weights that are worth a thread: few rows take about as long as reading them does.
const WORTH_A_THREAD: usize = 1 << 15;

/// Numbers that a thread multiplies with a column at a time.
const AT_ONCE: usize = 1 << 20;

/// Stretches of outputs for every thread: what one is late for, the others do.
const STRETCHES_A_THREAD: usize = 2;

/// `x W`.
///
/// What is computed for one row of a few does not depend on the others, to the bit; what makes one number of a row, as heads
/// that score do, depends neither on the others nor on how many there are.
///
/// # Shapes
/// `x` `[rows, in]`, `weight` `[in, out]`, to `[rows, out]`.
///
/// # Panics
/// If `x` has not as many columns as `weight` has rows.
pub fn project<B: Backend>(x: Tensor<B, 2>, weight: Tensor<B, 2>) -> Tensor<B, 2> {
    assert_eq!(x.dims()[1], weight.dims()[0], "as many inputs as weights of an output");
    let (x, weight) = match both_tracked(x, weight) {
        Ok([x, weight]) => return learned(recorded(&x, &weight)),
        Err(operands) => operands,
    };
    match both_held(x, weight) {
        Ok((x, weight)) if one_column(&weight) => to_tensor(multiply_column(x, weight)),
        Ok((x, weight)) if few_rows(&x, &weight) => {
            to_tensor(multiply_few(&ordered(x), &ordered(weight)))
        }
        Ok((x, weight)) => to_tensor(general(&x, &weight, Orientation::AsItIs)),
        Err((x, weight)) => x.matmul(weight),
    }
}

/// `x W` of every `W`, each as [`project`] gives it to the bit. Those of a few rows are computed together, so that threads
/// are woken once for all of them.
///
/// # Shapes
/// `x` `[rows, in]`, every weight `[in, out]` with an `out` of its own, to `[rows, out]` of each.
///
/// # Panics
/// If there are not as many inputs as rows of every weight.
pub fn project_each<B: Backend, const N: usize>(
    x: Tensor<B, 2>,
    weights: [Tensor<B, 2>; N],
) -> [Tensor<B, 2>; N] {
    let [rows, inner] = x.dims();
    let together = weights.iter().all(|weight| {
        let [inputs, outer] = weight.dims();
        inputs == inner && outer > 1 && are_few(rows, inner * outer) && weight.dtype() == x.dtype()
    });
    match held(x) {
        Ok(x) if together => {
            let x = ordered(x);
            let weights = weights.map(|weight| in_order(weight).unwrap_or_else(not_held));
            multiply_each(&x, &weights).map(to_tensor)
        }
        Ok(x) => weights.map(|weight| project(to_tensor(x.clone()), weight)),
        Err(x) => weights.map(|weight| project(x.clone(), weight)),
    }
}

/// `x W^T`, of a matrix whose rows belong to the outputs, such as an embedding.
///
/// # Shapes
/// `x` `[rows, in]`, `weight` `[out, in]`, to `[rows, out]`.
///
/// # Panics
/// If the two have not as many columns.
pub fn project_transposed<B: Backend>(x: Tensor<B, 2>, weight: Tensor<B, 2>) -> Tensor<B, 2> {
    assert_eq!(x.dims()[1], weight.dims()[1], "as many inputs as weights of an output");
    match both_held(x, weight) {
        Ok((x, weight)) if few_rows(&x, &weight) => {
            to_tensor(multiply_transposed(&ordered(x), &ordered(weight)))
        }
        Ok((x, weight)) => to_tensor(general(&x, &weight, Orientation::Transposed)),
        Err((x, weight)) => x.matmul(weight.transpose()),
    }
}

/// `x W^T` of rows that lie in order, with the bits of [`project_transposed`]: some rows of a matrix need no copy.
pub(crate) fn rows_times_rows(x: &[f32], weight: &[f32], sizes: Sizes) -> Vec<f32> {
    let Sizes { rows, inner, outer } = sizes;
    if are_few(rows, inner * outer) {
        return few_times_rows(x, weight, sizes);
    }
    multiply(Matrix::new(x, rows, inner), Matrix::new(weight, outer, inner).transposed())
}

type Pair<T> = (T, T);

/// Both as flex holds them.
fn both_held<B: Backend>(
    x: Tensor<B, 2>,
    weight: Tensor<B, 2>,
) -> Result<Pair<FlexTensor>, Pair<Tensor<B, 2>>> {
    if x.dtype() != weight.dtype() {
        return Err((x, weight));
    }
    match (held(x), held(weight)) {
        (Ok(x), Ok(weight)) => Ok((x, weight)),
        (Err(x), Err(weight)) => Err((x, weight)),
        (Err(x), _) | (_, Err(x)) => not_held(x),
    }
}

fn not_held<B: Backend, T>(_: Tensor<B, 2>) -> T {
    unreachable!("a backend holds all tensors of a type alike")
}

/// Whether there are weights, and so few rows that [`Plain`] and [`Transposed`] are faster than a general product, and the
/// processor multiplies and adds at once, without which they are not.
fn few_rows(x: &FlexTensor, weight: &FlexTensor) -> bool {
    are_few(x.layout().shape()[0], weight.layout().num_elements())
}

fn are_few(rows: usize, weights: usize) -> bool {
    FEW_ROWS.contains(&rows) && weights > 0 && !matches!(pulp::Arch::new(), pulp::Arch::Scalar)
}

fn one_column(weight: &FlexTensor) -> bool {
    weight.layout().shape()[1] == 1
}

#[derive(Debug, Clone, Copy)]
enum Orientation {
    AsItIs,
    Transposed,
}

fn general(x: &FlexTensor, weight: &FlexTensor, orientation: Orientation) -> FlexTensor {
    of_matrices(x, weight, |x, weight| match orientation {
        Orientation::AsItIs => (x, weight),
        Orientation::Transposed => (x, weight.transposed()),
    })
}

/// The product of what `turn` makes of two matrices.
fn of_matrices(
    a: &FlexTensor,
    b: &FlexTensor,
    turn: impl for<'a> Fn(Matrix<'a>, Matrix<'a>) -> (Matrix<'a>, Matrix<'a>),
) -> FlexTensor {
    let (Some(left), Some(right)) = (Matrix::of(a), Matrix::of(b)) else {
        return of_matrices(&ordered(a.clone()), &ordered(b.clone()), turn);
    };
    let (left, right) = turn(left, right);
    from_numbers(multiply(left, right), [left.rows(), right.columns()])
}

fn recorded(x: &Tracked, weight: &Tracked) -> Tracked {
    let result = if one_column(&weight.primitive) {
        multiply_column(x.primitive.clone(), weight.primitive.clone())
    } else {
        general(&x.primitive, &weight.primitive, Orientation::AsItIs)
    };
    record([x, weight], result, |_| Product {
        x: learns(weight).then(|| x.primitive.clone()),
        weight: learns(x).then(|| weight.primitive.clone()),
    })
}

/// Each is kept for the gradient of the other.
#[derive(Debug, Clone)]
struct Product {
    x: Option<FlexTensor>,
    weight: Option<FlexTensor>,
}

impl Rule<2> for Product {
    /// `g W^T` and `x^T g`.
    fn gradients(self, gradient: FlexTensor, _: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let of_x = |weight| of_matrices(&gradient, weight, |g, weight| (g, weight.transposed()));
        let of_weight = |x| of_matrices(x, &gradient, |x, g| (x.transposed(), g));
        [self.weight.as_ref().map(of_x), self.x.as_ref().map(of_weight)]
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) rows: usize,
    pub(crate) inner: usize,
    pub(crate) outer: usize,
}

/// A general product would take another way where there are more rows, and a score change its last bits with the batch.
fn multiply_column(x: FlexTensor, column: FlexTensor) -> FlexTensor {
    let (x, column) = (ordered(x), ordered(column));
    let (rows, inner) = (x.layout().shape()[0], x.layout().shape()[1]);
    let (x, column): (&[f32], &[f32]) = (x.storage(), column.storage());
    let rows_at_once = (AT_ONCE / inner.max(1)).max(1);
    let mut out = vec![0.0_f32; rows];
    out.par_chunks_mut(rows_at_once).enumerate().for_each(|(chunk, out)| {
        let x = &x[chunk * rows_at_once * inner..];
        vectorised(
            #[inline(always)]
            || {
                for (row, out) in out.iter_mut().enumerate() {
                    *out = sum_of_products(&x[row * inner..][..inner], column);
                }
            },
        );
    });
    from_numbers(out, [rows, 1])
}

fn multiply_few(x: &FlexTensor, weight: &FlexTensor) -> FlexTensor {
    let [product] = multiply_each(x, std::array::from_ref(weight));
    product
}

fn multiply_each<const N: usize>(x: &FlexTensor, weights: &[FlexTensor; N]) -> [FlexTensor; N] {
    let (rows, inner) = (x.layout().shape()[0], x.layout().shape()[1]);
    let x = x.storage();
    let sizes = weights.each_ref().map(|weight| {
        let outer = weight.layout().shape()[1];
        Sizes { rows, inner, outer }
    });
    let weights = weights.each_ref().map(FlexTensor::storage);
    let mut index = 0;
    by_stretches(sizes, |index, first, out| {
        let (weight, sizes) = (weights[index], sizes[index]);
        pulp::Arch::new().dispatch(Plain { x, weight, sizes, first, out });
    })
    .map(|out| {
        index += 1;
        from_numbers(out, [rows, sizes[index - 1].outer])
    })
}

fn multiply_transposed(x: &FlexTensor, weight: &FlexTensor) -> FlexTensor {
    let (x_shape, shape) = (x.layout().shape(), weight.layout().shape());
    let sizes = Sizes { rows: x_shape[0], inner: x_shape[1], outer: shape[0] };
    from_numbers(few_times_rows(x.storage(), weight.storage(), sizes), [sizes.rows, sizes.outer])
}

fn few_times_rows(x: &[f32], weight: &[f32], sizes: Sizes) -> Vec<f32> {
    let [out] = by_stretches([sizes], |_, first, out| {
        pulp::Arch::new().dispatch(Transposed { x, weight, sizes, first, out });
    });
    out
}

/// Computes all outputs of some products, every thread some stretches of them for all rows. `stretch` is given which product
/// it is and the first of its outputs, and fills `[rows, width]`.
fn by_stretches<const N: usize>(
    sizes: [Sizes; N],
    stretch: impl Fn(usize, usize, &mut [f32]) + Sync,
) -> [Vec<f32>; N] {
    let weights: usize = sizes.iter().map(|&Sizes { inner, outer, .. }| inner * outer).sum();
    let threads = rayon::current_num_threads().min(weights / WORTH_A_THREAD);
    let mut stretches = sizes.map(|Sizes { rows, outer, .. }| vec![0.0_f32; rows * outer]);
    if threads <= 1 {
        for (index, out) in stretches.iter_mut().enumerate() {
            stretch(index, 0, out);
        }
        return stretches;
    }
    keep_awake(threads);
    let all: usize = sizes.iter().map(|sizes| sizes.outer).sum();
    let most = all.div_ceil(threads * STRETCHES_A_THREAD).max(TILE);
    let widths = sizes
        .map(|Sizes { outer, .. }| outer.div_ceil(outer.div_ceil(most)).next_multiple_of(TILE));
    let mut jobs = Vec::with_capacity(N + threads * STRETCHES_A_THREAD);
    for (index, out) in stretches.iter_mut().enumerate() {
        let width = widths[index];
        let chunks = out.chunks_mut(sizes[index].rows * width).enumerate();
        jobs.extend(chunks.map(|(chunk, out)| (index, chunk * width, out)));
    }
    jobs.into_par_iter().with_max_len(1).for_each(|(index, first, out)| stretch(index, first, out));
    let mut index = 0;
    stretches.map(|stretches| {
        index += 1;
        beside(stretches, sizes[index - 1], widths[index - 1])
    })
}

/// Stretches of outputs, each of all rows, to rows of all outputs.
fn beside(stretches: Vec<f32>, Sizes { rows, outer, .. }: Sizes, width: usize) -> Vec<f32> {
    if rows == 1 || width >= outer {
        return stretches;
    }
    let mut out = vec![0.0_f32; rows * outer];
    for (index, stretch) in stretches.chunks(rows * width).enumerate() {
        let wide = stretch.len() / rows;
        for (row, part) in stretch.chunks_exact(wide).enumerate() {
            out[row * outer + index * width..][..wide].copy_from_slice(part);
        }
    }
    out
}

/// Computes `x W` for the outputs from `first` on.
struct Plain<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    sizes: Sizes,
    first: usize,
    out: &'a mut [f32],
}

impl WithSimd for Plain<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if self.sizes.rows == 1 {
            return self.single_row(simd);
        }
        // As many sums as there are registers for, beside the weights and a factor.
        if S::REGISTER_COUNT >= 32 {
            self.by_tiles::<S, 3, 8>(simd);
        } else {
            self.by_tiles::<S, 2, 4>(simd);
        }
    }
}

impl Plain<'_> {
    /// Takes as long as the weights take to come from memory, so they are read as they lie; the outputs, which are sums
    /// so far, stay in the nearest cache. The order of additions is that of more rows.
    #[inline(always)]
    fn single_row<S: Simd>(self, simd: S) {
        let Self { x, weight, sizes: Sizes { outer, .. }, first, out } = self;
        let own = first..first + out.len();
        let inputs = x.chunks_exact(STREAMS);
        let lines = weight.chunks_exact(STREAMS * outer);
        let (inputs_rest, lines_rest) = (inputs.remainder(), lines.remainder());
        for (x, lines) in inputs.zip(lines) {
            let lines = std::array::from_fn(|index| &lines[index * outer..][own.clone()]);
            add_lines::<S, STREAMS>(simd, out, x, lines);
        }
        for (index, x) in inputs_rest.chunks_exact(1).enumerate() {
            add_lines::<S, 1>(simd, out, x, [&lines_rest[index * outer..][own.clone()]]);
        }
    }

    /// Tiles of `V` vectors of outputs of `ROWS` rows, some inputs at a time; what is left over in vectors of one row, then
    /// in single numbers.
    #[inline(always)]
    fn by_tiles<S: Simd, const V: usize, const ROWS: usize>(mut self, simd: S) {
        let width = self.out.len() / self.sizes.rows;
        let inner = self.sizes.inner;
        for from in (0..inner).step_by(LINES) {
            let lines = from..(from + LINES).min(inner);
            let mut place = 0;
            while place + V * S::F32_LANES <= width {
                self.columns::<S, V, ROWS>(simd, place, &lines);
                place += V * S::F32_LANES;
            }
            while place + S::F32_LANES <= width {
                self.columns::<S, 1, ROWS>(simd, place, &lines);
                place += S::F32_LANES;
            }
            for place in place..width {
                self.single(place, &lines);
            }
        }
    }

    /// Adds what the inputs `lines` give to `V` vectors of outputs of all rows.
    #[inline(always)]
    fn columns<S: Simd, const V: usize, const ROWS: usize>(
        &mut self,
        simd: S,
        place: usize,
        lines: &Range<usize>,
    ) {
        let Self { x, weight, sizes: Sizes { rows, inner, outer }, first, .. } = *self;
        let width = self.out.len() / rows;
        let weight = &weight[lines.start * outer..lines.end * outer];
        let tile = Tile { inner, outer, first: first + place, lines: lines.clone() };
        let mut row = 0;
        while row + ROWS <= rows {
            let out = &mut self.out[row * width + place..];
            tile.add::<S, V, ROWS>(simd, &x[row * inner..], weight, out, width);
            row += ROWS;
        }
        while row < rows {
            let out = &mut self.out[row * width + place..];
            tile.add::<S, V, 1>(simd, &x[row * inner..], weight, out, width);
            row += 1;
        }
    }

    /// Adds what the inputs `lines` give to one output of all rows.
    #[inline(always)]
    fn single(&mut self, place: usize, lines: &Range<usize>) {
        let Sizes { rows, inner, outer } = self.sizes;
        let width = self.out.len() / rows;
        for row in 0..rows {
            let factors = self.x[row * inner..][lines.clone()].iter();
            let column = self.weight[lines.start * outer + self.first + place..].iter();
            let products = factors.zip(column.step_by(outer));
            let out = &mut self.out[row * width + place];
            *out = products.fold(*out, |sum, (x, w)| x.mul_add(*w, sum));
        }
    }
}

/// Adds the products of `N` inputs with their weights, one input after the other.
#[inline(always)]
fn add_lines<S: Simd, const N: usize>(simd: S, out: &mut [f32], x: &[f32], lines: [&[f32]; N]) {
    let factors: [S::f32s; N] = std::array::from_fn(|index| simd.splat_f32s(x[index]));
    let (sums, rest) = S::as_mut_simd_f32s(out);
    let weights = lines.map(|line| &S::as_simd_f32s(line).0[..sums.len()]);
    for (place, sum) in sums.iter_mut().enumerate() {
        for (factor, weights) in factors.iter().zip(&weights) {
            *sum = simd.mul_add_f32s(*factor, weights[place], *sum);
        }
    }
    let whole = sums.len() * S::F32_LANES;
    for (place, sum) in rest.iter_mut().enumerate() {
        for (x, line) in x.iter().zip(&lines) {
            *sum = x.mul_add(line[whole + place], *sum);
        }
    }
}

/// Outputs from `first` on, as many as fill some vectors, and the inputs that are added to them.
struct Tile {
    inner: usize,
    outer: usize,
    first: usize,
    lines: Range<usize>,
}

impl Tile {
    /// To `V` vectors of outputs of `ROWS` rows, `width` apart. The weights of one input lie next to each other; those of
    /// the next are loaded while these are multiplied.
    #[inline(always)]
    fn add<S: Simd, const V: usize, const ROWS: usize>(
        &self,
        simd: S,
        x: &[f32],
        weight: &[f32],
        out: &mut [f32],
        width: usize,
    ) {
        let columns = self.first..self.first + V * S::F32_LANES;
        let rows: [&[f32]; ROWS] =
            std::array::from_fn(|row| &x[row * self.inner..][self.lines.clone()]);
        let mut sums: [[S::f32s; V]; ROWS] = std::array::from_fn(|row| {
            let sums = S::as_simd_f32s(&out[row * width..][..V * S::F32_LANES]).0;
            std::array::from_fn(|index| sums[index])
        });
        for (index, line) in weight.chunks_exact(self.outer).enumerate() {
            let line = S::as_simd_f32s(&line[columns.clone()]).0;
            let Some(weights) = line.first_chunk::<V>() else { return };
            for (sums, x) in sums.iter_mut().zip(&rows) {
                let factor = simd.splat_f32s(x[index]);
                for (sum, weight) in sums.iter_mut().zip(weights) {
                    *sum = simd.mul_add_f32s(factor, *weight, *sum);
                }
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            let numbers: &[f32] = bytemuck::cast_slice(sums);
            out[row * width..][..numbers.len()].copy_from_slice(numbers);
        }
    }
}

/// Computes `x W^T` for the outputs from `first` on.
struct Transposed<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    sizes: Sizes,
    first: usize,
    out: &'a mut [f32],
}

impl WithSimd for Transposed<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, weight, sizes: Sizes { rows, inner, .. }, first, out } = self;
        let width = out.len() / rows;
        for column in 0..width {
            let line = &weight[(first + column) * inner..][..inner];
            let mut row = 0;
            while row + BLOCK <= rows {
                let sums = products::<S, BLOCK>(simd, &x[row * inner..], line);
                for (index, sum) in sums.into_iter().enumerate() {
                    out[(row + index) * width + column] = sum;
                }
                row += BLOCK;
            }
            while row < rows {
                out[row * width + column] = products::<S, 1>(simd, &x[row * inner..], line)[0];
                row += 1;
            }
        }
    }
}

/// The products of `ROWS` rows with a line of weights.
#[inline(always)]
fn products<S: Simd, const ROWS: usize>(simd: S, x: &[f32], line: &[f32]) -> [f32; ROWS] {
    let inner = line.len();
    let (weights, weights_rest) = S::as_simd_f32s(line);
    let rows: [(&[S::f32s], &[f32]); ROWS] =
        std::array::from_fn(|row| S::as_simd_f32s(&x[row * inner..][..inner]));
    let rows = rows.map(|(whole, rest)| (&whole[..weights.len()], rest));
    let mut sums = [simd.splat_f32s(0.0); ROWS];
    for (index, weights) in weights.iter().enumerate() {
        for (sum, (x, _)) in sums.iter_mut().zip(&rows) {
            *sum = simd.mul_add_f32s(x[index], *weights, *sum);
        }
    }
    std::array::from_fn(|row| {
        let rest = rows[row].1.iter().zip(weights_rest);
        let rest = rest.fold(0.0, |sum: f32, (x, weight)| x.mul_add(*weight, sum));
        simd.reduce_sum_f32s(sums[row]) + rest
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracked::tests::{Fused, Primitives, close, numbers, wave};
    use burn::tensor::backend::AutodiffBackend;
    use burn_flex::{Flex, FlexDevice};
    use proptest::prelude::*;

    fn operand<B: Backend<Device = FlexDevice>>(shape: [usize; 2], salt: f32) -> Tensor<B, 2> {
        wave(shape, salt, 1.0)
    }

    #[test]
    fn two_rows_by_hand() {
        let x = Tensor::<Flex, 2>::from_data([[1.0, 2.0], [0.0, -1.0]], &FlexDevice);
        let weight = Tensor::from_data([[3.0, 4.0, 5.0], [6.0, 7.0, 8.0]], &FlexDevice);
        let expected = [15.0, 18.0, 21.0, -6.0, -7.0, -8.0];
        let found = project(x.clone(), weight.clone()).into_data().to_vec::<f32>().unwrap();
        assert_eq!(found, expected);
        let found = project_transposed(x, weight.transpose()).into_data();
        assert_eq!(found.to_vec::<f32>().unwrap(), expected);
    }

    #[test]
    #[should_panic(expected = "as many inputs as weights of an output")]
    fn other_inputs_are_a_mistake() {
        let _ = project(operand::<Flex>([2, 8], 0.37), operand([4, 3], 0.61));
    }

    #[test]
    #[should_panic(expected = "as many inputs as weights of an output")]
    fn so_are_those_of_one_column() {
        let _ = project(operand::<Flex>([2, 4], 0.37), operand([8, 1], 0.61));
    }

    #[test]
    #[should_panic(expected = "as many inputs as weights of an output")]
    fn so_are_those_of_a_transposed_matrix() {
        let _ = project_transposed(operand::<Flex>([2, 8], 0.37), operand([3, 4], 0.61));
    }

    #[test]
    fn no_outputs_are_none_and_no_inputs_zeros() {
        for rows in [0, 1, 5, 40] {
            let none = project(operand::<Flex>([rows, 9], 0.37), operand([9, 0], 0.61));
            assert_eq!(none.dims(), [rows, 0]);
            for outer in [1, 3] {
                let zeros = project(operand::<Flex>([rows, 0], 0.37), operand([0, outer], 0.61));
                assert_eq!(numbers(zeros), vec![0.0; rows * outer]);
            }
        }
    }

    #[test]
    fn a_row_does_not_depend_on_the_others() {
        let (x, weight) = (operand::<Flex>([23, 129], 0.37), operand::<Flex>([129, 997], 0.61));
        let together = project(x.clone(), weight.clone());
        let transposed = project_transposed(x.clone(), weight.clone().transpose());
        for (row, count) in [(0, 2), (7, 1), (21, 2)] {
            let rows = row..row + count;
            let alone = x.clone().slice([rows.clone(), 0..129]);
            let own = |all: &Tensor<Flex, 2>| all.clone().slice([rows.clone(), 0..997]).into_data();
            assert_eq!(project(alone.clone(), weight.clone()).into_data(), own(&together));
            let found = project_transposed(alone, weight.clone().transpose()).into_data();
            assert_eq!(found, own(&transposed));
        }
    }

    #[test]
    fn together_or_alone_makes_no_difference() {
        for rows in [1, 2, 7, 16, 33] {
            let x = operand::<Flex>([rows, 300], 0.37);
            let widths = [688, 64, 130];
            let weights = widths.map(|outer| operand::<Flex>([300, outer], 0.61));
            let together = project_each(x.clone(), weights.clone());
            for (together, weight) in together.into_iter().zip(weights) {
                assert_eq!(together.into_data(), project(x.clone(), weight).into_data(), "{rows}");
            }
        }
    }

    #[test]
    fn what_learns_learns_together() {
        let x = operand::<Fused>([3, 5], 0.37).require_grad();
        let weights = [4, 1].map(|outer| operand::<Fused>([5, outer], 0.61).require_grad());
        let [a, b] = project_each(x.clone(), weights.clone());
        let gradients = (a.sum() + b.sum()).backward();
        let expected = numbers(weights[0].clone().sum_dim(1) + weights[1].clone());
        let found = numbers(x.grad(&gradients).unwrap());
        assert!(close(&found[..5], &expected, 1e-5, 1.0));
    }

    #[test]
    fn a_row_of_512_inputs_is_the_same_among_any_number() {
        let (x, weight) = (operand::<Flex>([70, 512], 0.37), operand::<Flex>([512, 66], 0.61));
        let together = project(x.clone(), weight.clone());
        for count in [1, 2, 32, 33, 64] {
            let rows = 3..3 + count;
            let found = project(x.clone().slice([rows.clone(), 0..512]), weight.clone());
            let expected = together.clone().slice([rows, 0..66]).into_data();
            assert_eq!(found.into_data(), expected, "{count}");
        }
    }

    #[test]
    fn a_score_is_the_same_among_any_number_and_while_it_learns() {
        let (x, column) = (operand::<Flex>([70, 1129], 0.37), operand::<Flex>([1129, 1], 0.61));
        let together = project(x.clone(), column.clone());
        for count in [1, 2, 32, 33, 64] {
            let rows = 3..3 + count;
            let own = x.clone().slice([rows.clone(), 0..1129]);
            let expected = together.clone().slice([rows, 0..1]).into_data();
            let learnt = project(
                Tensor::<Fused, 2>::from_inner(own.clone()).require_grad(),
                Tensor::from_inner(column.clone()),
            );
            assert_eq!(project(own, column.clone()).into_data(), expected, "{count}");
            assert_eq!(learnt.into_data(), expected, "{count}");
        }
    }

    /// The product and the gradients of both operands.
    fn learned_numbers<B: AutodiffBackend<Device = FlexDevice>>(
        [rows, inner, outer]: [usize; 3],
        multiply: impl Fn(Tensor<B, 2>, Tensor<B, 2>) -> Tensor<B, 2>,
    ) -> [Vec<f32>; 3] {
        let x = operand::<B>([rows, inner], 0.37).require_grad();
        let weight = operand::<B>([inner, outer], 0.61).require_grad();
        let product = multiply(x.clone(), weight.clone());
        let gradients = (product.clone() * operand::<B>([rows, outer], 0.9)).sum().backward();
        let of_x = numbers(x.grad(&gradients).unwrap());
        [numbers(product), of_x, numbers(weight.grad(&gradients).unwrap())]
    }

    fn agrees(sizes: [usize; 3]) -> Result<(), TestCaseError> {
        let [rows, inner, outer] = sizes;
        let expected = learned_numbers::<Primitives>(sizes, Tensor::matmul);
        let learnt = learned_numbers::<Fused>(sizes, project);
        let learnt_transposed =
            learned_numbers::<Fused>(sizes, |x, weight| project_transposed(x, weight.transpose()));
        for found in [learnt, learnt_transposed] {
            let both = found.iter().zip(&expected);
            for ((found, expected), count) in both.zip([inner, outer, rows]) {
                prop_assert!(close(found, expected, 1e-5, size_of_sum(count)));
            }
        }
        let (x, weight) =
            (operand::<Flex>([rows, inner], 0.37), operand::<Flex>([inner, outer], 0.61));
        let transposed = project_transposed(x.clone(), weight.clone().transpose());
        for found in [project(x, weight), transposed] {
            prop_assert!(close(&numbers(found), &expected[0], 1e-5, size_of_sum(inner)));
        }
        Ok(())
    }

    /// Of as many products of numbers within 1, of either sign; the error of its rounding grows alike.
    fn size_of_sum(count: usize) -> f32 {
        (count as f32).sqrt()
    }

    /// One number as often as others, and now and then none: they take other ways.
    fn few_or_up_to(most: usize) -> impl Strategy<Value = usize> {
        prop_oneof![1 => Just(0_usize), 4 => Just(1), 4 => 1..=most]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn agrees_with_the_general_product(
            rows in few_or_up_to(80),
            inner in few_or_up_to(90),
            outer in few_or_up_to(300),
        ) {
            agrees([rows, inner, outer])?;
        }
    }
}
