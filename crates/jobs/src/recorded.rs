//! Records that are read back.

use crate::line::Placed;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::from_str;
use serde_json::value::RawValue;

/// A record in a line of the file that a job wrote: of a shard, too, where it stands beside its place in the whole.
///
/// ```
/// use ai_feedback::Label;
/// use jobs::Recorded;
///
/// # fn main() -> Result<(), dataset::Error> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let part = folder.path().join("part");
/// # std::fs::write(&part, "").unwrap();
/// for label in dataset::jsonl_rows::<Recorded<Label>>(part)? {
///     let Recorded(label) = label?;
///     println!("{} {}", label.id, label.probability_a);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded<T>(pub T);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Recorded<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let line = Box::<RawValue>::deserialize(deserializer)?;
        let record =
            from_str::<Placed<&RawValue>>(line.get()).map_or(&*line, |placed| placed.record);
        from_str(record.get()).map(Self).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Row {
        id: String,
    }

    #[test]
    fn the_place_of_a_record_does_not_matter() {
        let read = |line: &str| from_str::<Recorded<Row>>(line).map(|Recorded(row)| row.id);
        for line in [
            r#"{"id": "a", "x": 1}"#,
            r#"{"index": 3, "record": {"id": "a"}}"#,
            r#"{"index": 3, "truth": 0.5, "record": {"id": "a", "x": 1}}"#,
        ] {
            assert_eq!(read(line).unwrap(), "a", "{line}");
        }
        for (line, expected) in [
            (r#"{"index": 3, "record": {"x": 1}}"#, "missing field `id`"),
            (r#"{"x": 1}"#, "missing field `id`"),
            ("{\"id\"", "EOF"),
        ] {
            let message = read(line).unwrap_err().to_string();
            assert!(message.starts_with(expected), "{message}");
        }
    }
}
