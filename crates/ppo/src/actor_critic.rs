//! The policy with its value head, and what a padded forward pass needs.

use crate::ValueTrunk;
use crate::rollout::Rollout;
use burn::module::Module;
use burn::prelude::{Backend, Tensor};
use language_model::stream;
use training::batches;
use transformer::{Decoder, ScalarHead, Targets, pad_right, select_positions};

/// A policy and a value head on its trunk.
#[derive(Module, Debug)]
pub(crate) struct ActorCritic<B: Backend> {
    pub(crate) decoder: Decoder<B>,
    pub(crate) value_head: ScalarHead<B>,
}

impl<B: Backend> ActorCritic<B> {
    /// The policy with a value head that says 0 everywhere.
    pub(crate) fn new(decoder: Decoder<B>) -> Self {
        let value_head = ScalarHead::zeros(decoder.config().hidden_size, &decoder.device());
        Self { decoder, value_head }
    }

    /// The values before each target is drawn: `[rows, time, model]` to `[targets]`.
    pub(crate) fn values(
        &self,
        hidden: Tensor<B, 3>,
        targets: &Targets,
        trunk: ValueTrunk,
    ) -> Tensor<B, 1> {
        let states = select_positions(hidden, &targets.positions);
        self.value_head.forward(match trunk {
            ValueTrunk::Shared => states,
            ValueTrunk::Detached => states.detach(),
        })
    }
}

/// The replies at `rows`, grouped by length into batches of at most `tokens` padded tokens.
///
/// How they are grouped matters to rounding alone, so a fixed stream will do: drawing from the caller's would let the
/// limit decide what is drawn from it next.
pub(crate) fn micro_batches(
    rollouts: &[Rollout],
    rows: &[usize],
    tokens: usize,
) -> Vec<Vec<usize>> {
    let lengths: Vec<usize> = rows.iter().map(|&row| rollouts[row].input().len()).collect();
    let batches = batches(&lengths, tokens, &mut stream(0));
    batches.into_iter().map(|batch| batch.into_iter().map(|place| rows[place]).collect()).collect()
}

/// Some replies of a round, ready to go through a model together.
pub(crate) struct Batch<'a> {
    inputs: Vec<&'a [u32]>,
    /// The reply tokens of all rows, row by row.
    pub(crate) targets: Targets,
}

impl<'a> Batch<'a> {
    /// The replies at `rows`. The last token of a row predicts nothing and is left out of the input.
    pub(crate) fn new(rollouts: &'a [Rollout], rows: &[usize]) -> Self {
        let inputs: Vec<&[u32]> = rows.iter().map(|&row| rollouts[row].input()).collect();
        let time = inputs.iter().map(|input| input.len()).max().unwrap_or(0);
        let mut targets = Targets::default();
        for (place, &row) in rows.iter().enumerate() {
            let rollout = &rollouts[row];
            // The state at `t` predicts token `t + 1`.
            targets.positions.extend(
                (rollout.reply_start..rollout.tokens.len()).map(|token| place * time + token - 1),
            );
            targets.tokens.extend(rollout.reply_tokens());
        }
        Self { inputs, targets }
    }

    /// Hidden states of the batch: `[rows, time, model]`.
    pub(crate) fn hidden<B: Backend>(&self, decoder: &Decoder<B>) -> Tensor<B, 3> {
        decoder.hidden(pad_right(&self.inputs, &decoder.device()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dialogue::Dialogue;
    use language_model::StopReason;

    #[test]
    fn states_predict_the_next_token() {
        let rollout = |tokens: &[u32], reply_start| Rollout {
            prompt: Dialogue::from_user("q"),
            reply: String::new(),
            tokens: tokens.to_vec(),
            reply_start,
            stopped: StopReason::Stop,
        };
        let rollouts = [rollout(&[1, 2, 3, 4, 5], 3), rollout(&[9], 1), rollout(&[6, 7], 1)];
        let batch = Batch::new(&rollouts, &[2, 0]);
        assert_eq!(batch.inputs, [&[6][..], &[1, 2, 3, 4]]);
        // Rows of time 4: token 7 after state 0; tokens 4 and 5 after states 2 and 3 of the second row.
        assert_eq!(batch.targets.positions, [0, 6, 7]);
        assert_eq!(batch.targets.tokens, [7, 4, 5]);
    }
}
