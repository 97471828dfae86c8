//! Every operation on tensors gives on a graphics card, or on the software that stands in for one, what it gives on the CPU.
//!
//! ```text
//! cargo test -p kernels --features wgpu --test devices -- --nocapture --test-threads=1
//! cargo test -p kernels --features cuda --test devices -- --nocapture --test-threads=1
//! ```
//!
//! There operations are made of burn's primitives, here they have forward and backward passes of their own. Without a card
//! and without a driver that does without one (Debian: `mesa-vulkan-drivers`) there is nothing to compare, and the tests
//! say so. With both features the card is that of CUDA.
#![cfg(any(feature = "wgpu", feature = "cuda"))]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it was run on"
)]

#[path = "devices/attention.rs"]
mod attention;
#[path = "devices/compare.rs"]
mod compare;

use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Int, Tensor, TensorData};
use compare::{
    Card, Forward, Matrix, Operation, PRODUCTS, Passes, ROUNDING, agrees, card, computes_alike,
    few_cases, numbers, size_of_sum,
};
use kernels::{
    Activation, AdamW, Angles, Moving, Target, activate, gated, layer_norm, product, project,
    project_each, project_transposed, rms_norm, rotate, row_sums, select_rows, sum_of_squares,
    token_log_probs, token_log_probs_for_training,
};
use proptest::prelude::*;
use proptest::sample::Index;

/// One number as often as others: it takes other ways.
fn one_or_up_to(most: usize) -> impl Strategy<Value = usize> {
    prop_oneof![Just(1), 1..=most]
}

const EPSILON: f32 = 1e-5;

/// Positions whose numbers are of very different sizes, and all 0 at some; `[positions, model]`.
#[derive(Debug, Clone, Copy)]
struct Normed([usize; 2]);

/// What a position is multiplied by, and how large its largest number is then.
struct Standardised {
    scale: f32,
    largest: f32,
}

impl Normed {
    fn x(self) -> Matrix {
        let mut x = Matrix::wave(self.0, 0.37, 4.0);
        let sizes = [1.0_f32, 0.0, 1.0 / 1024.0, 1024.0].into_iter().cycle();
        for (row, size) in x.numbers.chunks_mut(self.0[1]).zip(sizes) {
            for x in row {
                *x *= size;
            }
        }
        x
    }

    /// Between -0.5 and 1.5.
    fn weight(self) -> Matrix {
        let mut weight = Matrix::wave([1, self.0[1]], 0.11, 1.0);
        for number in &mut weight.numbers {
            *number += 0.5;
        }
        weight
    }

    fn bias(self) -> Matrix {
        Matrix::wave([1, self.0[1]], 0.23, 1.0)
    }

    /// If `centred`, the mean was taken off before: of a difference, rounding leaves a share of what it is taken of.
    fn standardised(self, centred: bool) -> Vec<Standardised> {
        let of_row = |row: &[f32]| {
            let count = row.len() as f32;
            let mean = if centred { row.iter().sum::<f32>() / count } else { 0.0 };
            let square = row.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / count;
            let scale = (square + EPSILON).sqrt().recip();
            let largest = row.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
            Standardised { scale, largest: scale * largest }
        };
        let x = self.x();
        x.numbers.chunks(self.0[1]).map(of_row).collect()
    }

    /// Of the result, of the gradient of `x`, which is `scale (u - mean(u) - z mean(u z))`, and of that of the weight, a sum
    /// over positions.
    fn sizes(self, centred: bool) -> [Vec<f32>; 3] {
        let rows = self.standardised(centred);
        let largest = rows.iter().fold(0.0_f32, |most, row| most.max(row.largest));
        let of_x = |row: &Standardised| 1.5 * row.scale * (2.0 + row.largest.powi(2));
        [
            rows.iter().map(|row| 1.0 + 1.5 * row.largest).collect(),
            rows.iter().map(of_x).collect(),
            vec![size_of_sum(rows.len()) * largest],
        ]
    }
}

struct RmsNorm(Normed);

impl Operation<2> for RmsNorm {
    const TOLERANCE: f32 = ROUNDING;

    fn operands(&self) -> [Matrix; 2] {
        [self.0.x(), self.0.weight()]
    }

