//! What the records of a job say about its model.

use crate::{Error, PairSummary, RequestSummary};
use ai_feedback::Summary;
use critique_revision::RevisionSummary;
use evals::Calibration;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What stands in `OUT.report.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Items that there were, of the shard if it is one; of `requests` the calls.
    pub items: u64,
    /// Those that became a record.
    pub records: u64,
    /// Those that the model refused.
    pub failed: u64,
    /// What the records say.
    pub figures: Figures,
}

/// What records say, by their kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Figures {
    /// Of `revise`.
    Revisions(RevisionSummary),
    /// Of `reply-pairs`.
    Pairs(PairSummary),
    /// Of `requests`.
    Requests(RequestSummary),
    /// Of `label`.
    Labels {
        /// Habits of the judge, over labels and probes.
        labels: Summary,
        /// Labels whose pair was asked about once more, see [`ai_feedback::probe_beside`].
        #[serde(default)]
        probed: u64,
        /// How often its verdict is right and how sure it is then, against what the input says; `None` where it says
        /// nothing. The event is that the reply which the judge prefers is the better one.
        truth: Option<Calibration>,
        /// Labels of which the input knows, but which do not count for `truth`, since they were asked in one order: agreement
        /// would say which reply is shown first.
        #[serde(default)]
        one_order: u64,
    },
}

impl Report {
    /// The report as it stands in its file.
    pub(crate) fn text(&self, path: &Path) -> Result<String, Error> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|reason| dataset::Error::Encode { path: path.to_owned(), reason })?;
        Ok(text + "\n")
    }

    /// Reads it from its file.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| dataset::Error::Open { path: path.to_owned(), source })?;
        serde_json::from_str(&text)
            .map_err(|reason| Error::Report { path: path.to_owned(), reason })
    }
}
