//! The check that stops a diverged run.

use crate::Error;

/// Gives `value` back if it is finite.
///
/// `step` counts from 1, as in [`crate::Observe::record`].
///
/// # Errors
/// [`Error::Diverged`] if `value` is infinite or not a number.
pub fn finite(stage: &str, step: u64, name: &str, value: f64) -> Result<f64, Error> {
    if value.is_finite() {
        Ok(value)
    } else {
        Err(Error::Diverged { stage: stage.to_owned(), step, name: name.to_owned(), value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_numbers_through_and_names_what_diverged() {
        assert_eq!(finite("sft", 1, "loss", -2.5).unwrap().to_bits(), (-2.5_f64).to_bits());
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let message = finite("ppo", 17, "value_loss", value).unwrap_err().to_string();
            for part in ["ppo", "17", "value_loss", &value.to_string()] {
                assert!(message.contains(part), "{message}");
            }
        }
    }
}
