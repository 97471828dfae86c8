//! Log-probabilities of tokens straight from hidden states, so that the logits of all positions never exist together.

use crate::exp::exp;
use crate::flex::{from_numbers, in_order, ordered, to_tensor, vectorised};
use crate::gemm::{Matrix, multiply_into};
use crate::lanes::maximum;
use crate::project::project_transposed;
use crate::tracked::{Rule, both_tracked, learned, record};
use burn::tensor::{Tensor, backend::Backend};
use burn_flex::{Flex, FlexTensor};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// Logits that exist at the same time, but for those of [`FEWEST`] positions.
const LOGITS: usize = 1 << 20;

/// Positions whose logits exist at the same time at least: every product reads all output weights, and the backward pass
/// adds a gradient as large as they are.
const FEWEST: usize = 256;

/// Rows of logits that one thread works on at a time hold about so many numbers.
const CHUNK: usize = 1 << 15;

/// A token whose log-probability is asked for, and the place of the state that predicts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Row of the states.
    pub position: usize,
    /// Row of the output weights.
    pub token: usize,
}

/// `log p(token)` of every target, with `p` the softmax of `states weight^T`; behind it, if `entropy`, that of `p` in
/// nats.
///
/// The backward pass computes the logits again: it keeps one number a position, or two.
///
/// # Shapes
/// `states` `[positions, model]`, `weight` `[vocabulary, model]`, to `[targets, 1]` or `[targets, 2]`.
///
/// # Errors
/// The operands, if the backend is not flex, with automatic differentiation around it or without, or their numbers have
/// not 32 bits; there, primitives serve.
///
/// # Panics
/// If a target lies beyond the states or the vocabulary, or there is no vocabulary.
pub fn token_log_probs<B: Backend>(
    states: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    targets: &[Target],
    entropy: bool,
) -> Result<Tensor<B, 2>, (Tensor<B, 2>, Tensor<B, 2>)> {
    assert!(weight.dims()[0] > 0, "there is a vocabulary");
    let asked = Asked::new(targets, states.dims()[0], entropy);
    let (states, weight) = match both_tracked(states, weight) {
        Ok([states, weight]) => {
            let (x, w) = (ordered(states.primitive.clone()), ordered(weight.primitive.clone()));
            let (result, totals) = asked.forward(&x, &w);
            let rule = |_: &FlexTensor| Kept { asked, states: x, weight: w, totals };
            return Ok(learned(record([&states, &weight], result, rule)));
        }
        Err(operands) => operands,
    };
    let states = match in_order(states) {
        Ok(states) => states,
        Err(states) => return Err((states, weight)),
    };
    match in_order(weight) {
        Ok(weight) => Ok(to_tensor(asked.forward(&states, &weight).0)),
        Err(weight) => Err((to_tensor(states), weight)),
    }
}

/// The targets by position.
#[derive(Debug, Clone)]
struct Asked {
    /// Place among the targets and token, those of one position next to each other.
    targets: Arc<[(usize, usize)]>,
    /// Where those of every position begin, and the end.
    starts: Arc<[usize]>,
    entropy: bool,
}

/// What is kept of the logits of a position.
#[derive(Debug, Clone, Copy)]
struct Total {
    /// `log(sum(exp(logits)))`.
    log_sum: f32,
    /// In nats.
    entropy: f32,
}

impl Asked {
    fn new(targets: &[Target], positions: usize, entropy: bool) -> Self {
        let mut starts = vec![0; positions + 1];
        for target in targets {
            starts[target.position + 1] += 1;
        }
        for position in 0..positions {
            starts[position + 1] += starts[position];
        }
        let mut next = starts.clone();
        let mut by_position = vec![(0, 0); targets.len()];
        for (index, target) in targets.iter().enumerate() {
            by_position[next[target.position]] = (index, target.token);
            next[target.position] += 1;
        }
        Self { targets: by_position.into(), starts: starts.into(), entropy }
    }

    fn columns(&self) -> usize {
        if self.entropy { 2 } else { 1 }
    }

    fn of(&self, positions: Range<usize>) -> &[(usize, usize)] {
        &self.targets[self.starts[positions.start]..self.starts[positions.end]]
    }

