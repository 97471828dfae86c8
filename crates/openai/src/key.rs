//! The key that a server asks for.

use crate::Error;
use crate::config::KEY_VARIABLE;
use reqwest::header::HeaderValue;
use std::fmt;

/// What stands in the place of the key in a text.
const HIDDEN: &str = "[key]";

/// A key, or none. Its `Debug` output shows neither it nor its length.
#[derive(Clone, Default)]
pub(crate) struct Key(Option<String>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Key(hidden)" } else { "Key(none)" })
    }
}

impl Key {
    /// Reads the key from the environment. The usual variable may be unset, since most servers on one's own machine want
    /// no key; one that was named may not.
    pub(crate) fn from_environment(variable: &str) -> Result<Self, Error> {
        let wrong = |reason| Err(Error::Key { variable: variable.to_owned(), reason });
        match std::env::var(variable) {
            Ok(value) => Self::new(&value).map_or_else(wrong, Ok),
            Err(std::env::VarError::NotPresent) if variable == KEY_VARIABLE => Ok(Self(None)),
            Err(std::env::VarError::NotPresent) => wrong("is not set"),
            Err(std::env::VarError::NotUnicode(_)) => wrong("is no text"),
        }
    }

    fn new(value: &str) -> Result<Self, &'static str> {
        let value = value.trim();
        if value.is_empty() {
            return Ok(Self(None));
        }
        // A longer key than any in use would only be a file by mistake; a short one could not be told from other text.
        if !(4..=8192).contains(&value.len()) {
            return Err("is no key: it must have 4 to 8192 characters");
        }
        if !value.chars().all(|c| c.is_ascii_graphic()) {
            return Err("holds a character that no key has");
        }
        Ok(Self(Some(value.to_owned())))
    }

    /// Whether there is one.
    pub(crate) fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// The header that carries it.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        let mut header = HeaderValue::from_str(&format!("Bearer {}", self.0.as_ref()?)).ok()?;
        header.set_sensitive(true);
        Some(header)
    }

    /// A text that a server wrote, without the key.
    pub(crate) fn scrub(&self, text: &str) -> String {
        match &self.0 {
            Some(key) => text.replace(key.as_str(), HIDDEN),
            None => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_shows_itself() {
        let key = Key::new(" sk-secret\n").unwrap();
        assert_eq!(format!("{key:?}"), "Key(hidden)");
        let header = key.header().unwrap();
        assert!(header.is_sensitive() && !format!("{header:?}").contains("secret"));
        assert_eq!(header.to_str().unwrap(), "Bearer sk-secret");
        assert_eq!(key.scrub("Incorrect key: sk-secret."), "Incorrect key: [key].");
    }

    #[test]
    fn none_is_no_header() {
        let none = Key::new(" ").unwrap();
        assert!(!none.is_some() && none.header().is_none());
        assert_eq!(none.scrub("text"), "text");
    }

    #[test]
    fn refuses_what_no_header_can_carry() {
        for wrong in ["abc", "two words", "line\nbreak", "schlüssel"] {
            assert!(Key::new(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_variable_that_was_named_must_be_set() {
        let message = Key::from_environment("NO_SUCH_VARIABLE_42").unwrap_err().to_string();
        assert!(message.contains("NO_SUCH_VARIABLE_42"), "{message}");
    }
}
