//! Backward passes against differences of the formulas in double precision, which share no code with them.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and operands are rounded to 32 bits on purpose"
)]

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::strategy::BalancedCheckpointing;
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Tensor, TensorData};
use burn_flex::{Flex, FlexDevice};
use kernels::{
    Activation, Angles, Heads, Rows, Target, Tree, activate, causal_attention,
    causal_attention_for_training, gated, layer_norm, project, project_each, project_transposed,
    rms_norm, rotate, select_rows, token_log_probs, token_log_probs_for_training,
};
use std::ops::Range;

/// Its operations are those of other backends.
type Primitives = Autodiff<Flex, BalancedCheckpointing>;

type Learning<B> = fn(Vec<Tensor<B, 2>>) -> Tensor<B, 2>;
type Formula = fn(&[Vec<f64>]) -> Vec<f64>;

/// An operation on matrices, as it is and as a formula over their numbers, row by row.
struct Operation<B: AutodiffBackend> {
    name: &'static str,
    shapes: &'static [[usize; 2]],
    learning: Learning<B>,
    formula: Formula,
}

const EPSILON: f64 = 1e-3;
const HEADS: Heads = Heads { key_value_heads: 2, group: 2, head_dim: 3 };
/// A stem, two branches of it, and a row of its own.
const ROWS: [Range<usize>; 4] = [0..2, 2..4, 4..5, 5..8];

/// What every token sees besides its own row.
const FOLLOWS: [Range<usize>; 8] = [0..0, 0..0, 0..2, 0..2, 0..2, 0..0, 0..0, 0..0];

const WINDOW: usize = 3;
const TARGETS: [[usize; 2]; 5] = [[0, 4], [2, 1], [2, 6], [1, 0], [3, 3]];
const PLACES: [usize; 5] = [3, 0, 3, 1, 3];
const FREQUENCIES: [f32; 2] = [1.0, 0.25];

fn norms_and_rotations<B: AutodiffBackend<Device = FlexDevice>>() -> Vec<Operation<B>> {
    vec![
        Operation {
            name: "rms_norm",
            shapes: &[[3, 5], [1, 5]],
            learning: |x| rms_norm(x[0].clone(), x[1].clone().flatten(0, 1), EPSILON),
            formula: |x| {
                by_row(&x[0], 5, |row| {
                    let mean = row.iter().map(|x| x * x).sum::<f64>() / 5.0;
                    let scale = (mean + EPSILON).sqrt().recip();
                    row.iter().zip(&x[1]).map(|(x, weight)| x * scale * weight).collect()
                })
            },
        },
        Operation {
            name: "layer_norm",
            shapes: &[[3, 5], [1, 5], [1, 5]],
            learning: |x| {
                let [weight, bias] = [1, 2].map(|index: usize| x[index].clone().flatten(0, 1));
                layer_norm(x[0].clone(), weight, bias, EPSILON)
            },
            formula: |x| {
                by_row(&x[0], 5, |row| {
                    let mean = row.iter().sum::<f64>() / 5.0;
                    let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 5.0;
                    let scale = (variance + EPSILON).sqrt().recip();
                    let affine = row.iter().zip(&x[1]).zip(&x[2]);
                    affine.map(|((x, weight), bias)| (x - mean) * scale * weight + bias).collect()
                })
            },
        },
        Operation {
            name: "rotate",
            shapes: &[[3, 10]],
            learning: |x| {
                let angles = Angles::new(&[0, 1, 7], &FREQUENCIES, 5, &[2], &FlexDevice);
                rotate(x[0].clone(), &angles, 0.5)
            },
            formula: |x| {
                let positions = [0.0, 1.0, 7.0];
                let heads = x[0].chunks_exact(5).enumerate();
                heads
                    .flat_map(|(head, x)| turned(x, positions[head / 2]))
                    .map(|x| 0.5 * x)
                    .collect()
            },
        },
    ]
}

