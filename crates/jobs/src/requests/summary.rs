//! What stands in the report of a job of requests.

use super::seeds::Seeds;
use super::state::State;
use crate::Report;
use crate::report::Figures;
use serde::{Deserialize, Serialize};

/// Why a job of requests came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// There are as many requests as were asked for.
    Count,
    /// No more calls were allowed.
    MaxCalls,
}

/// What stands in the report of a job of requests; its items are calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestSummary {
    /// Why it came to its end.
    pub ended: Ended,
    /// Requests that were asked for.
    pub wanted: usize,
    /// Seeds that lists were drawn from.
    pub seeds: u64,
    /// Rows of the input that were left out because what they begin with has no letter or digit.
    pub wordless_seeds: u64,
    /// Rows of the input that were left out because what they begin with is longer than a request may be.
    #[serde(default)]
    pub long_seeds: u64,
    /// Requests that the model refuses to tag.
    pub untagged: usize,
    /// How valid and how new the continuations are, up to the last request.
    pub generation: red_team::Figures,
}

/// What the answers to the calls say.
pub(super) fn report(state: &State, ended: Ended, wanted: usize, seeds: &Seeds) -> Report {
    let summary = RequestSummary {
        ended,
        wanted,
        seeds: seeds.count,
        wordless_seeds: seeds.wordless,
        long_seeds: seeds.long,
        untagged: state.tagged().failures.count,
        generation: state.generated().figures(),
    };
    Report {
        items: state.calls() as u64,
        records: state.requests() as u64,
        failed: state.failed() as u64,
        figures: Figures::Requests(summary),
    }
}
