//! How often states are kept, and how many.

use crate::Error;
use serde::{Deserialize, Serialize};

/// How often a state is kept.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Every {
    /// After every step that is a multiple of this, at least 1.
    Steps(u64),
    /// After the first step that ends so many seconds after the last state was kept, or after the stage went on; at
    /// least 0, which keeps a state after every step.
    Seconds(f64),
}

/// How often states are kept, and how many.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `every` | `{ seconds = 60.0 }` | `{ steps = N }`, N at least 1, or `{ seconds = S }`, S at least 0 |
/// | `keep` | 2 | newest states that stay, at least 1 |
///
/// A second state is there for the case that the newest one is damaged; more serve nothing but curiosity.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointConfig {
    /// How often a state is kept.
    pub every: Every,
    /// Newest states that stay.
    pub keep: usize,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self { every: Every::Seconds(60.0), keep: 2 }
    }
}

impl CheckpointConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Setting`] names the first setting out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let error = |setting, found, expected| Err(Error::Setting { setting, found, expected });
        match self.every {
            Every::Steps(0) => {
                return error("every.steps", "0".to_owned(), "a number of at least 1");
            }
            Every::Seconds(seconds) if !seconds.is_finite() || seconds < 0.0 => {
                return error("every.seconds", seconds.to_string(), "a number of at least 0");
            }
            Every::Steps(_) | Every::Seconds(_) => {}
        }
        if self.keep == 0 {
            return error("keep", "0".to_owned(), "a number of at least 1");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_refuses_the_unknown() {
        let json = r#"{"every":{"steps":20},"keep":3}"#;
        let config: CheckpointConfig = serde_json::from_str(json).unwrap();
        assert_eq!(config, CheckpointConfig { every: Every::Steps(20), keep: 3 });
        assert_eq!(serde_json::to_string(&config).unwrap(), json);
        let config: CheckpointConfig = serde_json::from_str("{}").unwrap();
        assert_eq!(config, CheckpointConfig { every: Every::Seconds(60.0), keep: 2 });
        for unknown in [r#"{"every":{"minutes":1}}"#, r#"{"keeps":3}"#] {
            assert!(serde_json::from_str::<CheckpointConfig>(unknown).is_err(), "{unknown}");
        }
    }

    #[test]
    fn names_the_setting_out_of_range() {
        let good = CheckpointConfig::default();
        let cases = [
            ("every.steps", CheckpointConfig { every: Every::Steps(0), ..good }),
            ("every.seconds", CheckpointConfig { every: Every::Seconds(-1.0), ..good }),
            ("every.seconds", CheckpointConfig { every: Every::Seconds(f64::NAN), ..good }),
            ("every.seconds", CheckpointConfig { every: Every::Seconds(f64::INFINITY), ..good }),
            ("keep", CheckpointConfig { keep: 0, ..good }),
        ];
        for (name, config) in cases {
            let message = config.validate().unwrap_err().to_string();
            assert!(message.starts_with(&format!("`{name}` is ")), "{message}");
        }
        good.validate().unwrap();
        CheckpointConfig { every: Every::Seconds(0.0), keep: 1 }.validate().unwrap();
    }
}
