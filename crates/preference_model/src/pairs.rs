//! Preferences as tokens.

use crate::Error;
use crate::fit::STAGE;
use dialogue::{Dialogue, Preference};
use language_model::item_seed;
use std::collections::{HashMap, HashSet};
use training::Overlong;
use transformer::{Codec, ModelConfig};

/// Two dialogues with the same prompt, as places among the rows of [`Pairs`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pair {
    pub(crate) chosen: usize,
    pub(crate) rejected: usize,
    /// Probability that `chosen` is better.
    pub(crate) probability: f64,
    /// [`Dialogue::id`] of the prompt.
    prompt: String,
}

/// Preferences whose dialogues are tokenised, every distinct one once.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    rows: Vec<Vec<u32>>,
    pub(crate) kept: Vec<Pair>,
    /// Pairs left out since a dialogue is longer than the context.
    pub(crate) overlong: usize,
    /// Pairs left out since both replies are the same: whatever the scores, their margin is 0.
    pub(crate) identical: usize,
}

impl Pairs {
    /// Tokenises preferences.
    pub(crate) fn new(
        codec: &Codec,
        model: &ModelConfig,
        preferences: &[Preference],
        overlong: Overlong,
    ) -> Result<Self, Error> {
        let mut found = Self::default();
        let mut seen = HashMap::new();
        for (index, preference) in preferences.iter().enumerate() {
            let &Preference { probability, .. } = preference;
            if !(0.0..=1.0).contains(&probability) {
                return Err(Error::Probability { index, found: probability });
            }
            let chosen = found.tokenise(codec, &mut seen, preference.chosen_dialogue())?;
            let rejected = found.tokenise(codec, &mut seen, preference.rejected_dialogue())?;
            let pair = Pair { chosen, rejected, probability, prompt: preference.prompt.id() };
            match found.check(&pair, index, model) {
                Ok(()) if found.row(chosen) == found.row(rejected) => found.identical += 1,
                Ok(()) => found.kept.push(pair),
                Err(Error::Overlong { .. }) if overlong == Overlong::Drop => found.overlong += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// The tokens of a dialogue.
    pub(crate) fn row(&self, row: usize) -> &[u32] {
        &self.rows[row]
    }

    /// What both dialogues of a pair take up in a padded batch.
    pub(crate) fn padded_tokens(&self, pair: &Pair) -> usize {
        2 * self.row(pair.chosen).len().max(self.row(pair.rejected).len())
    }

    /// The tokens of both dialogues of a pair.
    pub(crate) fn tokens(&self, pair: &Pair) -> usize {
        self.row(pair.chosen).len() + self.row(pair.rejected).len()
    }

    /// The error that says why no pair is left.
    pub(crate) fn none_left(&self) -> Error {
        Error::NoPreferences { overlong: self.overlong, identical: self.identical }
    }

    /// Pairs to train on and pairs held out. The share counts prompts, so that no prompt is on both sides; at least one
    /// prompt is trained on. Which are held out depends on the seed and on what the prompts say, not on their order.
    pub(crate) fn split(&self, share: f64, seed: u64) -> (Vec<&Pair>, Vec<&Pair>) {
        let distinct: HashSet<&str> = self.kept.iter().map(|pair| pair.prompt.as_str()).collect();
        let mut prompts: Vec<&str> = distinct.into_iter().collect();
        prompts
            .sort_by_cached_key(|prompt| (item_seed(seed, &[STAGE, "held_out", prompt]), *prompt));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a length"
        )]
        let count = (share * prompts.len() as f64).round() as usize;
        prompts.truncate(count.min(prompts.len().saturating_sub(1)));
        let held_out: HashSet<&str> = prompts.into_iter().collect();
        self.kept.iter().partition(|pair| !held_out.contains(pair.prompt.as_str()))
    }

    fn tokenise(
        &mut self,
        codec: &Codec,
        seen: &mut HashMap<Dialogue, usize>,
        dialogue: Dialogue,
    ) -> Result<usize, Error> {
        if let Some(&row) = seen.get(&dialogue) {
            return Ok(row);
        }
        self.rows.push(codec.encode_dialogue(&dialogue)?.tokens);
        seen.insert(dialogue, self.rows.len() - 1);
        Ok(self.rows.len() - 1)
    }

    fn check(&self, pair: &Pair, index: usize, model: &ModelConfig) -> Result<(), Error> {
        for row in [pair.chosen, pair.rejected] {
            check_tokens(model, index, self.row(row))?;
        }
        let (tokens, context) = (self.padded_tokens(pair) / 2, model.max_position_embeddings);
        if tokens > context { Err(Error::Overlong { index, tokens, context }) } else { Ok(()) }
    }
}

/// Says why a decoder cannot read the tokens of dialogue `index`, whatever their number.
pub(crate) fn check_tokens(
    config: &ModelConfig,
    index: usize,
    tokens: &[u32],
) -> Result<(), transformer::Error> {
    if tokens.is_empty() {
        return Err(transformer::Error::NoTokens { what: "dialogue", index });
    }
    let vocabulary = config.vocab_size;
    match tokens.iter().find(|&&token| token as usize >= vocabulary) {
        Some(&token) => Err(transformer::Error::UnknownToken { index, token, vocabulary }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::model_config as config;
    use crate::testing::{codec, preference};

    fn pairs(preferences: &[Preference], overlong: Overlong) -> Result<Pairs, Error> {
        Pairs::new(&codec(), &config(), preferences, overlong)
    }

    #[test]
    fn tokenises_every_distinct_dialogue_once() {
        let preferences = [preference("q", "a", "b", 0.9), preference("q", "b", "c", 0.6)];
        let found = pairs(&preferences, Overlong::Drop).unwrap();
        assert_eq!(found.rows.len(), 3);
        assert_eq!(found.kept[0].rejected, found.kept[1].chosen);
        // <user> q <end> <assistant> a <end>, twice.
        assert_eq!(found.tokens(&found.kept[0]), 12);
        assert_eq!(found.padded_tokens(&found.kept[0]), 12);
    }

    #[test]
    fn leaves_out_and_counts_what_teaches_nothing() {
        let long = vec!["a"; 20].join(" ");
        let preferences = [
            preference("q", "a", "a", 0.9),
            preference("q", &long, "b", 0.9),
            preference("q", "a", "b", 0.9),
        ];
        let found = pairs(&preferences, Overlong::Drop).unwrap();
        assert_eq!((found.kept.len(), found.overlong, found.identical), (1, 1, 1));
        let error = pairs(&preferences, Overlong::Error).unwrap_err();
        assert!(matches!(error, Error::Overlong { index: 1, tokens: 25, context: 16 }), "{error}");
    }

    #[test]
    fn names_a_label_that_is_no_probability() {
        for found in [-0.1, 1.1, f64::NAN] {
            let preferences = [preference("q", "a", "b", 0.5), preference("q", "a", "b", found)];
            let message = pairs(&preferences, Overlong::Drop).unwrap_err().to_string();
            assert!(message.starts_with("preference 1: `probability` is "), "{message}");
        }
    }

    #[test]
    fn no_prompt_is_on_both_sides() {
        let mut preferences = Vec::new();
        for prompt in ["a", "b", "c", "d", "good", "bad", "q", "a a", "a b", "a c"] {
            for (chosen, rejected) in [("a", "b"), ("b", "c"), ("c", "a")] {
                preferences.push(preference(prompt, chosen, rejected, 0.8));
            }
        }
        let found = pairs(&preferences, Overlong::Drop).unwrap();
        let (training, held_out) = found.split(0.3, 1);
        assert_eq!((training.len(), held_out.len()), (21, 9));
        let prompts = |pairs: &[&Pair]| -> HashSet<String> {
            pairs.iter().map(|pair| pair.prompt.clone()).collect()
        };
        assert!(prompts(&training).is_disjoint(&prompts(&held_out)));

        preferences.reverse();
        let reversed = pairs(&preferences, Overlong::Drop).unwrap();
        assert_eq!(prompts(&reversed.split(0.3, 1).1), prompts(&held_out));
        assert_ne!(prompts(&found.split(0.3, 2).1), prompts(&held_out));
        assert!(found.split(0.0, 1).1.is_empty());
        assert_eq!(found.split(0.999, 1).0.len(), 3);
    }
}
