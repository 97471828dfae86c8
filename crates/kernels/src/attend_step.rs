//! Attention of one new token a row to what its row of a cache holds.

use crate::exp::exp;
use crate::flex::{from_numbers, in_order, to_tensor};
use crate::lanes::{maximum, sum};
use crate::masked_attention::{first, masked_attention};
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

/// Slots whose products with a query are made side by side before each is added up to a number.
const SLOTS_AT_ONCE: usize = 8;

/// `softmax(query K^T) V` of every row over the tokens that it sees. On flex each row goes as far as it sees, so that rows of
/// unequal length cost no more than their tokens, and every head of a row is computed by itself, in one order, so that its
/// result depends neither on the number of threads nor on other rows; elsewhere all go as far as the longest.
///
/// # Shapes
/// `query` `[rows, key_value_heads, 1, group, head_dim]` to the same; `keys` and `values`
/// `[rows or more, slots, key_value_heads, 1, head_dim]`.
///
/// # Panics
/// If shapes do not agree, heads have no dimensions, `visible` describes another number of rows or more than one query of each,
/// or a row sees beyond the slots.
pub fn attend_step<B: Backend>(
    query: Tensor<B, 5>,
    keys: &Tensor<B, 5>,
    values: &Tensor<B, 5>,
    visible: &Visibility<B>,
) -> Tensor<B, 5> {
    let shape = query.dims();
    let sizes = Sizes::of(shape, keys.dims(), values.dims());
    let seen = seen(visible, shape[0], sizes.slots);
    let query = match in_order(query) {
        Ok(query) => query,
        Err(query) => return of_primitives(query, [keys, values], visible, &seen),
    };
    let [Ok(held_keys), Ok(held_values)] = [keys, values].map(|x| in_order(x.clone())) else {
        return of_primitives(to_tensor(query), [keys, values], visible, &seen);
    };
    let mut out = vec![0.0_f32; shape.iter().product()];
    attend(sizes, &seen, &query, &held_keys, &held_values, &mut out);
    to_tensor(from_numbers(out, shape))
}

/// The slots that every row sees.
fn seen<B: Backend>(visible: &Visibility<B>, rows: usize, slots: usize) -> Vec<Range<usize>> {
    assert!(visible.is_step_of(rows), "one query of each of {rows} rows");
    let seen: Vec<Range<usize>> = (0..rows).map(|row| visible.of_row(row)).collect();
    assert!(seen.iter().all(|seen| seen.end <= slots), "no row sees beyond {slots} slots");
    seen
}

fn of_primitives<B: Backend>(
    query: Tensor<B, 5>,
    keys_and_values: [&Tensor<B, 5>; 2],
    visible: &Visibility<B>,
    seen: &[Range<usize>],
) -> Tensor<B, 5> {
    let longest = seen.iter().map(|seen| seen.end).max().unwrap_or(0);
    let used = keys_and_values.map(|x| first(x, seen.len(), longest));
    masked_attention(query, &[used], 0, visible, 0)
}

#[derive(Debug, Clone, Copy)]
struct Sizes {
    slots: usize,
    key_value_heads: usize,
    group: usize,
    head_dim: usize,
}

impl Sizes {
    fn of(query: [usize; 5], keys: [usize; 5], values: [usize; 5]) -> Self {
        let [rows, key_value_heads, queries, group, head_dim] = query;
        let [stored, slots, ..] = keys;
        assert!(queries == 1, "a row has one query, not {queries}");
        assert!(head_dim > 0, "heads have dimensions");
        assert!(rows <= stored, "{rows} rows have keys, not {stored}");
        assert_eq!(keys[2..], [key_value_heads, 1, head_dim], "keys have the heads of the query");
        assert_eq!(keys, values, "keys and values belong together");
        Self { slots, key_value_heads, group, head_dim }
    }
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
        // A thread reads what a row holds from its first page to its last, unless others would wait for it.
        let longest = seen.iter().map(Range::len).max().unwrap_or(0);
        let at_once = if longest * rayon::current_num_threads() <= total { heads } else { 1 };
        let queries = out.par_chunks_exact_mut(head_dim).enumerate().with_min_len(at_once);
        queries.for_each_init(Vec::new, work);
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
        match S::as_simd_f32s(self.query) {
            ([_], []) => self.in_registers::<S, 1>(simd),
            ([_, _], []) => self.in_registers::<S, 2>(simd),
            ([_, _, _, _], []) => self.in_registers::<S, 4>(simd),
            ([_, _, _, _, _, _, _, _], []) => self.in_registers::<S, 8>(simd),
            _ => self.in_memory(simd),
        }
    }
}

