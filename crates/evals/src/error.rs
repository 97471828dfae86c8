//! What an evaluation can fail with.

/// Why an evaluation has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A number is out of range.
    #[error("`{name}` is {found}, expected {expected}")]
    Number {
        /// What the number is called.
        name: &'static str,
        /// The number found.
        found: f64,
        /// The numbers allowed.
        expected: &'static str,
    },
    /// A player is compared with itself.
    #[error("player {0} is compared with itself")]
    SamePlayer(String),
    /// The player that the others are rated against has no game.
    #[error("the anchor {0} occurs in no comparison; name one of the players compared")]
    UnknownAnchor(String),
    /// The most likely rating of some players is infinite.
    #[error(
        "no finite rating of {} relative to {anchor}: they won all, lost all or never met it, directly or through \
         others; compare more, or give every pair that met some ties with `prior_ties`",
        players.join(", ")
    )]
    Unbounded {
        /// The players without a finite rating.
        players: Vec<String>,
        /// The player whose rating is 0.
        anchor: String,
    },
    /// The fit found no maximum.
    #[error(
        "the fit of the ratings did not settle after {0} steps; give every pair that met some ties with `prior_ties`"
    )]
    Unsettled(usize),
    /// There is nothing to evaluate.
    #[error("no question to evaluate")]
    NoQuestions,
    /// A question contradicts itself.
    #[error(
        "question {id} has {options} options and the right one is number {correct}, counted from 0; expected two or \
         more options, all different, with the right one among them"
    )]
    Question {
        /// [`dialogue::Dialogue::id`] of the question.
        id: String,
        /// How many options it has.
        options: usize,
        /// The index of the right one, counted from 0.
        correct: usize,
    },
    /// A model did not answer as [`language_model::Choose`] asks.
    #[error(
        "the model gave {found:?} for question {id}, expected {options} probabilities that sum to 1"
    )]
    Answer {
        /// [`dialogue::Dialogue::id`] of the question.
        id: String,
        /// What it gave.
        found: Vec<f64>,
        /// How many options the question has.
        options: usize,
    },
    /// A file of questions cannot be read.
    #[error(transparent)]
    Dataset(#[from] dataset::Error),
    /// The model failed.
    #[error(transparent)]
    Model(#[from] language_model::Error),
}
