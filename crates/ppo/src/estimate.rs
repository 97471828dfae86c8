//! One forward pass of policy and reference over the replies of a round.

use crate::actor_critic::{ActorCritic, Batch, micro_batches};
use crate::rollout::Rollout;
use crate::{Error, Estimates, PpoConfig};
use burn::prelude::{Backend, Tensor};
use transformer::{Decoder, token_log_probs, token_log_probs_and_entropy};

/// What the value function computes, in errors.
pub(crate) const VALUE: &str = "a value";

/// Log-probs, values and entropies of all reply tokens, without a gradient.
///
/// # Errors
/// If a number is not finite.
pub(crate) fn estimate<B: Backend>(
    actor: &ActorCritic<B>,
    reference: &Decoder<B>,
    rollouts: &[Rollout],
    config: &PpoConfig,
) -> Result<Estimates, Error> {
    let all: Vec<usize> = (0..rollouts.len()).collect();
    let mut estimates = Estimates::empty(rollouts);
    for rows in micro_batches(rollouts, &all, config.tokens_per_micro_batch) {
        let batch = Batch::new(rollouts, &rows);
        let hidden = batch.hidden(&actor.decoder);
        if config.has_values() {
            let states = actor.critic.trunk().map(|trunk| batch.hidden(trunk));
            let states = states.unwrap_or_else(|| hidden.clone());
            let values = actor.critic.values(states, &batch, config.value_model);
            scatter(&numbers(values), &rows, rollouts, Rollout::slots, &mut estimates.values);
        }
        let (log_probs, entropies) = token_log_probs_and_entropy(
            &actor.decoder,
            at_temperature(hidden, config.temperature),
            &batch.targets,
        );
        let hidden = at_temperature(batch.hidden(reference), config.temperature);
        let reference = token_log_probs(reference, hidden, &batch.targets);
        for (into, flat) in [
            (&mut estimates.log_probs, log_probs),
            (&mut estimates.reference_log_probs, reference),
            (&mut estimates.entropies, entropies),
        ] {
            scatter(&numbers(flat), &rows, rollouts, Rollout::reply_tokens_len, into);
        }
    }
    finite(&estimates, rollouts)?;
    Ok(estimates)
}

/// States whose logits are those at a temperature: the output projection is linear and has no constant.
pub(crate) fn at_temperature<B: Backend>(hidden: Tensor<B, 3>, temperature: f32) -> Tensor<B, 3> {
    if temperature.to_bits() == 1.0_f32.to_bits() { hidden } else { hidden / temperature }
}

/// The numbers of a tensor.
pub(crate) fn numbers<B: Backend>(tensor: Tensor<B, 1>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// Cuts the numbers of a batch into rows, one a reply and `count` numbers each, and puts each in its place.
fn scatter(
    flat: &[f32],
    rows: &[usize],
    rollouts: &[Rollout],
    count: impl Fn(&Rollout) -> usize,
    into: &mut [Vec<f32>],
) {
    let mut rest = flat;
    for &row in rows {
        let (own, others) = rest.split_at(count(&rollouts[row]));
        into[row] = own.to_vec();
        rest = others;
    }
}

/// Names the first reply with a number that is not finite.
fn finite(estimates: &Estimates, rollouts: &[Rollout]) -> Result<(), Error> {
    for (what, rows) in [
        ("a log-prob of the policy", &estimates.log_probs),
        ("a log-prob of the reference", &estimates.reference_log_probs),
        (VALUE, &estimates.values),
        ("an entropy", &estimates.entropies),
    ] {
        for (row, rollout) in rows.iter().zip(rollouts) {
            if !row.iter().all(|number| number.is_finite()) {
                let id = rollout.finished_dialogue().id();
                return Err(language_model::Error::NotFinite { what, id }.into());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor_critic::Critic;
    use crate::test_support::{assert_close, policy};
    use dialogue::Dialogue;
    use language_model::StopReason;

    fn rollout(tokens: &[u32], reply_start: usize) -> Rollout {
        Rollout {
            prompt: Dialogue::from_user("q"),
            reply: "a".to_owned(),
            tokens: tokens.to_vec(),
            reply_start,
            engine_log_probs: vec![0.0; tokens.len() - reply_start],
            slots_after: 0,
            stopped: StopReason::Stop,
        }
    }

    #[test]
    fn every_reply_has_its_own_row_however_it_is_batched() {
        let rollouts = [
            rollout(&[1, 2, 3, 4, 5, 6], 2),
            rollout(&[7, 8], 1),
            rollout(&[9, 10, 11, 12], 3),
            rollout(&[13, 14, 15], 1),
        ];
        let decoder = policy(1).valid().decoder;
        let critic = Critic::on_policy(&decoder);
        let actor = ActorCritic { decoder, critic };
        let reference = policy(2).valid().decoder;
        let within = |tokens_per_micro_batch| {
            let config = PpoConfig { tokens_per_micro_batch, ..PpoConfig::default() };
            estimate(&actor, &reference, &rollouts, &config).unwrap()
        };
        let together = within(1000);
        for limit in [1, 6] {
            let apart = within(limit);
            for (one, other) in [
                (&together.log_probs, &apart.log_probs),
                (&together.reference_log_probs, &apart.reference_log_probs),
                (&together.entropies, &apart.entropies),
            ] {
                let lengths: Vec<usize> = one.iter().map(Vec::len).collect();
                assert_eq!(lengths, [4, 1, 1, 2]);
                assert_close(&one.concat(), &other.concat(), 1e-4);
            }
        }
        assert_ne!(together.log_probs, together.reference_log_probs);
        assert_eq!(together.values, [vec![0.0; 4], vec![0.0], vec![0.0], vec![0.0; 2]]);
    }

    #[test]
    fn names_the_dialogue_whose_numbers_are_not_finite() {
        let mut rollouts = [rollout(&[1, 2], 1), rollout(&[1, 2], 1)];
        rollouts[1].reply = "b".to_owned();
        let mut estimates = Estimates::empty(&rollouts);
        estimates.values = vec![vec![1.0], vec![f32::NAN]];
        let message = finite(&estimates, &rollouts).unwrap_err().to_string();
        assert!(
            message.contains("a value") && message.contains(&rollouts[1].finished_dialogue().id())
        );
    }
}
