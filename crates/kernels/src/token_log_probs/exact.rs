//! Log-probabilities, entropies and their backward pass in double precision.

use super::Target;
use crate::exact::{ALLOWED, Exact};
use crate::tracked::tests::{numbers, wave};
use burn::tensor::{Tensor, backend::Backend};
use burn_flex::{Flex, FlexDevice};

/// Operands, and what is asked for.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) positions: usize,
    pub(super) model: usize,
    pub(super) vocabulary: usize,
    pub(super) targets: Vec<Target>,
    /// About that of the greatest logits.
    pub(super) size: f32,
}

impl Case {
    pub(super) fn operands<B: Backend<Device = FlexDevice>>(&self) -> [Tensor<B, 2>; 2] {
        let size = self.size / (self.model as f32).sqrt();
        [
            wave([self.positions, self.model], 0.37, size),
            wave([self.vocabulary, self.model], 0.73, 1.0),
        ]
    }

    /// The gradient of the result, of one column or two.
    pub(super) fn gradient<B: Backend<Device = FlexDevice>>(&self, columns: usize) -> Tensor<B, 2> {
        wave([self.targets.len(), columns], 0.9, 1.0)
    }

    /// The result and the gradients of states and weight.
    pub(super) fn exact(&self, columns: usize) -> [Vec<Exact>; 3] {
        let [states, weight] = self.operands::<Flex>().map(doubled);
        let gradient = doubled(self.gradient(columns));
        let mut result = vec![NOTHING; self.targets.len() * columns];
        let mut of_states = vec![NOTHING; states.len()];
        let mut of_weight = vec![NOTHING; weight.len()];
        for position in 0..self.positions {
            let place = position * self.model..(position + 1) * self.model;
            let state = &states[place.clone()];
            let softmax = Softmax::new(state, &weight);
            let mut asked = Vec::new();
            for (index, target) in self.targets.iter().enumerate() {
                if target.position == position {
                    let own = index * columns..(index + 1) * columns;
                    let found = [softmax.log_prob(target.token), softmax.entropy()];
                    result[own.clone()].copy_from_slice(&found[..columns]);
                    asked.push((target.token, &gradient[own]));
                }
            }
            let rows = weight.chunks_exact(self.model).zip(of_weight.chunks_exact_mut(self.model));
            for (of_logit, (weight, of_weight)) in softmax.backward(&asked).iter().zip(rows) {
                add(&mut of_states[place.clone()], of_logit, weight);
                add(of_weight, of_logit, state);
            }
        }
        [result, of_states, of_weight]
    }
}

const NOTHING: Exact = Exact { value: 0.0, parts: 0.0 };

/// What is smaller may be 0 in single precision.
const TINY: f64 = 1e-25;

fn doubled(x: Tensor<Flex, 2>) -> Vec<f64> {
    numbers(x).into_iter().map(f64::from).collect()
}

fn add(sums: &mut [Exact], factor: &Exact, numbers: &[f64]) {
    for (sum, x) in sums.iter_mut().zip(numbers) {
        sum.value += factor.value * x;
        sum.parts += factor.parts * x.abs();
    }
}

struct Softmax {
    log_probs: Vec<f64>,
    entropy: f64,
    /// What the size of the logits lets rounding do to a log-probability, and to the share of a probability, in units of
    /// what is allowed. Nothing else grows with the logits.
    rounding: f64,
}

impl Softmax {
    fn new(state: &[f64], weight: &[f64]) -> Self {
        let sum_of_products = |weight: &[f64]| {
            let products = state.iter().zip(weight).map(|(a, b)| a * b);
            products.fold((0.0, 0.0), |(sum, size), x| (sum + x, x.abs() + size))
        };
        let logits: Vec<(f64, f64)> =
            weight.chunks_exact(state.len()).map(sum_of_products).collect();
        let largest =
            logits.iter().fold(f64::NEG_INFINITY, |most: f64, (logit, _)| most.max(*logit));
        let size = logits.iter().fold(0.0, |most: f64, (_, size)| most.max(*size));
        let sum = logits.iter().map(|(logit, _)| (logit - largest).exp()).sum::<f64>();
        let log_sum = largest + sum.ln();
        let log_probs: Vec<f64> = logits.iter().map(|(logit, _)| logit - log_sum).collect();
        let entropy = -log_probs.iter().map(|log_p| log_p.exp() * log_p).sum::<f64>();
        // A product for every dimension, the logarithm, its sum with the maximum and what is taken off it are rounded.
        let roundings = state.len() as f64 + 3.0;
        let rounding = roundings * f64::from(f32::EPSILON) / 2.0 * size / ALLOWED;
        Self { log_probs, entropy, rounding }
    }

    /// The logarithm is that of a sum of numbers of which the greatest is 1.
    fn log_prob(&self, token: usize) -> Exact {
        let value = self.log_probs[token];
        Exact { value, parts: 1.0 + value.abs() + self.rounding }
    }

    /// Rounding changes every probability by a share of it, and thereby this by a share.
    fn entropy(&self) -> Exact {
        Exact { value: self.entropy, parts: (1.0 + self.entropy) * (1.0 + self.rounding) }
    }

    /// The gradients of the logits from those of what is asked for of some tokens: their log-probabilities and, if there are
    /// two, the entropy.
    fn backward(&self, asked: &[(usize, &[f64])]) -> Vec<Exact> {
        let column = |column: usize| {
            let numbers = || asked.iter().filter_map(move |(_, g)| g.get(column));
            (numbers().sum::<f64>(), numbers().map(|x| x.abs()).sum::<f64>())
        };
        let ((g, g_parts), (h, h_parts)) = (column(0), column(1));
        let of_any = |log_p: &f64| {
            let p = log_p.exp();
            let entropy_parts = h_parts * (log_p.abs() + 2.0 * (1.0 + self.entropy));
            Exact {
                value: -p * (g + h * (log_p + self.entropy)),
                parts: p * (g_parts + entropy_parts) * (1.0 + self.rounding) + TINY,
            }
        };
        let mut of_logits: Vec<Exact> = self.log_probs.iter().map(of_any).collect();
        for (token, gradient) in asked {
            of_logits[*token].value += gradient[0];
            of_logits[*token].parts += gradient[0].abs();
        }
        of_logits
    }
}
