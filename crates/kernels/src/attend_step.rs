//! Attention of one new token a row to what its row of a cache holds.

use crate::exp::exp;
use crate::flex::{from_numbers, in_order, to_tensor};
use crate::lanes::{maximum, sum};
use crate::masked_softmax::Visibility;
use burn::tensor::{Tensor, backend::Backend};
use burn_flex::FlexTensor;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use std::ops::Range;

/// Tokens seen times numbers of a query, of all rows together, that are worth waking threads for: about a tenth of a
/// millisecond on one core, several times what waking takes. A single reply of a hundred tokens stays below it unless the
/// model is wider than 2,600.
const WORTH_A_THREAD: usize = 1 << 18;

/// `softmax(query K^T) V` of every row over the tokens that it sees, each row as far as it goes: rows of unequal length
/// cost no more than their tokens. Every head of a row is computed by itself, in one order, so its result depends neither on
/// the number of threads nor on other rows. Gives the query back if the backend is not flex, for which primitives serve.
///
/// # Shapes
/// `query` `[rows, key_value_heads, 1, group, head_dim]` to the same; `keys` and `values`
/// `[rows or more, slots, key_value_heads, 1, head_dim]`.
///
/// # Errors
/// The query, on any other backend.
///
/// # Panics
/// If `visible` describes another number of rows, or a row sees beyond the slots.
pub fn attend_step<B: Backend>(
    query: Tensor<B, 5>,
    keys: &Tensor<B, 5>,
    values: &Tensor<B, 5>,
    visible: &Visibility<B>,
) -> Result<Tensor<B, 5>, Tensor<B, 5>> {
    let shape = query.dims();
    let [rows, key_value_heads, _, group, head_dim] = shape;
    let slots = keys.dims()[1];
    let query = in_order(query)?;
    let (Ok(keys), Ok(values)) = (in_order(keys.clone()), in_order(values.clone())) else {
        return Err(to_tensor(query));
    };
    let sizes = Sizes { slots, key_value_heads, group, head_dim };
    let seen: Vec<Range<usize>> = (0..rows).map(|row| visible.of_row(row, slots)).collect();
    let mut out = vec![0.0_f32; shape.iter().product()];
    attend(sizes, &seen, &query, &keys, &values, &mut out);
    Ok(to_tensor(from_numbers(out, shape)))
}

#[derive(Debug, Clone, Copy)]
struct Sizes {
    slots: usize,
    key_value_heads: usize,
    group: usize,
    head_dim: usize,
}

fn attend(
    sizes: Sizes,
    seen: &[Range<usize>],
    query: &FlexTensor,
    keys: &FlexTensor,
    values: &FlexTensor,
    out: &mut [f32],
) {
    let Sizes { slots, key_value_heads, group, head_dim } = sizes;
    let (query, keys, values): (&[f32], &[f32], &[f32]) =
        (query.storage(), keys.storage(), values.storage());
    let heads = key_value_heads * group;
    let stored = slots * key_value_heads * head_dim;
    let work = |weights: &mut Vec<f32>, (place, out): (usize, &mut [f32])| {
        let (row, head) = (place / heads, place % heads);
        let seen = seen[row].clone();
        weights.resize(seen.len(), 0.0);
        let first = row * stored + head / group * head_dim;
        pulp::Arch::new().dispatch(Head {
            query: &query[place * head_dim..][..head_dim],
            keys: &keys[first..],
            values: &values[first..],
            stride: key_value_heads * head_dim,
            seen,
            weights,
            out,
        });
    };
    let total: usize = seen.iter().map(Range::len).sum();
    if total * heads * head_dim < WORTH_A_THREAD {
        let mut weights = Vec::new();
        out.chunks_exact_mut(head_dim).enumerate().for_each(|head| work(&mut weights, head));
    } else {
        // Query heads, not those of keys: a model may have one of these for all.
        out.par_chunks_exact_mut(head_dim).enumerate().for_each_init(Vec::new, work);
    }
}