    fn forward(&self, states: &FlexTensor, weight: &FlexTensor) -> (FlexTensor, Arc<[Total]>) {
        let positions = states.layout().shape()[0];
        let columns = self.columns();
        let mut totals = Vec::with_capacity(positions);
        let mut result = vec![0.0_f32; self.targets.len() * columns];
        for chunk in chunks(positions, weight) {
            let logits = logits(states, weight, &chunk);
            let vocabulary = weight.layout().shape()[0];
            let rows = logits.storage::<f32>();
            let first = totals.len();
            totals.par_extend(
                rows.par_chunks(rows_at_once(vocabulary) * vocabulary).flat_map_iter(|rows| {
                    vectorised(
                        #[inline(always)]
                        || {
                            rows.chunks_exact(vocabulary)
                                .map(|row| self.total(row))
                                .collect::<Vec<_>>()
                        },
                    )
                }),
            );
            for position in chunk.clone() {
                let Total { log_sum, entropy } = totals[position];
                let row = &rows[(position - first) * vocabulary..][..vocabulary];
                for &(target, token) in self.of(position..position + 1) {
                    result[target * columns] = row[token] - log_sum;
                    if self.entropy {
                        result[target * columns + 1] = entropy;
                    }
                }
            }
        }
        (from_numbers(result, [self.targets.len(), columns]), totals.into())
    }

    /// `log(sum(exp(x)))` and `log(sum(exp(x))) - sum(p x)`; the maximum guards against overflow.
    #[inline(always)]
    fn total(&self, logits: &[f32]) -> Total {
        let largest = maximum(logits);
        let mut sums = [0.0_f32; 32];
        let mut weighted = [0.0_f32; 32];
        let mut rest = [0.0_f32; 2];
        let whole = logits.chunks_exact(sums.len());
        for x in whole.remainder() {
            let part = exp(x - largest);
            rest[0] += part;
            rest[1] += if part > 0.0 { part * (x - largest) } else { 0.0 };
        }
        for chunk in whole {
            for ((sum, weighted), x) in sums.iter_mut().zip(&mut weighted).zip(chunk) {
                let part = exp(x - largest);
                *sum += part;
                // What has no weight may be minus infinity.
                *weighted += if part > 0.0 { part * (x - largest) } else { 0.0 };
            }
        }
        let sum = sums.iter().sum::<f32>() + rest[0];
        let log_sum = sum.ln();
        let entropy = if self.entropy {
            log_sum - (weighted.iter().sum::<f32>() + rest[1]) / sum
        } else {
            0.0
        };
        Total { log_sum: largest + log_sum, entropy }
    }
}

/// Positions whose logits exist at the same time.
fn chunks(positions: usize, weight: &FlexTensor) -> impl Iterator<Item = Range<usize>> {
    let vocabulary = weight.layout().shape()[0];
    let count = (LOGITS / vocabulary.max(1)).max(FEWEST);
    (0..positions).step_by(count).map(move |from| from..(from + count).min(positions))
}

fn rows_at_once(vocabulary: usize) -> usize {
    (CHUNK / vocabulary).max(1)
}

fn logits(states: &FlexTensor, weight: &FlexTensor, chunk: &Range<usize>) -> FlexTensor {
    let states: Tensor<Flex, 2> = to_tensor(states.narrow(0, chunk.start, chunk.len()));
    match in_order(project_transposed(states, to_tensor(weight.clone()))) {
        Ok(logits) => logits,
        Err(_) => unreachable!("flex holds products of 32 bits as it held their operands"),
    }
}

/// What the backward pass needs.
#[derive(Debug, Clone)]
struct Kept {
    asked: Asked,
    states: FlexTensor,
    weight: FlexTensor,
    totals: Arc<[Total]>,
}

