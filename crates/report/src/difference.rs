//! How much one measure exceeds another.

use crate::results::Measure;

/// A difference of two measures with its 95% interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Difference {
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// `after - before`, as if the two were measured independently.
///
/// The interval is made from those of the two measures: with values `p`, lower ends `l` and upper ends `u`, it
/// reaches `sqrt((p₂ - l₂)² + (u₁ - p₁)²)` below the difference and `sqrt((u₂ - p₂)² + (p₁ - l₁)²)` above. For
/// Wilson intervals this is method 10 of Newcombe (1998).
pub(crate) fn difference(before: &Measure, after: &Measure) -> Difference {
    let value = after.value - before.value;
    Difference {
        value,
        low: value - (after.value - after.low).hypot(before.high - before.value),
        high: value + (after.high - after.value).hypot(before.value - before.low),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wilson(hits: f64, n: f64) -> Measure {
        let z = 1.959_964_f64;
        let centre = (hits + z * z / 2.0) / (n + z * z);
        let reach = z / (n + z * z) * (hits * (n - hits) / n + z * z / 4.0).sqrt();
        Measure::rate(hits / n, centre - reach, centre + reach, 1)
    }

    #[test]
    fn gives_the_published_interval() {
        // Newcombe (1998), Table II, example (a): 56/70 - 48/80.
        let found = difference(&wilson(48.0, 80.0), &wilson(56.0, 70.0));
        assert!((found.value - 0.2).abs() < 1e-12);
        assert!((found.low - 0.0524).abs() < 5e-5, "{}", found.low);
        assert!((found.high - 0.3339).abs() < 5e-5, "{}", found.high);
    }
}
