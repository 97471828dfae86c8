//! General products of matrices, by the crate that burn's products on flex are made by.
//!
//! burn 0.21 fills the memory of a product with zeros and then copies all of it, on one thread, before the product is
//! written. Here a product is written straight to where it is wanted: to new memory, between other numbers, or on top of
//! a sum.
#![allow(unsafe_code, reason = "`gemm` takes pointers; what they point to is checked here")]

use burn_flex::FlexTensor;
use gemm::Parallelism;

/// Products of two numbers that are worth more than one thread.
const WORTH_THREADS: usize = 192 * 192 * 192;

/// Numbers in rows and columns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix<'a> {
    numbers: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Rows one behind the other.
    pub(crate) fn new(numbers: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::strided(numbers, [rows, columns], [columns, 1])
    }

    /// The numbers of a row, and those of a column, are so far apart.
    ///
    /// # Panics
    /// If there are fewer numbers.
    pub(crate) fn strided(
        numbers: &'a [f32],
        [rows, columns]: [usize; 2],
        [row_stride, column_stride]: [usize; 2],
    ) -> Self {
        let matrix = Self { numbers, rows, columns, row_stride, column_stride };
        assert!(matrix.fits(), "a matrix lies within its numbers");
        matrix
    }

    /// A tensor of two dimensions, as it lies; nothing if it lies backwards.
    pub(crate) fn of(tensor: &'a FlexTensor) -> Option<Self> {
        let layout = tensor.layout();
        let &[rows, columns] = &layout.shape()[..] else { return None };
        let &[row_stride, column_stride] = layout.strides() else { return None };
        let strides = [usize::try_from(row_stride).ok()?, usize::try_from(column_stride).ok()?];
        let numbers: &[f32] = tensor.storage();
        Some(Self::strided(&numbers[layout.start_offset()..], [rows, columns], strides))
    }

    pub(crate) fn transposed(self) -> Self {
        let Self { numbers, rows, columns, row_stride, column_stride } = self;
        Self {
            numbers,
            rows: columns,
            columns: rows,
            row_stride: column_stride,
            column_stride: row_stride,
        }
    }

    pub(crate) fn rows(self) -> usize {
        self.rows
    }

    pub(crate) fn columns(self) -> usize {
        self.columns
    }

    fn fits(&self) -> bool {
        let offset = |count: usize, stride: usize| (count - 1).checked_mul(stride);
        let last = || {
            offset(self.rows, self.row_stride)?
                .checked_add(offset(self.columns, self.column_stride)?)
        };
        let empty = self.rows == 0 || self.columns == 0;
        empty || last().is_some_and(|last| last < self.numbers.len())
    }
}

/// `a b`, row by row.
///
/// # Panics
/// If the rows of `b` are not as many as the columns of `a`, or the product has more numbers than can be counted.
pub(crate) fn multiply(a: Matrix<'_>, b: Matrix<'_>) -> Vec<f32> {
    // What wrapped around would be room for fewer numbers than are written.
    let Some(count) = a.rows.checked_mul(b.columns) else { panic!("a product fits the memory") };
    let mut out = Vec::with_capacity(count);
    // SAFETY: there is room for `count` numbers, and `gemm` writes all of them without reading any, since `add` is false.
    unsafe {
        product(a, b, out.as_mut_ptr(), b.columns, false);
        out.set_len(count);
    }
    out
}

/// `a b` into `out`, whose rows are `stride` apart; or, if `add`, to the numbers there.
///
/// # Panics
/// If the rows of `b` are not as many as the columns of `a`, or `out` is too small.
pub(crate) fn multiply_into(
    a: Matrix<'_>,
    b: Matrix<'_>,
    out: &mut [f32],
    stride: usize,
    add: bool,
) {
    assert!(b.columns <= stride, "rows do not overlap");
    let _ = Matrix::strided(out, [a.rows, b.columns], [stride, 1]);
    // SAFETY: the rows lie within `out`, as has just been checked, and do not overlap.
    unsafe { product(a, b, out.as_mut_ptr(), stride, add) }
}