impl Rule<2> for Kept {
    /// With the gradients `g` of the log-probabilities and `h` of the entropy `H`:
    /// `sum(g (1(token) - p)) - sum(h) p (log p + H)` of the logits, and from there by the product rule.
    fn gradients(self, gradient: FlexTensor, wanted: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let (positions, model) = (self.states.layout().shape()[0], self.states.layout().shape()[1]);
        let vocabulary = self.weight.layout().shape()[0];
        let gradient: &[f32] = gradient.storage();
        let weight = Matrix::new(self.weight.storage(), vocabulary, model);
        let mut of_states = wanted[0].then(|| vec![0.0_f32; positions * model]);
        let mut of_weight = wanted[1].then(|| vec![0.0_f32; vocabulary * model]);
        for chunk in chunks(positions, &self.weight) {
            let mut of_logits = logits(&self.states, &self.weight, &chunk);
            self.of_logits(of_logits.storage_mut(), &chunk, gradient);
            let of_logits = Matrix::new(of_logits.storage(), chunk.len(), vocabulary);
            let place = chunk.start * model..chunk.end * model;
            if let Some(of_states) = &mut of_states {
                multiply_into(of_logits, weight, &mut of_states[place.clone()], model, false);
            }
            if let Some(of_weight) = &mut of_weight {
                let states = &self.states.storage::<f32>()[place];
                let states = Matrix::new(states, chunk.len(), model);
                multiply_into(of_logits.transposed(), states, of_weight, model, chunk.start > 0);
            }
        }
        [
            of_states.map(|numbers| from_numbers(numbers, [positions, model])),
            of_weight.map(|numbers| from_numbers(numbers, [vocabulary, model])),
        ]
    }
}

