//! How much of a stage may be planned.

use crate::Error;

/// The most epochs.
pub const MOST_EPOCHS: u64 = 1_000_000;

/// The highest weight of a source.
pub const HIGHEST_WEIGHT: f64 = 1e6;

/// The most examples of all epochs together.
const MOST_EXAMPLES: f64 = 1e8;

/// Refuses more examples than memory may hold the order of: a stage plans all its epochs before the first step.
///
/// `examples` are those of all epochs, by the weights of their sources.
///
/// # Errors
/// [`Error::Setting`] names `epochs` if there are more than 100,000,000.
pub fn check_planned(epochs: u64, examples: f64) -> Result<(), Error> {
    if examples <= MOST_EXAMPLES {
        return Ok(());
    }
    Err(Error::Setting {
        setting: "epochs",
        found: format!("{epochs}, which makes {examples:.0} examples, weights included"),
        expected: "at most 100,000,000 examples in all: fewer epochs, or lower `weights`",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_keyboard_is_refused_and_long_training_is_not() {
        check_planned(3, 3.0 * 170_000.0).unwrap();
        check_planned(1, 1e8).unwrap();
        let message = check_planned(7, 7.0 * 1e9).unwrap_err().to_string();
        assert!(message.starts_with("`epochs` is 7, which makes 7000000000 examples"), "{message}");
        assert!(check_planned(1, f64::INFINITY).is_err());
    }
}
