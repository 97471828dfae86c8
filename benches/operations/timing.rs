//! How often what is timed runs.

use std::time::Duration;

/// Runs and seconds that are timed at least, after one run that is not.
const RUNS: usize = 5;
const SECONDS: f64 = 0.5;

/// Seconds of every run, the shortest first.
pub(crate) fn seconds(mut run: impl FnMut() -> Duration) -> Vec<f64> {
    run();
    let (mut runs, mut total) = (Vec::new(), 0.0);
    while runs.len() < RUNS || total < SECONDS {
        let seconds = run().as_secs_f64();
        total += seconds;
        runs.push(seconds);
    }
    runs.sort_by(f64::total_cmp);
    runs
}

/// Of sorted numbers.
pub(crate) fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
