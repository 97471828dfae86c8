//! The policy with its value function, and what a forward pass over some replies needs.

use crate::config::ValueModel;
use crate::rollout::Rollout;
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use transformer::{Decoder, Packed, ScalarHead, ScalarModel, Targets, select_positions};

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

    /// What its values are read from, if not from the policy.
    pub(crate) fn trunk(&self) -> Option<&Decoder<B>> {
        self.trunk.as_ref()
    }

    /// The values of all slots of a batch, `[slots]`, from the states that its trunk has, or the policy.
    pub(crate) fn values(
        &self,
        hidden: Tensor<B, 3>,
        batch: &Batch,
        model: ValueModel,
    ) -> Tensor<B, 1> {
        let states = select_positions(hidden, &batch.slots);
        let states = if model == ValueModel::Detached { states.detach() } else { states };
        self.value_head.forward(states) - self.offset
    }
}

/// The replies at `rows` in batches of at most `tokens` tokens; those to the same prompt lie together, for it to be read once.
pub(crate) fn micro_batches(
    rollouts: &[Rollout],
    rows: &[usize],
    tokens: usize,
) -> Vec<Vec<usize>> {
    let inputs: Vec<&[u32]> = rows.iter().map(|&row| rollouts[row].input()).collect();
    let batches = transformer::micro_batches(&inputs, tokens);
    batches.into_iter().map(|batch| batch.into_iter().map(|place| rows[place]).collect()).collect()
}

/// Some replies of a round, ready to go through a model together.
pub(crate) struct Batch {
    inputs: Packed,
    /// The reply tokens of all rows, row by row.
    pub(crate) targets: Targets,
    /// Places of the states whose values count, row by row: those that predict a reply token and, for a slot behind the
    /// last token, the one that has read it.
    pub(crate) slots: Vec<usize>,
}

impl Batch {
    /// The replies at `rows`. The last token of a row predicts nothing and is left out, unless a slot is behind it.
    pub(crate) fn new(rollouts: &[Rollout], rows: &[usize]) -> Self {
        let inputs: Vec<&[u32]> = rows.iter().map(|&row| rollouts[row].input()).collect();
        // The state at `t` predicts token `t + 1`; there is a slot for every reply token, and there may be one behind the last.
        let slots_of = |rollout: &Rollout| {
            let first = rollout.reply_start - 1;
            first..first + rollout.slots()
        };
        let wanted = |number: usize, token| slots_of(&rollouts[rows[number]]).contains(&token);
        let inputs = Packed::wanting(&inputs, wanted);
        let (mut targets, mut slots) = (Targets::default(), Vec::new());
        for (number, &row) in rows.iter().enumerate() {
            let rollout = &rollouts[row];
            let own: Vec<usize> =
                slots_of(rollout).map(|token| inputs.place(number, token)).collect();
            targets.positions.extend(&own[..rollout.reply_tokens().len()]);
            targets.tokens.extend(rollout.reply_tokens());
            slots.extend(own);
        }
        Self { inputs, targets, slots }
    }

    /// Hidden states of all slots of the batch: `[1, states, model]`, in the order in which the tokens are packed.
    pub(crate) fn hidden<B: Backend>(&self, decoder: &Decoder<B>) -> Tensor<B, 3> {
        decoder.hidden_packed(&self.inputs)
    }

    /// [`Batch::hidden`] to learn from.
    pub(crate) fn hidden_for_training<B: AutodiffBackend>(
        &self,
        decoder: &Decoder<B>,
    ) -> Tensor<B, 3> {
        decoder.hidden_packed_for_training(&self.inputs)
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
        // Sorted, the first row lies behind the second.
        assert_eq!(batch.inputs.tokens(), [1, 2, 3, 4, 6]);
        // Token 7 after the state of the first row; tokens 4 and 5 after states 2 and 3 of the second one.
        // These alone are wanted.
        assert_eq!(batch.targets.positions, [2, 0, 1]);
        assert_eq!(batch.targets.tokens, [7, 4, 5]);
        assert_eq!(batch.slots, batch.targets.positions);

        let mut rollouts = rollouts;
        rollouts[2].slots_after = 1;
        let batch = Batch::new(&rollouts, &[2, 0]);
        assert_eq!(batch.inputs.tokens(), [1, 2, 3, 4, 6, 7]);
        assert_eq!(batch.slots, [2, 3, 0, 1]);
        assert_eq!(batch.targets.positions, [2, 0, 1]);
    }
}