/// # Safety
/// `out` points to as many rows of as many numbers as the product has, `stride` apart, that nothing else uses; if `add`,
/// they have values.
unsafe fn product(a: Matrix<'_>, b: Matrix<'_>, out: *mut f32, stride: usize, add: bool) {
    assert_eq!(a.columns, b.rows, "as many rows as the other has columns");
    let (rows, columns, inner) = (a.rows, b.columns, a.columns);
    let work = rows.saturating_mul(columns).saturating_mul(inner);
    let threads = if work < WORTH_THREADS { Parallelism::None } else { Parallelism::Rayon(0) };
    // SAFETY: matrices lie within their numbers, which nothing writes to as long as they are borrowed.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            out,
            1,
            stride.cast_signed(),
            add,
            a.numbers.as_ptr(),
            a.column_stride.cast_signed(),
            a.row_stride.cast_signed(),
            b.numbers.as_ptr(),
            b.column_stride.cast_signed(),
            b.row_stride.cast_signed(),
            1.0,
            1.0,
            false,
            false,
            false,
            threads,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    #[allow(clippy::float_cmp, reason = "sums of small whole numbers are exact")]
    fn by_hand() {
        let (a, b) = ([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]);
        let (a, b) = (Matrix::new(&a, 2, 2), Matrix::new(&b, 2, 2));
        assert_eq!(multiply(a, b), [19.0, 22.0, 43.0, 50.0]);
        assert_eq!(multiply(a.transposed(), b), [26.0, 30.0, 38.0, 44.0]);
        let mut out = [1.0; 5];
        multiply_into(a, b.transposed(), &mut out, 3, false);
        assert_eq!(out, [17.0, 23.0, 1.0, 39.0, 53.0]);
        multiply_into(a, b.transposed(), &mut out, 3, true);
        assert_eq!(out, [34.0, 46.0, 1.0, 78.0, 106.0]);
    }

    #[test]
    #[allow(clippy::float_cmp, reason = "these are exact")]
    fn nothing_to_add_up_is_zero() {
        assert_eq!(multiply(Matrix::new(&[], 2, 0), Matrix::new(&[], 0, 3)), [0.0; 6]);
        assert!(multiply(Matrix::new(&[], 0, 2), Matrix::new(&[1.0; 4], 2, 2)).is_empty());
        let mut out = [7.0; 2];
        multiply_into(Matrix::new(&[], 2, 0), Matrix::new(&[], 0, 1), &mut out, 1, true);
        assert_eq!(out, [7.0; 2]);
    }

    #[test]
    #[should_panic(expected = "within its numbers")]
    fn a_matrix_must_fit() {
        let _ = Matrix::strided(&[0.0; 5], [2, 3], [3, 1]);
    }

    #[test]
    #[should_panic(expected = "within its numbers")]
    fn so_must_the_product() {
        let a = [0.0; 4];
        multiply_into(Matrix::new(&a, 2, 2), Matrix::new(&a, 2, 2), &mut [0.0; 3], 2, false);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn agrees_with_sums(
            rows in 0_usize..40,
            inner in 0_usize..40,
            columns in 0_usize..40,
            spare in 0_usize..5,
        ) {
            let wave = |count: usize, salt: f32| -> Vec<f32> {
                (0..count).map(|i| (i as f32 * salt).sin()).collect()
            };
            let a = wave(rows * (inner + spare), 0.37);
            let b = wave(columns * inner, 0.73);
            let a = Matrix::strided(&a, [rows, inner], [inner + spare, 1]);
            let b = Matrix::new(&b, columns, inner).transposed();
            let mut out = vec![1.0; rows * (columns + spare)];
            multiply_into(a, b, &mut out, columns + spare, true);
            let found = multiply(a, b);
            for row in 0..rows {
                for column in 0..columns {
                    let sum: f32 = (0..inner)
                        .map(|i| a.numbers[row * a.row_stride + i] * b.numbers[column * inner + i])
                        .sum();
                    prop_assert!((found[row * columns + column] - sum).abs() < 1e-4);
                    let added = out[row * (columns + spare) + column];
                    prop_assert!((added - sum - 1.0).abs() < 1e-4);
                }
            }
        }
    }
}