/// One query of a row, the keys and values of its head, and what it attends to.
struct Head<'a> {
    query: &'a [f32],
    /// From those of the first slot on; those of the next are `stride` further.
    keys: &'a [f32],
    values: &'a [f32],
    stride: usize,
    seen: Range<usize>,
    /// Room for one weight of every token seen.
    weights: &'a mut [f32],
    out: &'a mut [f32],
}

impl WithSimd for Head<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { query, keys, values, stride, seen, weights, out } = self;
        let head_dim = query.len();
        for (weight, slot) in weights.iter_mut().zip(seen.clone()) {
            *weight = product(simd, query, &keys[slot * stride..][..head_dim]);
        }
        let largest = maximum(weights);
        for weight in weights.iter_mut() {
            *weight = exp(*weight - largest);
        }
        let scale = 1.0 / sum(weights);
        out.fill(0.0);
        for (weight, slot) in weights.iter().zip(seen) {
            add_scaled(simd, out, *weight * scale, &values[slot * stride..][..head_dim]);
        }
    }
}

#[inline(always)]
fn product<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (S::as_simd_f32s(a), S::as_simd_f32s(b));
    let mut sums = simd.splat_f32s(0.0);
    for (a, b) in a.iter().zip(b) {
        sums = simd.mul_add_e_f32s(*a, *b, sums);
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    simd.reduce_sum_f32s(sums) + rest
}

