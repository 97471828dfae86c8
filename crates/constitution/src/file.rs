//! Constitutions as TOML files.

use crate::form::mend;
use crate::validate::{Key, faults};
use crate::{Constitution, Error, Place};
use serde::Deserialize;
use std::path::Path;
use toml::de::DeTable;

/// The constitution that is built in.
const GENERAL: &str = include_str!("general.toml");

impl Constitution {
    /// Reads a TOML file; see the crate's page for the format.
    ///
    /// # Errors
    /// If the file cannot be read, or is no valid constitution; the error names the file, the line and the key.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        parse(&read(path)?, Some(path))
    }

    /// Reads the text of a TOML file.
    ///
    /// # Errors
    /// If the text is no valid constitution; the error names the line and the key.
    pub fn from_toml(text: &str) -> Result<Self, Error> {
        parse(text, None)
    }

    /// The built-in constitution for a general assistant: 16 principles to revise by and 16 to compare by.
    ///
    /// The themes are those of the paper's appendix C, the words are not.
    ///
    /// # Panics
    /// Never; a test reads the built-in text.
    pub fn general() -> Self {
        Self::from_toml(GENERAL).unwrap_or_else(|error| unreachable!("built in: {error}"))
    }

    /// Writes the text that [`Constitution::from_toml`] reads back.
    ///
    /// # Errors
    /// Whatever [`Constitution::validate`] finds, so that no text is written that cannot be read.
    pub fn to_toml(&self) -> Result<String, Error> {
        self.validate()?;
        toml::to_string_pretty(self)
            .map_err(|error| Error::Toml { place: Place::default(), message: error.to_string() })
    }

    /// Checks what the format demands: a name, at least one principle, and in each list ids that are unique, texts
    /// that are not empty and weights above 0.
    ///
    /// # Errors
    /// The first fault found, with the key of the value.
    pub fn validate(&self) -> Result<(), Error> {
        faults(self, |_| Place::default()).drain(..).next().map_or(Ok(()), Err)
    }
}

pub(crate) fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

fn parse(text: &str, file: Option<&Path>) -> Result<Constitution, Error> {
    let (constitution, mut faults) = parse_all(text, file)?;
    faults.drain(..).next().map_or(Ok(constitution), Err)
}

/// The constitution, however faulty, and all its faults. Where an entry lacks a key, the key's name stands for its value.
pub(crate) fn parse_all(
    text: &str,
    file: Option<&Path>,
) -> Result<(Constitution, Vec<Error>), Error> {
    let place = |offset: Option<usize>| Place {
        file: file.map(Path::to_owned),
        line: offset
            .map(|offset| text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1),
    };
    let unreadable = |error: toml::de::Error| Error::Toml {
        place: place(error.span().map(|span| span.start)),
        message: error.message().trim().to_owned(),
    };
    let mut document = DeTable::parse(text).map_err(unreadable)?;
    let mut found = mend(&mut document, &|offset| place(Some(offset)));
    let constitution =
        Constitution::deserialize(toml::Deserializer::from(document)).map_err(unreadable)?;
    found.extend(faults(&constitution, |key| place(key.and_then(|key| offset(text, key)))));
    Ok((constitution, found))
}

