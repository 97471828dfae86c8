//! Where in a run something happens.

use std::fmt;

/// A part of a run in which replies are drawn and scored; in errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// What [`crate::PpoConfig::best_of_n_start`] does before the first iteration.
    Start,
    /// An iteration, counted from 1.
    Iteration(usize),
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("before the first iteration, in `best_of_n_start`"),
            Self::Iteration(number) => write!(f, "in iteration {number}"),
        }
    }
}
