//! Evaluations of Constitutional AI (arXiv 2212.08073): rates with intervals, calibration of probabilities, Elo
//! ratings from comparisons, evasiveness of replies and multiple-choice questions.
//!
//! All of it is pure arithmetic over records, but for [`multiple_choice`], which asks a [`language_model::Choose`].
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

mod calibration;
mod elo;
mod error;
mod evasiveness;
mod linear_system;
mod multiple_choice;
mod over_runs;
mod rate;
mod samples;

pub use calibration::{
    BINS, Bin, Calibration, Forecast, accuracy, brier, expected_calibration_error, log_loss,
    reliability,
};
pub use elo::{Rating, Tally, elo, expected_score};
pub use error::Error;
pub use evasiveness::{FEW_WORDS, is_evasive, is_short};
pub use multiple_choice::{Answer, MultipleChoice, Question, multiple_choice, read_questions};
pub use over_runs::MeanOverRuns;
pub use rate::{Rate, rate};
pub use samples::read_replies;
