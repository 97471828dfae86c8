//! What a set of traces says about its model.

use crate::{Failure, Trace};
use serde::{Deserialize, Serialize};

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

/// Summarises traces.
pub fn summarise(traces: &[Trace]) -> RevisionSummary {
    let mut summary = RevisionSummary { traces: traces.len(), ..RevisionSummary::default() };
    for trace in traces {
        summary.tokens += trace.reply_tokens;
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
    }
    summary
}