/// With a gate and without.
fn activations<B: AutodiffBackend>() -> Vec<Operation<B>> {
    let gated_by = |name, learning: Learning<B>, formula: Formula| {
        let shapes = &[[2, 4], [2, 4]];
        Operation { name, shapes, learning, formula }
    };
    let alone = |name, learning: Learning<B>, formula: Formula| {
        let shapes = &[[2, 4]];
        Operation { name, shapes, learning, formula }
    };
    vec![
        gated_by("gated SiLU", |x| gate(Activation::Silu, &x), |x| times_up(silu, x)),
        gated_by("gated GELU", |x| gate(Activation::Gelu, &x), |x| times_up(gelu, x)),
        gated_by("gated tanh GELU", |x| gate(Activation::GeluTanh, &x), |x| times_up(gelu_tanh, x)),
        alone("SiLU", |x| activate(Activation::Silu, x[0].clone()), |x| each(silu, &x[0])),
        alone("GELU", |x| activate(Activation::Gelu, x[0].clone()), |x| each(gelu, &x[0])),
        alone(
            "tanh GELU",
            |x| activate(Activation::GeluTanh, x[0].clone()),
            |x| each(gelu_tanh, &x[0]),
        ),
    ]
}

fn gate<B: AutodiffBackend>(activation: Activation, x: &[Tensor<B, 2>]) -> Tensor<B, 2> {
    gated(activation, x[0].clone(), x[1].clone())
}

fn each(activation: fn(f64) -> f64, x: &[f64]) -> Vec<f64> {
    x.iter().map(|x| activation(*x)).collect()
}

fn times_up(activation: fn(f64) -> f64, x: &[Vec<f64>]) -> Vec<f64> {
    each(activation, &x[0]).iter().zip(&x[1]).map(|(gate, up)| gate * up).collect()
}

fn attention<B: AutodiffBackend<Device = FlexDevice>>() -> Vec<Operation<B>> {
    let of = |name, learning: Learning<B>, formula: Formula| {
        let shapes = &[[8, 12], [8, 6], [8, 6]];
        Operation { name, shapes, learning, formula }
    };
    let (whole, windowed): (Formula, Formula) =
        (|x| exact_attention(x, 8), |x| exact_attention(x, WINDOW));
    vec![
        of("attention", |x| attended(x, None), whole),
        of("attention through a window", |x| attended(x, Some(WINDOW)), windowed),
        of("attention for training", |x| attended_for_training(x, None), whole),
        of(
            "attention through a window for training",
            |x| attended_for_training(x, Some(WINDOW)),
            windowed,
        ),
    ]
}

fn log_probs<B: AutodiffBackend>() -> Vec<Operation<B>> {
    const SHAPES: &[[usize; 2]] = &[[4, 3], [7, 3]];
    vec![
        Operation {
            name: "log-probabilities and entropy",
            shapes: SHAPES,
            learning: |x| token_log_probs(x[0].clone(), x[1].clone(), &targets(), true),
            formula: exact_log_probs,
        },
        Operation {
            name: "log-probabilities and entropy for training",
            shapes: SHAPES,
            learning: |x| {
                token_log_probs_for_training(x[0].clone(), x[1].clone(), &targets(), true)
            },
            formula: exact_log_probs,
        },
    ]
}

fn products_and_rows<B: AutodiffBackend<Device = FlexDevice>>() -> Vec<Operation<B>> {
    vec![
        Operation {
            name: "project",
            shapes: &[[3, 4], [4, 2]],
            learning: |x| project(x[0].clone(), x[1].clone()),
            formula: |x| by_row(&x[0], 4, |row| of_columns(row, &x[1])),
        },
        Operation {
            name: "project_each",
            shapes: &[[3, 4], [4, 2], [4, 2]],
            learning: |x| {
                let each = project_each(x[0].clone(), [x[1].clone(), x[2].clone()]);
                Tensor::cat(each.to_vec(), 1)
            },
            formula: |x| {
                by_row(&x[0], 4, |row| [of_columns(row, &x[1]), of_columns(row, &x[2])].concat())
            },
        },
        Operation {
            name: "project_transposed",
            shapes: &[[3, 4], [2, 4]],
            learning: |x| project_transposed(x[0].clone(), x[1].clone()),
            formula: |x| {
                by_row(&x[0], 4, |row| {
                    x[1].chunks_exact(4).map(|weight| dot(row, weight)).collect()
                })
            },
        },
        Operation {
            name: "select_rows",
            shapes: &[[4, 3]],
            learning: |x| {
                let places = PLACES.map(|place| i64::try_from(place).unwrap());
                select_rows(x[0].clone(), Tensor::from_data(places, &FlexDevice))
            },
            formula: |x| PLACES.iter().flat_map(|place| x[0][place * 3..][..3].to_vec()).collect(),
        },
    ]
}

