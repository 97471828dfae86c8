//! What a language model can fail with.

/// Why a language model could not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A prompt leaves no room for a reply.
    #[error(
        "prompt {id} has {tokens} tokens, but the context holds {context} and {reserved} are kept for the reply; \
         shorten the prompt or lower the number of new tokens"
    )]
    TooLong {
        /// [`dialogue::Dialogue::id`] of the prompt.
        id: String,
        /// Tokens of the prompt.
        tokens: usize,
        /// Tokens the model can hold.
        context: usize,
        /// Tokens kept for the reply.
        reserved: usize,
    },
    /// The sampling settings contradict themselves.
    #[error("`{setting}` is {found}, expected {expected}")]
    Sampling {
        /// The name of the setting.
        setting: &'static str,
        /// The value found.
        found: String,
        /// The values allowed.
        expected: &'static str,
    },
    /// A fixed answer cannot be scored.
    #[error("option {option:?} cannot be scored: {reason}")]
    Option {
        /// The answer.
        option: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A dialogue could not be turned into the model's text.
    #[error("the chat template cannot render dialogue {id}: {message}")]
    Template {
        /// [`dialogue::Dialogue::id`] of the dialogue.
        id: String,
        /// What the template engine says.
        message: String,
    },
    /// A number that must be finite is not.
    #[error(
        "{what} is not finite for dialogue {id}; the model's weights are damaged or have diverged"
    )]
    NotFinite {
        /// What was computed.
        what: &'static str,
        /// [`dialogue::Dialogue::id`] of the dialogue.
        id: String,
    },
    /// The model refuses a prompt and would refuse it again, though not another.
    #[error(transparent)]
    Refused(Box<dyn std::error::Error + Send + Sync>),
    /// Anything else that an implementation reports.
    #[error(transparent)]
    Model(#[from] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// Whether the error is about a prompt and not about the model or the settings, so that other prompts may well be
    /// answered and the same one would fail again.
    pub fn concerns_one_prompt(&self) -> bool {
        matches!(self, Self::TooLong { .. } | Self::Template { .. } | Self::Refused(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_errors_of_a_prompt_from_those_of_a_model() {
        let id = || "1".to_owned();
        let too_long = Error::TooLong { id: id(), tokens: 9, context: 8, reserved: 1 };
        let refused = Error::Refused("a filter".into());
        assert!(too_long.concerns_one_prompt() && refused.concerns_one_prompt());
        assert_eq!(refused.to_string(), "a filter");
        let broken = Error::NotFinite { what: "a logit", id: id() };
        let gone = Error::Model("gone".into());
        assert!(!broken.concerns_one_prompt() && !gone.concerns_one_prompt());
    }
}
