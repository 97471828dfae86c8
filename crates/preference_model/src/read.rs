//! Dialogues in, rewards out.

use crate::Normalisation;
use crate::pairs::check_tokens;
use dialogue::Dialogue;
use language_model::Error;
use transformer::{Codec, ModelConfig};

/// The tokens of dialogues, if the model can read them.
pub(crate) fn read_dialogues(
    codec: &Codec,
    config: &ModelConfig,
    dialogues: &[Dialogue],
) -> Result<Vec<Vec<u32>>, Error> {
    let context = config.max_position_embeddings;
    let read = dialogues.iter().enumerate().map(|(index, dialogue)| {
        let tokens = codec.encode_dialogue(dialogue)?.tokens;
        check_tokens(config, index, &tokens)?;
        if tokens.len() > context {
            let (id, tokens) = (dialogue.id(), tokens.len());
            return Err(Error::TooLong { id, tokens, context, reserved: 0 });
        }
        Ok(tokens)
    });
    read.collect()
}

/// The rewards of the scores of dialogues.
pub(crate) fn rewards(
    dialogues: &[Dialogue],
    scores: impl IntoIterator<Item = f64>,
    normalisation: Normalisation,
) -> Result<Vec<f32>, Error> {
    let checked = dialogues.iter().zip(scores).map(|(dialogue, score)| {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a reward is a single-precision number"
        )]
        let reward = normalisation.reward(score) as f32;
        if reward.is_finite() {
            Ok(reward)
        } else {
            Err(Error::NotFinite { what: "the reward", id: dialogue.id() })
        }
    });
    checked.collect()
}
