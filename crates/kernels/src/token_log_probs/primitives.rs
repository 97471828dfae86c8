//! Log-probabilities of burn's operations, for every backend.

use super::Target;
use crate::one_column::row_sums;
use crate::project::project_transposed;
use burn::tensor::{DType, FloatDType, Int, Tensor, TensorData, backend::Backend};

/// So many logits exist at the same time, or those of one position.
const LOGITS: usize = 1 << 26;

/// Positions whose logits exist at the same time.
pub(super) fn positions_at_once(vocabulary: usize) -> usize {
    (LOGITS / vocabulary).max(1)
}

/// As [`super::token_log_probs`], `at_once` positions at a time if nothing learns. What learns keeps all its logits.
pub(super) fn by_blocks<B: Backend>(
    states: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    targets: &[Target],
    entropy: bool,
    at_once: usize,
) -> Tensor<B, 2> {
    if targets.is_empty() {
        return nothing(&states, entropy);
    }
    let [positions, _] = states.dims();
    if B::ad_enabled(&states.device()) || positions <= at_once {
        return of_block(states, weight, targets, entropy);
    }
    let mut order: Vec<usize> = (0..targets.len()).collect();
    order.sort_by_key(|&index| targets[index].position);
    let blocks =
        order.chunk_by(|&a, &b| targets[a].position / at_once == targets[b].position / at_once);
    let parts = blocks.map(|block| {
        let first = targets[block[0]].position / at_once * at_once;
        let own =
            |&index: &usize| Target { position: targets[index].position - first, ..targets[index] };
        let own: Vec<Target> = block.iter().map(own).collect();
        let states = states.clone().narrow(0, first, at_once.min(positions - first));
        of_block(states, weight.clone(), &own, entropy)
    });
    let sorted = Tensor::cat(parts.collect(), 0);
    let mut places = vec![0; order.len()];
    order.iter().enumerate().for_each(|(place, &index)| places[index] = place);
    let places = indices(&places, &sorted.device());
    sorted.select(0, places)
}

/// `[0, 1]` or `[0, 2]`: operations on no numbers are not asked of a backend.
pub(super) fn nothing<B: Backend>(states: &Tensor<B, 2>, entropy: bool) -> Tensor<B, 2> {
    Tensor::zeros([0, 1 + usize::from(entropy)], (&states.device(), wide(states.dtype())))
}

fn of_block<B: Backend>(
    states: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    targets: &[Target],
    entropy: bool,
) -> Tensor<B, 2> {
    let logits = widened(project_transposed(states, weight));
    let log_total = log_sum_exp(logits.clone());
    let positions: Vec<usize> = targets.iter().map(|target| target.position).collect();
    // Out of the logits that are added up, whatever their type: a product with the rows of those tokens alone would spare a
    // gradient of the size of all logits, but may be rounded otherwise, in 16 bits or where a card multiplies numbers of 32 bits
    // with fewer, and a probability must not come out above 1.
    let log_prob = of_tokens(logits.clone(), targets) - rows_at(log_total.clone(), &positions);
    if !entropy {
        return log_prob;
    }
    let log_probs = logits - log_total;
    let entropies = entropy_of(log_probs.clone().exp(), log_probs);
    Tensor::cat(vec![log_prob, rows_at(entropies, &positions)], 1)
}

/// The logit of every target, `[targets, 1]`. As many columns are gathered as the most tokens asked for at one position, so that
/// no row of logits is repeated.
fn of_tokens<B: Backend>(logits: Tensor<B, 2>, targets: &[Target]) -> Tensor<B, 2> {
    let [positions, _] = logits.dims();
    let columns = Columns::new(targets, positions);
    let tokens = columns.tokens::<B>(&logits.device());
    let gathered = logits.gather(1, tokens).reshape([positions * columns.most, 1]);
    rows_at(gathered, &columns.places)
}

/// The tokens that are asked for, a row of as many columns for every position.
pub(super) struct Columns {
    /// `[positions, most]`; the first token of the vocabulary where there is none.
    tokens: Vec<usize>,
    /// The most tokens of a position.
    pub(super) most: usize,
    /// Where each target stands among `tokens`.
    pub(super) places: Vec<usize>,
}

impl Columns {
    pub(super) fn new(targets: &[Target], positions: usize) -> Self {
        let mut tokens = vec![Vec::new(); positions];
        let column = |&Target { position, token }: &Target| {
            tokens[position].push(token);
            tokens[position].len() - 1
        };
        let columns: Vec<usize> = targets.iter().map(column).collect();
        let most = tokens.iter().map(Vec::len).max().unwrap_or(0).max(1);
        for tokens in &mut tokens {
            tokens.resize(most, 0);
        }
        let place = |(target, column): (&Target, usize)| target.position * most + column;
        let places = targets.iter().zip(columns).map(place).collect();
        Self { tokens: tokens.concat(), most, places }
    }

    pub(super) fn tokens<B: Backend>(&self, device: &B::Device) -> Tensor<B, 2, Int> {
        let positions = self.tokens.len() / self.most;
        indices::<B>(&self.tokens, device).reshape([positions, self.most])
    }
}

