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

/// Numbers of keys that are worth a second thread.
const WORTH_A_THREAD: usize = 1 << 18;

/// `softmax(query K^T) V` of every row over the tokens that it sees, each row as far as it goes: rows of unequal length
/// cost no more than their tokens. Gives the query back if the backend is not flex, for which primitives serve.
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
    let width = sizes.key_value_heads * sizes.group * sizes.head_dim;
    let (query, keys, values): (&[f32], &[f32], &[f32]) =
        (query.storage(), keys.storage(), values.storage());
    let work = |(row, out): (usize, &mut [f32])| {
        let query = &query[row * width..][..width];
        let stored = sizes.slots * sizes.key_value_heads * sizes.head_dim;
        let of_row = |all: &'_ [f32]| row * stored..(row * stored + stored).min(all.len());
        let (keys, values) = (&keys[of_row(keys)], &values[of_row(values)]);
        pulp::Arch::new().dispatch(Row {
            sizes,
            seen: seen[row].clone(),
            query,
            keys,
            values,
            out,
        });
    };
    let total: usize = seen.iter().map(Range::len).sum();
    if total * width < WORTH_A_THREAD {
        out.chunks_exact_mut(width).enumerate().for_each(work);
    } else {
        out.par_chunks_exact_mut(width).enumerate().for_each(work);
    }
}

/// One row: its queries, its keys and values, and what it attends to.
struct Row<'a> {
    sizes: Sizes,
    seen: Range<usize>,
    query: &'a [f32],
    keys: &'a [f32],
    values: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { sizes, seen, query, keys, values, out } = self;
        let Sizes { key_value_heads, group, head_dim, .. } = sizes;
        let mut weights = vec![0.0_f32; seen.len()];
        for (head, (query, out)) in
            query.chunks_exact(head_dim).zip(out.chunks_exact_mut(head_dim)).enumerate()
        {
            let stored = |slot: usize| (slot * key_value_heads + head / group) * head_dim;
            for (weight, slot) in weights.iter_mut().zip(seen.clone()) {
                *weight = product(simd, query, &keys[stored(slot)..][..head_dim]);
            }
            let largest = maximum(&weights);
            for weight in &mut weights {
                *weight = exp(*weight - largest);
            }
            let scale = 1.0 / sum(&weights);
            out.fill(0.0);
            for (weight, slot) in weights.iter().zip(seen.clone()) {
                add_scaled(simd, out, *weight * scale, &values[stored(slot)..][..head_dim]);
            }
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
