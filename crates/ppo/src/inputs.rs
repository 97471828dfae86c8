//! What a run works on.

use crate::best_of_n::last_before_rounds;
use crate::{Error, PpoConfig, ValueStart};
use burn::tensor::backend::AutodiffBackend;
use dialogue::Dialogue;
use language_model::Reward;
use sft::Example;
use training::Fingerprint;
use transformer::{Transformer, fingerprint_of};

/// The models and the data of a run.
pub struct Inputs<'a, B: AutodiffBackend> {
    /// The model that learns.
    pub policy: Transformer<B>,
    /// What scores replies. A run goes on with no other, as far as [`Reward::fingerprint`] tells them apart.
    pub reward: &'a dyn Reward,
    /// What is replied to.
    pub prompts: &'a [Dialogue],
    /// What a separate value model begins as: the preference model, say. It reads the tokens of the policy, so that its
    /// vocabulary is at least that of the policy and its context holds every prompt with its reply.
    pub value: Option<ValueStart<B>>,
    /// A reward that nothing is learned from, such as a preference model fitted to other data: a score that rises while
    /// this one falls is over-optimised, and a note says so.
    pub held_out_reward: Option<&'a dyn Reward>,
    /// Rows that the policy goes on learning, with [`PpoConfig::ptx_coefficient`].
    pub ptx: &'a [Example],
}

impl<'a, B: AutodiffBackend> Inputs<'a, B> {
    /// What every run needs.
    pub fn new(policy: Transformer<B>, reward: &'a dyn Reward, prompts: &'a [Dialogue]) -> Self {
        Self { policy, reward, prompts, value: None, held_out_reward: None, ptx: &[] }
    }

    /// Begins a separate value model as this model.
    #[must_use]
    pub fn with_value(self, value: ValueStart<B>) -> Self {
        Self { value: Some(value), ..self }
    }

    /// Watches a reward that nothing is learned from.
    #[must_use]
    pub fn with_held_out_reward(self, reward: &'a dyn Reward) -> Self {
        Self { held_out_reward: Some(reward), ..self }
    }

    /// Goes on learning these rows.
    #[must_use]
    pub fn with_ptx(self, ptx: &'a [Example]) -> Self {
        Self { ptx, ..self }
    }

    /// Checks that what the settings ask for is there, and the other way round.
    pub(crate) fn check(&self, config: &PpoConfig) -> Result<(), Error> {
        let lacking = |setting, lacking| Err(Error::Lacking { setting, lacking });
        if config.ptx_coefficient > 0.0 && self.ptx.is_empty() {
            return lacking("ptx_coefficient", "no rows of other data were given");
        }
        if self.value.is_some() && !config.has_values() {
            return lacking("advantage", "it takes no values, although a value model was given");
        }
        if self.value.is_some() && !config.has_separate_values() {
            return lacking(
                "value_model",
                "it is not \"separate\", although a value model was given",
            );
        }
        if config.lora.is_some() && self.policy.decoder.adapter().is_some() {
            return lacking(
                "lora",
                "the policy has an adapter already: merge it, or leave the setting out to go on with it",
            );
        }
        if config.best_of_n_start.is_some() && self.policy.decoder.adapter().is_some() {
            return lacking("best_of_n_start", "the policy has an adapter: merge it first");
        }
        let model = self.policy.decoder.config();
        for (index, example) in self.ptx.iter().enumerate() {
            example.check(|| format!("example {index} of `ptx`"), model)?;
        }
        Ok(())
    }

    /// Checks that a value model that was given knows every token of the policy, and reads every prompt with the longest reply.
    pub(crate) fn check_value_model(&self, max_tokens: usize) -> Result<(), Error> {
        let Some(ValueStart { model, .. }) = &self.value else { return Ok(()) };
        let value = model.decoder().config();
        let (known, drawn) = (value.vocab_size, self.policy.decoder.config().vocab_size);
        if known < drawn {
            return Err(Error::ValueVocabulary { known, drawn });
        }
        let positions = value.max_position_embeddings;
        for prompt in self.prompts {
            let tokens = self.policy.codec.encode_prompt(prompt)?.len();
            if tokens.saturating_add(max_tokens) > positions {
                let id = prompt.id();
                return Err(Error::ValuePositions { positions, id, tokens, max_tokens });
            }
        }
        Ok(())
    }

    /// What a state of this run belongs to.
    pub(crate) fn fingerprint(&self, config: &PpoConfig, seed: u64) -> String {
        let mut all = Fingerprint::default()
            .with("settings", config)
            .with("seed", &seed)
            .with("prompts", &self.prompts)
            .with("policy", &fingerprint_of(&self.policy.decoder))
            .with("reward", &self.reward.fingerprint())
            .with("held_out_reward", &self.held_out_reward.map(Reward::fingerprint));
        if let Some(ValueStart { model, mean, std }) = &self.value {
            all = all.with("value", &(fingerprint_of(model), mean, std));
        }
        if config.best_of_n_start.is_some() {
            // Earlier versions numbered their states otherwise.
            all = all.with("before_rounds", &last_before_rounds(config, self.prompts.len()));
        }
        for example in self.ptx {
            all = all.with("ptx", &(&example.tokens, &example.weights));
        }
        all.finish()
    }
}

impl<B: AutodiffBackend> std::fmt::Debug for Inputs<'_, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inputs")
            .field("policy", &self.policy)
            .field("prompts", &self.prompts.len())
            .field("ptx", &self.ptx.len())
            .finish_non_exhaustive()
    }
}
