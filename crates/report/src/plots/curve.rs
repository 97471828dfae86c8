//! One number over the steps of a stage.

use super::chart::{self, Axis, Plot, bounded, draw, px};
use crate::{
    Error,
    metrics::{Series, smoothed, thinned},
    names,
    palette::Colour,
};
use plotters::prelude::*;
use std::ops::Range;

const SIZE: (u32, u32) = (340, 190);
/// More points than this cannot be told apart at this size.
const POINTS: usize = 240;
/// From this many points on a smooth line is laid over the raw one.
const SMOOTH: usize = 40;

/// The curve of one series, which holds at least one point.
pub(crate) fn curve(series: &Series, colour: Colour) -> Result<Plot, Error> {
    let points: Vec<(f64, f64)> = thinned(&series.points, POINTS)
        .into_iter()
        .map(|(step, value)| (step, bounded(value)))
        .collect();
    let steps = points.iter().map(|&(step, _)| step);
    let (first, last) = chart::extremes(steps);
    let steps = if chart::is_flat(first, last) { chart::padded(first, last) } else { first..last };
    let values = value_range(points.iter().map(|&(_, value)| value));
    let axes = [Axis::new("Step", steps, 5), Axis::new("", values, 4)];
    let alt = format!("{} over the steps", names::metric(&series.name));
    draw(alt, SIZE, [&axes[0], &axes[1]], |chart| {
        let area = chart.plotting_area();
        if let [point] = points[..] {
            let dot = Circle::new((0, 0), px(3.0), colour.rgb().filled());
            area.draw(&(EmptyElement::at(point) + dot))
        } else if points.len() < SMOOTH {
            area.draw(&chart::line(points, colour.rgb(), 1.75))
        } else {
            area.draw(&chart::line(points.iter().copied(), colour.rgb().mix(0.35), 1.0))?;
            area.draw(&chart::line(smoothed(&points), colour.rgb(), 2.0))
        }
    })
}

/// Starts at zero where that costs less than a third of the height.
fn value_range(values: impl IntoIterator<Item = f64>) -> Range<f64> {
    let (low, high) = chart::extremes(values);
    let range = chart::padded(low, high);
    if low >= 0.0 && low < 0.3 * high { 0.0..range.end } else { range }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::palette;
    use proptest::prelude::*;

    #[test]
    fn draws_one_point_and_many() {
        for (count, circles, lines) in [(1, 1, 0), (5, 0, 1), (1000, 0, 2)] {
            let points = (0..count).map(|step| (f64::from(step), 1.0)).collect();
            let plot = curve(&Series { name: "loss".to_owned(), points }, palette::INK).unwrap();
            assert_eq!(plot.svg.matches("<circle").count(), circles);
            let drawn = plot.svg.matches("<polyline").count() - axes(&plot.svg);
            assert_eq!(drawn, lines, "{count} points");
        }
    }

    proptest! {
        #[test]
        fn draws_whatever_a_stage_may_write(
            points in prop::collection::vec((0.0..1e9, any::<f64>()), 1..50),
        ) {
            let series = Series { name: "loss".to_owned(), points };
            prop_assert!(curve(&series, palette::INK).is_ok());
        }
    }

    /// The two axes with their ticks are polylines too, in a colour of their own.
    fn axes(svg: &str) -> usize {
        svg.lines().filter(|line| line.contains("<polyline") && !line.contains("#222222")).count()
    }

    #[test]
    fn keeps_zero_in_sight_when_it_is_near() {
        assert!(value_range([0.1, 3.0]).start.abs() < 1e-12);
        assert!(value_range([2.0, 3.0]).start > 1.9);
        assert!(value_range([-1.0, 3.0]).start < -1.0);
    }
}
