//! Rotary position embedding (`RoPE`, arXiv 2104.09864) in the layout of Hugging Face: dimension `i` of a head turns
//! together with dimension `i + head_dim / 2`.

use crate::config::{ModelConfig, RopeScaling};
use burn::tensor::{Tensor, TensorData, backend::Backend};
use std::f64::consts::PI;

/// The turning speed of every pair of dimensions.
#[derive(Debug, Clone)]
pub(crate) struct Rotary {
    /// Radians a position, one number for every pair of dimensions.
    frequencies: Vec<f32>,
}

impl Rotary {
    /// `theta^(-2i / head_dim)`, rescaled if the configuration says so.
    #[allow(clippy::cast_possible_truncation, reason = "32 bits, as the reference has it")]
    pub(crate) fn new(config: &ModelConfig) -> Self {
        let half = config.head_dim / 2;
        let frequency = |pair: usize| {
            let plain = config.rope_theta.powf(-(pair as f64) / half as f64);
            rescale(plain, config.rope_scaling.as_ref()) as f32
        };
        Self { frequencies: (0..half).map(frequency).collect() }
    }

    /// The turn of every position, ready to be applied to queries and keys.
    ///
    /// `positions` holds one list that all rows share, or one list a row, each of `time` positions.
    pub(crate) fn at<B: Backend>(
        &self,
        positions: &[Vec<usize>],
        heads: (usize, usize),
        device: &B::Device,
    ) -> Rotation<B> {
        let head_dim = 2 * self.frequencies.len();
        let scale = (head_dim as f32).sqrt().recip();
        let table = |heads, scale| self.table(positions, heads, scale, device);
        Rotation {
            quarter_turn: quarter_turn(head_dim, device),
            query: table(heads.0, scale),
            key: table(heads.1, 1.0),
        }
    }

    #[allow(clippy::cast_possible_truncation, reason = "cosines and sines are rounded to 32 bits")]
    fn table<B: Backend>(
        &self,
        positions: &[Vec<usize>],
        heads: usize,
        scale: f32,
        device: &B::Device,
    ) -> Table<B> {
        let rows = positions.len();
        let width = positions.first().map_or(0, Vec::len) * heads * 2 * self.frequencies.len();
        let mut cos = Vec::with_capacity(rows * width);
        let mut sin = Vec::with_capacity(rows * width);
        let mut turn = Vec::with_capacity(self.frequencies.len());
        for &position in positions.iter().flatten() {
            turn.clear();
            turn.extend(self.frequencies.iter().map(|frequency| {
                let (sin, cos) = f64::from(position as f32 * frequency).sin_cos();
                (sin as f32 * scale, cos as f32 * scale)
            }));
            for _ in 0..2 * heads {
                sin.extend(turn.iter().map(|turn| turn.0));
                cos.extend(turn.iter().map(|turn| turn.1));
            }
        }
        let tensor = |data| Tensor::from_data(TensorData::new(data, [rows, width]), device);
        Table { cos: tensor(cos), sin: tensor(sin) }
    }
}

/// Llama 3's rescaling: slow turns are slowed by `factor`, fast ones are kept, those between are mixed.
#[allow(clippy::suboptimal_flops, reason = "the order of operations is that of the reference")]
fn rescale(frequency: f64, scaling: Option<&RopeScaling>) -> f64 {
    let Some(scaling) = scaling else { return frequency };
    let context = scaling.original_max_position_embeddings as f64;
    let wavelength = 2.0 * PI / frequency;
    if wavelength < context / scaling.high_freq_factor {
        frequency
    } else if wavelength > context / scaling.low_freq_factor {
        frequency / scaling.factor
    } else {
        let kept = (context / wavelength - scaling.low_freq_factor)
            / (scaling.high_freq_factor - scaling.low_freq_factor);
        (1.0 - kept) * frequency / scaling.factor + kept * frequency
    }
}

/// The signed permutation that turns every pair by 90 degrees: `(a, b)` becomes `(-b, a)`.
///
/// As a matrix product it needs neither slices nor concatenation, forward or backward.
fn quarter_turn<B: Backend>(head_dim: usize, device: &B::Device) -> Tensor<B, 2> {
    let half = head_dim / 2;
    let mut matrix = vec![0.0_f32; head_dim * head_dim];
    for pair in 0..half {
        matrix[(pair + half) * head_dim + pair] = -1.0;
        matrix[pair * head_dim + pair + half] = 1.0;
    }
    Tensor::from_data(TensorData::new(matrix, [head_dim, head_dim]), device)
}

/// Cosines and sines, `[rows or 1, time * heads * head_dim]`.
#[derive(Debug, Clone)]
struct Table<B: Backend> {
    cos: Tensor<B, 2>,
    sin: Tensor<B, 2>,
}

/// The turns of one batch of tokens. That of the queries also scales by `1 / sqrt(head_dim)`.
#[derive(Debug, Clone)]
pub(crate) struct Rotation<B: Backend> {
    quarter_turn: Tensor<B, 2>,
    query: Table<B>,
    key: Table<B>,
}

