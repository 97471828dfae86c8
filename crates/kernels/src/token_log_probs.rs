//! Log-probabilities of tokens straight from hidden states. The logits of all positions and tokens need never exist together;
//! on flex, nor do those of all tokens of a large vocabulary.

mod primitives;
mod recomputed;
mod sums;
mod tiles;

use crate::exp::exp;
use crate::flex::{from_numbers, in_order, ordered, to_tensor, vectorised};
use crate::gemm::{Matrix, multiply_into};
use crate::tracked::{Rule, both_tracked, learned, record};
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn_flex::FlexTensor;
use rayon::prelude::*;
use std::sync::Arc;
use sums::{Sums, Total};
use tiles::{Tile, TileSize, rows};

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
/// On flex, with automatic differentiation around it or without, a tile of 4 MiB of logits exists at a time, whatever the
/// vocabulary; the backward pass computes them again and keeps two numbers a position. Elsewhere, and where numbers have not
/// 32 bits, what learns keeps all logits; see [`token_log_probs_for_training`].
///
/// # Shapes
/// `states` `[positions, model]`, `weight` `[vocabulary, model]`, to `[targets, 1]` or `[targets, 2]`.
///
/// # Panics
/// If a target lies beyond the states or the vocabulary, or there is no vocabulary.
pub fn token_log_probs<B: Backend>(
    states: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    targets: &[Target],
    entropy: bool,
) -> Tensor<B, 2> {
    check(&states, &weight, targets);
    match fused(states, weight, targets, entropy) {
        Ok(log_probs) => log_probs,
        Err((states, weight)) => of_primitives(states, weight, targets, entropy),
    }
}

/// [`token_log_probs`] with a backward pass that, on every backend, computes logits again: those of some positions exist at a
/// time, at most 2^26 or of one position, however many there are.
///
/// # Shapes
/// As for [`token_log_probs`].
///
/// # Panics
/// As [`token_log_probs`].
pub fn token_log_probs_for_training<B: AutodiffBackend>(
    states: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    targets: &[Target],
    entropy: bool,
) -> Tensor<B, 2> {
    check(&states, &weight, targets);
    let at_once = primitives::positions_at_once(weight.dims()[0]);
    let recomputed =
        |(states, weight)| recomputed::token_log_probs(states, weight, targets, entropy, at_once);
    match fused(states, weight, targets, entropy).or_else(recomputed) {
        Ok(log_probs) => log_probs,
        Err((states, weight)) => of_primitives(states, weight, targets, entropy),
    }
}

fn check<B: Backend>(states: &Tensor<B, 2>, weight: &Tensor<B, 2>, targets: &[Target]) {
    let ([positions, _], [vocabulary, _]) = (states.dims(), weight.dims());
    assert!(vocabulary > 0, "there is a vocabulary");
    for Target { position, token } in targets {
        assert!(*position < positions, "position {position} is not one of {positions} states");
        assert!(*token < vocabulary, "token {token} is not one of {vocabulary}");
    }
}

fn of_primitives<B: Backend>(
    states: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    targets: &[Target],
    entropy: bool,
) -> Tensor<B, 2> {
    let at_once = primitives::positions_at_once(weight.dims()[0]);
    primitives::by_blocks(states, weight, targets, entropy, at_once)
}

fn fused<B: Backend>(
    states: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    targets: &[Target],
    entropy: bool,
) -> Result<Tensor<B, 2>, (Tensor<B, 2>, Tensor<B, 2>)> {
    let size = TileSize::of(weight.dims()[0]);
    in_tiles(states, weight, targets, entropy, size)
}