impl Head<'_> {
    /// Of `V` vectors. Keys and values come from memory, and a processor asks for those to come only as far ahead as the
    /// instructions that it can hold: so there are few of these a slot, and slots next to each other do not wait for one another.
    #[inline(always)]
    fn in_registers<S: Simd, const V: usize>(self, simd: S) {
        let Self { query, keys, values, stride, seen, weights, out } = self;
        let (head_dim, query) = (query.len(), vectors::<S, V>(simd, query));
        let (blocks, rest) = weights.as_chunks_mut::<SLOTS_AT_ONCE>();
        let first_of_rest = seen.start + blocks.len() * SLOTS_AT_ONCE;
        for (slot, weights) in (seen.start..).step_by(SLOTS_AT_ONCE).zip(blocks) {
            *weights = products(simd, query, &keys[slot * stride..], stride);
        }
        for (slot, weight) in (first_of_rest..).zip(rest) {
            [*weight] = products(simd, query, &keys[slot * stride..], stride);
        }
        let scale = exponentiate(weights);
        let mut sums = [simd.splat_f32s(0.0); V];
        for (slot, weight) in seen.zip(weights.iter()) {
            let factor = simd.splat_f32s(*weight * scale);
            let value = &values[slot * stride..][..head_dim];
            for (sum, value) in sums.iter_mut().zip(vectors::<S, V>(simd, value)) {
                *sum = simd.mul_add_e_f32s(factor, value, *sum);
            }
        }
        S::as_mut_simd_f32s(out).0.copy_from_slice(&sums);
    }

    #[inline(always)]
    fn in_memory<S: Simd>(self, simd: S) {
        let Self { query, keys, values, stride, seen, weights, out } = self;
        let head_dim = query.len();
        for (weight, slot) in weights.iter_mut().zip(seen.clone()) {
            *weight = product(simd, query, &keys[slot * stride..][..head_dim]);
        }
        let scale = exponentiate(weights);
        out.fill(0.0);
        for (weight, slot) in weights.iter().zip(seen) {
            add_scaled(simd, out, *weight * scale, &values[slot * stride..][..head_dim]);
        }
    }
}

/// `exp(w - max w)` of every weight, in its place; gives one over their sum.
#[inline(always)]
fn exponentiate(weights: &mut [f32]) -> f32 {
    let largest = maximum(weights);
    for weight in weights.iter_mut() {
        *weight = exp(*weight - largest);
    }
    1.0 / sum(weights)
}

/// The products of a query with the keys of some slots, which are `stride` numbers apart.
#[inline(always)]
fn products<S: Simd, const V: usize, const SLOTS: usize>(
    simd: S,
    query: [S::f32s; V],
    keys: &[f32],
    stride: usize,
) -> [f32; SLOTS] {
    let mut sums = [simd.splat_f32s(0.0); SLOTS];
    for (slot, sum) in sums.iter_mut().enumerate() {
        let key = vectors::<S, V>(simd, &keys[slot * stride..][..V * S::F32_LANES]);
        for (query, key) in query.iter().zip(key) {
            *sum = simd.mul_add_e_f32s(*query, key, *sum);
        }
    }
    let mut products = [0.0; SLOTS];
    for (product, sum) in products.iter_mut().zip(sums) {
        *product = simd.reduce_sum_f32s(sum);
    }
    products
}

