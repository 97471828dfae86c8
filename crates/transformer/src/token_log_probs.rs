//! Log-probabilities of tokens, the only place where they are computed.

use crate::batch::{indices, select_positions};
use crate::decoder::Decoder;
use burn::tensor::{DType, FloatDType, Tensor, backend::Backend};
use kernels::log_sum_exp;
use std::collections::HashMap;

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
/// tokens are asked for there.
///
/// # Shapes
/// `hidden` `[rows, time, model]` as [`Decoder::hidden`] gives it, to `[targets]`.
pub fn token_log_probs<B: Backend>(
    decoder: &Decoder<B>,
    hidden: Tensor<B, 3>,
    targets: &Targets,
) -> Tensor<B, 1> {
    let Targets { positions, tokens } = targets;
    let (distinct, places) = distinct(positions);
    let states = select_positions(hidden, &distinct);
    let logits = decoder.logits(states.clone());
    let log_total = log_sum_exp(widened(logits.clone()));
    if distinct.len() == positions.len() {
        return (chosen(decoder, states, logits, tokens) - log_total).squeeze_dim(1);
    }
    let places = indices(&places, &states.device());
    let of_targets = |x: Tensor<B, 2>| x.select(0, places.clone());
    let chosen = match logits.dtype() {
        // Without a use for them, logits by target need not be made.
        DType::F32 => chosen(decoder, of_targets(states), logits, tokens),
        _ => chosen(decoder, of_targets(states), of_targets(logits), tokens),
    };
    (chosen - of_targets(log_total)).squeeze_dim(1)
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

/// [`token_log_probs`] and the entropy, in nats, of the distribution that each target was taken from.
///
/// # Shapes
/// As for [`token_log_probs`], twice.
pub fn token_log_probs_and_entropy<B: Backend>(
    decoder: &Decoder<B>,
    hidden: Tensor<B, 3>,
    targets: &Targets,
) -> (Tensor<B, 1>, Tensor<B, 1>) {
    let states = select_positions(hidden, &targets.positions);
    let logits = decoder.logits(states.clone());
    let wide = widened(logits.clone());
    let log_total = log_sum_exp(wide.clone());
    let log_prob = chosen(decoder, states, logits, &targets.tokens) - log_total.clone();
    (log_prob.squeeze_dim(1), entropy(wide, log_total).squeeze_dim(1))
}

/// The logit of one token a position, `[positions, model]` to `[positions, 1]`.
///
/// A product with the rows of those tokens alone: gathering from the logits would cost another gradient of the size of
/// all logits. Logits of 16 bits are rounded, and so is their sum, so there they are gathered: a probability must not come
/// out above 1.
fn chosen<B: Backend>(
    decoder: &Decoder<B>,
    states: Tensor<B, 2>,
    logits: Tensor<B, 2>,
    tokens: &[u32],
) -> Tensor<B, 2> {
    let tokens: Vec<usize> = tokens.iter().map(|&token| token as usize).collect();
    let tokens = indices(&tokens, &states.device());
    if logits.dtype() != DType::F32 {
        return widened(logits.gather(1, tokens.unsqueeze_dim(1)));
    }
    let rows = decoder.output_weights().select(0, tokens);
    (states * rows).sum_dim(1)
}

/// Half-precision numbers as 32 bits, since sums over a vocabulary need them.
fn widened<B: Backend>(x: Tensor<B, 2>) -> Tensor<B, 2> {
    match x.dtype() {
        DType::F16 | DType::BF16 => x.cast(FloatDType::F32),
        _ => x,
    }
}

/// `-sum(p log p)` with `log p = logits - log_total`, `[positions, 1]`.
fn entropy<B: Backend>(logits: Tensor<B, 2>, log_total: Tensor<B, 2>) -> Tensor<B, 2> {
    let log_probs = logits - log_total;
    -(log_probs.clone().exp() * log_probs).sum_dim(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{TensorData, Tolerance, activation::log_softmax};
    use burn_flex::{Flex, FlexDevice};

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
        assert_close(entropy(logits.clone(), log_sum_exp(logits)), &[uneven, ln(2.0), ln(2.0)]);
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
}
