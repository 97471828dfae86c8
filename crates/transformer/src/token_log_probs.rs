//! Log-probabilities of tokens, the only place where they are computed.

use crate::batch::{indices, select_positions};
use crate::decoder::Decoder;
use burn::tensor::{DType, FloatDType, Tensor, backend::Backend};
use kernels::{Target, project_transposed, row_sums};
use std::collections::HashMap;

/// Where logits are computed by primitives and nothing learns, so many exist at the same time, or those of one position.
const LOGITS: usize = 1 << 26;

/// Which predictions of a batch are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Targets {
    /// Places of the hidden states that predict, flat as `row * time + t`.
    pub positions: Vec<usize>,
    /// The tokens predicted, one for every position.
    pub tokens: Vec<u32>,
}

/// `log p(token | tokens before it)` at temperature 1 for every target.
///
/// `logit(token) - logsumexp(logits)`; the logits are computed at the asked positions alone, once at each, however many
/// tokens are asked for there, and where nothing learns or the CPU computes, never all of them exist together.
///
/// # Shapes
/// `hidden` `[rows, time, model]` as [`Decoder::hidden`] gives it, to `[targets]`.
pub fn token_log_probs<B: Backend>(
    decoder: &Decoder<B>,
    hidden: Tensor<B, 3>,
    targets: &Targets,
) -> Tensor<B, 1> {
    asked(decoder, hidden, targets, false).squeeze_dim(1)
}

/// [`token_log_probs`] and the entropy, in nats, of the distribution that each target was taken from.
///
/// # Shapes
/// As for [`token_log_probs`], twice.
pub fn token_log_probs_and_entropy<B: Backend>(
    decoder: &Decoder<B>,
    hidden: Tensor<B, 3>,
    targets: &Targets,
) -> (Tensor<B, 1>, Tensor<B, 1>) {
    let both = asked(decoder, hidden, targets, true);
    (both.clone().narrow(1, 0, 1).squeeze_dim(1), both.narrow(1, 1, 1).squeeze_dim(1))
}

/// `[targets, 1]`, or with the entropy `[targets, 2]`.
fn asked<B: Backend>(
    decoder: &Decoder<B>,
    hidden: Tensor<B, 3>,
    Targets { positions, tokens }: &Targets,
    entropy: bool,
) -> Tensor<B, 2> {
    let (distinct, places) = distinct(positions);
    let states = select_positions(hidden, &distinct);
    let target = |(position, &token): (usize, &u32)| Target { position, token: token as usize };
    let targets: Vec<Target> = places.into_iter().zip(tokens).map(target).collect();
    kernels::token_log_probs(states, decoder.output_weights(), &targets, entropy).unwrap_or_else(
        |(states, weight)| {
            let at_once = (LOGITS / weight.dims()[0].max(1)).max(1);
            of_primitives(states, weight, &targets, entropy, at_once)
        },
    )
}

/// The different positions in the order of their first appearance, and for every position its place among them.
fn distinct(positions: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let mut place_of = HashMap::new();
    let mut distinct = Vec::new();
    let places = positions.iter().map(|&position| {
        *place_of.entry(position).or_insert_with(|| {
            distinct.push(position);
            distinct.len() - 1
        })
    });
    let places = places.collect();
    (distinct, places)
}

/// As [`kernels::token_log_probs`], `at_once` positions at a time if nothing learns: what learns keeps all its logits.
fn of_primitives<B: Backend>(
    states: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    targets: &[Target],
    entropy: bool,
    at_once: usize,
) -> Tensor<B, 2> {
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
    Tensor::cat(vec![log_prob, rows_at(entropy_of(logits, log_total), &positions)], 1)
}

/// The logit of every target, `[targets, 1]`. As many columns are gathered as the most tokens asked for at one position, so that
/// no row of logits is repeated.
fn of_tokens<B: Backend>(logits: Tensor<B, 2>, targets: &[Target]) -> Tensor<B, 2> {
    let [positions, _] = logits.dims();
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
    let tokens = indices::<B>(&tokens.concat(), &logits.device()).reshape([positions, most]);
    let gathered = logits.gather(1, tokens).reshape([positions * most, 1]);
    let place = |(target, column): (&Target, usize)| target.position * most + column;
    let places: Vec<usize> = targets.iter().zip(columns).map(place).collect();
    rows_at(gathered, &places)
}

/// The rows at some places; all of them as they are if that is what is asked for.
fn rows_at<B: Backend>(x: Tensor<B, 2>, places: &[usize]) -> Tensor<B, 2> {
    if places.iter().copied().eq(0..x.dims()[0]) {
        return x;
    }
    let places = indices(places, &x.device());
    x.select(0, places)
}

/// Half-precision numbers as 32 bits, since sums over a vocabulary need them.
fn widened<B: Backend>(x: Tensor<B, 2>) -> Tensor<B, 2> {
    match x.dtype() {
        DType::F16 | DType::BF16 => x.cast(FloatDType::F32),
        _ => x,
    }
}

