//! Both norms and their backward passes in double precision.

use crate::exact::Exact;
use burn::tensor::{Tensor, TensorData, backend::Backend};
use burn_flex::FlexDevice;

/// Operands of a norm, and the gradient of its result.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// `[positions, model]`.
    pub(crate) shape: [usize; 2],
    pub(crate) x: Vec<f32>,
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
    pub(crate) gradient: Vec<f32>,
    pub(crate) epsilon: f64,
}

impl Case {
    fn new(shape: [usize; 2], x: Vec<f32>) -> Self {
        let [rows, width] = shape;
        let wave = |count: usize, salt: f32| (0..count).map(move |i| (i as f32 * salt).sin());
        Self {
            shape,
            x,
            weight: wave(width, 0.11).map(|x| x + 0.5).collect(),
            bias: wave(width, 0.23).collect(),
            gradient: wave(rows * width, 0.7).collect(),
            epsilon: 1e-5,
        }
    }

    pub(crate) fn wave(shape: [usize; 2]) -> Self {
        Self::new(shape, (0..shape[0] * shape[1]).map(|i| (i as f32 * 0.37).sin() * 9.0).collect())
    }

    /// Zeros, tiny numbers, huge ones, one huge number among small ones, and small ones, a row each. The squares of no row come to
    /// more than 1e38, near the largest number of 32 bits.
    pub(crate) fn extreme(width: usize) -> Self {
        let size = 1e19 / (width as f32).sqrt();
        let row = |size: f32| (0..width).map(move |i| ((i as f32 + 1.0) * 0.7).sin() * size);
        let huge = |(i, x): (usize, f32)| if i == width / 2 { size } else { x };
        let among = row(1.0).enumerate().map(huge);
        let x = row(0.0).chain(row(1e-30)).chain(row(size)).chain(among).chain(row(1.0));
        Self::new([5, width], x.collect())
    }

    /// Numbers of all positions as a tensor.
    pub(crate) fn rows<B: Backend<Device = FlexDevice>>(&self, numbers: &[f32]) -> Tensor<B, 2> {
        Tensor::from_data(TensorData::new(numbers.to_vec(), self.shape), &FlexDevice)
    }

    /// One number a dimension as a tensor.
    pub(crate) fn line<B: Backend<Device = FlexDevice>>(&self, numbers: &[f32]) -> Tensor<B, 1> {
        Tensor::from_data(TensorData::new(numbers.to_vec(), [self.shape[1]]), &FlexDevice)
    }

    /// The result and the gradients of `x`, of the weight and of the bias. If `centred`, the mean of a row is taken off it and
    /// the bias is added.
    pub(crate) fn exact(&self, centred: bool) -> [Vec<Exact>; 4] {
        let width = self.shape[1];
        let [x, weight, bias, gradient] =
            [&self.x, &self.weight, &self.bias, &self.gradient].map(|numbers| doubled(numbers));
        let (mut result, mut of_x) = (Vec::new(), Vec::new());
        let mut of_weight = vec![Sum::default(); width];
        let mut of_bias = of_weight.clone();
        for (x, gradient) in x.chunks_exact(width).zip(gradient.chunks_exact(width)) {
            let Standardised { z, scale } = Standardised::new(x, self.epsilon, centred);
            for ((z, weight), bias) in z.iter().zip(&weight).zip(&bias) {
                let bias = if centred { *bias } else { 0.0 };
                result.push(Exact {
                    value: z.value * weight + bias,
                    parts: z.parts * weight.abs() + bias.abs(),
                });
            }
            for (place, (z, gradient)) in z.iter().zip(gradient).enumerate() {
                of_weight[place].add(gradient * z.value, gradient * z.parts);
                of_bias[place].add(*gradient, *gradient);
            }
            let inner: Vec<f64> =
                gradient.iter().zip(&weight).map(|(g, weight)| g * weight).collect();
            of_x.extend(backward(&inner, &z, scale, centred));
        }
        [result, of_x, finished(of_weight), finished(of_bias)]
    }
}

fn doubled(numbers: &[f32]) -> Vec<f64> {
    numbers.iter().map(|&x| f64::from(x)).collect()
}

fn mean(numbers: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = numbers.len() as f64;
    numbers.sum::<f64>() / count
}

fn largest(numbers: impl Iterator<Item = f64>) -> f64 {
    numbers.fold(0.0, |largest, x| x.abs().max(largest))
}

/// A row of variance 1, or of mean square 1, and what it was multiplied by.
struct Standardised {
    z: Vec<Exact>,
    scale: f64,
}

impl Standardised {
    /// Where the mean is taken off, a number is the difference of two that may be as large as the largest of the row.
    fn new(row: &[f64], epsilon: f64, centred: bool) -> Self {
        let (middle, size) = if centred {
            (mean(row.iter().copied()), largest(row.iter().copied()))
        } else {
            (0.0, 0.0)
        };
        let square = mean(row.iter().map(|x| (x - middle).powi(2)));
        let scale = (square + epsilon).sqrt().recip();
        let z = row.iter().map(|x| {
            let value = (x - middle) * scale;
            Exact { value, parts: value.abs() + size * scale }
        });
        Self { z: z.collect(), scale }
    }
}

/// `scale (u - mean(u) - z mean(u z))`, the second part only if `centred`, which may nearly cancel.
fn backward(u: &[f64], z: &[Exact], scale: f64, centred: bool) -> Vec<Exact> {
    let (middle, middle_size) = if centred {
        (mean(u.iter().copied()), mean(u.iter().map(|u| u.abs())))
    } else {
        (0.0, 0.0)
    };
    let along = mean(u.iter().zip(z).map(|(u, z)| u * z.value));
    let along_size = mean(u.iter().zip(z).map(|(u, z)| u.abs() * z.parts));
    let parts =
        largest(u.iter().copied()) + middle_size + largest(z.iter().map(|z| z.parts)) * along_size;
    u.iter()
        .zip(z)
        .map(|(u, z)| Exact { value: scale * (u - middle - z.value * along), parts: scale * parts })
        .collect()
}

/// A sum over positions.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    value: f64,
    squares: f64,
}

impl Sum {
    fn add(&mut self, value: f64, parts: f64) {
        self.value += value;
        self.squares += parts * parts;
    }
}

/// A sum of numbers of either sign is about as large as the root of their squares; the error of its rounding grows alike.
fn finished(sums: Vec<Sum>) -> Vec<Exact> {
    let finish =
        |Sum { value, squares }: Sum| Exact { value, parts: squares.sqrt().max(value.abs()) };
    sums.into_iter().map(finish).collect()
}
