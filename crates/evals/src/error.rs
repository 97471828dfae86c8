//! What an evaluation can fail with.

use std::path::PathBuf;

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
    /// A setting is out of range.
    #[error("`{setting}` is {found}, expected {expected}")]
    Setting {
        /// The name of the setting.
        setting: &'static str,
        /// The value found.
        found: String,
        /// The values allowed.
        expected: &'static str,
    },
    /// There is nothing to evaluate.
    #[error("no question to evaluate")]
    NoQuestions,
    /// There is nothing to evaluate.
    #[error("no {0} to evaluate")]
    Nothing(&'static str),
    /// Replies and prompts are not the same number.
    #[error(
        "{path} has {found} replies for {expected} prompts; give one reply each, or name its prompt in every row by \
         `id` or `prompt`"
    )]
    ReplyCount {
        /// The file of replies.
        path: PathBuf,
        /// The number of prompts.
        expected: usize,
        /// The number of replies.
        found: usize,
    },
    /// A prompt has no reply.
    #[error("{path} has no reply to prompt {id}: {prompt:?}")]
    NoReply {
        /// The file of replies.
        path: PathBuf,
        /// The id of the prompt.
        id: String,
        /// The prompt.
        prompt: String,
    },
    /// There are more comparisons than can be counted.
    #[error(
        "{path}: all rows together have {found} comparisons, expected {most}",
        most = crate::game::AT_MOST
    )]
    TooManyGames {
        /// The file.
        path: PathBuf,
        /// The number of comparisons.
        found: f64,
    },
    /// Which of two replies to a prompt counts cannot be told.
    #[error("{path} has the prompt {prompt:?} twice; give one reply to each prompt")]
    RepeatedPrompt {
        /// The file of replies.
        path: PathBuf,
        /// The beginning of the prompt.
        prompt: String,
    },
    /// Two files are of one player.
    #[error("player {0} has two files of replies; give each a name of its own")]
    RepeatedPlayer(String),
    /// A player replied to another number of prompts than there are.
    #[error("{player} has {found} replies to {expected} prompts; give one each")]
    PlayerReplies {
        /// The player.
        player: String,
        /// The number of prompts.
        expected: usize,
        /// The number of its replies.
        found: usize,
    },
    /// A preference model is asked, but a question has no dialogues to score.
    #[error(
        "question {index} has no `text_correct` and `text_incorrect`, the two dialogues that a preference model \
         scores; ask this file by choice or by chain of thought"
    )]
    NoDialogues {
        /// The place of the question, counted from 1.
        index: usize,
    },
    /// A model gave another number of answers than it was asked for.
    #[error("the model gave {found} {what} where {expected} were asked for")]
    Count {
        /// What was asked for.
        what: &'static str,
        /// How many were asked for.
        expected: usize,
        /// How many came.
        found: usize,
    },
    /// A number that must be finite is not.
    #[error(
        "the score of dialogue {id} is not finite; the model's weights are damaged or have diverged"
    )]
    NotFinite {
        /// [`dialogue::Dialogue::id`] of the dialogue.
        id: String,
    },
    /// A model refuses everything.
    #[error(
        "the model refuses the prompts of every {0}, so that there is nothing to evaluate; ask it one of them and see what it \
         says"
    )]
    AllRefused(&'static str),
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
    /// A file cannot be read.
    #[error(transparent)]
    Dataset(#[from] dataset::Error),
    /// The model failed.
    #[error(transparent)]
    Model(#[from] language_model::Error),
}