    fn apply<B: Backend>(&self, [x, weight]: [Tensor<B, 2>; 2]) -> Tensor<B, 2> {
        rms_norm(x, weight.flatten(0, 1), f64::from(EPSILON))
    }

    fn sizes(&self) -> Passes<2> {
        let [result, x, weight] = self.0.sizes(false);
        Passes { result, gradients: [x, weight] }
    }
}

struct LayerNorm(Normed);

impl Operation<3> for LayerNorm {
    const TOLERANCE: f32 = ROUNDING;

    fn operands(&self) -> [Matrix; 3] {
        [self.0.x(), self.0.weight(), self.0.bias()]
    }

    fn apply<B: Backend>(&self, [x, weight, bias]: [Tensor<B, 2>; 3]) -> Tensor<B, 2> {
        layer_norm(x, weight.flatten(0, 1), bias.flatten(0, 1), f64::from(EPSILON))
    }

    fn sizes(&self) -> Passes<3> {
        let [result, x, weight] = self.0.sizes(true);
        Passes { result, gradients: [x, weight, vec![size_of_sum(self.0.0[0])]] }
    }
}

const ACTIVATIONS: [Activation; 3] = [Activation::Silu, Activation::Gelu, Activation::GeluTanh];

/// Numbers of a size, with a gate and without.
#[derive(Clone, Copy)]
struct Activated {
    activation: Activation,
    shape: [usize; 2],
    size: f32,
}

impl Operation<1> for Activated {
    const TOLERANCE: f32 = ROUNDING;

    fn operands(&self) -> [Matrix; 1] {
        [Matrix::wave(self.shape, 0.37, self.size)]
    }

    fn apply<B: Backend>(&self, [x]: [Tensor<B, 2>; 1]) -> Tensor<B, 2> {
        activate(self.activation, x)
    }

    /// What is left of a number may be tiny, but is a share of the number; the slope is one of 1.
    fn sizes(&self) -> Passes<1> {
        Passes { result: vec![self.size], gradients: [vec![1.0]] }
    }
}

struct Gated(Activated);

impl Operation<2> for Gated {
    const TOLERANCE: f32 = ROUNDING;

    fn operands(&self) -> [Matrix; 2] {
        let [gate] = self.0.operands();
        [gate, Matrix::wave(self.0.shape, 0.11, 4.0)]
    }

    fn apply<B: Backend>(&self, [gate, up]: [Tensor<B, 2>; 2]) -> Tensor<B, 2> {
        gated(self.0.activation, gate, up)
    }

    fn sizes(&self) -> Passes<2> {
        let size = self.0.size;
        Passes { result: vec![4.0 * size], gradients: [vec![4.0], vec![size]] }
    }
}

/// Rows that share the angles of their positions; `rest` dimensions of a head do not turn.
struct Rotated {
    heads: usize,
    frequencies: Vec<f32>,
    rest: usize,
    positions: Vec<usize>,
    rows: usize,
    scale: f32,
}

impl Rotated {
    fn head_dim(&self) -> usize {
        2 * self.frequencies.len() + self.rest
    }
}

impl Operation<1> for Rotated {
    const TOLERANCE: f32 = PRODUCTS;

    fn operands(&self) -> [Matrix; 1] {
        let shape = [self.rows * self.positions.len(), self.heads * self.head_dim()];
        [Matrix::wave(shape, 0.7, 1.0)]
    }

    fn apply<B: Backend>(&self, [x]: [Tensor<B, 2>; 1]) -> Tensor<B, 2> {
        let Self { heads, frequencies, positions, scale, .. } = self;
        let head_dim = self.head_dim();
        let angles = Angles::<B>::new(positions, frequencies, head_dim, &[*heads], &x.device());
        rotate(x, &angles, *scale)
    }

    fn sizes(&self) -> Passes<1> {
        Passes { result: vec![self.scale], gradients: [vec![self.scale]] }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    AsItIs,
    Transposed,
    PerhapsOneColumn,
    BesideAnother,
}

const WAYS: [Way; 4] = [Way::AsItIs, Way::Transposed, Way::PerhapsOneColumn, Way::BesideAnother];

/// `[rows, inner]` times `[inner, outer]`.
struct Product {
    way: Way,
    sizes: [usize; 3],
}

impl Operation<2> for Product {
    const TOLERANCE: f32 = PRODUCTS;

