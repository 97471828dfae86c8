//! What a set of traces says about its model.

use crate::{Failure, Trace};
use serde::{Deserialize, Serialize};
use std::ops::AddAssign;

/// Counts over the steps of traces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevisionSummary {
    /// Traces counted.
    pub traces: usize,
    /// Steps of all of them.
    pub steps: usize,
    /// Failures of everything that was drawn, what was drawn again or dropped among it.
    pub found: FailureCounts,
    /// Failures of what stands in the end.
    pub left: FailureCounts,
    /// Critiques and revisions that were drawn again.
    pub redrawn: usize,
    /// Steps that left the reply as it was, since a text was dropped.
    pub dropped: usize,
    /// Tokens drawn for replies, critiques and revisions.
    pub tokens: usize,
}

/// How often something is wrong. A text may count for several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailureCounts {
    /// Critiques that are revisions.
    pub critique_is_revision: usize,
    /// Revisions that are critiques.
    pub revision_is_critique: usize,
    /// Revisions without text.
    pub empty: usize,
    /// Revisions that were cut off.
    pub truncated: usize,
    /// Revisions that are the reply before them.
    pub unchanged: usize,
}

impl FailureCounts {
    fn add(&mut self, failures: &[Failure]) {
        for failure in failures {
            let count = match failure {
                Failure::CritiqueIsRevision => &mut self.critique_is_revision,
                Failure::RevisionIsCritique => &mut self.revision_is_critique,
                Failure::Empty => &mut self.empty,
                Failure::Truncated => &mut self.truncated,
                Failure::Unchanged => &mut self.unchanged,
            };
            *count += 1;
        }
    }
}

impl AddAssign for FailureCounts {
    fn add_assign(&mut self, other: Self) {
        self.critique_is_revision += other.critique_is_revision;
        self.revision_is_critique += other.revision_is_critique;
        self.empty += other.empty;
        self.truncated += other.truncated;
        self.unchanged += other.unchanged;
    }
}

impl From<&Trace> for RevisionSummary {
    fn from(trace: &Trace) -> Self {
        let mut summary = Self { traces: 1, tokens: trace.reply_tokens, ..Self::default() };
        for step in &trace.steps {
            summary.steps += 1;
            summary.tokens += step.critique_tokens + step.revision_tokens;
            for draft in &step.redrawn {
                summary.redrawn += 1;
                summary.tokens += draft.tokens;
                summary.found.add(&draft.failures);
            }
            summary.found.add(&step.failures);
            if step.kept {
                summary.dropped += 1;
            } else {
                summary.left.add(&step.failures);
            }
        }
        summary
    }
}

/// The summary of two sets of traces together.
impl AddAssign for RevisionSummary {
    fn add_assign(&mut self, other: Self) {
        self.traces += other.traces;
        self.steps += other.steps;
        self.found += other.found;
        self.left += other.left;
        self.redrawn += other.redrawn;
        self.dropped += other.dropped;
        self.tokens += other.tokens;
    }
}

/// Summarises traces.
pub fn summarise(traces: &[Trace]) -> RevisionSummary {
    let mut summary = RevisionSummary::default();
    for trace in traces {
        summary += trace.into();
    }
    summary
}