/// The operands, if flex does not hold them as numbers of 32 bits.
fn in_tiles<B: Backend>(
    states: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    targets: &[Target],
    entropy: bool,
    size: TileSize,
) -> Result<Tensor<B, 2>, (Tensor<B, 2>, Tensor<B, 2>)> {
    let asked = Asked::new(targets, states.dims()[0], entropy, size);
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

/// The targets by position, and in what tiles their logits are computed.
#[derive(Debug, Clone)]
struct Asked {
    /// Place among the targets and token, those of one position next to each other.
    targets: Arc<[(usize, usize)]>,
    /// Where those of every position begin, and the end.
    starts: Arc<[usize]>,
    entropy: bool,
    size: TileSize,
}

impl Asked {
    fn new(targets: &[Target], positions: usize, entropy: bool, size: TileSize) -> Self {
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
        Self { targets: by_position.into(), starts: starts.into(), entropy, size }
    }

    fn columns(&self) -> usize {
        if self.entropy { 2 } else { 1 }
    }

    fn of(&self, position: usize) -> &[(usize, usize)] {
        &self.targets[self.starts[position]..self.starts[position + 1]]
    }

    /// The targets in a tile: the place of each among all, and that of its logit among those of the tile.
    fn within(&self, tile: &Tile) -> impl Iterator<Item = (usize, usize)> {
        let width = tile.tokens.len();
        tile.positions.clone().enumerate().flat_map(move |(row, position)| {
            let own = self.of(position).iter();
            let own = own.filter(move |(_, token)| tile.tokens.contains(token));
            own.map(move |(target, token)| (*target, row * width + token - tile.tokens.start))
        })
    }

    fn forward(&self, states: &FlexTensor, weight: &FlexTensor) -> (FlexTensor, Arc<[Total]>) {
        let (positions, vocabulary) = (states.layout().shape()[0], weight.layout().shape()[0]);
        let columns = self.columns();
        let mut result = vec![0.0_f32; self.targets.len() * columns];
        let mut sums = vec![Sums::NONE; positions];
        for tile in self.size.cover(positions, vocabulary) {
            let logits = tile.logits(states, weight);
            add_up(&logits, tile.tokens.len(), &mut sums[tile.positions.clone()]);
            for (target, place) in self.within(&tile) {
                result[target * columns] = logits[place];
            }
        }
        let totals: Arc<[Total]> = sums.into_iter().map(|sums| sums.total(self.entropy)).collect();
        for (position, total) in totals.iter().enumerate() {
            for (target, _) in self.of(position) {
                result[target * columns] -= total.log_sum;
                if self.entropy {
                    result[target * columns + 1] = total.entropy;
                }
            }
        }
        (from_numbers(result, [self.targets.len(), columns]), totals)
    }
}

/// Adds the logits of some positions, `width` each, to the sums of these.
fn add_up(logits: &[f32], width: usize, sums: &mut [Sums]) {
    let rows_at_once = rows_at_once(width);
    let pieces = logits.par_chunks(rows_at_once * width).zip(sums.par_chunks_mut(rows_at_once));
    pieces.for_each(|(rows, sums)| {
        vectorised(
            #[inline(always)]
            || {
                for (row, sums) in rows.chunks_exact(width).zip(sums) {
                    *sums = sums.and(Sums::of(row));
                }
            },
        );
    });
}

fn rows_at_once(width: usize) -> usize {
    (CHUNK / width).max(1)
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
        let mut of_states = wanted[0].then(|| vec![0.0_f32; positions * model]);
        let mut of_weight = wanted[1].then(|| vec![0.0_f32; vocabulary * model]);
        for tile in self.asked.size.cover(positions, vocabulary) {
            let mut of_logits = tile.logits(&self.states, &self.weight);
            self.of_logits(&mut of_logits, &tile, gradient.storage());
            let Tile { positions, tokens } = tile;
            let of_logits = Matrix::new(&of_logits, positions.len(), tokens.len());
            if let Some(of_states) = &mut of_states {
                let weight = Matrix::new(rows(&self.weight, &tokens), tokens.len(), model);
                let own = &mut of_states[positions.start * model..positions.end * model];
                multiply_into(of_logits, weight, own, model, tokens.start > 0);
            }
            if let Some(of_weight) = &mut of_weight {
                let states = Matrix::new(rows(&self.states, &positions), positions.len(), model);
                let own = &mut of_weight[tokens.start * model..tokens.end * model];
                multiply_into(of_logits.transposed(), states, own, model, positions.start > 0);
            }
        }
        [
            of_states.map(|numbers| from_numbers(numbers, [positions, model])),
            of_weight.map(|numbers| from_numbers(numbers, [vocabulary, model])),
        ]
    }
}

impl Kept {
    /// In the place of the logits of a tile.
    fn of_logits(&self, logits: &mut [f32], tile: &Tile, gradient: &[f32]) {
        let width = tile.tokens.len();
        let rows_at_once = rows_at_once(width);
        logits.par_chunks_mut(rows_at_once * width).enumerate().for_each(|(index, rows)| {
            let first = tile.positions.start + index * rows_at_once;
            vectorised(
                #[inline(always)]
                || {
                    for (row, logits) in rows.chunks_exact_mut(width).enumerate() {
                        self.of_any_token(logits, first + row, gradient);
                    }
                },
            );
        });
        for (target, place) in self.asked.within(tile) {
            logits[place] += gradient[target * self.asked.columns()];
        }
    }

    /// In the place of logits of a position, what all tokens get, asked for or not.
    #[inline(always)]
    fn of_any_token(&self, logits: &mut [f32], position: usize, gradient: &[f32]) {
        let Total { log_sum, entropy } = self.totals[position];
        let columns = self.asked.columns();
        let sum_of = |column| -> f32 {
            let targets = self.asked.of(position).iter();
            targets.map(|(target, _)| gradient[target * columns + column]).sum()
        };
        let g = sum_of(0);
        if self.asked.entropy {
            let h = sum_of(1);
            for x in logits {
                let log_p = *x - log_sum;
                let p = exp(log_p);
                // What has no weight may be minus infinity; what is not a number must stay so.
                *x = if p == 0.0 { 0.0 } else { -p * (g + h * (log_p + entropy)) };
            }
        } else {
            for x in logits {
                *x = -g * exp(*x - log_sum);
            }
        }
    }
}

#[cfg(test)]
mod exact;
#[cfg(test)]
mod tests;