/// The first `V` vectors of some numbers.
#[inline(always)]
fn vectors<S: Simd, const V: usize>(simd: S, numbers: &[f32]) -> [S::f32s; V] {
    let mut vectors = [simd.splat_f32s(0.0); V];
    for (vector, number) in vectors.iter_mut().zip(&S::as_simd_f32s(numbers).0[..V]) {
        *vector = *number;
    }
    vectors
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
    use crate::exact_attention;
    use crate::tracked::tests::{Fused, Primitives, close, numbers, wave};
    use burn::tensor::{DType, TensorData};
    use burn_flex::{Flex, FlexDevice};
    use proptest::prelude::*;

    /// The numbers that some rows of different lengths are given by so many threads.
    fn of_rows(rows: Range<usize>, head_dim: usize, threads: usize) -> Vec<u32> {
        let lengths = [9_usize, 2300, 70];
        let stored = [3, 2301, 1, 1, head_dim];
        let (keys, values) = (wave::<Flex, 5>(stored, 0.11, 1.0), wave(stored, 0.73, 1.0));
        let query = wave([3, 1, 1, 6, head_dim], 0.37, 1.0);
        let [query, keys, values] =
            [query, keys, values].map(|x| x.narrow(0, rows.start, rows.len()));
        let first = lengths[rows].iter().map(|length| length - 1).collect();
        let visible = Visibility::new(first, 1, None);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let found = pool.install(|| attend_step(query, &keys, &values, &visible));
        found.into_data().iter::<f32>().map(f32::to_bits).collect()
    }

    #[test]
    fn neither_threads_nor_other_rows_change_a_bit() {
        // The row in the middle is worth threads by itself, those beside it are not.
        for head_dim in [20, 32, 64] {
            let apart: Vec<u32> =
                (0..3).flat_map(|row| of_rows(row..row + 1, head_dim, 1)).collect();
            for threads in [1, 2, 5] {
                assert_eq!(of_rows(0..3, head_dim, threads), apart);
            }
            assert_eq!(of_rows(1..2, head_dim, 5), of_rows(1..2, head_dim, 1));
        }
    }

    const SLOTS: usize = 40;

    /// Queries of three rows of two heads, and the keys and values of the rows. Scores of 10,000 above zero, below it, and both,
    /// with eighths between them: floats hold them exactly.
    fn extreme(head_dim: usize) -> [Vec<f32>; 3] {
        let mut keys = vec![0.0_f32; 3 * SLOTS * head_dim];
        for (place, key) in keys.chunks_exact_mut(head_dim).enumerate() {
            let (row, slot) = (place / SLOTS, place % SLOTS);
            key[0] = if row == 0 || (row == 2 && slot % 3 == 0) { 100.0 } else { -100.0 };
            key[1] = (slot * 7 % 17) as f32 / 8.0;
        }
        let mut queries = vec![0.0_f32; 3 * 2 * head_dim];
        for (place, query) in queries.chunks_exact_mut(head_dim).enumerate() {
            query[0] = if place % 2 == 0 { 100.0 } else { -100.0 };
            query[1] = 1.0;
        }
        let values = numbers(wave::<Flex, 1>([keys.len()], 0.73, 2.0));
        [queries, keys, values]
    }

    fn of_extreme<B: Backend<Device = FlexDevice>>(head_dim: usize) -> Vec<f32> {
        let [queries, keys, values] = extreme(head_dim);
        let tensor = |numbers: Vec<f32>, shape: [usize; 5]| {
            Tensor::<B, 5>::from_data(TensorData::new(numbers, shape), &FlexDevice)
        };
        let [keys, values] = [keys, values].map(|x| tensor(x, [3, SLOTS, 1, 1, head_dim]));
        let query = tensor(queries, [3, 1, 1, 2, head_dim]);
        let visible = Visibility::new(vec![SLOTS - 1; 3], 1, None);
        numbers(attend_step(query, &keys, &values, &visible))
    }

    #[test]
    fn extreme_scores_neither_overflow_nor_vanish() {
        for head_dim in [17, 32, 64] {
            let [queries, keys, values] = extreme(head_dim);
            let of_query = |(place, query): (usize, &[f32])| {
                let row = place / 2 * SLOTS * head_dim..(place / 2 + 1) * SLOTS * head_dim;
                let keys = keys[row.clone()].chunks_exact(head_dim);
                let seen: Vec<_> = keys.zip(values[row].chunks_exact(head_dim)).collect();
                exact_attention::attended(query, &seen, 2.0)
            };
            let expected: Vec<Exact> =
                queries.chunks_exact(head_dim).enumerate().flat_map(of_query).collect();
            assert_eq!(off(&of_extreme::<Flex>(head_dim), &expected), None);
            assert_eq!(off(&of_extreme::<Primitives>(head_dim), &expected), None);
        }
    }

    /// One row of two slots of a head of two dimensions, and what `visible` describes.
    fn attend_two_slots<B: Backend<Device = FlexDevice>>(
        query: [usize; 5],
        visible: &Visibility<B>,
    ) -> Tensor<B, 5> {
        let stored = wave([1, 2, 1, 1, 2], 0.7, 1.0);
        attend_step(wave(query, 0.3, 1.0), &stored, &stored, visible)
    }

    #[test]
    #[should_panic(expected = "no row sees beyond 2 slots")]
    fn a_row_sees_what_there_is() {
        attend_two_slots::<Flex>([1, 1, 1, 1, 2], &Visibility::new(vec![2], 1, None));
    }

    #[test]
    #[should_panic(expected = "no row sees beyond 2 slots")]
    fn a_row_of_primitives_sees_what_there_is() {
        attend_two_slots::<Primitives>([1, 1, 1, 1, 2], &Visibility::new(vec![2], 1, None));
    }

    #[test]
    #[should_panic(expected = "one query of each of 1 rows")]
    fn all_that_is_visible_belongs_to_a_row() {
        attend_two_slots::<Flex>([1, 1, 1, 1, 2], &Visibility::new(vec![1, 1], 1, None));
    }

    #[test]
    #[should_panic(expected = "keys have the heads of the query")]
    fn the_cache_has_the_heads_of_the_query() {
        attend_two_slots::<Flex>([1, 2, 1, 1, 2], &Visibility::new(vec![1], 1, None));
    }

    #[test]
    #[should_panic(expected = "2 rows have keys, not 1")]
    fn every_row_has_keys() {
        attend_two_slots::<Flex>([2, 1, 1, 1, 2], &Visibility::new(vec![1], 1, None));
    }

    #[derive(Debug, Clone)]
    struct Case {
        lengths: Vec<usize>,
        heads: usize,
        group: usize,
        head_dim: usize,
        window: Option<usize>,
    }

    fn of_case<B: Backend<Device = FlexDevice>>(case: &Case, dtype: DType) -> Vec<f32> {
        let Case { ref lengths, heads, group, head_dim, window } = *case;
        let query = wave::<B, 5>([lengths.len(), heads, 1, group, head_dim], 0.37, 2.0);
        // A row more than is in use, and slots behind the longest.
        let stored = [lengths.len() + 1, 41, heads, 1, head_dim];
        let (keys, values) = (wave::<B, 5>(stored, 0.11, 2.0), wave::<B, 5>(stored, 0.73, 2.0));
        let [query, keys, values] = [query, keys, values].map(|x| x.cast(dtype));
        let first = lengths.iter().map(|length| length - 1).collect();
        numbers(attend_step(query, &keys, &values, &Visibility::new(first, 1, window)))
    }

    proptest! {
        #[test]
        fn agrees_with_primitives(
            lengths in prop::collection::vec(1_usize..40, 1..5),
            heads in 1_usize..4,
            group in 1_usize..4,
            head_dim in prop_oneof![4 => 1_usize..40, 1 => Just(16), 1 => Just(64), 1 => Just(128)],
            window in prop::option::of(1_usize..12),
        ) {
            let case = Case { lengths, heads, group, head_dim, window };
            let found = of_case::<Flex>(&case, DType::F32);
            // Numbers of 64 bits are left to primitives, as is what learns.
            for expected in [
                of_case::<Flex>(&case, DType::F64),
                of_case::<Primitives>(&case, DType::F32),
                of_case::<Fused>(&case, DType::F32),
            ] {
                // Means of values within 2.
                prop_assert!(close(&found, &expected, 1e-5, 2.0));
            }
        }
    }
}
