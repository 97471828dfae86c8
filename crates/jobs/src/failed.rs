//! Items that the model refuses.

use crate::Error;
use crate::apart::{Answered, answers};
use crate::stage::Stage;
use ai_feedback::Judge;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// So many items may fail at the beginning of a job before one succeeds: whatever they fail by is not about them.
const AT_FIRST: u64 = 32;

/// An item that has failed, as it stands in `OUT.failures.jsonl`: a row that the same job
/// reads, whatever the columns of its input were called, with more columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    /// The place of the item among those of the whole input, counted from 0.
    pub index: u64,
    /// Its id.
    pub id: String,
    /// What the model said.
    pub error: String,
    /// The item.
    #[serde(flatten)]
    pub item: Value,
}

/// How many items may fail.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    /// Highest share of the items.
    pub(crate) share: f64,
    /// Items that there are.
    pub(crate) items: u64,
}

impl Limit {
    /// An error if too many have failed; `last` tells why the last one did.
    pub(crate) fn check(self, records: u64, failed: u64, last: &str) -> Result<(), Error> {
        let Self { share, items } = self;
        if failed as f64 > share * items as f64 {
            return Err(Error::TooManyFailed { failed, items, most: share, last: last.to_owned() });
        }
        if records == 0 && failed >= AT_FIRST {
            return Err(Error::NoneSucceeded { failed, last: last.to_owned() });
        }
        Ok(())
    }
}

/// A record of each item, or what the model said to it: what is drawn for an item depends on no other, and answers that are
/// kept are not asked for again.
pub(crate) fn outcomes<S: Stage>(
    stage: &S,
    model: &dyn Judge,
    items: &[S::Item],
    seed: u64,
) -> Result<Vec<Answered<S::Record>>, Error> {
    let found = answers(items, &|items: &[S::Item]| stage.records(model, items, seed))?;
    Ok(found.into_iter().map(Result::flatten).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_share_of_all_and_none_of_the_first() {
        let limit = Limit { share: 0.1, items: 1000 };
        limit.check(900, 100, "why").unwrap();
        let error = limit.check(899, 101, "why").unwrap_err().to_string();
        assert!(error.contains("101 of 1000 items") && error.contains("why"), "{error}");
        limit.check(0, 31, "why").unwrap();
        limit.check(1, 32, "why").unwrap();
        let error = limit.check(0, 32, "why").unwrap_err().to_string();
        assert!(error.contains("first 32 items") && error.contains("why"), "{error}");
        assert!(Limit { share: 0.0, items: 1000 }.check(999, 1, "").is_err());
        Limit { share: 0.0, items: 1000 }.check(1000, 0, "").unwrap();
    }

    #[test]
    fn a_failure_is_a_row_with_more_columns() {
        let item = serde_json::json!({"prompt": "hi"});
        let failed = Failed { index: 3, id: "a".into(), error: "no".into(), item };
        let line = serde_json::to_string(&failed).unwrap();
        assert_eq!(line, r#"{"index":3,"id":"a","error":"no","prompt":"hi"}"#);
        assert_eq!(serde_json::from_str::<Failed>(&line).unwrap(), failed);
    }
}
