//! What a run can fail with.

use crate::{KlLimit, Phase};

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
         would again if this run went on; begin the stage anew in a new run folder, with a lower learning rate, fewer \
         `epochs`, a higher `kl_coefficient` or a `kl_target`, or, if the KL may be this large, a higher `{}`",
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
         differ by {engine_gap:.3} nats a token: if that is far from 0, begin the stage anew in a new run folder on \
         another device; if it is not, the replies are too few for a mean, so draw more in a round"
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
