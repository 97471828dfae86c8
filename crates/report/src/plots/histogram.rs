//! How sure the labels are.

use super::chart::{Axis, Plot, draw};
use crate::{Error, palette};
use plotters::prelude::*;

const SIZE: (u32, u32) = (380, 350);
const BINS: usize = 20;

/// Pairs by the probability that the reply (A) is better, in bins of 0.05; none without pairs.
pub(crate) fn histogram(probabilities: &[f64]) -> Result<Option<Plot>, Error> {
    if probabilities.is_empty() {
        return Ok(None);
    }
    let counts = counts(probabilities);
    let most = counts.iter().copied().max().unwrap_or(0).max(1) as f64;
    let axes = [
        Axis::new("Probability that (A) is better", 0.0..1.0, 6),
        Axis::new("Pairs", 0.0..1.06 * most, 6),
    ];
    let alt = "Histogram of the probabilities given by the labels".to_owned();
    draw(alt, SIZE, [&axes[0], &axes[1]], |chart| {
        for (index, &count) in counts.iter().enumerate() {
            let edge = |index: usize| index as f64 / BINS as f64;
            let corners = [(edge(index), 0.0), (edge(index + 1), count as f64)];
            let mut bar = Rectangle::new(corners, palette::SL_CAI.rgb().filled());
            bar.set_margin(0, 0, 2, 2);
            chart.plotting_area().draw(&bar)?;
        }
        Ok(())
    })
    .map(Some)
}

fn counts(probabilities: &[f64]) -> [usize; BINS] {
    let mut counts = [0; BINS];
    for &probability in probabilities {
        // A cast of a float saturates, so that numbers out of range land in the outer bins.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates at the outer bins"
        )]
        let bin = (probability * BINS as f64) as usize;
        counts[bin.min(BINS - 1)] += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_counted() {
        let counts = counts(&[0.0, 0.049, 0.05, 1.0]);
        assert_eq!((counts[0], counts[1], counts[BINS - 1]), (2, 1, 1));
        assert_eq!(counts.iter().sum::<usize>(), 4);
    }
}
