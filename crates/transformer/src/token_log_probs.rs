//! Log-probabilities of tokens, the only place where they are computed.

use crate::batch::select_positions;
use crate::decoder::Decoder;
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use kernels::Target;
use std::collections::HashMap;

/// Which predictions of a batch are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Targets {
    /// Places of the hidden states that predict, flat as `row * time + t`.
    pub positions: Vec<usize>,
    /// The tokens predicted, as many as there are positions.
    pub tokens: Vec<u32>,
}

/// `log p(token | tokens before it)` at temperature 1 for every target.
///
/// `logit(token) - logsumexp(logits)`; the logits are computed at the asked positions alone, once at each, however many
/// tokens are asked for there. On the CPU 4 MiB of them exist at a time, elsewhere 256 MiB; but all, if weights learn there:
/// what trains asks [`token_log_probs_for_training`].
///
/// # Shapes
/// `hidden` `[rows, time, model]` as [`Decoder::hidden`] gives it, to `[targets]`.
///
/// # Panics
/// If there are not as many tokens as positions, a position is not one of `rows * time`, or a token is not one of the
/// vocabulary.
pub fn token_log_probs<B: Backend>(
    decoder: &Decoder<B>,
    hidden: Tensor<B, 3>,
    targets: &Targets,
) -> Tensor<B, 1> {
    asked(decoder, hidden, targets, false, kernels::token_log_probs).squeeze_dim(1)
}

/// [`token_log_probs`] and the entropy, in nats, of the distribution that each target was taken from.
///
/// # Shapes
/// As for [`token_log_probs`], twice.
///
/// # Panics
/// As [`token_log_probs`].
pub fn token_log_probs_and_entropy<B: Backend>(
    decoder: &Decoder<B>,
    hidden: Tensor<B, 3>,
    targets: &Targets,
) -> (Tensor<B, 1>, Tensor<B, 1>) {
    columns(asked(decoder, hidden, targets, true, kernels::token_log_probs))
}

/// [`token_log_probs`] with a backward pass that computes logits again, so that on no backend more exist at a time than while
/// nothing learns.
///
/// # Shapes
/// As for [`token_log_probs`].
///
/// # Panics
/// As [`token_log_probs`].
pub fn token_log_probs_for_training<B: AutodiffBackend>(
    decoder: &Decoder<B>,
    hidden: Tensor<B, 3>,
    targets: &Targets,
) -> Tensor<B, 1> {
    asked(decoder, hidden, targets, false, kernels::token_log_probs_for_training).squeeze_dim(1)
}

/// [`token_log_probs_for_training`] and the entropy, as of [`token_log_probs_and_entropy`].
///
/// # Shapes
/// As for [`token_log_probs`], twice.
///
/// # Panics
/// As [`token_log_probs`].
pub fn token_log_probs_and_entropy_for_training<B: AutodiffBackend>(
    decoder: &Decoder<B>,
    hidden: Tensor<B, 3>,
    targets: &Targets,
) -> (Tensor<B, 1>, Tensor<B, 1>) {
    columns(asked(decoder, hidden, targets, true, kernels::token_log_probs_for_training))
}

/// `[targets, 2]` to its two columns.
fn columns<B: Backend>(both: Tensor<B, 2>) -> (Tensor<B, 1>, Tensor<B, 1>) {
    (both.clone().narrow(1, 0, 1).squeeze_dim(1), both.narrow(1, 1, 1).squeeze_dim(1))
}

/// `[targets, 1]`, or with the entropy `[targets, 2]`, by one of the functions of `kernels`.
fn asked<B: Backend>(
    decoder: &Decoder<B>,
    hidden: Tensor<B, 3>,
    Targets { positions, tokens }: &Targets,
    entropy: bool,
    log_probs: impl FnOnce(Tensor<B, 2>, Tensor<B, 2>, &[Target], bool) -> Tensor<B, 2>,
) -> Tensor<B, 2> {
    assert_eq!(positions.len(), tokens.len(), "a token for every position");
    let [rows, time, _] = hidden.dims();
    for position in positions {
        assert!(*position < rows * time, "position {position} is not one of {rows} x {time}");
    }
    let (distinct, places) = distinct(positions);
    let states = select_positions(hidden, &distinct);
    let target = |(position, &token): (usize, &u32)| Target { position, token: token as usize };
    let targets: Vec<Target> = places.into_iter().zip(tokens).map(target).collect();
    log_probs(states, decoder.output_weights(), &targets, entropy)
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

    /// Asks for tokens behind three of one row.
    fn ask(positions: &[usize], tokens: &[u32]) {
        let config = crate::decoder::tests::config();
        let decoder = Decoder::<Flex>::init(&config, 1, &FlexDevice);
        let hidden = decoder.hidden(crate::pad_right(&[vec![1, 2, 3]], &FlexDevice));
        let targets = Targets { positions: positions.to_vec(), tokens: tokens.to_vec() };
        let _ = token_log_probs(&decoder, hidden, &targets);
    }

    #[test]
    #[should_panic(expected = "a token for every position")]
    fn every_position_has_a_token() {
        ask(&[0, 1], &[5]);
    }

    #[test]
    #[should_panic(expected = "position 3 is not one of 1 x 3")]
    fn positions_are_of_the_batch() {
        ask(&[0, 3], &[5, 5]);
    }

    #[test]
    #[should_panic(expected = "token 1000000 is not one of")]
    fn tokens_are_of_the_vocabulary() {
        ask(&[0], &[1_000_000]);
    }
}
