//! Rotary position embedding (`RoPE`, arXiv 2104.09864).

use crate::flex::{for_each_row, in_order, ordered, to_tensor};
use crate::tracked::{Rule, learned, record, take, tracked};
use burn::tensor::{Tensor, TensorData, backend::Backend};
use burn_flex::FlexTensor;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// The turns of one batch of tokens, in the layout of Hugging Face: dimension `i` of a head turns together with
/// dimension `i + pairs`; dimensions from `2 * pairs` on stay as they are.
#[derive(Debug)]
pub struct Angles<B: Backend> {
    turns: Turns,
    /// What primitives need, by the number of heads; made when it is first asked for.
    tables: OnceLock<HashMap<usize, Table<B>>>,
    heads: Vec<usize>,
    device: B::Device,
}

#[derive(Debug, Clone)]
struct Turns {
    head_dim: usize,
    pairs: usize,
    /// `[tables, pairs]`.
    cos: Arc<[f32]>,
    /// `[tables, pairs]`.
    sin: Arc<[f32]>,
}

/// Cosines and sines, `[1, tables * heads * head_dim]`.
#[derive(Debug, Clone)]
struct Table<B: Backend> {
    cos: Tensor<B, 2>,
    sin: Tensor<B, 2>,
    /// `[head_dim, head_dim]`: a quarter turn, `(a, b)` becomes `(-b, a)`.
    quarter_turn: Tensor<B, 2>,
}

impl<B: Backend> Angles<B> {
    /// The turn of every one of `positions`, pair `i` by `position * frequencies[i]` radians, for tensors of any of the
    /// numbers of `heads`.
    ///
    /// # Panics
    /// If `head_dim` is less than twice the number of frequencies.
    #[allow(clippy::cast_possible_truncation, reason = "cosines and sines are rounded to 32 bits")]
    pub fn new(
        positions: &[usize],
        frequencies: &[f32],
        head_dim: usize,
        heads: &[usize],
        device: &B::Device,
    ) -> Self {
        assert!(2 * frequencies.len() <= head_dim, "a head holds all its pairs");
        let turns = positions.iter().flat_map(|&position| {
            // The angle is rounded to 32 bits, as the reference has it.
            frequencies.iter().map(move |frequency| f64::from(position as f32 * frequency))
        });
        let (sin, cos): (Vec<f32>, Vec<f32>) =
            turns.map(|angle| (angle.sin() as f32, angle.cos() as f32)).unzip();
        let turns = Turns { head_dim, pairs: frequencies.len(), cos: cos.into(), sin: sin.into() };
        Self { turns, tables: OnceLock::new(), heads: heads.to_vec(), device: device.clone() }
    }

    fn table(&self, heads: usize) -> Table<B> {
        let make = || self.heads.iter().map(|&heads| (heads, self.make_table(heads))).collect();
        let made = self.tables.get_or_init(make).get(&heads).cloned();
        made.unwrap_or_else(|| self.make_table(heads))
    }

    fn make_table(&self, heads: usize) -> Table<B> {
        let Turns { head_dim, pairs, ref cos, ref sin } = self.turns;
        let rest = head_dim - 2 * pairs;
        let expand = |numbers: &[f32], rest_is: f32| {
            let mut data = Vec::with_capacity(numbers.len() / pairs.max(1) * heads * head_dim);
            for turn in numbers.chunks_exact(pairs.max(1)) {
                for _ in 0..heads {
                    data.extend_from_slice(turn);
                    data.extend_from_slice(turn);
                    data.extend(std::iter::repeat_n(rest_is, rest));
                }
            }
            let shape = [1, data.len()];
            Tensor::from_data(TensorData::new(data, shape), &self.device)
        };
        let width = head_dim;
        let mut matrix = vec![0.0_f32; width * width];
        for pair in 0..pairs {
            matrix[(pair + pairs) * width + pair] = -1.0;
            matrix[pair * width + pair + pairs] = 1.0;
        }
        Table {
            cos: expand(cos, 1.0),
            sin: expand(sin, 0.0),
            quarter_turn: Tensor::from_data(TensorData::new(matrix, [width, width]), &self.device),
        }
    }
}

/// Turns every head of `x` by the angles of its position and multiplies it by `scale`.
///
/// # Shapes
/// `x` `[positions, heads * head_dim]` to the same. If there are fewer angles than positions, they are those of one row
/// of a batch, and all rows share them.
///
/// # Panics
/// If a row is not made of whole heads, or the positions not of whole rows of the batch.
pub fn rotate<B: Backend>(x: Tensor<B, 2>, angles: &Angles<B>, scale: f32) -> Tensor<B, 2> {
    angles.turns.assert_fit(x.dims());
    let x = match tracked(x) {
        Ok(mut x) => {
            let result = angles.turns.turn(ordered(take(&mut x)), scale, 1.0);
            let rule = |_: &FlexTensor| Rotate { turns: angles.turns.clone(), scale };
            return learned(record([&x], result, rule));
        }
        Err(x) => x,
    };
    match in_order(x) {
        Ok(x) => to_tensor(angles.turns.turn(x, scale, 1.0)),
        Err(x) => of_primitives(x, angles, scale),
    }
}

