//! The policy with its value function, and what a forward pass over some replies needs.

use crate::config::ValueModel;
use crate::rollout::Rollout;
use burn::module::Module;
use burn::prelude::{Backend, Tensor};
use language_model::stream;
use training::batches;
use transformer::{Decoder, ScalarHead, ScalarModel, Targets, select_positions};

/// A policy and what estimates the value of its states.
#[derive(Module, Debug)]
pub(crate) struct ActorCritic<B: Backend> {
    pub(crate) decoder: Decoder<B>,
    pub(crate) critic: Critic<B>,
}

/// A value function: `head(state) - offset`, of states of the policy or of a trunk of its own.
#[derive(Module, Debug)]
pub(crate) struct Critic<B: Backend> {
    trunk: Option<Decoder<B>>,
    value_head: ScalarHead<B>,
    #[module(skip)]
    offset: f64,
}

/// A model whose scores, turned into rewards, begin as the values.
#[derive(Debug, Clone)]
pub struct ValueStart<B: Backend> {
    /// Trunk and head, such as those of a preference model.
    pub model: ScalarModel<B>,
    /// What is taken from a score to make it a reward.
    pub mean: f64,
    /// What is left is divided by this, above 0.
    pub std: f64,
}

impl<B: Backend> Critic<B> {
    /// A head that says 0 everywhere, on the states of the policy.
    pub(crate) fn on_policy(policy: &Decoder<B>) -> Self {
        let value_head = ScalarHead::zeros(policy.config().hidden_size, &policy.device());
        Self { trunk: None, value_head, offset: 0.0 }
    }

    /// A model of its own, all of whose weights learn: one that says 0 everywhere on a copy of the policy, or one that
    /// begins as `start`.
    pub(crate) fn separate(policy: &Decoder<B>, start: Option<ValueStart<B>>) -> Self {
        let Some(ValueStart { model, mean, std }) = start else {
            // An adapter is the policy's: what a copy of it has learned is added to the weights, and a fresh one is gone.
            let trunk = policy.clone().merge_adapter();
            return Self { trunk: Some(trunk), ..Self::on_policy(policy) };
        };
        // (head(state) - mean) / std, with the division taken into the weights.
        let weights = model.head().weight().into_data();
        #[expect(clippy::cast_possible_truncation, reason = "weights have 32 bits")]
        let scaled = weights.iter::<f32>().map(|weight| (f64::from(weight) / std) as f32).collect();
        let trunk = model.decoder().clone().unfrozen();
        let value_head = ScalarHead::from_weight(scaled, &trunk.device());
        Self { trunk: Some(trunk), value_head, offset: mean / std }
    }

    /// The values of all slots of a batch, `[slots]`; `policy` are its states as the policy sees them.
    pub(crate) fn values(
        &self,
        batch: &Batch<'_>,
        policy: impl FnOnce() -> Tensor<B, 3>,
        model: ValueModel,
    ) -> Tensor<B, 1> {
        let hidden = match &self.trunk {
            Some(trunk) => batch.hidden(trunk),
            None => policy(),
        };
        let states = select_positions(hidden, &batch.slots);
        let states = if model == ValueModel::Detached { states.detach() } else { states };
        self.value_head.forward(states) - self.offset
    }
}

/// The replies at `rows`, grouped by length into batches of at most `tokens` tokens, all counted as the longest.
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
    /// Places of the states whose values count, row by row: those that predict a reply token and, for a slot behind the
    /// last token, the one that has read it.
    pub(crate) slots: Vec<usize>,
}

impl<'a> Batch<'a> {
    /// The replies at `rows`. The last token of a row predicts nothing and is left out, unless a slot is behind it.
    pub(crate) fn new(rollouts: &'a [Rollout], rows: &[usize]) -> Self {
        let inputs: Vec<&[u32]> = rows.iter().map(|&row| rollouts[row].input()).collect();
        let (mut targets, mut slots) = (Targets::default(), Vec::new());
        let mut begin = 0;
        for &row in rows {
            let rollout = &rollouts[row];
            // The state at `t` predicts token `t + 1`.
            let first = begin + rollout.reply_start - 1;
            begin += rollout.input().len();
            targets.positions.extend(first..first + rollout.reply_tokens().len());
            targets.tokens.extend(rollout.reply_tokens());
            slots.extend(first..first + rollout.slots());
        }
        Self { inputs, targets, slots }
    }

    /// Hidden states of the batch, row behind row: `[1, tokens, model]`.
    pub(crate) fn hidden<B: Backend>(&self, decoder: &Decoder<B>) -> Tensor<B, 3> {
        decoder.hidden_packed(&self.inputs)
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
            engine_log_probs: vec![0.0; tokens.len() - reply_start],
            slots_after: 0,
            stopped: StopReason::Stop,
        };
        let rollouts = [rollout(&[1, 2, 3, 4, 5], 3), rollout(&[9], 1), rollout(&[6, 7], 1)];
        let batch = Batch::new(&rollouts, &[2, 0]);
        assert_eq!(batch.inputs, [&[6][..], &[1, 2, 3, 4]]);
        // Token 7 after the state of the first row; tokens 4 and 5 after states 2 and 3 of the second one.
        assert_eq!(batch.targets.positions, [0, 3, 4]);
        assert_eq!(batch.targets.tokens, [7, 4, 5]);
        assert_eq!(batch.slots, batch.targets.positions);

        let mut rollouts = rollouts;
        rollouts[2].slots_after = 1;
        let batch = Batch::new(&rollouts, &[2, 0]);
        assert_eq!(batch.inputs, [&[6, 7][..], &[1, 2, 3, 4]]);
        assert_eq!(batch.slots, [0, 1, 4, 5]);
        assert_eq!(batch.targets.positions, [0, 4, 5]);
    }
}
