//! Names of models on the hub.

use crate::Error;
use std::fmt;
use std::path::Path;

/// The longest owner or name that the hub allows, in characters.
const LONGEST: usize = 96;
/// The branch that a name without a revision means.
const MAIN: &str = "main";

/// A model on the hub: `owner/name`, or `owner/name@revision` with a branch, tag or commit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ModelId {
    name: String,
    revision: String,
}

impl ModelId {
    /// Reads a name from the command line or a file of settings.
    ///
    /// # Errors
    /// [`Error::Neither`] says why it cannot be a name.
    pub fn parse(given: &str) -> Result<Self, Error> {
        let neither = |reason| Err(Error::Neither { given: given.to_owned(), reason });
        let (name, revision) = given.split_once('@').unwrap_or((given, MAIN));
        let Some((owner, model)) = name.split_once('/') else {
            return neither("a name has two parts");
        };
        if model.contains('/') {
            return neither("a name has two parts");
        }
        if ![owner, model].into_iter().all(is_part) {
            return neither("a part of a name consists of letters, digits, `-`, `_` and `.`");
        }
        if !is_revision(revision) {
            return neither("behind `@` a branch, tag or commit is expected");
        }
        Ok(Self { name: name.to_owned(), revision: revision.to_owned() })
    }

    /// The name that a path spells.
    ///
    /// # Errors
    /// As for [`ModelId::parse`].
    pub fn from_path(path: &Path) -> Result<Self, Error> {
        Self::parse(&path.to_string_lossy())
    }

    /// `owner/name`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The branch, tag or commit; `main` if none was given.
    pub fn revision(&self) -> &str {
        &self.revision
    }
}

/// `owner/name`, with the revision if it is not `main`.
impl fmt::Display for ModelId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)?;
        if self.revision != MAIN {
            write!(formatter, "@{}", self.revision)?;
        }
        Ok(())
    }
}

/// The rules of the hub, which also keep a name from leaving the folder of the cache.
fn is_part(part: &str) -> bool {
    let edge = |end: Option<char>| end.is_some_and(|letter| letter != '-' && letter != '.');
    let letters = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    part.len() <= LONGEST
        && part.chars().all(letters)
        && edge(part.chars().next())
        && edge(part.chars().next_back())
        && !part.contains("--")
        && !part.contains("..")
}

/// Names of branches may have slashes.
fn is_revision(revision: &str) -> bool {
    revision.len() <= 2 * LONGEST && revision.split('/').all(is_revision_part)
}

fn is_revision_part(part: &str) -> bool {
    let letters = |letter: char| letter.is_ascii_alphanumeric() || "-_.+".contains(letter);
    !part.is_empty() && part.chars().all(letters) && !part.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_paths() {
        let id = ModelId::parse("HuggingFaceTB/SmolLM2-135M_v1.0").unwrap();
        assert_eq!((id.name(), id.revision()), ("HuggingFaceTB/SmolLM2-135M_v1.0", "main"));
        assert_eq!(id.to_string(), "HuggingFaceTB/SmolLM2-135M_v1.0");
        let id = ModelId::parse("a/b@refs/pr-1").unwrap();
        assert_eq!((id.name(), id.revision()), ("a/b", "refs/pr-1"));
        assert_eq!(id.to_string(), "a/b@refs/pr-1");

        let long = format!("a/{}", "b".repeat(97));
        let wrong = [
            "", "gpt2", "/", "a/", "/b", "a/b/c", "./b", "../b", "a/..", "~/b", "a/b c", "a/b--c",
            "a/-b", "a/b.", r"a\b/c", "a/b@", "a/b@../c", "a/b@c//d", "a/b@/c", "a/b@c d", "a/b\0",
            &long,
        ];
        for given in wrong {
            let error = ModelId::parse(given).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{given:?} is neither")), "{error}");
        }
    }
}
