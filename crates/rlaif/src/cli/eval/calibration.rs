//! Probabilities and what came true.

use super::{nothing, say_json, with_fields};
use crate::cli::{Failure, say};
use clap::Args;
use rlaif::dataset::read_jsonl;
use rlaif::evals::{Calibration, Forecast, Rate};
use serde::Deserialize;
use serde_json::json;
use std::fmt::Write as _;
use std::path::PathBuf;

/// A file of forecasts.
#[derive(Debug, Clone, Args)]
pub(super) struct CalibrationArgs {
    /// Probabilities and what came true.
    #[arg(long, value_name = "FILE")]
    labels: PathBuf,
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
    what a judge thinks and not what is true: `rlaif label` of pairs with `chosen` and `rejected` measures that at its end";

impl TryFrom<OutcomeRow> for Outcome {
    type Error = String;

    fn try_from(row: OutcomeRow) -> Result<Self, String> {
        let outcome = row.outcome.ok_or(NO_OUTCOME)?;
        Forecast::new(row.probability, outcome).map(Self).map_err(|error| error.to_string())
    }
}

impl CalibrationArgs {
    pub(super) fn run(&self, json: bool) -> Result<(), Failure> {
        let rows: Vec<Outcome> = read_jsonl(&self.labels)?;
        let forecasts: Vec<Forecast> = rows.into_iter().map(|Outcome(forecast)| forecast).collect();
        let Some(found) = Calibration::of(&forecasts) else { return Err(nothing(&self.labels)) };
        if json {
            let Rate { low, high, n, .. } = found.accuracy;
            let object = json!({ "eval": "calibration", "n": n, "interval": [low, high] });
            return say_json(&with_fields(object, &found)?);
        }
        say(&table(&found, forecasts.len()))
    }
}

fn table(found: &Calibration, n: usize) -> String {
    let mut text = format!(
        "calibration error (ECE)  {:.4}\nBrier score              {:.4}\naccuracy                 {}\nn                        {n}\n\n",
        found.expected_calibration_error, found.brier, found.accuracy
    );
    // Writing to a string cannot fail.
    let _ =
        writeln!(text, "{:<14}{:>8}{:>12}{:>12}", "probability", "count", "predicted", "outcome");
    for bin in &found.bins {
        let edges = format!("{:.1} to {:.1}", bin.low, bin.high);
        let _ = writeln!(
            text,
            "{edges:<14}{:>8}{:>12.3}{:>12.3}",
            bin.count, bin.predicted, bin.outcome
        );
    }
    text
}
