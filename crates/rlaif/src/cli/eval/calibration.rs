//! Probabilities and what came true.

mod labels;

use super::{nothing, say_json, with_fields};
use crate::cli::convert::mapping;
use crate::cli::reliability::reliability;
use crate::cli::{Failure, say};
use clap::Args;
use labels::{Compared, LeftOut, compare, of_report};
use rlaif::dataset::Reading;
use rlaif::evals::{Calibration, CalibrationTally, Forecast, Rate};
use serde::Deserialize;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Forecasts, or labels and what is known of their pairs.
#[derive(Debug, Clone, Args)]
pub(super) struct CalibrationArgs {
    /// Probabilities and what came true; with `--truth` what `rlaif label` has written, of one shard too; or its report,
    /// `OUT.report.json`.
    #[arg(long, value_name = "FILE")]
    labels: PathBuf,
    /// The pairs that were labelled, with `chosen` and `rejected`, or with `probability` that the first reply is better.
    #[arg(long, value_name = "PAIRS")]
    truth: Option<PathBuf>,
    /// Which columns of the pairs hold what, as `rlaif label` was told.
    #[arg(long, value_name = "KEY=NAME", num_args = 1.., requires = "truth")]
    columns: Vec<String>,
}

/// A probability and what came true.
#[derive(Deserialize)]
#[serde(try_from = "OutcomeRow")]
struct Outcome(Forecast);

#[derive(Deserialize)]
struct OutcomeRow {
    probability: f64,
    outcome: Option<f64>,
}

/// What a row without `outcome` lacks.
const NO_OUTCOME: &str = "`outcome` is missing: 1 if what `probability` foretells came true, 0 if not, or a share; a label tells \
    what a judge thinks and not what is true: give the pairs that `rlaif label` was given, with what is known of them, as \
    `--truth`, or its OUT.report.json in the place of the labels";

impl TryFrom<OutcomeRow> for Outcome {
    type Error = String;

    fn try_from(row: OutcomeRow) -> Result<Self, String> {
        let outcome = row.outcome.ok_or(NO_OUTCOME)?;
        Forecast::new(row.probability, outcome).map(Self).map_err(|error| error.to_string())
    }
}

impl CalibrationArgs {
    pub(super) fn run(&self, json: bool) -> Result<(), Failure> {
        let (found, left_out) = self.measure()?;
        if json {
            let Rate { low, high, n, .. } = found.accuracy;
            let mut object = json!({ "eval": "calibration", "n": n, "interval": [low, high] });
            if let Some(left_out) = left_out {
                object = with_fields(object, &left_out)?;
            }
            return say_json(&with_fields(object, &found)?);
        }
        say(&(table(&found) + &left_out.map(told).unwrap_or_default()))
    }

    fn measure(&self) -> Result<(Calibration, Option<LeftOut>), Failure> {
        let Compared { calibration, left_out } = if let Some(pairs) = &self.truth {
            let reading = Reading { columns: mapping(&self.columns)?, rejects: None };
            compare(&self.labels, pairs, &reading)?
        } else if is_report(&self.labels) {
            of_report(&self.labels)?
        } else {
            return Ok((of_forecasts(&self.labels)?, None));
        };
        let found = calibration.ok_or_else(|| uncompared(&self.labels, left_out))?;
        Ok((found, Some(left_out)))
    }
}

/// Whether a file is the report of a job, by its name.
fn is_report(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.ends_with(".report.json"))
}

/// What a row of forecasts is.
const FORECASTS: &str = r#"{"probability": 0 to 1, "outcome": 0 to 1}"#;

fn of_forecasts(path: &Path) -> Result<Calibration, Failure> {
    let mut tally = CalibrationTally::default();
    for row in Reading::default().records::<Outcome>(path, FORECASTS)? {
        let Outcome(forecast) = row?;
        tally.add(forecast);
    }
    tally.calibration().ok_or_else(|| nothing(path))
}

fn uncompared(labels: &Path, left_out: LeftOut) -> Failure {
    format!(
        "{}: no label can be compared with the truth; {}pairs must say which reply is better, and be asked about in both orders",
        labels.display(),
        told(left_out).replace('\n', "; ")
    )
    .into()
}

/// Which labels are compared with nothing.
fn told(LeftOut { unknown, one_order }: LeftOut) -> String {
    let rows = [
        (unknown.unwrap_or_default(), "labels are of pairs of which nothing is known"),
        (one_order, "labels are not compared, since they were asked in one order"),
    ];
    let row = |(count, what): (u64, &str)| match count {
        0 => String::new(),
        count => format!("{count} {what}\n"),
    };
    rows.map(row).concat()
}

fn table(found: &Calibration) -> String {
    format!(
        "calibration error (ECE)  {:.4}\nBrier score              {:.4}\naccuracy                 {}\nn                        {}\n\n{}",
        found.expected_calibration_error,
        found.brier,
        found.accuracy,
        found.accuracy.n,
        reliability(&found.bins)
    )
}
