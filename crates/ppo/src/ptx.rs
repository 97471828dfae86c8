//! Rows of other data that the policy goes on learning beside the reward.

use burn::prelude::{Backend, Tensor};
use sft::{Example, cross_entropy};
use transformer::{Decoder, Packed, Targets, token_log_probs};

/// The mean loss of these rows, in nats a token, `[1]`: the "ptx" term of arXiv 2203.02155, equation 2.
pub(crate) fn ptx_loss<B: Backend>(decoder: &Decoder<B>, rows: &[&Example]) -> Tensor<B, 1> {
    let device = decoder.device();
    let inputs: Vec<&[u32]> = rows.iter().map(|row| row.inputs()).collect();
    let packed = Packed::new(&inputs);
    let (mut targets, mut weights) = (Targets::default(), Vec::new());
    for (row, example) in rows.iter().enumerate() {
        for place in example.targets() {
            targets.positions.push(packed.place(row, place - 1));
            targets.tokens.push(example.tokens[place]);
            weights.push(example.weights[place]);
        }
    }
    let weight_sum = weights.iter().copied().map(f64::from).sum();
    let log_probs = token_log_probs(decoder, decoder.hidden_packed(&packed), &targets);
    cross_entropy(log_probs, Tensor::from_floats(weights.as_slice(), &device), weight_sum)
}
