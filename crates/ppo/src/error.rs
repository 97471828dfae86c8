//! What a run can fail with.

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
        "the reward gave {score} to dialogue {id} in iteration {iteration}, expected a finite number"
    )]
    Score {
        /// The iteration, counted from 1.
        iteration: usize,
        /// [`dialogue::Dialogue::id`] of the dialogue.
        id: String,
        /// The score.
        score: f32,
    },
    /// The caller's own code between two iterations failed.
    #[error("the callback after iteration {iteration} failed: {source}")]
    Callback {
        /// The iteration, counted from 1.
        iteration: usize,
        /// What it failed with.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
