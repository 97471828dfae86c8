//! Rated dialogues as tokens.

use super::fit::STAGE;
use crate::Error;
use crate::pairs::{check_tokens, held_out_count};
use dialogue::longest_fitting;
use evals::Rated;
use language_model::item_seed;
use std::collections::HashSet;
use training::{Fingerprint, Overlong, groups};
use transformer::{Codec, ModelConfig};

/// A dialogue as the model reads it, and its rating.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) tokens: Vec<u32>,
    pub(super) rating: f64,
    /// [`dialogue::Dialogue::id`], or the least of those that look alike to the model, so that ratings of one dialogue are
    /// on one side.
    id: String,
}

/// What is fitted to.
#[derive(Debug, Default)]
pub(super) struct Items {
    pub(super) kept: Vec<Item>,
    /// Dialogues left out since they are longer than the context.
    pub(super) overlong: usize,
    /// Dialogues that lack their oldest turns, since they are longer than the context.
    pub(super) shortened: usize,
}

/// Dialogues to train on, and dialogues held out.
type Split<'a> = (Vec<&'a Item>, Vec<&'a Item>);

impl Items {
    pub(super) fn new(
        codec: &Codec,
        model: &ModelConfig,
        rated: &[Rated],
        overlong: Overlong,
    ) -> Result<Self, Error> {
        let mut found = Self::default();
        let context = model.max_position_embeddings;
        for (index, Rated { dialogue, rating }) in rated.iter().enumerate() {
            if !rating.is_finite() {
                return Err(Error::Rating { index, found: *rating });
            }
            let mut tokens = codec.encode_dialogue(dialogue)?.tokens;
            if tokens.len() > context {
                let shorter = match overlong {
                    Overlong::Drop => None,
                    Overlong::Error => {
                        let tokens = tokens.len();
                        return Err(Error::OverlongRated { index, tokens, context });
                    }
                    Overlong::OldestTurns => longest_fitting(&dialogue.ends(), |end| {
                        let tokens = codec.encode_dialogue(end)?.tokens;
                        Ok::<_, Error>((tokens.len() <= context).then_some(tokens))
                    })?,
                };
                let Some(shorter) = shorter else {
                    found.overlong += 1;
                    continue;
                };
                found.shortened += 1;
                tokens = shorter;
            }
            check_tokens(model, index, &tokens)?;
            found.kept.push(Item { tokens, rating: *rating, id: dialogue.id() });
        }
        found.group();
        Ok(found)
    }

    /// Gives dialogues that look alike to the model, since they lack their oldest turns, one name.
    fn group(&mut self) {
        let groups = groups(self.kept.iter().map(|item| (item.id.clone(), &item.tokens)));
        for (item, group) in self.kept.iter_mut().zip(groups) {
            item.id = group;
        }
    }

    /// Dialogues to train on and dialogues held out, at least one of each, unless nothing is held out; which is which
    /// depends on the seed and on what they say, not on their order.
    pub(super) fn split(&self, share: f64, seed: u64) -> Result<Split<'_>, Error> {
        let distinct: HashSet<&str> = self.kept.iter().map(|item| item.id.as_str()).collect();
        let mut ids: Vec<&str> = distinct.into_iter().collect();
        ids.sort_by_cached_key(|id| (item_seed(seed, &[STAGE, "held_out", id]), *id));
        ids.truncate(held_out_count(share, ids.len(), "dialogue")?);
        let held_out: HashSet<&str> = ids.into_iter().collect();
        Ok(self.kept.iter().partition(|item| !held_out.contains(item.id.as_str())))
    }

    /// A hash of everything that is learnt from.
    pub(super) fn fingerprint(&self) -> String {
        let rows = self.kept.iter().fold(Fingerprint::default(), |hash, item| {
            let tokens: Vec<u8> =
                item.tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
            hash.with_bytes("tokens", &tokens).with("rating", &item.rating)
        });
        rows.with("left_out", &(self.overlong, self.shortened)).finish()
    }
}

/// The mean rating, 0 of none.
pub(super) fn mean_rating(items: &[&Item]) -> f64 {
    items.iter().map(|item| item.rating).sum::<f64>() / items.len().max(1) as f64
}
