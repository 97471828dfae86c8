//! Calls that the model refuses, and how many there may be.

use crate::Error;

/// From so many calls on, a share of them says something.
const AT_FIRST: usize = 32;

/// Calls that have failed.
#[derive(Debug, Clone, Default)]
pub(super) struct Failures {
    pub(super) count: usize,
    /// What the model said to the last.
    last: String,
}

impl Failures {
    pub(super) fn add(&mut self, said: &str) {
        self.count += 1;
        said.clone_into(&mut self.last);
    }

    /// An error if a share of more than `most` of the calls so far has failed; a few at the beginning are not judged, unless
    /// they are all that there will be.
    pub(super) fn check(&self, calls: usize, most: f64, are_all: bool) -> Result<(), Error> {
        let is_judged = are_all || calls >= AT_FIRST || most <= 0.0;
        if is_judged && self.count as f64 > most * calls as f64 {
            let (failed, calls, last) = (self.count as u64, calls as u64, self.last.clone());
            return Err(Error::TooManyCallsFailed { failed, calls, most, last });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_judged_once_it_says_something() {
        let mut failures = Failures::default();
        failures.check(0, 0.0, true).unwrap();
        failures.add("first");
        failures.add("second");
        failures.check(2, 0.1, false).unwrap();
        failures.check(31, 0.01, false).unwrap();
        failures.check(32, 0.1, false).unwrap();
        failures.check(20, 0.1, true).unwrap();
        for (calls, most, are_all) in [(32, 0.05, false), (19, 0.1, true), (9, 0.0, false)] {
            let message = failures.check(calls, most, are_all).unwrap_err().to_string();
            let expected = format!("2 of {calls} calls have failed");
            assert!(message.contains(&expected) && message.contains("second"), "{message}");
        }
    }
}