/// `log(sum(exp(x)))` of every row, `[rows, width]` to `[rows, 1]`. The maximum guards against overflow and takes no
/// gradient.
fn log_sum_exp<B: Backend>(x: Tensor<B, 2>) -> Tensor<B, 2> {
    let largest = x.clone().detach().max_dim(1);
    row_sums((x - largest.clone()).exp()).log() + largest
}

/// `-sum(p log p)` with `log p = logits - log_total`, `[positions, 1]`.
fn entropy_of<B: Backend>(logits: Tensor<B, 2>, log_total: Tensor<B, 2>) -> Tensor<B, 2> {
    let log_probs = logits - log_total;
    -row_sums(log_probs.clone().exp() * log_probs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{TensorData, Tolerance, activation::log_softmax};
    use burn_flex::{Flex, FlexDevice};

    fn wave(shape: [usize; 2], salt: f32) -> Tensor<Flex, 2> {
        let data = (0..shape[0] * shape[1]).map(|i| (i as f32 * salt).sin()).collect();
        Tensor::from_data(TensorData::new::<f32, _>(data, shape), &FlexDevice)
    }

    fn assert_close(found: Tensor<Flex, 2>, expected: &[f32]) {
        let expected = TensorData::new(expected.to_vec(), [expected.len(), 1]);
        found.into_data().assert_approx_eq::<f32>(&expected, Tolerance::absolute(3e-5));
    }

    #[test]
    fn entropies() {
        let ln = f32::ln;
        // One to three; even; even and too large for `exp`.
        let logits = [[0.0, ln(3.0)], [2.0, 2.0], [100.0, 100.0]];
        let logits = Tensor::<Flex, 2>::from_data(logits, &FlexDevice);
        let uneven = ln(4.0) - 0.75 * ln(3.0);
        assert_close(entropy_of(logits.clone(), log_sum_exp(logits)), &[uneven, ln(2.0), ln(2.0)]);
    }

    #[test]
    fn only_the_asked_positions_in_the_asked_order() {
        let config = crate::decoder::tests::config();
        let decoder = Decoder::<Flex>::init(&config, 1, &FlexDevice);
        let tokens = crate::pad_right(&[vec![1, 2, 3], vec![4, 5]], &FlexDevice);
        let hidden = decoder.hidden(tokens);
        let table = log_softmax(decoder.logits(hidden.clone().flatten(0, 1)), 1);
        let targets = Targets { positions: vec![3, 0, 1], tokens: vec![5, 2, 0] };
        let found = token_log_probs(&decoder, hidden.clone(), &targets);
        let expected: Vec<f32> = [[3, 5], [0, 2], [1, 0]]
            .map(|[p, t]: [usize; 2]| table.clone().slice([p..p + 1, t..t + 1]).into_scalar())
            .to_vec();
        assert_close(found.clone().unsqueeze_dim(1), &expected);
        let (same, _) = token_log_probs_and_entropy(&decoder, hidden.clone(), &targets);
        assert_eq!(same.into_data(), found.into_data());
        // Several tokens at one position.
        let targets = Targets { positions: vec![3, 1, 3], tokens: vec![5, 0, 7] };
        let found = token_log_probs(&decoder, hidden, &targets);
        let third = table.slice([3..4, 7..8]).into_scalar();
        assert_close(found.unsqueeze_dim(1), &[expected[0], expected[2], third]);
    }

    #[test]
    fn no_token_is_more_than_certain() {
        // Logits far above 0 for the first token, and as far below 0 for the second.
        let positive = |shape, salt| wave(shape, salt).abs() + 0.5;
        let certain = positive([1, 67], 0.3);
        let weight = Tensor::cat(vec![certain.clone(), -certain], 0);
        let targets: Vec<Target> = (0..200).map(|position| Target { position, token: 0 }).collect();
        let found = of_block(positive([200, 67], 0.7), weight, &targets, false);
        assert_close(found.clone(), &[0.0; 200]);
        assert!(found.into_data().iter::<f32>().all(|log_prob| log_prob <= 0.0));
    }

    #[test]
    fn block_by_block_as_at_once() {
        let (states, weight) = (wave([7, 3], 0.7), wave([11, 3], 0.3));
        let target = |i: usize| Target { position: i * 4 % 7, token: i * 5 % 11 };
        let targets: Vec<Target> = (0..9).map(target).collect();
        let of = |at_once| of_primitives(states.clone(), weight.clone(), &targets, true, at_once);
        let expected = kernels::token_log_probs(states.clone(), weight.clone(), &targets, true);
        let expected = expected.unwrap().into_data();
        for at_once in [1, 3, 7] {
            of(at_once).into_data().assert_approx_eq::<f32>(&expected, Tolerance::absolute(1e-5));
        }
    }
}
