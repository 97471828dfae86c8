//! What does not fit.

use serde::{Deserialize, Serialize};

/// What becomes of an item that is longer than the model's context.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlong {
    /// It is left out and counted.
    #[default]
    Drop,
    /// It is an error.
    Error,
    /// The oldest turns of a dialogue are left out until it fits. What has no turns left to leave out is left out as a
    /// whole and counted, as by [`Overlong::Drop`].
    OldestTurns,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_name_each() {
        let names = [
            ("\"drop\"", Overlong::Drop),
            ("\"error\"", Overlong::Error),
            ("\"oldest_turns\"", Overlong::OldestTurns),
        ];
        for (name, overlong) in names {
            assert_eq!(serde_json::to_string(&overlong).unwrap(), name);
            assert_eq!(serde_json::from_str::<Overlong>(name).unwrap(), overlong);
        }
        assert_eq!(Overlong::default(), Overlong::Drop);
    }
}
