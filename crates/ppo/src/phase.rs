//! Where in a run something happens.

use std::fmt;

/// Where in a run replies are drawn, scored or looked at; in errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// What [`crate::PpoConfig::best_of_n_start`] does before the first iteration.
    Start,
    /// An iteration, counted from 1.
    Iteration(usize),
    /// Between the update of an iteration, counted from 1, and the next one.
    AfterIteration(usize),
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("before the first iteration, in `best_of_n_start`"),
            Self::Iteration(number) => write!(f, "in iteration {number}"),
            Self::AfterIteration(number) => write!(f, "after the update of iteration {number}"),
        }
    }
}
