//! Labels against what is known of their pairs.

use crate::cli::{Failure, warn};
use rlaif::ai_feedback::{Label, pair_id};
use rlaif::dataset::Reading;
use rlaif::evals::{Calibration, CalibrationTally};
use rlaif::jobs::{Figures, Report, forecast};
use serde::Serialize;
use std::collections::HashMap;
use std::path::Path;

/// Labels against the truth, and those that are compared with nothing.
pub(super) struct Compared {
    /// None if no label is compared.
    pub(super) calibration: Option<Calibration>,
    pub(super) left_out: LeftOut,
}

/// Labels that are compared with nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct LeftOut {
    /// Those of pairs of which nothing is known; none where a report does not count them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unknown: Option<u64>,
    /// Those of pairs that were asked about in one order alone.
    pub(super) one_order: u64,
}

/// What a row of labels is.
const LABELS: &str = "what `rlaif label` has written, of one shard too";

/// Compares labels with what the rows of `pairs` say of the probability that (A) is better, as `rlaif label` does.
///
/// Of the pairs their ids and probabilities are in memory, of the labels one at a time.
pub(super) fn compare(labels: &Path, pairs: &Path, reading: &Reading) -> Result<Compared, Failure> {
    let truth = truth(pairs, reading)?;
    let mut tally = CalibrationTally::default();
    let (mut unknown, mut one_order) = (0, 0);
    for label in Reading::default().records::<Label>(labels, LABELS)? {
        let label = label?;
        match truth.get(&label.id) {
            None => unknown += 1,
            Some(truth) => match forecast(&label, *truth)? {
                Some(forecast) => tally.add(forecast),
                None => one_order += 1,
            },
        }
    }
    let left_out = LeftOut { unknown: Some(unknown), one_order };
    Ok(Compared { calibration: tally.calibration(), left_out })
}

/// What a report of `rlaif label` or `rlaif merge` says.
pub(super) fn of_report(path: &Path) -> Result<Compared, Failure> {
    let failed = |error: String| format!("{}: {error}", path.display());
    let text = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    let report: Report =
        serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))?;
    let Figures::Labels { truth: calibration, one_order, .. } = report.figures else {
        return Err(failed("is the report of a job that makes no labels".to_owned()).into());
    };
    Ok(Compared { calibration, left_out: LeftOut { unknown: None, one_order } })
}

/// The probability that (A) is better of every pair of which it is known, by the pair's id; of rows that repeat a pair the
/// first counts.
fn truth(pairs: &Path, reading: &Reading) -> Result<HashMap<String, f64>, Failure> {
    let mut truth = HashMap::new();
    // The labels are of the rows that are left.
    let mut rows = reading.pairs(pairs)?.without_bad();
    for pair in rows.by_ref() {
        let pair = pair?;
        if let Some(probability) = pair.probability {
            truth.entry(pair_id(&pair.comparison)).or_insert(probability);
        }
    }
    if rows.rejected() > 0 {
        warn(&format!("{}: {} bad rows are left out", pairs.display(), rows.rejected()));
    }
    Ok(truth)
}