impl<B: Backend> Rotation<B> {
    /// Turns and scales queries.
    ///
    /// # Shapes
    /// `[rows * time, heads * head_dim]` to the same; `rows` is the number of rows of the batch.
    pub(crate) fn query(&self, query: Tensor<B, 2>, rows: usize) -> Tensor<B, 2> {
        self.turn(query, rows, &self.query)
    }

    /// Turns keys; shapes as for [`Rotation::query`].
    pub(crate) fn key(&self, key: Tensor<B, 2>, rows: usize) -> Tensor<B, 2> {
        self.turn(key, rows, &self.key)
    }

    fn turn(&self, x: Tensor<B, 2>, rows: usize, table: &Table<B>) -> Tensor<B, 2> {
        let [positions, width] = x.dims();
        let [head_dim, _] = self.quarter_turn.dims();
        let heads = positions * width / head_dim;
        let by_row = [rows, positions / rows * width];
        let turned = x.clone().reshape([heads, head_dim]).matmul(self.quarter_turn.clone());
        let cosine = x.reshape(by_row) * table.cos.clone();
        let sine = turned.reshape(by_row) * table.sin.clone();
        (sine + cosine).reshape([positions, width])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_flex::{Flex, FlexDevice};

    fn config(head_dim: usize) -> ModelConfig {
        ModelConfig { head_dim, ..crate::decoder::tests::config() }
    }

    fn numbers(tensor: Tensor<Flex, 2>) -> Vec<f32> {
        tensor.into_data().to_vec().unwrap()
    }

    #[test]
    fn one_pair_turns_by_one_radian_a_position() {
        let rotation = Rotary::new(&config(2)).at::<Flex>(&[vec![0, 1, 3]], (1, 1), &FlexDevice);
        let x = Tensor::from_data([[1.0, 0.0], [1.0, 0.0], [0.0, 2.0]], &FlexDevice);
        let keys = numbers(rotation.key(x.clone(), 1));
        let (sin, cos) = (f32::sin, f32::cos);
        let expected = [1.0, 0.0, cos(1.0), sin(1.0), -2.0 * sin(3.0), 2.0 * cos(3.0)];
        for (found, expected) in keys.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{keys:?}");
        }
        // Queries are also divided by the root of the head's width.
        for (query, key) in numbers(rotation.query(x, 1)).iter().zip(keys) {
            assert!((query * 2.0_f32.sqrt() - key).abs() < 1e-6);
        }
    }

    #[test]
    fn a_product_depends_on_the_distance_alone() {
        let rotary = Rotary::new(&config(8));
        let vector = |salt: f32| {
            let data: Vec<f32> = (0..16).map(|i| (salt + i as f32 * 0.7).sin()).collect();
            Tensor::<Flex, 2>::from_data(TensorData::new(data, [1, 16]), &FlexDevice)
        };
        // Two query heads, two key heads; the products of the first heads and of the second.
        let products = |at: usize, from: usize| -> Vec<f32> {
            let turn = |position| rotary.at::<Flex>(&[vec![position]], (2, 2), &FlexDevice);
            let query = numbers(turn(at).query(vector(0.3), 1));
            let key = numbers(turn(from).key(vector(1.9), 1));
            let product = |head: usize| (head * 8..head * 8 + 8).map(|i| query[i] * key[i]).sum();
            vec![product(0), product(1)]
        };
        for (near, far) in products(5, 2).into_iter().zip(products(105, 102)) {
            assert!((near - far).abs() < 1e-4, "{near} {far}");
        }
        assert!((products(5, 2)[0] - products(5, 3)[0]).abs() > 1e-2);
    }

    #[test]
    fn rows_turn_by_their_own_positions() {
        let rotary = Rotary::new(&config(4));
        let rows: Vec<f32> = (0..32).map(|i| i as f32).collect();
        let rows = Tensor::<Flex, 2>::from_data(TensorData::new(rows, [4, 8]), &FlexDevice);
        let positions = [vec![3, 4], vec![7, 8]];
        let both = rotary.at::<Flex>(&positions, (2, 2), &FlexDevice).key(rows.clone(), 2);
        for (row, positions) in positions.into_iter().enumerate() {
            let range = 2 * row..2 * row + 2;
            let alone = rotary.at::<Flex>(&[positions], (2, 2), &FlexDevice);
            let alone = alone.key(rows.clone().slice([range.clone(), 0..8]), 1);
            assert_eq!(numbers(alone), numbers(both.clone().slice([range, 0..8])));
        }
    }

    #[test]
    fn slow_turns_are_slowed_and_fast_ones_kept() {
        let scaling = RopeScaling {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 1000,
        };
        let frequency = |wavelength: f64| 2.0 * PI / wavelength;
        let rescaled =
            |wavelength| rescale(frequency(wavelength), Some(&scaling)) / frequency(wavelength);
        assert!((rescaled(249.0) - 1.0).abs() < 1e-12);
        assert!((rescaled(1001.0) - 0.125).abs() < 1e-12);
        // 1000 / 400 = 2.5 lies halfway between 1 and 4: half kept, half slowed.
        assert!((rescaled(400.0) - (0.5 + 0.5 / 8.0)).abs() < 1e-12);
    }
}