/// The byte at which the value of `key` begins.
fn offset(text: &str, key: Key) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let table = document.get_ref();
    let value = match key {
        Key::Name => table.get("name"),
        Key::Entry { list, index, key } => {
            let entries = table.get(list)?.get_ref().as_array()?;
            entries.get(index)?.get_ref().as_table()?.get(key)
        }
    };
    value.map(|value| value.span().start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ComparisonPrinciple, RevisionPrinciple};
    use proptest::prelude::*;

    const SHORT: &str = "name = 'short'\n\n[[comparison]]\nid = 'a'\ntext = 'one'\n";

    fn message(text: &str) -> String {
        parse(text, Some(Path::new("my.toml"))).unwrap_err().to_string()
    }

    #[test]
    fn the_built_in_constitution_is_whole() {
        let general = Constitution::general();
        assert_eq!(general.name, "general");
        assert_eq!((general.critique_revision.len(), general.comparison.len()), (16, 16));
        let sourced = |source: &str| !source.is_empty();
        assert!(general.critique_revision.iter().all(|principle| sourced(&principle.source)));
        assert!(general.comparison.iter().all(|principle| sourced(&principle.source)));
        let read_back = Constitution::from_toml(&general.to_toml().unwrap()).unwrap();
        assert_eq!(read_back, general);
    }

    #[test]
    fn names_file_line_and_key() {
        let entry = |lines: &str| format!("{SHORT}\n[[comparison]]\n{lines}");
        let cases = [
            (entry("id = 'b'\ntext = ' '\n"), "my.toml, line 9", "`comparison[2].text` is empty"),
            (entry("id = ''\ntext = 'two'\n"), "my.toml, line 8", "`comparison[2].id` is empty"),
            (entry("text = 't'\nid = 'a'\n"), "my.toml, line 9", "\"a\", which entry 1 has"),
            (entry("id = 'b'\n"), "my.toml, line 7", "`comparison[2].text` is missing"),
            (
                entry("id = 'b'\ntext = 't'\ntag = []"),
                "my.toml, line 10",
                "`comparison[2].tag` is unknown",
            ),
            (entry("id = 5\ntext = 't'"), "my.toml, line 8", "integer"),
            (entry("id = 'b"), "my.toml, line 8", "`name`, tables `[[critique_revision]]`"),
            (SHORT.replace("short", ""), "my.toml, line 1", "`name` is empty"),
            (SHORT.replace("name = 'short'", ""), "my.toml, line 1", "`name` is missing"),
            (
                format!("nmae = 'x'\n{SHORT}"),
                "my.toml, line 1",
                "`nmae` is unknown; there are name, ",
            ),
            (
                entry("id = 'b'\ntext = 't'\nweight = 0"),
                "my.toml, line 10",
                "`comparison[2].weight` is 0",
            ),
            (entry("id = 'b'\ntext = 't'\nweight = nan"), "my.toml, line 10", "NaN"),
            ("name = 'x'".to_owned(), "my.toml", "add `[[critique_revision]]`"),
        ];
        for (text, place, fault) in cases {
            let message = message(&text);
            assert!(message.starts_with(place) && message.contains(fault), "{text}\n{message}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let message = Constitution::from_file("no/such.toml").unwrap_err().to_string();
        assert!(message.contains("no/such.toml"), "{message}");
    }

    #[test]
    fn does_not_write_what_it_could_not_read() {
        let mut constitution = Constitution::general();
        constitution.critique_revision[4].revision_request.clear();
        let message = constitution.to_toml().unwrap_err().to_string();
        assert!(message.contains("`critique_revision[5].revision_request`"), "{message}");
    }

    proptest! {
        #[test]
        fn round_trips(name in ".*\\S.*", texts in prop::collection::vec("(?s).*\\S.*", 1..5)) {
            let tags = |index: usize| texts[..index].to_vec();
            let texts = texts.iter().enumerate();
            let critique_revision = texts.clone().map(|(index, text)| RevisionPrinciple {
                id: format!("{text}{index}"),
                critique_request: text.clone(),
                revision_request: text.clone(),
                source: text.clone(),
                tags: tags(index),
                weight: 0.5 + index as f64,
            });
            let comparison = texts.clone().map(|(index, text)| ComparisonPrinciple {
                id: index.to_string(),
                text: text.clone(),
                source: String::new(),
                tags: tags(index),
                weight: 1.0,
            });
            let constitution = Constitution {
                name,
                critique_revision: critique_revision.collect(),
                comparison: comparison.collect(),
            };
            let text = constitution.to_toml().unwrap();
            prop_assert_eq!(Constitution::from_toml(&text).unwrap(), constitution);
        }

        #[test]
        fn never_panics(text in "(?s).{0,80}", cut in 0..SHORT.len()) {
            let _ = Constitution::from_toml(&text);
            let _ = Constitution::from_toml(&format!("{}{text}", &SHORT[..cut]));
        }
    }
}
