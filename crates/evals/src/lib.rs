//! Evaluations of Constitutional AI (arXiv 2212.08073): multiple-choice questions, win rates and Elo ratings by a judge,
//! calibration, evasiveness, over-refusal, absolute harmfulness, sycophancy, and the length and variety of replies.
//!
//! Most of it is pure arithmetic over records. What asks a model does so through the seams [`language_model::Choose`],
//! [`language_model::Generate`] and [`language_model::Reward`], so that any model will do, and a stub in tests.
//!
//! ```
//! use evals::{Calibration, Forecast, is_evasive, rate};
//!
//! let evasive = rate(["I can't answer that.\n\nHuman:", "No."].map(is_evasive)).unwrap();
//! assert_eq!(evasive.to_string(), "100.0% [34.2, 100.0] of 2");
//!
//! let forecasts = [Forecast::new(0.8, 1.0)?, Forecast::new(0.3, 0.0)?];
//! let calibration = Calibration::of(&forecasts).unwrap();
//! assert!((calibration.brier - (0.04 + 0.09) / 2.0).abs() < 1e-12);
//! # Ok::<(), evals::Error>(())
//! ```

mod answered;
mod asked;
mod asking;
mod bootstrap;
mod by_preference_model;
mod calibration;
mod clusters;
mod declining;
mod difference;
mod diversity;
mod draw;
mod elo;
mod elo_alike;
mod elo_bootstrap;
mod error;
mod evasiveness;
mod game;
mod harmfulness;
mod linear_system;
mod multiple_choice;
mod over_refusal;
mod over_runs;
mod pairwise;
mod question;
mod quoted;
mod rate;
mod rated;
mod refusal;
mod refused;
mod replies;
mod safety_prompts;
mod self_bleu;
mod sycophancy;
mod win_rate;
mod words;

pub use answered::{Answers, read_answers};
pub use asking::{AskConfig, by_chain_of_thought, by_choice};
pub use bootstrap::{FEWEST_REPLICATES, Mean, REPLICATES};
pub use by_preference_model::{ByPreferenceModel, by_preference_model};
pub use calibration::{
    BINS, Bin, Calibration, CalibrationTally, Forecast, accuracy, brier,
    expected_calibration_error, log_loss, reliability,
};
pub use clusters::rate_by_prompt;
pub use difference::Difference;
pub use diversity::{Diversity, diversity};
pub use draw::draw_replies;
pub use elo::{Rating, Tally, elo, expected_score};
pub use elo_bootstrap::{Bootstrapped, bootstrap_elo};
pub use error::Error;
pub use evasiveness::{FEW_WORDS, is_evasive, is_short};
pub use game::{Game, Winner, read_games, tallies};
pub use harmfulness::{
    DrawnReplies, Harmfulness, HarmfulnessConfig, PromptHarmfulness, absolute_harmfulness,
    draw_for_harmfulness,
};
pub use multiple_choice::{Answer, MultipleChoice, multiple_choice};
pub use over_refusal::{KindRates, OverRefusal, over_refusal};
pub use over_runs::MeanOverRuns;
pub use pairwise::{Judged, judge_pairwise};
pub use question::{Question, read_questions, read_questions_that};
pub use rate::{Rate, rate};
pub use rated::{HIGHEST_RATING, Rated, read_rated};
pub use refusal::{Refusal, judge_refusals, refusal};
pub use refused::ask_each;
pub use replies::{RepliesByPrompt, read_replies};
pub use safety_prompts::{SafetyPrompt, read_replies_to, read_safety_prompts};
pub use sycophancy::{
    AnswerSway, AreYouSure, Attribution, FeedbackSway, KnownQuestion, Mimicry, Probed, Sycophancy,
    SycophancyItem, Work, answer_sway, are_you_sure, feedback_sway, mimicry, read_sycophancy_items,
    sycophancy,
};
pub use win_rate::{WinRate, win_rates};