impl Turns {
    fn tables(&self) -> usize {
        self.cos.len() / self.pairs.max(1)
    }

    fn assert_fit(&self, [positions, width]: [usize; 2]) {
        let (head_dim, tables) = (self.head_dim, self.tables());
        assert!(
            width.is_multiple_of(head_dim),
            "{width} numbers are no whole heads of {head_dim} dimensions"
        );
        // Without pairs nothing turns, and there are no tables to count.
        assert!(
            self.pairs == 0 || positions.is_multiple_of(tables),
            "{positions} positions are no whole rows of {tables} angles"
        );
    }

    /// In the storage of `x`, `[positions, heads * head_dim]`; backward if `direction` is -1.
    fn turn(&self, mut x: FlexTensor, scale: f32, direction: f32) -> FlexTensor {
        let width = x.layout().shape()[1];
        let (tables, pairs) = (self.tables(), self.pairs);
        for_each_row(
            x.storage_mut(),
            width,
            #[inline(always)]
            |position, row| {
                let table = if tables == 0 { 0 } else { position % tables * pairs };
                let cos = &self.cos[table..table + pairs];
                let sin = &self.sin[table..table + pairs];
                for head in row.chunks_exact_mut(self.head_dim) {
                    let (turned, rest) = head.split_at_mut(2 * pairs);
                    let (first, second) = turned.split_at_mut(pairs);
                    for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
                        let (x, y, sin) = (*a, *b, sin * direction);
                        *a = (x * cos - y * sin) * scale;
                        *b = (y * cos + x * sin) * scale;
                    }
                    for x in rest {
                        *x *= scale;
                    }
                }
            },
        );
        x
    }
}

#[derive(Debug, Clone)]
struct Rotate {
    turns: Turns,
    scale: f32,
}

impl Rule<1> for Rotate {
    /// Turned back.
    fn gradients(self, gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        [Some(self.turns.turn(gradient, self.scale, -1.0))]
    }
}

