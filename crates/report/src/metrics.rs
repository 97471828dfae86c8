//! `metrics.jsonl` of a stage: what was measured at every step.

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::Value;

/// One line of the file.
#[derive(Deserialize)]
pub(crate) struct Row {
    step: u64,
    #[serde(flatten)]
    values: IndexMap<String, Value>,
}

/// One number over the steps of a stage.
pub(crate) struct Series {
    /// Its name in the file.
    pub(crate) name: String,
    /// (step, value).
    pub(crate) points: Vec<(f64, f64)>,
}

/// Names shown first, in this order; others follow as they occur.
const FIRST: [&str; 14] = [
    "loss",
    "accuracy",
    "score",
    "reward",
    "harmless",
    "helpful",
    "kl_per_sequence",
    "kl",
    "entropy",
    "policy_loss",
    "value_loss",
    "clip_fraction",
    "learning_rate",
    "gradient_norm",
];

/// The scalars of `rows`, each over the steps at which it is a finite number.
///
/// A number that is not finite is written as `null`, which leaves a gap.
pub(crate) fn series(rows: &[Row]) -> Vec<Series> {
    let mut all: IndexMap<&str, Vec<(f64, f64)>> = IndexMap::new();
    for row in rows {
        for (name, value) in &row.values {
            if let Some(value) = value.as_f64() {
                all.entry(name).or_default().push((row.step as f64, value));
            }
        }
    }
    let mut all: Vec<Series> =
        all.into_iter().map(|(name, points)| Series { name: name.to_owned(), points }).collect();
    all.sort_by_key(|series| {
        FIRST.iter().position(|&name| name == series.name).unwrap_or(FIRST.len())
    });
    all
}

/// At each step the straight line that fits a window of about a tenth of the steps best (least squares).
///
/// Unlike a moving mean it follows a steady rise or fall up to both ends, where the windows are cut off.
pub(crate) fn smoothed(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let reach = points.len() / 20;
    (0..points.len())
        .map(|centre| {
            let end = points.len().min(centre + reach + 1);
            let window = &points[centre.saturating_sub(reach)..end];
            (points[centre].0, line_at(window, points[centre].0))
        })
        .collect()
}

/// The least-squares line of `points`, at step `at`.
fn line_at(points: &[(f64, f64)], at: f64) -> f64 {
    let count = points.len() as f64;
    let (steps, values) = points
        .iter()
        .fold((0.0, 0.0), |(steps, values), point| (steps + point.0, values + point.1));
    let (mean_step, mean_value) = (steps / count, values / count);
    let (spread, joint) = points.iter().fold((0.0, 0.0), |(spread, joint), &(step, value)| {
        let from_mean = step - mean_step;
        (spread + from_mean * from_mean, joint + from_mean * (value - mean_value))
    });
    let slope = if spread > 0.0 { joint / spread } else { 0.0 };
    mean_value + slope * (at - mean_step)
}

/// Means of successive steps, so that at most `limit` points are left.
pub(crate) fn thinned(points: &[(f64, f64)], limit: usize) -> Vec<(f64, f64)> {
    points
        .chunks(points.len().div_ceil(limit).max(1))
        .map(|chunk| {
            let count = chunk.len() as f64;
            let (steps, values) = chunk
                .iter()
                .fold((0.0, 0.0), |(steps, values), point| (steps + point.0, values + point.1));
            (steps / count, values / count)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_scalars_that_come_and_go_and_orders_them() {
        let rows: Vec<Row> = [
            r#"{"step": 1, "tokens": 5, "loss": 2.5, "phase": "warm"}"#,
            r#"{"step": 2, "tokens": 6, "loss": null, "accuracy": 1}"#,
        ]
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
        let series = series(&rows);
        let found: Vec<_> =
            series.iter().map(|one| (one.name.as_str(), one.points.as_slice())).collect();
        assert_eq!(
            found,
            [
                ("loss", &[(1.0, 2.5)][..]),
                ("accuracy", &[(2.0, 1.0)][..]),
                ("tokens", &[(1.0, 5.0), (2.0, 6.0)][..]),
            ]
        );
    }

    #[test]
    fn straight_lines_stay_straight() {
        let line: Vec<_> = (0..60).map(|step| (f64::from(step), 2.0 * f64::from(step))).collect();
        for (found, expected) in smoothed(&line).iter().zip(&line) {
            assert!((found.1 - expected.1).abs() < 1e-9);
        }
        assert_eq!(thinned(&line, 60), line);
        assert_eq!(thinned(&line, 30)[..2], [(0.5, 1.0), (2.5, 5.0)]);
        assert_eq!(thinned(&line, 59).len(), 30);
        assert!(smoothed(&[]).is_empty() && thinned(&[], 9).is_empty());
    }

    #[test]
    fn fits_by_least_squares() {
        // Through (0, 0), (1, 3), (2, 0) the best line is level at 1.
        let points = [(0.0, 0.0), (1.0, 3.0), (2.0, 0.0)];
        assert!((line_at(&points, 2.0) - 1.0).abs() < 1e-12);
        assert!((line_at(&points[..1], 5.0)).abs() < 1e-12);
        // Through (0, 1), (1, 1), (2, 4) it rises by 1.5 a step from 0.5.
        assert!((line_at(&[(0.0, 1.0), (1.0, 1.0), (2.0, 4.0)], 2.0) - 3.5).abs() < 1e-12);
    }
}
