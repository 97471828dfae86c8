//! Predicted probabilities against what came true (figure 9 of the paper).

use super::chart::{self, Axis, Plot, draw, px};
use crate::{
    Error,
    palette::{self, Colour},
};
use evals::{Bin, Rate};
use plotters::prelude::*;

const SIZE: (u32, u32) = (380, 350);

/// One point a bin, its area in proportion to the pairs in the bin; none without pairs.
pub(crate) fn reliability(what: &str, bins: &[Bin], colour: Colour) -> Result<Option<Plot>, Error> {
    let Some(most) = bins.iter().map(|bin| bin.count).max().filter(|&most| most > 0) else {
        return Ok(None);
    };
    let axes = [
        Axis::new("Predicted probability", 0.0..1.0, 6),
        Axis::new("Share that came true", 0.0..1.0, 6),
    ];
    let alt =
        format!("Reliability of {what}: predicted probability against the share that came true");
    draw(alt, SIZE, [&axes[0], &axes[1]], |chart| {
        let area = chart.plotting_area();
        area.draw(&chart::line([(0.0, 0.0), (1.0, 1.0)], palette::MUTED.rgb(), 1.0))?;
        let filled = || bins.iter().filter(|bin| bin.count > 0);
        let points = filled().map(|bin| (bin.predicted, bin.outcome));
        area.draw(&chart::line(points, colour.rgb().mix(0.5), 1.5))?;
        for bin in filled() {
            let radius = 2.5 + 8.5 * (bin.count as f64 / most as f64).sqrt();
            // A sum of outcomes that are not 0 or 1 is no count, but its interval is of the same kind.
            if let Some(Rate { low, high, .. }) =
                Rate::new(bin.outcome * bin.count as f64, bin.count)
            {
                let ends = [(bin.predicted, low), (bin.predicted, high)];
                area.draw(&chart::line(ends, colour.rgb().mix(0.5), 1.25))?;
            }
            let at = EmptyElement::at((bin.predicted, bin.outcome));
            let dot = Circle::new((0, 0), px(radius), colour.rgb().mix(0.75).filled());
            area.draw(&(at + dot))?;
        }
        Ok(())
    })
    .map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_bins_are_left_out() {
        let bin = |count| Bin { low: 0.7, high: 0.8, count, predicted: 0.8, outcome: 0.75 };
        let plot = reliability("labels", &[bin(0), bin(9)], palette::INK).unwrap().unwrap();
        assert_eq!(plot.svg.matches("<circle").count(), 1);
        assert!(reliability("labels", &[bin(0)], palette::INK).unwrap().is_none());
    }
}
