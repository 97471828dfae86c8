//! The policy and its reference before the first round.

use crate::cursor::Cursor;
use crate::rollout::{Rollout, draw, penalised, score};
use crate::run::STAGE;
use crate::{BestOfN, Error, Inputs, PpoConfig};
use burn::module::AutodiffModule;
use burn::tensor::backend::AutodiffBackend;
use language_model::{Prompt, item_seed};
use sft::Example;
use training::{NoCheckpoints, Silent, State};
use transformer::{Decoder, Transformer, Weights};

/// The file of a state that holds the reference, if it is not the policy as it came in.
pub(crate) const REFERENCE: &str = "reference.safetensors";

/// What the rounds begin with.
pub(crate) struct Start<B: AutodiffBackend> {
    pub(crate) policy: Decoder<B>,
    pub(crate) reference: Decoder<B::InnerBackend>,
}

/// Fine-tunes on the best of several replies, if asked, takes the reference, and adds an adapter, if asked.
///
/// What was learned before a crash is taken from the state that was kept.
pub(crate) fn begin<B: AutodiffBackend>(
    config: &PpoConfig,
    inputs: &Inputs<'_, B>,
    seed: u64,
    saved: Option<&mut State>,
) -> Result<Start<B>, Error> {
    let given = &inputs.policy.decoder;
    let mut policy = match (&config.best_of_n_start, saved) {
        (None, _) => given.clone(),
        (Some(best), None) => learn_the_best(config, best, inputs, seed)?,
        (Some(_), Some(saved)) => {
            let mut weights = Weights::from_bytes(saved.take(REFERENCE)?, REFERENCE)?;
            Decoder::from_weights(given.config(), &mut weights, &given.device())?
        }
    };
    let reference = policy.valid();
    if let Some(lora) = &config.lora {
        policy = policy.with_adapter(lora, item_seed(seed, &[STAGE, "adapter"]))?;
    }
    Ok(Start { policy, reference })
}

/// Draws several replies a prompt and learns the best of each.
fn learn_the_best<B: AutodiffBackend>(
    config: &PpoConfig,
    best: &BestOfN,
    inputs: &Inputs<'_, B>,
    seed: u64,
) -> Result<Decoder<B>, Error> {
    let Transformer { decoder, codec, engine } = inputs.policy.clone();
    let seed = item_seed(seed, &[STAGE, "best_of_n"]);
    let mut cursor = Cursor::new("best_of_n", inputs.prompts.len(), seed, 0);
    let mut prompts = Vec::new();
    for _ in 0..best.prompts.min(inputs.prompts.len()) {
        let dialogue = &inputs.prompts[cursor.advance()];
        let id = dialogue.id();
        prompts.extend((0..best.samples).map(|sample| {
            let seed = item_seed(seed, &[&id, &sample.to_string()]);
            Prompt { dialogue: dialogue.clone(), seed }
        }));
    }
    let drawer = Transformer { decoder: decoder.valid(), codec: codec.clone(), engine };
    let rollouts = draw(&drawer, prompts, config)?;
    let scores = score(inputs.reward, &rollouts, 0)?;
    let scores = penalised(&rollouts, &scores, config.missing_end_penalty);
    let best_replies = best_of_each(&rollouts, &scores, best.samples);
    let examples: Vec<Example> = best_replies.into_iter().map(lesson).collect();
    let (silent, keep) = (&mut Silent, &mut NoCheckpoints);
    Ok(best.sft.fit_examples(decoder, &examples, seed, silent, keep)?)
}

/// The reply with the highest score of each prompt; the `samples` replies to a prompt stand next to each other.
fn best_of_each<'a>(rollouts: &'a [Rollout], scores: &[f32], samples: usize) -> Vec<&'a Rollout> {
    rollouts
        .chunks(samples)
        .zip(scores.chunks(samples))
        .filter_map(|(rollouts, scores)| {
            rollouts.iter().zip(scores).max_by(|one, other| one.1.total_cmp(other.1))
        })
        .map(|(rollout, _)| rollout)
        .collect()
}

/// The tokens that were drawn are learned, the prompt is not.
fn lesson(rollout: &Rollout) -> Example {
    let weight = |place| f32::from(u8::from(place >= rollout.reply_start));
    let weights = (0..rollout.tokens.len()).map(weight).collect();
    Example { tokens: rollout.tokens.clone(), weights }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dialogue::Dialogue;
    use language_model::StopReason;

    fn rollout(reply: &str, stopped: StopReason) -> Rollout {
        Rollout {
            prompt: Dialogue::from_user("q"),
            reply: reply.to_owned(),
            tokens: vec![1, 2, 3],
            reply_start: 1,
            engine_log_probs: vec![0.0, 0.0],
            slots_after: 0,
            stopped,
        }
    }

    #[test]
    fn a_cut_reply_is_not_taught_for_its_raw_score() {
        let rollouts = [
            rollout("cut", StopReason::Length),
            rollout("whole", StopReason::Stop),
            rollout("worse", StopReason::Stop),
            rollout("much better", StopReason::Length),
        ];
        let scores = [1.5, 1.0, 1.0, 2.5];
        let best = |penalty| -> Vec<String> {
            let scores = penalised(&rollouts, &scores, penalty);
            best_of_each(&rollouts, &scores, 2).iter().map(|best| best.reply.clone()).collect()
        };
        assert_eq!(best(0.0), ["cut", "much better"]);
        assert_eq!(best(1.0), ["whole", "much better"]);
        assert_eq!(best(2.0), ["whole", "worse"]);
    }

    #[test]
    fn the_reply_alone_is_learned() {
        let found = lesson(&rollout("a", StopReason::Stop));
        assert_eq!((found.tokens, found.weights), (vec![1, 2, 3], vec![0.0, 1.0, 1.0]));
    }
}
