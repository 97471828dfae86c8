//! Rows of other data that the policy goes on learning beside the reward.

use burn::prelude::{Backend, Tensor};
use language_model::stream;
use sft::{Example, cross_entropy};
use training::batches;
use transformer::{Decoder, Targets, token_log_probs};

/// The rows of an optimiser step.
pub(crate) struct Ptx<'a> {
    rows: &'a [&'a Example],
    /// Of all rows, so that the losses of micro-batches add up to the loss of the step.
    weight_sum: f64,
}

impl<'a> Ptx<'a> {
    pub(crate) fn new(rows: &'a [&'a Example]) -> Self {
        let weights = |row: &&Example| -> f64 {
            row.targets().map(|place| f64::from(row.weights[place])).sum()
        };
        Self { rows, weight_sum: rows.iter().map(weights).sum() }
    }

    /// The rows in groups of at most `tokens` tokens, all counted as the longest; a longer one is alone.
    pub(crate) fn micro_batches(&self, tokens: usize) -> Vec<Vec<&'a Example>> {
        let lengths: Vec<usize> = self.rows.iter().map(|row| row.inputs().len()).collect();
        // How they are grouped matters to rounding alone, so that a fixed stream will do.
        let batches = batches(&lengths, tokens, &mut stream(0));
        batches.into_iter().map(|rows| rows.iter().map(|&row| self.rows[row]).collect()).collect()
    }

    /// What some of the rows contribute to the mean loss of all, in nats a token, `[1]`: the "ptx" term of arXiv
    /// 2203.02155, equation 2.
    pub(crate) fn loss<B: Backend>(&self, decoder: &Decoder<B>, rows: &[&Example]) -> Tensor<B, 1> {
        let device = decoder.device();
        let inputs: Vec<&[u32]> = rows.iter().map(|row| row.inputs()).collect();
        let (mut targets, mut weights) = (Targets::default(), Vec::new());
        let mut begin = 0;
        for example in rows {
            for place in example.targets() {
                targets.positions.push(begin + place - 1);
                targets.tokens.push(example.tokens[place]);
                weights.push(example.weights[place]);
            }
            begin += example.inputs().len();
        }
        let log_probs = token_log_probs(decoder, decoder.hidden_packed(&inputs), &targets);
        let weights = Tensor::from_floats(weights.as_slice(), &device);
        cross_entropy(log_probs, weights, self.weight_sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn micro_batches_hold_every_row_once_within_the_limit() {
        let rows: Vec<Example> = (2..14).map(|end| Example::unmasked((0..end).collect())).collect();
        let rows: Vec<&Example> = rows.iter().collect();
        let ptx = Ptx::new(&rows);
        assert_eq!(ptx.micro_batches(1_000).len(), 1);
        for tokens in [1, 10, 24] {
            let found = ptx.micro_batches(tokens);
            let mut lengths: Vec<usize> =
                found.concat().iter().map(|row| row.tokens.len()).collect();
            lengths.sort_unstable();
            assert!(lengths.into_iter().eq(2..14));
            for batch in &found {
                let longest = batch.iter().map(|row| row.inputs().len()).max().unwrap();
                assert!(batch.len() == 1 || batch.len() * longest <= tokens, "{}", batch.len());
            }
        }
    }
}
