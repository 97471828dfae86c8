//! What a run can fail with.

use crate::estimate::VALUE;
use crate::{CallbackError, KlLimit, Phase};
use language_model::Error as ModelError;

/// Why proximal policy optimisation cannot start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is out of range, training has diverged, or metrics cannot be written.
    #[error(transparent)]
    Training(#[from] training::Error),
    /// The policy or the reward cannot read a dialogue, or fails.
    #[error(transparent)]
    Model(#[from] language_model::Error),
    /// There is nothing to reply to.
    #[error("no prompts were given, expected at least one")]
    NoPrompts,
    /// The reward did not give one score a dialogue.
    #[error("the reward gave {found} scores for {expected} dialogues, expected one score each")]
    Scores {
        /// Dialogues handed over.
        expected: usize,
        /// Scores that came back.
        found: usize,
    },
    /// A score cannot be learned from.
    #[error(
        "the reward gave {score} to dialogue {id} {phase}, expected a finite number: a reward of one's own must score every \
         reply, an empty one too; if it is a preference model, its weights are damaged or its fitting diverged: fit it again \
         with a lower learning rate"
    )]
    Score {
        /// When.
        phase: Phase,
        /// [`dialogue::Dialogue::id`] of the dialogue.
        id: String,
        /// The score.
        score: f32,
    },
    /// A number that the policy, its reference or the value model computes is not finite.
    #[error(
        "{what} is not finite {phase}, for dialogue {id}: the policy or its value model has diverged; begin the stage anew with \
         a lower learning rate (`optimizer`, of a separate value model `value_optimizer`) or `clip_norm`, or a longer warm-up; \
         if there was no update before, the weights that the stage began with are damaged: make that model again"
    )]
    NotFinite {
        /// When.
        phase: Phase,
        /// What was computed.
        what: &'static str,
        /// [`dialogue::Dialogue::id`] of the dialogue.
        id: String,
    },
    /// Every reply is empty: there is nothing to score.
    #[error(
        "all {replies} replies drawn {phase} are empty: the policy ends its turn at once; check that its chat \
         template opens the reply as in training, and that ending at once does not score best; if it came to this during \
         the run, lower the learning rate or raise `kl_coefficient`"
    )]
    EmptyReplies {
        /// When.
        phase: Phase,
        /// The replies that were drawn at once.
        replies: usize,
    },
    /// The policy has left its reference far behind.
    #[error(
        "the KL of a reply is {kl:.1} nats in iteration {iteration}, above {limit}: the policy has left its reference, and \
         would again if this run went on; begin the stage anew with a lower learning rate, fewer `epochs`, a higher \
         `kl_coefficient` or a `kl_target`, or, if the KL may be this large, a higher `{}`",
        .limit.setting()
    )]
    KlExploded {
        /// The iteration, counted from 1.
        iteration: usize,
        /// Mean over replies, in nats.
        kl: f64,
        /// The largest that may be learned from.
        limit: KlLimit,
    },
    /// The replies are likelier to the reference than to the policy that is said to have drawn them.
    #[error(
        "the KL of a reply is {kl:.1} nats in iteration {iteration}, below 0 by more than {limit}: what a policy draws is \
         on average no likelier to its reference than to itself; the log-probs of the engine that drew and of the trainer \
         differ by {engine_gap:.3} nats a token: if that is far from 0, run the whole loop in a new run folder on \
         another device; if it is not, the replies are too few for a mean: begin the stage anew and draw more in a round"
    )]
    KlNegative {
        /// The iteration, counted from 1.
        iteration: usize,
        /// Mean over replies, in nats.
        kl: f64,
        /// The largest that may be learned from.
        limit: KlLimit,
        /// Mean absolute difference of the log-probs of trainer and engine, in nats a token.
        engine_gap: f64,
    },
    /// A setting asks for something that was not given.
    #[error("`{setting}` is set, but {lacking}")]
    Lacking {
        /// The setting.
        setting: &'static str,
        /// What is missing.
        lacking: &'static str,
    },
    /// The value model does not know every token that the policy may draw.
    #[error(
        "the value model knows {known} tokens, but the policy draws from {drawn} (`vocab_size` of both): begin the value model \
         as one with the vocabulary of the policy, such as a preference model fitted from its weights, or give none and it \
         begins as a copy of the policy; or set `value_model` to \"shared\""
    )]
    ValueVocabulary {
        /// Tokens in the vocabulary of the value model.
        known: usize,
        /// Tokens in that of the policy.
        drawn: usize,
    },
    /// The value model cannot read the longest reply to a prompt.
    #[error(
        "the value model reads at most {positions} tokens (`max_position_embeddings`), but prompt {id} has {tokens} and its \
         reply up to {max_tokens}: lower `max_tokens`, shorten the prompt, begin the value model as one with a longer context \
         or as a copy of the policy, or set `value_model` to \"shared\""
    )]
    ValuePositions {
        /// Tokens that the value model reads.
        positions: usize,
        /// [`dialogue::Dialogue::id`] of the prompt.
        id: String,
        /// Tokens of the prompt.
        tokens: usize,
        /// [`crate::PpoConfig::max_tokens`].
        max_tokens: usize,
    },
    /// The policy or the value model cannot be changed as the settings want.
    #[error(transparent)]
    Transformer(#[from] transformer::Error),
    /// The fine-tuning before the first round, on the best of several replies, cannot begin or failed.
    #[error("`best_of_n_start.sft`: {0}")]
    BestOfN(#[from] sft::Error),
    /// The caller's own code between two iterations failed.
    #[error("the callback after iteration {iteration} failed: {source}")]
    Callback {
        /// The iteration, counted from 1.
        iteration: usize,
        /// What it failed with.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// True if what diverged is the value function: its loss, its gradient, a weight or a value.
    ///
    /// One on the policy's trunk learns by the optimiser of the policy, a separate one by
    /// `value_optimizer` of [`PpoConfig`](crate::PpoConfig), if it is set.
    pub fn is_of_value_function(&self) -> bool {
        match self {
            Self::Training(training::Error::Diverged { name, .. }) => {
                ["value_loss", "value_gradient_norm"].contains(&name.as_str())
                    || name.starts_with("a weight of `critic.")
            }
            Self::NotFinite { what, .. } => *what == VALUE,
            _ => false,
        }
    }

    /// Says when, if it is a number of the policy or the value model that is not finite.
    pub(crate) fn at(self, phase: Phase) -> Self {
        match self {
            Self::Model(ModelError::NotFinite { what, id }) => Self::NotFinite { phase, what, id },
            other => other,
        }
    }

    /// What a callback failed with. A number that is not finite is one of the policy that it looked at.
    pub(crate) fn of_callback(source: CallbackError, iteration: usize) -> Self {
        match source.downcast::<ModelError>() {
            Ok(error) => match *error {
                ModelError::NotFinite { what, id } => {
                    Self::NotFinite { phase: Phase::AfterIteration(iteration), what, id }
                }
                error => Self::Callback { iteration, source: error.into() },
            },
            Err(source) => Self::Callback { iteration, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_diverged_is_told_by_its_name() {
        let diverged = |name: &str| {
            let (stage, name) = ("ppo".to_owned(), name.to_owned());
            Error::from(training::Error::Diverged { stage, step: 1, name, value: f64::NAN })
        };
        let not_finite =
            |what| Error::NotFinite { phase: Phase::Iteration(2), what, id: "7".to_owned() };
        for error in [
            diverged("value_loss"),
            diverged("value_gradient_norm"),
            diverged("a weight of `critic.trunk.norm.weight`"),
            not_finite(VALUE),
        ] {
            assert!(error.is_of_value_function(), "{error}");
        }
        for error in [
            diverged("policy_loss"),
            diverged("gradient_norm"),
            diverged("a weight of `decoder.norm.weight`"),
            not_finite("a log-prob of the policy"),
            Error::NoPrompts,
        ] {
            assert!(!error.is_of_value_function(), "{error}");
        }
    }
}
