//! How numbers are spread.

use serde::{Deserialize, Serialize};

/// The numbers in \[`low`, `high`); the last interval holds its upper edge too.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower edge.
    pub low: f64,
    /// Upper edge.
    pub high: f64,
    /// How many.
    pub count: usize,
}

/// Intervals on either side of 0 at most.
const SIDE: u8 = 10;

/// Counts numbers in intervals of equal width, from the first that holds one to the last.
///
/// The width is the least of 1, 2 and 5 times a power of ten at which ten intervals on either side of 0 hold everything.
/// An edge is at 0, so that no interval mixes both signs. Numbers that are not finite are not counted.
pub fn histogram(values: &[f64]) -> Vec<Interval> {
    let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    let Some(width) = width(finite.iter().map(|value| value.abs()).fold(0.0, f64::max)) else {
        let count = finite.len();
        return if count == 0 { Vec::new() } else { vec![Interval { low: 0.0, high: 1.0, count }] };
    };
    let mut counts = [0; 2 * SIDE as usize];
    for value in finite {
        counts[place(value, width)] += 1;
    }
    let held = |count: &usize| *count > 0;
    let (Some(first), Some(last)) = (counts.iter().position(held), counts.iter().rposition(held))
    else {
        return Vec::new();
    };
    let edge = |index: usize| (index as f64 - f64::from(SIDE)) * width;
    (first..=last)
        .map(|index| Interval { low: edge(index), high: edge(index + 1), count: counts[index] })
        .collect()
}

/// The width of intervals for numbers up to `largest`; none if they are all 0.
fn width(largest: f64) -> Option<f64> {
    let least = largest / f64::from(SIDE);
    let power = 10.0_f64.powf(least.log10().floor());
    // The last candidate is there for a power that rounding made too small.
    let widths = [1.0, 2.0, 5.0, 10.0, 20.0].map(|factor| factor * power);
    widths.into_iter().find(|&width| width >= least && width.is_normal())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an index that is clamped to the intervals"
)]
fn place(value: f64, width: f64) -> usize {
    let side = f64::from(SIDE);
    ((value / width).floor() + side).clamp(0.0, 2.0 * side - 1.0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn counts_known_numbers() {
        let found = histogram(&[-1.5, -0.1, 0.0, 0.1, 0.2, 1.9]);
        // 1.9 / 10 asks for a width of 0.2.
        assert!((found[0].low + 1.6).abs() < 1e-12 && (found[0].high + 1.4).abs() < 1e-12);
        assert_eq!(found.len(), 18);
        let counts: Vec<usize> = found.iter().map(|interval| interval.count).collect();
        assert_eq!((counts[0], counts[7], counts[8], counts[9], counts[17]), (1, 1, 2, 1, 1));
    }

    #[test]
    fn nothing_zeros_and_what_is_no_number() {
        assert!(histogram(&[]).is_empty() && histogram(&[f64::NAN]).is_empty());
        assert_eq!(histogram(&[0.0, 0.0]), [Interval { low: 0.0, high: 1.0, count: 2 }]);
        assert_eq!(histogram(&[f64::INFINITY, 1.0]).iter().map(|i| i.count).sum::<usize>(), 1);
    }

    proptest! {
        #[test]
        fn holds_every_number_in_its_interval(
            values in prop::collection::vec(-1e3..1e3_f64, 1..60),
            power in -6..6_i32,
        ) {
            let values: Vec<f64> = values.iter().map(|value| value * 10.0_f64.powi(power)).collect();
            let found = histogram(&values);
            prop_assert!(found.len() <= 20);
            prop_assert_eq!(found.iter().map(|interval| interval.count).sum::<usize>(), values.len());
            for interval in &found {
                let slack = 1e-9 * (interval.high - interval.low);
                let inside = |value: &&f64| (interval.low - slack..=interval.high + slack).contains(*value);
                prop_assert!(values.iter().filter(inside).count() >= interval.count);
                // No interval mixes both signs.
                prop_assert!(interval.low >= -slack || interval.high <= slack);
            }
            for pair in found.windows(2) {
                prop_assert!((pair[0].high - pair[1].low).abs() < 1e-9 * (pair[1].high - pair[1].low));
            }
        }
    }
}
