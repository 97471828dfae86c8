//! Two shares against each other, along the way of each series.

use super::alone::{draw_alone, draw_mark};
use super::chart::{self, Axis, Chart, Drawn, shown};
use crate::{
    Error, palette,
    results::{Measure, MeasureKind},
};
use plotters::prelude::*;
use std::ops::Range;

/// Two shares against each other, such as harmlessness against helpfulness (figure 2 of the paper).
#[derive(Debug, Clone, PartialEq)]
pub struct Ways {
    /// What is shown, for those who cannot see it.
    pub about: String,
    /// What is measured to the right and upward.
    pub measures: [String; 2],
    /// The series, in the order of the key.
    pub ways: Vec<Way>,
}

/// The way of one series; its last point has the large mark.
#[derive(Debug, Clone, PartialEq)]
pub struct Way {
    /// Its name in the key.
    pub name: String,
    /// The shares at each point, to the right and upward.
    pub points: Vec<[Measure; 2]>,
}

impl Way {
    fn places(&self) -> impl DoubleEndedIterator<Item = [[f64; 3]; 2]> {
        self.points.iter().map(|point| point.map(|measure| shown(&measure)))
    }
}

impl Ways {
    /// The picture, as an SVG file.
    ///
    /// # Errors
    /// [`Error::Plot`] if it cannot be drawn.
    pub fn draw(&self) -> Result<String, Error> {
        let axes = [0, 1].map(|side| {
            let label = format!("{} (%)", self.measures[side]);
            Axis::new(label, self.range(side), 6)
        });
        let names: Vec<&str> = self.ways.iter().map(|way| way.name.as_str()).collect();
        draw_alone(&self.about, [&axes[0], &axes[1]], &names, |chart| {
            let numbered = || self.ways.iter().enumerate();
            numbered().try_for_each(|(place, way)| draw_intervals(chart, place, way))?;
            numbered().try_for_each(|(place, way)| draw_way(chart, place, way))?;
            // Nothing hides where a way ends.
            numbered().try_for_each(|(place, way)| draw_end(chart, place, way))
        })
    }

    /// A range that holds a side of all points but not all of their intervals, which may be as wide as the picture and are cut
    /// at its edge; with room above 100% for the marks that stand there.
    fn range(&self, side: usize) -> Range<f64> {
        let ends = self.ways.iter().filter_map(|way| way.places().next_back());
        let ends = ends.flat_map(|place| place[side]);
        let values = self.ways.iter().flat_map(Way::places).map(|place| place[side][0]);
        let range = chart::range(MeasureKind::Rate, values.chain(ends));
        let room = 0.05 * (range.end - range.start);
        range.start..range.end + room
    }
}

/// The intervals along the way, so faint that many of them do not hide the ways.
fn draw_intervals(chart: &Chart<'_, '_>, place: usize, way: &Way) -> Drawn {
    way.places().rev().skip(1).try_for_each(|point| draw_whiskers(chart, point, place, 0.2))
}

fn draw_way(chart: &Chart<'_, '_>, place: usize, way: &Way) -> Drawn {
    let colour = palette::series(place).rgb();
    let points: Vec<(f64, f64)> = way.places().map(|[x, y]| (x[0], y[0])).collect();
    let area = chart.plotting_area();
    if points.len() > 1 {
        area.draw(&chart::line(points.iter().copied(), colour.mix(0.6), 1.5))?;
    }
    points.iter().rev().skip(1).try_for_each(|&point| draw_mark(area, point, place, 0.5))
}

fn draw_end(chart: &Chart<'_, '_>, place: usize, way: &Way) -> Drawn {
    let Some(point) = way.places().next_back() else { return Ok(()) };
    draw_whiskers(chart, point, place, 1.0)?;
    let [[x, ..], [y, ..]] = point;
    draw_mark(chart.plotting_area(), (x, y), place, 1.4)
}

fn draw_whiskers(
    chart: &Chart<'_, '_>,
    [[x, left, right], [y, low, high]]: [[f64; 3]; 2],
    place: usize,
    opacity: f64,
) -> Drawn {
    let colour = palette::series(place).rgb().mix(opacity);
    for ends in [[(left, y), (right, y)], [(x, low), (x, high)]] {
        chart.plotting_area().draw(&chart::line(ends, colour, 1.5))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ways() -> Ways {
        let rate = |value: f64, half: f64| Measure::rate(value, value - half, value + half, 3);
        let point = |x: f64, y: f64, half: f64| [rate(x, half), rate(y, half)];
        Ways {
            about: "Harmlessness against helpfulness".to_owned(),
            measures: ["Helpful replies", "Harmless replies"].map(str::to_owned),
            ways: vec![
                Way {
                    name: "RL-CAI".to_owned(),
                    points: vec![point(0.5, 0.5, 0.5), point(0.6, 0.7, 0.02)],
                },
                Way { name: "SL-CAI".to_owned(), points: vec![point(0.55, 0.52, 0.02)] },
            ],
        }
    }

    #[test]
    fn every_point_is_a_mark_and_a_way_a_line() {
        let svg = ways().draw().unwrap();
        // Two points and the key.
        assert_eq!(svg.matches("<circle").count(), 3);
        assert!(svg.contains("SL-CAI") && svg.contains("Helpful replies (%)"));
        // The way and the whiskers of both points, those before the end faint; without a second point the whiskers alone.
        let lines = |svg: &str, part: &str| {
            let colour = palette::series(0).hex();
            let is_line = |line: &&str| line.contains("<polyline") && line.contains(&colour);
            svg.lines().filter(is_line).filter(|line| line.contains(part)).count()
        };
        let mut alone = ways();
        alone.ways[0].points.remove(0);
        let alone = alone.draw().unwrap();
        assert_eq!((lines(&svg, ""), lines(&alone, "")), (5, 2));
        let faint = "opacity=\"0.2\"";
        assert_eq!((lines(&svg, faint), lines(&alone, faint)), (2, 0), "{svg}");
    }

    #[test]
    fn wide_intervals_on_the_way_do_not_decide_the_range() {
        // From 48% (the point at 50% and the end at 53%) to 62%.
        let range = ways().range(0);
        assert_eq!(range.start.to_bits(), 40.0_f64.to_bits());
        assert!((range.end - 71.5).abs() < 1e-9, "{range:?}");
    }

    #[test]
    fn nothing_measured_is_drawn_empty() {
        let empty = Ways { ways: Vec::new(), ..ways() };
        assert!(empty.draw().unwrap().contains("</svg>"));
        let unmeasured = Way { name: "x".to_owned(), points: Vec::new() };
        assert!(Ways { ways: vec![unmeasured], ..ways() }.draw().is_ok());
    }
}
