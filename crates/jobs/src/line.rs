//! The lines of a file of records.

use crate::Failed;
use crate::stage::Record;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What a line of a failed item begins with. No record has this column.
const FAILED: &[u8] = b"{\"failed\":";

/// A record in the file of a shard: with what only the input knows of it, so that shards can be put together again.
#[derive(Serialize, Deserialize)]
pub(crate) struct Placed<T> {
    /// The place of the item among those of the whole input, counted from 0.
    pub(crate) index: u64,
    /// What the input says of the probability that the record gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) truth: Option<f64>,
    pub(crate) record: T,
}

/// A failed item in `OUT.part`, where it holds the place of its record.
#[derive(Serialize, Deserialize)]
pub(crate) struct Missing<T> {
    pub(crate) failed: T,
}

/// What a line names.
pub(crate) enum Line {
    /// A record; the place is that of a shard.
    Record {
        index: Option<u64>,
        id: String,
    },
    Failed(Box<Failed>),
}

#[derive(Deserialize)]
struct Named {
    id: Option<String>,
    index: Option<u64>,
    record: Option<Inner>,
}

#[derive(Deserialize)]
struct Inner {
    id: String,
}

impl Line {
    pub(crate) fn read(line: &[u8]) -> Result<Self, serde_json::Error> {
        if line.starts_with(FAILED) {
            let Missing { failed } = serde_json::from_slice::<Missing<Failed>>(line)?;
            return Ok(Self::Failed(Box::new(failed)));
        }
        match serde_json::from_slice(line)? {
            Named { index, record: Some(Inner { id }), .. }
            | Named { id: Some(id), index, record: None } => Ok(Self::Record { index, id }),
            Named { .. } => Err(serde::de::Error::missing_field("id")),
        }
    }
}

/// The record in a line, of a shard or of a job in one.
pub(crate) fn record<R: Record>(line: &[u8], sharded: bool) -> Result<R, serde_json::Error> {
    if sharded {
        return Ok(serde_json::from_slice::<Placed<R>>(line)?.record);
    }
    serde_json::from_slice(line)
}

/// The failed item of a line as it stands in a file of failures; `None` if the line is a record.
pub(crate) fn failure(line: &[u8]) -> Result<Option<Box<RawValue>>, serde_json::Error> {
    if !line.starts_with(FAILED) {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice::<Missing<Box<RawValue>>>(line)?.failed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(line: &str) -> Option<(Option<u64>, String)> {
        match Line::read(line.as_bytes()).ok()? {
            Line::Record { index, id } => Some((index, id)),
            Line::Failed(failed) => Some((None, format!("failed {}", failed.id))),
        }
    }

    #[test]
    fn every_kind_of_line_names_its_item() {
        assert_eq!(named(r#"{"id":"a","x":1}"#), Some((None, "a".to_owned())));
        let placed = r#"{"index":3,"truth":1.0,"record":{"id":"a"}}"#;
        assert_eq!(named(placed), Some((Some(3), "a".to_owned())));
        let item = serde_json::json!({"prompt": "q"});
        let failed = Failed { index: 2, id: "b".into(), error: "no".into(), item };
        let line = serde_json::to_string(&Missing { failed: &failed }).unwrap();
        assert_eq!(named(&line), Some((None, "failed b".to_owned())));
        let alone = failure(line.as_bytes()).unwrap().unwrap();
        assert_eq!(serde_json::from_str::<Failed>(alone.get()).unwrap(), failed);
        assert!(failure(placed.as_bytes()).unwrap().is_none());
        for damaged in ["", "{}", "\0\0", r#"{"id":1}"#, r#"{"failed":{}}"#, r#"{"record":{}}"#] {
            assert_eq!(named(damaged), None, "{damaged}");
        }
    }
}