/// The rows at some places; all of them as they are if that is what is asked for.
fn rows_at<B: Backend>(x: Tensor<B, 2>, places: &[usize]) -> Tensor<B, 2> {
    if places.iter().copied().eq(0..x.dims()[0]) {
        return x;
    }
    let places = indices(places, &x.device());
    x.select(0, places)
}

#[allow(clippy::cast_possible_wrap, reason = "indices of things in memory are far smaller")]
pub(super) fn indices<B: Backend>(indices: &[usize], device: &B::Device) -> Tensor<B, 1, Int> {
    let data: Vec<i64> = indices.iter().map(|&index| index as i64).collect();
    Tensor::from_data(TensorData::new(data, [indices.len()]), device)
}

/// The type of sums over a vocabulary, for which 16 bits are too few.
fn wide(dtype: DType) -> DType {
    match dtype {
        DType::F16 | DType::BF16 => DType::F32,
        _ => dtype,
    }
}

pub(super) fn widened<B: Backend>(x: Tensor<B, 2>) -> Tensor<B, 2> {
    if wide(x.dtype()) == x.dtype() { x } else { x.cast(FloatDType::F32) }
}

/// `log(sum(exp(x)))` of every row, `[rows, width]` to `[rows, 1]`. The maximum guards against overflow and takes no
/// gradient.
pub(super) fn log_sum_exp<B: Backend>(x: Tensor<B, 2>) -> Tensor<B, 2> {
    let largest = x.clone().detach().max_dim(1);
    row_sums((x - largest.clone()).exp()).log() + largest
}

/// `-sum(p log p)`, `[positions, vocabulary]` of both to `[positions, 1]`.
pub(super) fn entropy_of<B: Backend>(probs: Tensor<B, 2>, log_probs: Tensor<B, 2>) -> Tensor<B, 2> {
    // What cannot be has minus infinity and counts nothing.
    let impossible = probs.clone().equal_elem(0.0);
    -row_sums(probs * log_probs.mask_fill(impossible, 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracked::tests::{close, numbers, wave};
    use burn_flex::{Flex, FlexDevice};

    fn matrix(shape: [usize; 2], salt: f32) -> Tensor<Flex, 2> {
        wave(shape, salt, 1.0)
    }

    #[test]
    fn entropies() {
        let ln = f32::ln;
        // One to three; even; even and too large for `exp`.
        let logits = [[0.0, ln(3.0)], [2.0, 2.0], [100.0, 100.0]];
        let logits = Tensor::<Flex, 2>::from_data(logits, &FlexDevice);
        let expected = [ln(4.0) - 0.75 * ln(3.0), ln(2.0), ln(2.0)];
        let log_probs = logits.clone() - log_sum_exp(logits);
        let found = numbers(entropy_of(log_probs.clone().exp(), log_probs));
        assert!(close(&found, &expected, 3e-5, 1.0), "{found:?}");
    }

    #[test]
    fn no_token_is_more_than_certain() {
        // Logits far above 0 for the first token, and as far below 0 for the second.
        let positive = |shape, salt| matrix(shape, salt).abs() + 0.5;
        let certain = positive([1, 67], 0.3);
        let weight = Tensor::cat(vec![certain.clone(), -certain], 0);
        let targets: Vec<Target> = (0..200).map(|position| Target { position, token: 0 }).collect();
        let found = numbers(of_block(positive([200, 67], 0.7), weight, &targets, false));
        assert!(close(&found, &[0.0; 200], 3e-5, 1.0), "{found:?}");
        assert!(found.iter().all(|&log_prob| log_prob <= 0.0), "{found:?}");
    }

    #[test]
    fn block_by_block_as_at_once() {
        let (states, weight) = (matrix([7, 3], 0.7), matrix([11, 3], 0.3));
        let target = |i: usize| Target { position: i * 4 % 7, token: i * 5 % 11 };
        let targets: Vec<Target> = (0..9).map(target).collect();
        let expected = numbers(of_block(states.clone(), weight.clone(), &targets, true));
        for at_once in [1, 3, 7] {
            let found = by_blocks(states.clone(), weight.clone(), &targets, true, at_once);
            assert!(close(&numbers(found), &expected, 1e-5, 1.0), "{at_once}");
        }
        assert_eq!(by_blocks(states, weight, &[], true, 3).dims(), [0, 2]);
    }

    #[test]
    fn sums_have_32_bits_whatever_the_operands_have() {
        let [states, weight] = [([2, 3], 0.7), ([5, 3], 0.3)]
            .map(|(shape, salt)| matrix(shape, salt).cast(FloatDType::F16));
        let targets = [Target { position: 1, token: 4 }];
        for targets in [&targets[..], &[]] {
            let found = crate::token_log_probs(states.clone(), weight.clone(), targets, true);
            assert_eq!((found.dims(), found.dtype()), ([targets.len(), 2], DType::F32));
        }
    }
}