    fn operands(&self) -> [Matrix; 2] {
        let [rows, inner, outer] = self.sizes;
        let weight = if self.way == Way::Transposed { [outer, inner] } else { [inner, outer] };
        [Matrix::wave([rows, inner], 0.37, 1.0), Matrix::wave(weight, 0.61, 1.0)]
    }

    fn apply<B: Backend>(&self, [x, weight]: [Tensor<B, 2>; 2]) -> Tensor<B, 2> {
        match self.way {
            Way::AsItIs => project(x, weight),
            Way::Transposed => project_transposed(x, weight),
            Way::PerhapsOneColumn => product(x, weight),
            Way::BesideAnother => {
                let [one, other] = project_each(x, [weight.clone(), weight * 0.5]);
                other + one * 0.5
            }
        }
    }

    fn sizes(&self) -> Passes<2> {
        let [rows, inner, outer] = self.sizes.map(|count| vec![size_of_sum(count)]);
        Passes { result: inner, gradients: [outer, rows] }
    }
}

struct RowSums([usize; 2]);

impl Operation<1> for RowSums {
    const TOLERANCE: f32 = ROUNDING;

    fn operands(&self) -> [Matrix; 1] {
        [Matrix::wave(self.0, 0.37, 1.0)]
    }

    fn apply<B: Backend>(&self, [x]: [Tensor<B, 2>; 1]) -> Tensor<B, 2> {
        row_sums(x)
    }

    fn sizes(&self) -> Passes<1> {
        Passes { result: vec![size_of_sum(self.0[1])], gradients: [vec![1.0]] }
    }
}

/// Of so many rows, those at some places.
struct Selected {
    rows: usize,
    width: usize,
    places: Vec<i64>,
}

impl Operation<1> for Selected {
    const TOLERANCE: f32 = ROUNDING;

    fn operands(&self) -> [Matrix; 1] {
        [Matrix::wave([self.rows, self.width], 0.37, 1.0)]
    }

    fn apply<B: Backend>(&self, [x]: [Tensor<B, 2>; 1]) -> Tensor<B, 2> {
        let places = TensorData::new(self.places.clone(), [self.places.len()]);
        let places = Tensor::<B, 1, Int>::from_data(places, &x.device());
        select_rows(x, places)
    }

    fn sizes(&self) -> Passes<1> {
        Passes { result: vec![0.0], gradients: [vec![1.0]] }
    }
}

struct LogProbs {
    /// Positions, model and vocabulary.
    sizes: [usize; 3],
    targets: Vec<Target>,
    entropy: bool,
    /// Of the states.
    size: f32,
}

impl Operation<2> for LogProbs {
    const TOLERANCE: f32 = PRODUCTS;

    fn operands(&self) -> [Matrix; 2] {
        let [positions, model, vocabulary] = self.sizes;
        [
            Matrix::wave([positions, model], 0.37, self.size),
            Matrix::wave([vocabulary, model], 0.73, 1.0),
        ]
    }

    fn apply<B: Backend>(&self, [states, weight]: [Tensor<B, 2>; 2]) -> Tensor<B, 2> {
        token_log_probs(states, weight, &self.targets, self.entropy)
    }

    fn learn<B: AutodiffBackend>(&self, [states, weight]: [Tensor<B, 2>; 2]) -> Tensor<B, 2> {
        token_log_probs_for_training(states, weight, &self.targets, self.entropy)
    }

