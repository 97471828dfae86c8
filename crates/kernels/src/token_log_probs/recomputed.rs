//! Log-probabilities that learn on any backend, of logits that exist for some positions at a time: the backward pass computes
//! them again.

use super::Target;
use super::primitives::{Columns, by_blocks, entropy_of, indices, log_sum_exp, nothing, widened};
use crate::one_column::{product, row_sums};
use crate::project::project_transposed;
use crate::recorded::{Rule, learning, numbers, record, recorded, tensor};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{IndexingUpdateOp, Tensor};
use std::sync::Arc;

/// As [`super::token_log_probs`]; or the operands, if something else than burn's automatic differentiation learns.
pub(super) fn token_log_probs<B: AutodiffBackend>(
    states: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    targets: &[Target],
    entropy: bool,
    at_once: usize,
) -> Result<Tensor<B, 2>, (Tensor<B, 2>, Tensor<B, 2>)> {
    if targets.is_empty() {
        return Ok(nothing(&states, entropy));
    }
    let [states, weight] =
        recorded([states, weight]).map_err(|[states, weight]| (states, weight))?;
    let kept = Kept::<B::InnerBackend> {
        states: tensor(states.primitive.clone()),
        weight: tensor(weight.primitive.clone()),
        targets: targets.into(),
        entropy,
        at_once,
    };
    let result = by_blocks(kept.states.clone(), kept.weight.clone(), targets, entropy, at_once);
    Ok(learning(record([&states, &weight], numbers(result), |_| kept)))
}

/// What the backward pass needs.
#[derive(Debug, Clone)]
struct Kept<I: Backend> {
    states: Tensor<I, 2>,
    weight: Tensor<I, 2>,
    targets: Arc<[Target]>,
    entropy: bool,
    at_once: usize,
}

impl<I: Backend> Rule<I, 2> for Kept<I> {
    fn gradients(
        self,
        gradient: I::FloatTensorPrimitive,
        wanted: [bool; 2],
    ) -> [Option<I::FloatTensorPrimitive>; 2] {
        self.of_operands(tensor(gradient), wanted).map(|found| found.map(numbers))
    }
}

impl<I: Backend> Kept<I> {
    /// Of states and weight, from that of the result.
    fn of_operands(self, gradient: Tensor<I, 2>, wanted: [bool; 2]) -> [Option<Tensor<I, 2>>; 2] {
        let [positions, _] = self.states.dims();
        let mut of_states = Vec::new();
        let mut of_weight: Option<Tensor<I, 2>> = None;
        for first in (0..positions).step_by(self.at_once) {
            let states = self.states.clone().narrow(0, first, self.at_once.min(positions - first));
            let of_logits = self.of_logits(states.clone(), first, gradient.clone());
            if wanted[0] {
                of_states.push(product(of_logits.clone(), self.weight.clone()));
            }
            if wanted[1] {
                let own = product(of_logits.transpose(), states);
                of_weight = Some(match of_weight {
                    Some(sum) => sum + own,
                    None => own,
                });
            }
        }
        [wanted[0].then(|| Tensor::cat(of_states, 0)), of_weight]
    }

    /// Of the logits of the positions from `first` on, `[positions, vocabulary]`: with the gradients `g` of the log-probabilities
    /// and `h` of the entropy `H`, `sum(g (1(token) - p)) - sum(h) p (log p + H)`.
    fn of_logits(
        &self,
        states: Tensor<I, 2>,
        first: usize,
        gradient: Tensor<I, 2>,
    ) -> Tensor<I, 2> {
        let ([positions, _], dtype, device) = (states.dims(), states.dtype(), states.device());
        let logits = widened(project_transposed(states, self.weight.clone()));
        let (own, targets): (Vec<usize>, Vec<Target>) = self.within(first, positions);
        if own.is_empty() {
            return logits.zeros_like().cast(dtype);
        }
        let log_total = log_sum_exp(logits.clone());
        let columns = Columns::new(&targets, positions);
        let gradient = gradient.select(0, indices(&own, &device));
        let laid = |column: usize| {
            let values = gradient.clone().narrow(1, column, 1);
            let places = indices(&columns.places, &device);
            let none = Tensor::zeros([positions * columns.most, 1], (&device, values.dtype()));
            none.select_assign(0, places, values, IndexingUpdateOp::Add)
                .reshape([positions, columns.most])
        };
        let log_p = logits - log_total;
        let p = log_p.clone().exp();
        let of_log_probs = laid(0);
        let mut of_logits = -(p.clone() * row_sums(of_log_probs.clone()));
        if self.entropy {
            let impossible = p.clone().equal_elem(0.0);
            let entropy = entropy_of(p.clone(), log_p.clone());
            let above_mean = (log_p + entropy).mask_fill(impossible, 0.0);
            of_logits = of_logits - p * above_mean * row_sums(laid(1));
        }
        let tokens = columns.tokens::<I>(&device);
        of_logits.scatter(1, tokens, of_log_probs, IndexingUpdateOp::Add).cast(dtype)
    }

    /// Places of the targets of some positions, and the targets, their positions counted from `first`.
    fn within(&self, first: usize, positions: usize) -> (Vec<usize>, Vec<Target>) {
        let own = self.targets.iter().enumerate();
        let own = own.filter(|(_, target)| (first..first + positions).contains(&target.position));
        own.map(|(place, &Target { position, token })| {
            (place, Target { position: position - first, token })
        })
        .unzip()
    }
}
