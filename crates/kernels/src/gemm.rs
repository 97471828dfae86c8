//! General products of matrices, by the crate that burn's products on flex are made by.
//!
//! burn 0.21 fills the memory of a product with zeros and then copies all of it, on one thread, before the product is
//! written. Here a product is written straight to where it is wanted: to new memory, between other numbers, or on top of
//! a sum.
#![allow(unsafe_code, reason = "`gemm` takes pointers; what they point to is checked here")]

use crate::awake::keep_awake;
use burn_flex::FlexTensor;
use gemm::Parallelism;
use rayon::prelude::*;
use std::ops::Range;

/// Products of two numbers that are worth more than one thread.
const WORTH_THREADS: usize = 192 * 192 * 192;

/// Products of two numbers that are worth a tile of their own.
const WORTH_A_TILE: usize = 1 << 21;

/// Tiles for every thread: what one is late for, the others do.
const TILES_A_THREAD: usize = 2;

/// Tiles are whole numbers of these high and wide, but for the last ones: a cache line of numbers.
const UNIT: usize = 16;

/// A side of a tile is at least this long. `gemm` adds up deep products in other pieces if both sides have at most 64, which
/// would make sums depend on the tiles, and so on the number of threads.
const LONG: usize = 80;

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

    fn rows_of(self, range: &Range<usize>) -> Self {
        let numbers = self.numbers.get(range.start * self.row_stride..).unwrap_or_default();
        Self { numbers, rows: range.len(), ..self }
    }

    fn columns_of(self, range: &Range<usize>) -> Self {
        self.transposed().rows_of(range).transposed()
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
    keep_awake(threads_for(a, b));
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

/// `gemm` shares a product out anew for every piece of its depth, and waits for the last thread each time. Here every thread
/// takes whole tiles of the result, each of them a product for itself.
///
/// # Safety
/// `out` points to as many rows of as many numbers as the product has, `stride` apart, that nothing else uses; if `add`,
/// they have values.
unsafe fn product(a: Matrix<'_>, b: Matrix<'_>, out: *mut f32, stride: usize, add: bool) {
    assert_eq!(a.columns, b.rows, "as many rows as the other has columns");
    let (rows, columns) = (a.rows, b.columns);
    let threads = threads_for(a, b);
    let out = Place { first: out, stride, add };
    if threads == 1 {
        // SAFETY: as of this function.
        return unsafe { out.write(a, b) };
    }
    let [above, beside] =
        grid([rows, columns], (TILES_A_THREAD * threads).min(work(a, b) / WORTH_A_TILE));
    (0..above * beside).into_par_iter().with_max_len(1).for_each(|tile| {
        let of_rows = part(rows, tile / beside, above);
        let of_columns = part(columns, tile % beside, beside);
        // SAFETY: tiles lie within the product and do not overlap.
        unsafe {
            let out = out.at(of_rows.start, of_columns.start);
            out.write(a.rows_of(&of_rows), b.columns_of(&of_columns));
        }
    });
}

/// Products of two numbers that `a b` is made of.
fn work(a: Matrix<'_>, b: Matrix<'_>) -> usize {
    a.rows.saturating_mul(b.columns).saturating_mul(a.columns)
}

fn threads_for(a: Matrix<'_>, b: Matrix<'_>) -> usize {
    if work(a, b) < WORTH_THREADS { 1 } else { rayon::current_num_threads() }
}

/// Into how many parts to cut rows and columns to get at least so many tiles, if they do not become too small.
fn grid(shape: [usize; 2], tiles: usize) -> [usize; 2] {
    let mut parts = [1, 1];
    while parts[0] * parts[1] < tiles {
        let half = [0, 1].map(|side| shape[side] / parts[side] / 2);
        let longer = usize::from(half[1] >= half[0]);
        let shorter = 1 - longer;
        if half[longer] >= LONG + UNIT {
            parts[longer] *= 2;
        } else if half[longer] * 2 >= LONG + UNIT && half[shorter] >= UNIT {
            parts[shorter] *= 2;
        } else {
            break;
        }
    }
    parts
}

/// The part `index` of `parts` of `length` rows or columns.
fn part(length: usize, index: usize, parts: usize) -> Range<usize> {
    let units = length.div_ceil(UNIT);
    let begin = |index: usize| (index * units / parts * UNIT).min(length);
    begin(index)..begin(index + 1)
}

/// Where a product is written to, or added to.
#[derive(Debug, Clone, Copy)]
struct Place {
    first: *mut f32,
    stride: usize,
    add: bool,
}

// SAFETY: it is no more than a pointer; those who write through it say why they may.
unsafe impl Send for Place {}
// SAFETY: likewise.
unsafe impl Sync for Place {}

impl Place {
    /// # Safety
    /// The number lies within what the place was made for.
    unsafe fn at(self, row: usize, column: usize) -> Self {
        // SAFETY: the caller's.
        Self { first: unsafe { self.first.add(row * self.stride + column) }, ..self }
    }

    /// `a b`, on one thread.
    ///
    /// # Safety
    /// As many rows of as many numbers as the product has lie here, and nothing else uses them; if they are added to, they
    /// have values.
    unsafe fn write(self, a: Matrix<'_>, b: Matrix<'_>) {
        // SAFETY: matrices lie within their numbers, which nothing writes to as long as they are borrowed.
        unsafe {
            gemm::gemm(
                a.rows,
                b.columns,
                a.columns,
                self.first,
                1,
                self.stride.cast_signed(),
                self.add,
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
                Parallelism::None,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exact::{Exact, off};
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

    /// Numbers by rows or by columns, with some between one row or column and the next that are none: whoever counts them gets
    /// no number.
    struct Stored {
        numbers: Vec<f32>,
        shape: [usize; 2],
        by_columns: bool,
        stride: usize,
    }

    impl Stored {
        fn new(shape: [usize; 2], salt: f32, spare: usize, by_columns: bool) -> Self {
            let [rows, columns] = shape;
            let (lines, length) = if by_columns { (columns, rows) } else { (rows, columns) };
            let stride = length + spare;
            let numbers = vec![f32::NAN; lines * stride];
            let mut stored = Self { numbers, shape, by_columns, stride };
            for row in 0..rows {
                for column in 0..columns {
                    let place = stored.place(row, column);
                    stored.numbers[place] = ((row * columns + column) as f32 * salt).sin();
                }
            }
            stored
        }

        fn place(&self, row: usize, column: usize) -> usize {
            if self.by_columns { column * self.stride + row } else { row * self.stride + column }
        }

        fn at(&self, row: usize, column: usize) -> f64 {
            f64::from(self.numbers[self.place(row, column)])
        }

        fn matrix(&self) -> Matrix<'_> {
            let [rows, columns] = self.shape;
            if self.by_columns {
                Matrix::strided(&self.numbers, [columns, rows], [self.stride, 1]).transposed()
            } else {
                Matrix::strided(&self.numbers, [rows, columns], [self.stride, 1])
            }
        }

        /// Sums in double precision. Numbers lie within 1, so that a sum of `n` products of either sign is about `sqrt(n)`; the
        /// error of its rounding grows alike.
        fn times(&self, other: &Self) -> Vec<Exact> {
            let ([rows, inner], [_, columns]) = (self.shape, other.shape);
            let of_row = |row| (0..inner).map(move |place| self.at(row, place)).collect();
            let of_column = |column| (0..inner).map(move |place| other.at(place, column)).collect();
            let lines: Vec<Vec<f64>> = (0..columns).map(of_column).collect();
            let sums = (0..rows).map(of_row).flat_map(|row: Vec<f64>| {
                let sum = |line: &Vec<f64>| row.iter().zip(line).map(|(a, b)| a * b).sum::<f64>();
                lines.iter().map(sum).collect::<Vec<f64>>()
            });
            sums.map(|value| Exact { value, parts: (inner as f64).sqrt() }).collect()
        }
    }

    fn agrees(
        [rows, inner, columns]: [usize; 3],
        spare: usize,
        by_columns: [bool; 2],
    ) -> Result<(), TestCaseError> {
        let a = Stored::new([rows, inner], 0.37, spare, by_columns[0]);
        let b = Stored::new([inner, columns], 0.73, spare, by_columns[1]);
        let exact = a.times(&b);
        prop_assert_eq!(off(&multiply(a.matrix(), b.matrix()), &exact), None);
        let stride = columns + spare;
        let mut out = vec![1.0; rows * stride];
        multiply_into(a.matrix(), b.matrix(), &mut out, stride, true);
        for row in 0..rows {
            let (found, between) = out[row * stride..][..stride].split_at(columns);
            let above = |sum: &Exact| Exact { value: sum.value + 1.0, ..*sum };
            let above: Vec<Exact> = exact[row * columns..][..columns].iter().map(above).collect();
            prop_assert_eq!(off(found, &above), None);
            prop_assert!(between.iter().all(|x| x.to_bits() == 1.0_f32.to_bits()));
        }
        Ok(())
    }

    /// All are worth several threads, and deeper than the blocks that `gemm` adds up apart.
    const LARGE: [[usize; 3]; 5] =
        [[200, 1100, 70], [64, 2000, 64], [300, 513, 96], [40, 2100, 130], [1, 3000, 2400]];

    #[test]
    fn products_of_several_threads_and_blocks_agree_with_sums() {
        let ways = [[false, false], [true, false], [false, true], [true, true]];
        for sizes in LARGE {
            assert!(sizes.iter().product::<usize>() >= WORTH_THREADS);
            for (by_columns, spare) in ways.into_iter().zip([0, 3, 5, 0]) {
                agrees(sizes, spare, by_columns).unwrap();
            }
        }
    }

    /// Many small tiles, sides that are no whole units, and depths that `gemm` adds up in pieces.
    #[test]
    fn the_number_of_threads_changes_no_bit() {
        for [rows, inner, columns] in LARGE.into_iter().chain([[256, 2047, 257], [90, 1500, 61]]) {
            let a = Stored::new([rows, inner], 0.37, 0, true);
            let b = Stored::new([inner, columns], 0.73, 0, false);
            let bits = |threads: usize| -> Vec<u32> {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let numbers = pool.install(|| multiply(a.matrix(), b.matrix()));
                numbers.into_iter().map(f32::to_bits).collect()
            };
            let expected = bits(1);
            assert!([2, 3, 16].into_iter().all(|threads| bits(threads) == expected));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn tiles_are_the_whole_and_not_small(
            shape in prop::array::uniform2(1_usize..3000),
            tiles in 1_usize..200,
        ) {
            let [above, beside] = grid(shape, tiles);
            let parts = |length, parts: usize| (0..parts).map(move |index| part(length, index, parts));
            for (length, count) in shape.into_iter().zip([above, beside]) {
                let ends = parts(length, count).fold(0, |end, part| {
                    assert!(part.start == end && (count == 1 || !part.is_empty()));
                    part.end
                });
                prop_assert_eq!(ends, length);
            }
            if above * beside > 1 {
                let shortest = |side| parts(shape[side], [above, beside][side]).map(|part| part.len()).min();
                prop_assert!(shortest(0).max(shortest(1)) > Some(64));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn agrees_with_sums(
            sizes in prop::array::uniform3(0_usize..40),
            spare in 0_usize..5,
            by_columns in prop::array::uniform2(any::<bool>()),
        ) {
            agrees(sizes, spare, by_columns)?;
        }
    }
}
