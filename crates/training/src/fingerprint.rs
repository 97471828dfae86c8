//! What a state belongs to.

use serde::Serialize;
use sha2::{Digest, Sha256};

/// A hash of everything that decides how a stage goes on: settings, seed, data, initial weights.
///
/// ```
/// use training::Fingerprint;
///
/// let of = |seed: u64| Fingerprint::default().with("seed", &seed).with_bytes("data", b"1 2 3").finish();
/// assert_eq!(of(1), of(1));
/// assert_ne!(of(1), of(2));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Fingerprint(Sha256);

impl Fingerprint {
    /// Adds whatever can be written as JSON.
    #[must_use]
    pub fn with(self, name: &str, value: &impl Serialize) -> Self {
        // What has no JSON form, such as a map with keys that are not text, occurs in no settings.
        self.with_bytes(name, &serde_json::to_vec(value).unwrap_or_default())
    }

    /// Adds bytes.
    #[must_use]
    pub fn with_bytes(mut self, name: &str, bytes: &[u8]) -> Self {
        // Lengths keep parts apart.
        for part in [name.as_bytes(), bytes] {
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
        self
    }

    /// The first 128 bits in hexadecimal digits.
    pub fn finish(self) -> String {
        format!("{:.32x}", self.0.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        let of = |parts: [&[u8]; 2]| {
            parts
                .iter()
                .fold(Fingerprint::default(), |all, part| all.with_bytes("part", part))
                .finish()
        };
        assert_ne!(of([b"ab", b"c"]), of([b"a", b"bc"]));
        assert_eq!(of([b"ab", b"c"]).len(), 32);
    }
}
