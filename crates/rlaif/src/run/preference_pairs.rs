//! The pairs of a file and their margins.

use super::Error;
use dataset::{ColumnMapping, Reading};
use dialogue::Preference;
use preference_model::Source;
use std::path::Path;

/// Preferences, with a margin for each or none for any.
#[derive(Debug, Default)]
pub(super) struct PreferencePairs {
    preferences: Vec<Preference>,
    margins: Vec<f64>,
}

impl PreferencePairs {
    /// Reads a file of preferences. If a row has a margin, those without one get `otherwise`; if none has, there are
    /// none.
    ///
    /// # Errors
    /// [`dataset::Error`] for the first row that is no preference, or for a file without rows.
    pub(super) fn read(
        path: &Path,
        columns: &ColumnMapping,
        otherwise: f64,
    ) -> Result<Self, Error> {
        let reading = Reading { columns: columns.clone(), rejects: None };
        let (mut pairs, mut any) = (Self::default(), false);
        for row in reading.preferences_with_margins(path)? {
            let (preference, margin) = row?;
            any |= margin.is_some();
            pairs.preferences.push(preference);
            pairs.margins.push(margin.unwrap_or(otherwise));
        }
        if !any {
            pairs.margins.clear();
        }
        Ok(pairs)
    }

    /// As [`PreferencePairs::read`], of a file that may hold nothing.
    pub(super) fn read_any(
        path: &Path,
        columns: &ColumnMapping,
        otherwise: f64,
    ) -> Result<Self, Error> {
        match Self::read(path, columns, otherwise) {
            Err(Error::Dataset(dataset::Error::Empty { .. })) => Ok(Self::default()),
            found => found,
        }
    }

    /// The pairs as a set to learn from.
    pub(super) fn source<'a>(&'a self, name: &'a str) -> Source<'a> {
        Source::new(name, &self.preferences).with_margins(&self.margins)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.preferences.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rows: &[&str]) -> Result<PreferencePairs, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pairs.jsonl");
        std::fs::write(&path, rows.join("\n")).unwrap();
        PreferencePairs::read_any(&path, &ColumnMapping::default(), 0.5)
    }

    #[test]
    fn rows_without_a_margin_get_that_of_the_settings_if_others_have_one() {
        let (plain, with) = (
            r#"{"prompt": "q", "chosen": "a", "rejected": "b"}"#,
            r#"{"prompt": "q", "chosen": "a", "rejected": "b", "margin": 2}"#,
        );
        let margins = |rows: &[&str]| read(rows).unwrap().source("set").margins.to_vec();
        assert_eq!(margins(&[plain, with]), vec![0.5, 2.0]);
        assert!(margins(&[plain, plain]).is_empty());
        assert_eq!(read(&[plain, with]).unwrap().len(), 2);
        assert_eq!(read(&[]).unwrap().len(), 0);
        let wrong = with.replace('2', "-2");
        let message = read(&[plain, &wrong]).unwrap_err().to_string();
        assert!(message.contains("pairs.jsonl, line 2: `margin` is -2"), "{message}");
    }
}