/// Those of `weight`, which has two.
fn of_columns(row: &[f64], weight: &[f64]) -> Vec<f64> {
    let column = |index| weight[index..].iter().step_by(2).copied().collect::<Vec<_>>();
    [0, 1].map(|index| dot(row, &column(index))).to_vec()
}

fn targets() -> [Target; 5] {
    TARGETS.map(|[position, token]| Target { position, token })
}

fn exact_log_probs(x: &[Vec<f64>]) -> Vec<f64> {
    let of_target = |&[position, token]: &[usize; 2]| {
        let state = &x[0][position * 3..][..3];
        let logits = x[1].chunks_exact(3).map(|weight| dot(state, weight));
        let logits: Vec<f64> = logits.collect();
        let total = logits.iter().map(|x| x.exp()).sum::<f64>().ln();
        let entropy: f64 = logits.iter().map(|x| (total - x) * (x - total).exp()).sum();
        [logits[token] - total, entropy]
    };
    TARGETS.iter().flat_map(of_target).collect()
}

fn by_row(x: &[f64], width: usize, row: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    x.chunks_exact(width).flat_map(row).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

fn gelu(x: f64) -> f64 {
    x * normal_below(x)
}

fn gelu_tanh(x: f64) -> f64 {
    let root = (2.0 / std::f64::consts::PI).sqrt();
    0.5 * x * (1.0 + (root * (x + 0.044_715 * x.powi(3))).tanh())
}

/// `P(X <= x)` of a standard normal `X`, by Simpson's rule from 0 on.
fn normal_below(x: f64) -> f64 {
    let (parts, density) = (1000, |t: f64| (-0.5 * t * t).exp());
    let step = x / f64::from(parts);
    let inner = (1..parts).map(|i| {
        let factor = if i % 2 == 1 { 4.0 } else { 2.0 };
        factor * density(f64::from(i) * step)
    });
    let integral = (density(0.0) + inner.sum::<f64>() + density(x)) * step / 3.0;
    0.5 + integral / (2.0 * std::f64::consts::PI).sqrt()
}

/// A head of 5 dimensions, of which the pairs (0, 2) and (1, 3) turn.
fn turned(x: &[f64], position: f64) -> [f64; 5] {
    let [first, second] = [0, 1].map(|pair: usize| {
        let (sin, cos) = (position * f64::from(FREQUENCIES[pair])).sin_cos();
        let (x, y) = (x[pair], x[pair + 2]);
        (x * cos - y * sin, y * cos + x * sin)
    });
    [first.0, second.0, first.1, second.1, x[4]]
}

fn trees() -> Vec<Tree> {
    let [stem, first, second, alone] = ROWS;
    vec![Tree { stem, branches: vec![first, second] }, Tree::from(alone)]
}

fn attended<B: AutodiffBackend>(
    operands: Vec<Tensor<B, 2>>,
    window: Option<usize>,
) -> Tensor<B, 2> {
    causal_attention(operands.try_into().unwrap(), &[], HEADS, &Rows::new(trees()), window)
}

fn attended_for_training<B: AutodiffBackend>(
    operands: Vec<Tensor<B, 2>>,
    window: Option<usize>,
) -> Tensor<B, 2> {
    let rows = Rows::new(trees());
    causal_attention_for_training(operands.try_into().unwrap(), HEADS, &rows, window)
}

/// Token by token, head by head.
fn exact_attention(operands: &[Vec<f64>], window: usize) -> Vec<f64> {
    let Heads { key_value_heads, group, head_dim } = HEADS;
    let head = |x: usize, heads: usize, token: usize, head: usize| {
        &operands[x][(token * heads + head) * head_dim..][..head_dim]
    };
    let heads = key_value_heads * group;
    let mut out = Vec::new();
    for (token, follows) in FOLLOWS.into_iter().enumerate() {
        let mut seen: Vec<usize> = follows.collect();
        let own = ROWS.into_iter().find(|row| row.contains(&token)).unwrap();
        seen.extend(own.start..=token);
        let seen = &seen[seen.len().saturating_sub(window)..];
        for query_head in 0..heads {
            let (query, own) = (head(0, heads, token, query_head), query_head / group);
            let of_slot = |&slot: &usize| dot(query, head(1, key_value_heads, slot, own)).exp();
            let weights: Vec<f64> = seen.iter().map(of_slot).collect();
            let total: f64 = weights.iter().sum();
            out.extend((0..head_dim).map(|dimension| {
                let values =
                    seen.iter().map(|&slot| head(2, key_value_heads, slot, own)[dimension]);
                values.zip(&weights).map(|(value, weight)| value * weight / total).sum::<f64>()
            }));
        }
    }
    out
}

/// Numbers that a float holds exactly, so that both sides have the same.
fn numbers(count: usize, salt: f64) -> Vec<f64> {
    let wave = |i: usize| f64::from(((i as f64 + 1.0) * salt).sin() as f32);
    (0..count).map(wave).collect()
}

fn tensor<B: AutodiffBackend<Device = FlexDevice>>(
    numbers: &[f64],
    shape: [usize; 2],
) -> Tensor<B, 2> {
    let data: Vec<f32> = numbers.iter().map(|&x| x as f32).collect();
    Tensor::from_data(TensorData::new(data, shape), &FlexDevice)
}

/// `(f(x + h) - f(x - h)) / 2h` of every number of every operand, with `f` the weighted sum of what comes out.
fn differences<B: AutodiffBackend>(
    operation: &Operation<B>,
    operands: &[Vec<f64>],
    weights: &[f64],
) -> Vec<Vec<f64>> {
    const STEP: f64 = 1e-5;
    let mut operands = operands.to_vec();
    let mut found = operands.clone();
    for (operand, found) in found.iter_mut().enumerate() {
        for (place, found) in found.iter_mut().enumerate() {
            let here = operands[operand][place];
            let [above, below] = [STEP, -STEP].map(|step| {
                operands[operand][place] = here + step;
                dot(&(operation.formula)(&operands), weights)
            });
            operands[operand][place] = here;
            *found = (above - below) / (2.0 * STEP);
        }
    }
    found
}

fn gradients_are_slopes<B: AutodiffBackend<Device = FlexDevice>>() {
    let operations =
        [norms_and_rotations::<B>(), activations(), attention(), log_probs(), products_and_rows()];
    for operation in operations.iter().flatten() {
        let salted = operation.shapes.iter().zip([0.37, 0.73, 1.1]);
        let operands: Vec<Vec<f64>> =
            salted.map(|(shape, salt)| numbers(shape[0] * shape[1], salt)).collect();
        let tensors: Vec<Tensor<B, 2>> = operands
            .iter()
            .zip(operation.shapes)
            .map(|(numbers, &shape)| tensor(numbers, shape).require_grad())
            .collect();
        let result = (operation.learning)(tensors.clone());
        let exact = (operation.formula)(&operands);
        assert_close(operation.name, result.to_data(), &exact);
        let weights = numbers(exact.len(), 0.7);
        let weighted = result.clone() * tensor(&weights, result.dims());
        let gradients = weighted.sum().backward();
        let expected = differences(operation, &operands, &weights);
        for (tensor, expected) in tensors.iter().zip(&expected) {
            assert_close(operation.name, tensor.grad(&gradients).unwrap().into_data(), expected);
        }
    }
}

#[test]
fn fused_gradients_are_slopes() {
    gradients_are_slopes::<Autodiff<Flex>>();
}

#[test]
fn gradients_of_other_backends_are_slopes() {
    gradients_are_slopes::<Primitives>();
}

#[track_caller]
fn assert_close(name: &str, found: TensorData, expected: &[f64]) {
    let found = found.to_vec::<f32>().unwrap();
    assert_eq!(found.len(), expected.len(), "{name}");
    let largest = expected.iter().fold(1.0_f64, |largest, x| largest.max(x.abs()));
    for (found, expected) in found.iter().zip(expected) {
        let off = (f64::from(*found) - expected).abs();
        assert!(off < 2e-6 * largest, "{name}: {found} is not {expected}");
    }
}
