//! The policy and its reference before the first round.

use crate::cursor::Cursor;
use crate::rollout::{draw, score};
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
    let examples: Vec<Example> = rollouts
        .chunks(best.samples)
        .zip(scores.chunks(best.samples))
        .filter_map(|(rollouts, scores)| {
            let highest = scores.iter().enumerate().max_by(|one, other| one.1.total_cmp(other.1));
            highest.map(|(place, _)| &rollouts[place])
        })
        .map(|rollout| {
            let weight = |place| f32::from(u8::from(place >= rollout.reply_start));
            let weights = (0..rollout.tokens.len()).map(weight).collect();
            Example { tokens: rollout.tokens.clone(), weights }
        })
        .collect();
    let (silent, keep) = (&mut Silent, &mut NoCheckpoints);
    Ok(best.sft.fit_examples(decoder, &examples, seed, silent, keep)?)
}