/// The quarter turn as a matrix product needs neither slices nor concatenation, forward or backward. Everything is
/// flattened to rows of a batch, since backends multiply by a shared row much faster than by a tensor that broadcasts in
/// the middle.
fn of_primitives<B: Backend>(x: Tensor<B, 2>, angles: &Angles<B>, scale: f32) -> Tensor<B, 2> {
    let [positions, width] = x.dims();
    let tables = angles.turns.tables();
    if positions == 0 || tables == 0 {
        return x * scale;
    }
    let head_dim = angles.turns.head_dim;
    let table = angles.table(width / head_dim);
    let dtype = x.dtype();
    let [cos, sin, quarter_turn] =
        [table.cos, table.sin, table.quarter_turn].map(|table| table.cast(dtype));
    let by_row = [positions / tables, tables * width];
    let heads = positions * width / head_dim;
    let turned = x.clone().reshape([heads, head_dim]).matmul(quarter_turn);
    let turned = turned.reshape(by_row) * sin + x.reshape(by_row) * cos;
    let turned = turned.reshape([positions, width]);
    #[allow(clippy::float_cmp, reason = "exactly 1 is the scale of keys")]
    if scale == 1.0 { turned } else { turned * scale }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracked::tests::{Fused, Primitives, distance, none_or_up_to, wave};
    use burn::tensor::backend::AutodiffBackend;
    use burn_flex::{Flex, FlexDevice};
    use proptest::prelude::*;

    fn numbers<B: Backend>(tensor: Tensor<B, 2>) -> Vec<f32> {
        tensor.into_data().to_vec().unwrap()
    }

    fn one_pair<B: Backend>(device: &B::Device) -> Vec<f32> {
        let angles = Angles::<B>::new(&[0, 1, 3], &[1.0], 2, &[1], device);
        let x = Tensor::from_data([[1.0, 0.0], [1.0, 0.0], [0.0, 2.0]], device);
        numbers(rotate(x, &angles, 0.5))
    }

    #[test]
    fn one_pair_turns_by_one_radian_a_position() {
        let (sin, cos) = (f32::sin, f32::cos);
        let expected = [1.0, 0.0, cos(1.0), sin(1.0), -2.0 * sin(3.0), 2.0 * cos(3.0)];
        for found in [one_pair::<Flex>(&FlexDevice), one_pair::<Primitives>(&FlexDevice)] {
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - 0.5 * expected).abs() < 1e-6, "{found} {expected}");
            }
        }
    }

    /// Two rows of three positions, two heads of six dimensions of which four turn.
    fn partial<B: Backend>(device: &B::Device) -> Vec<f32> {
        let angles = Angles::<B>::new(&[4, 5, 6], &[1.0, 0.1], 6, &[2], device);
        let data: Vec<f32> = (0..72).map(|i| (i as f32 * 0.7).sin()).collect();
        let x = Tensor::from_data(TensorData::new(data, [6, 12]), device);
        numbers(rotate(x, &angles, 2.0))
    }

    #[test]
    fn rows_share_angles_and_the_rest_of_a_head_stays() {
        let found = partial::<Flex>(&FlexDevice);
        let primitives = partial::<Primitives>(&FlexDevice);
        for (found, expected) in found.iter().zip(&primitives) {
            assert!((found - expected).abs() < 1e-5);
        }
        let x = |i: usize| (i as f32 * 0.7).sin();
        // Row 1, position 5, second head: pairs (0, 2) and (1, 3), then 4 and 5 as they were.
        let start = 36 + 12 + 6;
        let (a, b) = (x(start + 1), x(start + 3));
        assert!((found[start + 1] - 2.0 * (a * 0.5_f32.cos() - b * 0.5_f32.sin())).abs() < 1e-5);
        assert!((found[start + 3] - 2.0 * (b * 0.5_f32.cos() + a * 0.5_f32.sin())).abs() < 1e-5);
        assert!((found[start + 5] - 2.0 * x(start + 5)).abs() < 1e-6);
    }

    #[derive(Debug, Clone)]
    struct Case {
        heads: usize,
        frequencies: Vec<f32>,
        /// Dimensions of a head that do not turn.
        rest: usize,
        positions: Vec<usize>,
        rows: usize,
        scale: f32,
    }

    /// The result and the gradient.
    fn learned_numbers<B: AutodiffBackend<Device = FlexDevice>>(case: &Case) -> [Vec<f32>; 2] {
        let Case { heads, ref frequencies, rest, ref positions, rows, scale } = *case;
        let head_dim = 2 * frequencies.len() + rest;
        let angles = Angles::<B>::new(positions, frequencies, head_dim, &[heads], &FlexDevice);
        let shape = [rows * positions.len(), heads * head_dim];
        let x = wave::<B, 2>(shape, 0.7, 1.0).require_grad();
        let result = rotate(x.clone(), &angles, scale);
        let gradients = (result.clone() * wave::<B, 2>(shape, 0.3, 1.0)).sum().backward();
        [numbers(result), numbers(x.grad(&gradients).unwrap())]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn agrees_with_primitives(
            heads in 1_usize..5,
            frequencies in prop::collection::vec(0.0_f32..1.0, 0..7),
            rest in 0_usize..4,
            positions in prop::collection::vec(0_usize..100_000, 0..60),
            rows in none_or_up_to(4),
            scale in prop_oneof![Just(1.0_f32), 0.1_f32..3.0],
        ) {
            let rest = if frequencies.is_empty() { rest + 1 } else { rest };
            let case = Case { heads, frequencies, rest, positions, rows, scale };
            let found = learned_numbers::<Fused>(&case);
            let expected = learned_numbers::<Primitives>(&case);
            for (found, expected) in found.iter().zip(&expected) {
                prop_assert!(distance(found, expected) < 1e-5);
            }
        }
    }

    /// Two positions, heads of four dimensions.
    fn rotated(shape: [usize; 2]) {
        let angles = Angles::<Flex>::new(&[0, 1], &[1.0, 0.1], 4, &[1], &FlexDevice);
        let _ = rotate(wave(shape, 0.7, 1.0), &angles, 1.0);
    }

    #[test]
    #[should_panic(expected = "6 numbers are no whole heads of 4 dimensions")]
    fn a_part_of_a_head_is_a_mistake() {
        rotated([2, 6]);
    }

    #[test]
    #[should_panic(expected = "3 positions are no whole rows of 2 angles")]
    fn so_is_a_part_of_a_row() {
        rotated([3, 4]);
    }

    #[test]
    fn heads_of_which_nothing_turns_are_scaled_alone() {
        let angles = Angles::<Flex>::new(&[3], &[], 2, &[1], &FlexDevice);
        let x = Tensor::from_data([[1.0, -2.0]], &FlexDevice);
        assert_eq!(numbers(rotate(x, &angles, 0.5)), [0.5, -1.0]);
    }

    #[test]
    fn a_product_depends_on_the_distance_alone() {
        let product = |at: usize, from: usize| -> f32 {
            let turn = |position: usize, salt: f32| {
                let data: Vec<f32> = (0..8).map(|i| (salt + i as f32 * 0.7).sin()).collect();
                let x = Tensor::<Flex, 2>::from_data(TensorData::new(data, [1, 8]), &FlexDevice);
                let frequencies = [1.0, 0.3, 0.1, 0.03];
                let angles = Angles::new(&[position], &frequencies, 8, &[1], &FlexDevice);
                numbers(rotate(x, &angles, 1.0))
            };
            turn(at, 0.3).iter().zip(turn(from, 1.9)).map(|(a, b)| a * b).sum()
        };
        assert!((product(5, 2) - product(105, 102)).abs() < 1e-4);
        assert!((product(5, 2) - product(5, 3)).abs() > 1e-2);
    }
}