impl Kept {
    /// In the place of the logits of a chunk of positions.
    fn of_logits(&self, logits: &mut [f32], chunk: &Range<usize>, gradient: &[f32]) {
        let vocabulary = self.weight.layout().shape()[0];
        let columns = self.asked.columns();
        let rows_at_once = rows_at_once(vocabulary);
        logits.par_chunks_mut(rows_at_once * vocabulary).enumerate().for_each(|(index, rows)| {
            let first = chunk.start + index * rows_at_once;
            vectorised(
                #[inline(always)]
                || {
                    for (row, logits) in rows.chunks_exact_mut(vocabulary).enumerate() {
                        let position = first + row;
                        let Total { log_sum, entropy } = self.totals[position];
                        let targets = self.asked.of(position..position + 1);
                        let sum_of = |column| -> f32 {
                            targets
                                .iter()
                                .map(|(target, _)| gradient[target * columns + column])
                                .sum()
                        };
                        let g = sum_of(0);
                        if self.asked.entropy {
                            let h = sum_of(1);
                            for x in logits.iter_mut() {
                                let log_p = *x - log_sum;
                                let p = exp(log_p);
                                // What has no weight may be minus infinity; what is not a number must stay so.
                                *x = if p == 0.0 { 0.0 } else { -p * (g + h * (log_p + entropy)) };
                            }
                        } else {
                            for x in logits.iter_mut() {
                                *x = -g * exp(*x - log_sum);
                            }
                        }
                        for &(target, token) in targets {
                            logits[token] += gradient[target * columns];
                        }
                    }
                },
            );
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::one_column::row_sums;
    use crate::tracked::tests::{Fused, Primitives, close, numbers, wave};
    use burn::tensor::activation::log_softmax;
    use burn::tensor::backend::AutodiffBackend;
    use burn_flex::FlexDevice;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    struct Case {
        positions: usize,
        model: usize,
        vocabulary: usize,
        targets: Vec<Target>,
        size: f32,
    }

    fn operands<B: Backend<Device = FlexDevice>>(case: &Case) -> [Tensor<B, 2>; 2] {
        let size = case.size / (case.model as f32).sqrt();
        [
            wave([case.positions, case.model], 0.37, size),
            wave([case.vocabulary, case.model], 0.73, 1.0),
        ]
    }

    /// Of burn's own operations, `[targets, 2]`.
    fn expected<B: Backend<Device = FlexDevice>>(
        [states, weight]: [Tensor<B, 2>; 2],
        case: &Case,
    ) -> Tensor<B, 2> {
        let log_probs = log_softmax(states.matmul(weight.transpose()), 1);
        let entropies = -row_sums(log_probs.clone().exp() * log_probs.clone());
        let of_targets = case.targets.iter().map(|&Target { position, token }| {
            let log_prob = log_probs.clone().slice([position..position + 1, token..token + 1]);
            let entropy = entropies.clone().slice([position..position + 1, 0..1]);
            Tensor::cat(vec![log_prob, entropy], 1)
        });
        Tensor::cat(of_targets.collect(), 0)
    }

    /// The result and the gradients of states and weight; `columns` of the result count.
    fn learned_numbers<B: AutodiffBackend<Device = FlexDevice>>(
        case: &Case,
        columns: usize,
        ask: impl Fn([Tensor<B, 2>; 2]) -> Tensor<B, 2>,
    ) -> [Vec<f32>; 3] {
        let operands = operands::<B>(case).map(Tensor::require_grad);
        let result = ask(operands.clone()).narrow(1, 0, columns);
        let gradients = (result.clone() * wave::<B, 2>(result.dims(), 0.9, 1.0)).sum().backward();
        let [states, weight] = operands.map(|x| numbers(x.grad(&gradients).unwrap()));
        [numbers(result), states, weight]
    }

    fn fused<B: Backend>(operands: [Tensor<B, 2>; 2], case: &Case, columns: usize) -> Tensor<B, 2> {
        let [states, weight] = operands;
        token_log_probs(states, weight, &case.targets, columns == 2).unwrap()
    }

    fn agrees(case: &Case) -> Result<(), TestCaseError> {
        for columns in [1, 2] {
            let expected = learned_numbers::<Primitives>(case, columns, |x| expected(x, case));
            let found = learned_numbers::<Fused>(case, columns, |x| fused(x, case, columns));
            let plain = numbers(fused::<Flex>(operands(case), case, columns));
            prop_assert_eq!(&plain, &found[0]);
            for (found, expected) in found.iter().zip(&expected) {
                // What rounding does to logits grows with them.
                prop_assert!(close(found, expected, 1e-5, case.size.max(1.0)));
            }
            prop_assert!(found[0].chunks_exact(columns).all(|row| row[0] <= 0.0));
        }
        Ok(())
    }

    #[test]
    fn by_hand() {
        let ln = f32::ln;
        let states = Tensor::<Flex, 2>::from_data([[1.0], [0.0], [100.0]], &FlexDevice);
        let weight = Tensor::from_data([[0.0], [ln(3.0)]], &FlexDevice);
        let target = |position, token| Target { position, token };
        // One to three, even, and one that is certain, in another order.
        let targets = [target(1, 0), target(0, 1), target(2, 1), target(0, 0)];
        let found = numbers(token_log_probs(states, weight, &targets, true).unwrap());
        let uneven = ln(4.0) - 0.75 * ln(3.0);
        let expected = [-ln(2.0), ln(2.0), ln(0.75), uneven, 0.0, 0.0, ln(0.25), uneven];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn what_is_not_a_number_stays_so_and_what_cannot_be_counts_nothing() {
        let states = Tensor::<Flex, 2>::from_data([[1.0], [f32::NAN]], &FlexDevice);
        let weight = Tensor::from_data([[f32::NEG_INFINITY], [2.0]], &FlexDevice);
        let targets = [0, 1].map(|position| Target { position, token: 1 });
        let found = numbers(token_log_probs(states, weight, &targets, true).unwrap());
        assert!(found[0].abs() < 1e-6 && found[1].abs() < 1e-6, "{found:?}");
        assert!(found[2].is_nan() && found[3].is_nan(), "{found:?}");
    }

    #[test]
    fn what_does_not_learn_gets_no_gradient() {
        let case = Case {
            positions: 3,
            model: 2,
            vocabulary: 5,
            targets: vec![Target { position: 1, token: 4 }],
            size: 1.0,
        };
        let [states, weight] = operands::<Fused>(&case);
        let weight = weight.require_grad();
        let gradients = fused([states.clone(), weight.clone()], &case, 1).sum().backward();
        assert!(states.grad(&gradients).is_none());
        assert!(weight.grad(&gradients).is_some());
    }

    #[test]
    fn positions_of_several_chunks_and_extreme_logits() {
        let targets = (0..150).map(|i| Target { position: i * 7 % 300, token: i * 131 % 20_000 });
        let case = |size| Case {
            positions: 300,
            model: 3,
            vocabulary: 20_000,
            targets: targets.clone().collect(),
            size,
        };
        agrees(&case(1.0)).unwrap();
        agrees(&case(200.0)).unwrap();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn agrees_with_primitives(
            positions in 1_usize..40,
            model in 1_usize..20,
            vocabulary in 1_usize..200,
            asked in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..60),
            size in 0.1_f32..8.0,
        ) {
            let target = |(position, token): &(prop::sample::Index, prop::sample::Index)| Target {
                position: position.index(positions),
                token: token.index(vocabulary),
            };
            let targets = asked.iter().map(target).collect();
            agrees(&Case { positions, model, vocabulary, targets, size })?;
        }
    }
}
