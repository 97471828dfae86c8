//! Reliability diagrams as tables.

use rlaif::evals::Bin;

/// A row a bin that holds a forecast, below a head.
pub(super) fn reliability(bins: &[Bin]) -> String {
    let head = format!("{:<14}{:>8}{:>12}{:>12}\n", "probability", "count", "predicted", "outcome");
    let row = |bin: &Bin| {
        let edges = format!("{:.1} to {:.1}", bin.low, bin.high);
        format!("{edges:<14}{:>8}{:>12.3}{:>12.3}\n", bin.count, bin.predicted, bin.outcome)
    };
    head + &bins.iter().map(row).collect::<Vec<String>>().concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bin_is_a_row() {
        let bin = Bin { low: 0.7, high: 0.8, count: 12, predicted: 0.75, outcome: 0.5 };
        let text = reliability(&[bin]);
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(rows[0], "probability      count   predicted     outcome");
        assert_eq!(rows[1], "0.7 to 0.8          12       0.750       0.500");
        assert_eq!(rows.len(), 2);
    }
}