#[inline(always)]
fn add_scaled<S: Simd>(simd: S, out: &mut [f32], factor: f32, x: &[f32]) {
    let ((out, out_rest), (x, x_rest)) = (S::as_mut_simd_f32s(out), S::as_simd_f32s(x));
    let spread = simd.splat_f32s(factor);
    for (out, x) in out.iter_mut().zip(x) {
        *out = simd.mul_add_e_f32s(spread, *x, *out);
    }
    for (out, x) in out_rest.iter_mut().zip(x_rest) {
        *out += factor * x;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exact::{Exact, off};
    use crate::tracked::tests::{close, numbers, wave};
    use crate::{Stretch, masked_softmax};
    use burn::backend::Autodiff;
    use burn::tensor::TensorData;
    use burn_flex::{Flex, FlexDevice};
    use proptest::prelude::*;

    #[test]
    fn other_backends_get_their_query_back() {
        let x = Tensor::<Autodiff<Flex>, 5>::ones([1, 1, 1, 1, 2], &FlexDevice);
        let visible = Visibility::new(vec![0], 1, None);
        assert!(attend_step(x.clone(), &x, &x, &visible).is_err());
    }

    /// The numbers that some rows of different lengths are given by so many threads.
    fn of_rows(rows: Range<usize>, threads: usize) -> Vec<u32> {
        let lengths = [9_usize, 2300, 70];
        let stored = [3, 2301, 1, 1, 20];
        let (keys, values) = (wave::<Flex, 5>(stored, 0.11, 1.0), wave(stored, 0.73, 1.0));
        let query = wave([3, 1, 1, 6, 20], 0.37, 1.0);
        let [query, keys, values] =
            [query, keys, values].map(|x| x.narrow(0, rows.start, rows.len()));
        let first = lengths[rows].iter().map(|length| length - 1).collect();
        let visible = Visibility::new(first, 1, None);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let found = pool.install(|| attend_step(query, &keys, &values, &visible).unwrap());
        found.into_data().iter::<f32>().map(f32::to_bits).collect()
    }

    #[test]
    fn neither_threads_nor_other_rows_change_a_bit() {
        // The row in the middle is worth threads by itself, those beside it are not.
        let apart: Vec<u32> = (0..3).flat_map(|row| of_rows(row..row + 1, 1)).collect();
        for threads in [1, 2, 5] {
            assert_eq!(of_rows(0..3, threads), apart);
        }
        assert_eq!(of_rows(1..2, 5), of_rows(1..2, 1));
    }

    /// Of one query over all tokens, in double precision; a mean of values within 2.
    fn attended(query: &[f32], keys: &[f32], values: &[f32]) -> Vec<Exact> {
        let head_dim = query.len();
        let score = |key: &[f32]| -> f64 {
            query.iter().zip(key).map(|(&q, &k)| f64::from(q) * f64::from(k)).sum()
        };
        let scores: Vec<f64> = keys.chunks_exact(head_dim).map(score).collect();
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
        let total: f64 = weights.iter().sum();
        let of_dimension = |dimension: usize| {
            let column = values[dimension..].iter().step_by(head_dim).map(|&x| f64::from(x));
            let sum: f64 = weights.iter().zip(column).map(|(weight, value)| weight * value).sum();
            Exact { value: sum / total, parts: 2.0 }
        };
        (0..head_dim).map(of_dimension).collect()
    }

    /// Scores of 10,000 above zero, below it, and both, with eighths between them: floats hold them exactly.
    #[test]
    fn extreme_scores_neither_overflow_nor_vanish() {
        const SLOTS: usize = 40;
        const HEAD_DIM: usize = 17;
        let mut keys = vec![0.0_f32; 3 * SLOTS * HEAD_DIM];
        for (place, key) in keys.chunks_exact_mut(HEAD_DIM).enumerate() {
            let (row, slot) = (place / SLOTS, place % SLOTS);
            key[0] = if row == 0 || (row == 2 && slot % 3 == 0) { 100.0 } else { -100.0 };
            key[1] = (slot * 7 % 17) as f32 / 8.0;
        }
        let mut queries = vec![0.0_f32; 3 * 2 * HEAD_DIM];
        for (place, query) in queries.chunks_exact_mut(HEAD_DIM).enumerate() {
            query[0] = if place % 2 == 0 { 100.0 } else { -100.0 };
            query[1] = 1.0;
        }
        let values = numbers(wave::<Flex, 1>([keys.len()], 0.73, 2.0));
        let of_query = |(place, query): (usize, &[f32])| {
            let row = place / 2 * SLOTS * HEAD_DIM..(place / 2 + 1) * SLOTS * HEAD_DIM;
            attended(query, &keys[row.clone()], &values[row])
        };
        let expected: Vec<Exact> =
            queries.chunks_exact(HEAD_DIM).enumerate().flat_map(of_query).collect();
        let stored = |numbers: &[f32]| {
            let data = TensorData::new(numbers.to_vec(), [3, SLOTS, 1, 1, HEAD_DIM]);
            Tensor::<Flex, 5>::from_data(data, &FlexDevice)
        };
        let query = TensorData::new(queries, [3, 1, 1, 2, HEAD_DIM]);
        let visible = Visibility::new(vec![SLOTS - 1; 3], 1, None);
        let query = Tensor::from_data(query, &FlexDevice);
        let found = attend_step(query, &stored(&keys), &stored(&values), &visible).unwrap();
        assert_eq!(off(&numbers(found), &expected), None);
    }

    proptest! {
        #[test]
        fn agrees_with_products_and_a_softmax(
            lengths in prop::collection::vec(1_usize..40, 1..5),
            heads in 1_usize..4,
            group in 1_usize..4,
            head_dim in 1_usize..40,
            window in prop::option::of(1_usize..12),
        ) {
            let rows = lengths.len();
            let query = wave::<Flex, 5>([rows, heads, 1, group, head_dim], 0.37, 2.0);
            // A row more than is in use, and slots behind the longest.
            let stored = [rows + 1, 41, heads, 1, head_dim];
            let (keys, values) = (wave::<Flex, 5>(stored, 0.11, 2.0), wave::<Flex, 5>(stored, 0.73, 2.0));
            let first: Vec<usize> = lengths.iter().map(|length| length - 1).collect();
            let visible = Visibility::new(first, 1, window);
            let used = |x: &Tensor<Flex, 5>| x.clone().narrow(0, 0, rows).permute([0, 2, 3, 1, 4]);
            let scores = query.clone().matmul(used(&keys).swap_dims(3, 4));
            let weights = masked_softmax(vec![Stretch { scores, start: 0 }], &visible, 0).remove(0);
            let expected = numbers(weights.matmul(used(&values)));
            let found = numbers(attend_step(query, &keys, &values, &visible).unwrap());
            // Means of values within 2.
            prop_assert!(close(&found, &expected, 1e-5, 2.0));
        }
    }
}