    /// What rounding does to logits grows with them, and goes on to probabilities.
    fn sizes(&self) -> Passes<2> {
        let logits = self.size * size_of_sum(self.sizes[1]);
        Passes { result: vec![logits], gradients: [vec![logits], vec![logits * self.size]] }
    }
}

#[test]
fn no_targets_have_no_log_probs() {
    let Some(device) = card::<Card>() else { return };
    let [states, weight] =
        [[3, 2], [5, 2]].map(|shape| Matrix::wave(shape, 0.37, 1.0).tensor::<Card>(&device));
    for (entropy, columns) in [(false, 1), (true, 2)] {
        let found = token_log_probs(states.clone(), weight.clone(), &[], entropy);
        assert_eq!(found.dims(), [0, columns]);
    }
}

struct Squares([usize; 2]);

impl Forward for Squares {
    fn compute<B: Backend>(&self, device: &B::Device) -> Vec<f32> {
        numbers(sum_of_squares(Matrix::wave(self.0, 0.37, 1.0).tensor::<B>(device)))
    }
}

/// Three steps from a number on.
struct Steps {
    length: usize,
    time: u64,
    weight_decay: f64,
    gradient_scale: f32,
}

impl Forward for Steps {
    /// Weights, means of gradients and means of their squares.
    fn compute<B: Backend>(&self, device: &B::Device) -> Vec<f32> {
        let shape = [1, self.length];
        let line = |salt| Matrix::wave(shape, salt, 2.0).tensor::<B>(device).reshape([self.length]);
        let zeros = || Tensor::<B, 1>::zeros([self.length], device);
        let mut moving = Moving { weights: line(0.37), mean: zeros(), square: zeros() };
        for (time, salt) in (self.time..).zip([0.11, 0.23, 0.31]) {
            let step = AdamW {
                learning_rate: 0.1,
                beta_1: 0.9,
                beta_2: 0.95,
                epsilon: 1e-8,
                weight_decay: self.weight_decay,
                time,
                gradient_scale: f64::from(self.gradient_scale),
            };
            moving = step.step(moving, line(salt));
        }
        let Moving { weights, mean, square } = moving;
        [weights, mean, square].map(numbers).concat()
    }
}

proptest! {
    #![proptest_config(few_cases())]

    #[test]
    fn norms(positions in one_or_up_to(40), model in one_or_up_to(70)) {
        let normed = Normed([positions, model]);
        agrees(&RmsNorm(normed))?;
        agrees(&LayerNorm(normed))?;
    }

    #[test]
    fn activations(
        rows in one_or_up_to(40),
        width in one_or_up_to(70),
        size in prop_oneof![Just(0.5_f32), Just(4.0), Just(64.0)],
    ) {
        for activation in ACTIVATIONS {
            let activated = Activated { activation, shape: [rows, width], size };
            agrees(&activated)?;
            agrees(&Gated(activated))?;
        }
    }

    #[test]
    fn rotations(
        heads in 1_usize..5,
        frequencies in prop::collection::vec(0.0_f32..1.0, 0..7),
        rest in 0_usize..4,
        positions in prop::collection::vec(0_usize..100_000, 1..30),
        rows in 1_usize..5,
        scale in prop_oneof![Just(1.0_f32), 0.1_f32..3.0],
    ) {
        let rest = if frequencies.is_empty() { rest + 1 } else { rest };
        agrees(&Rotated { heads, frequencies, rest, positions, rows, scale })?;
    }

    #[test]
    fn products(
        rows in one_or_up_to(80),
        inner in one_or_up_to(90),
        outer in one_or_up_to(100),
    ) {
        for way in WAYS {
            agrees(&Product { way, sizes: [rows, inner, outer] })?;
        }
    }

    #[test]
    fn sums(rows in one_or_up_to(80), width in one_or_up_to(90)) {
        agrees(&RowSums([rows, width]))?;
        computes_alike(&Squares([rows, width]), &[0.0], ROUNDING)?;
    }

    #[test]
    fn selections(width in one_or_up_to(40), places in prop::collection::vec(0_i64..30, 1..60)) {
        agrees(&Selected { rows: 30, width, places })?;
    }

    #[test]
    fn log_probs(
        positions in one_or_up_to(40),
        model in one_or_up_to(20),
        vocabulary in one_or_up_to(150),
        asked in prop::collection::vec((any::<Index>(), any::<Index>()), 1..50),
    ) {
        let target = |(position, token): &(Index, Index)| Target {
            position: position.index(positions),
            token: token.index(vocabulary),
        };
        for (entropy, size) in [(false, 1.0), (true, 1.0), (false, 64.0), (true, 64.0)] {
            let targets = asked.iter().map(target).collect();
            agrees(&LogProbs { sizes: [positions, model, vocabulary], targets, entropy, size })?;
        }
    }

    #[test]
    fn optimiser_steps(
        length in one_or_up_to(300),
        time in 1_u64..2000,
        weight_decay in 0.0_f64..0.5,
        gradient_scale in 0.01_f32..1.0,
    ) {
        let steps = Steps { length, time, weight_decay, gradient_scale };
        // Squares are added alone, and nothing cancels.
        computes_alike(&steps, &[2.0, gradient_scale, 0.0], ROUNDING)?;
    }
}
