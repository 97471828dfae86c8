//! Shares by category: a mark and an interval for each series in each of them.

use super::alone::{draw_alone, draw_mark};
use super::chart::{self, Axis, Drawn, shown};
use crate::{
    Error, palette,
    results::{Measure, MeasureKind},
};
use plotters::prelude::*;

/// Shares by category, such as labels, or the number of revisions.
#[derive(Debug, Clone, PartialEq)]
pub struct ByCategory {
    /// What is shown, for those who cannot see it.
    pub about: String,
    /// What the categories are.
    pub label: String,
    /// The categories, from left to right.
    pub categories: Vec<String>,
    /// What is measured.
    pub measure: String,
    /// The series, in the order of the key.
    pub series: Vec<Series>,
    /// Joins the marks of a series, for categories that are numbers.
    pub joined: bool,
}

/// A series of shares.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name in the key.
    pub name: String,
    /// One share a category; none where nothing was measured.
    pub measures: Vec<Option<Measure>>,
}

impl Series {
    /// The places, in percent, of what was measured: category, share, ends of the interval.
    fn points(&self) -> impl Iterator<Item = (usize, [f64; 3])> {
        let measured = |(category, measure): (usize, &Option<Measure>)| {
            measure.as_ref().map(|measure| (category, shown(measure)))
        };
        self.measures.iter().enumerate().filter_map(measured)
    }
}

/// The share of a category's width that the series of marks that are not joined take.
const WIDTH: f64 = 0.6;

/// The same of joined ones, which are close together.
const JOINED_WIDTH: f64 = 0.12;

impl ByCategory {
    /// The picture, as an SVG file.
    ///
    /// # Errors
    /// [`Error::Plot`] if it cannot be drawn.
    pub fn draw(&self) -> Result<String, Error> {
        let numbers = self.series.iter().flat_map(Series::points).flat_map(|(_, shares)| shares);
        let axes = [
            Axis::categories(&self.label, &self.categories),
            Axis::new(format!("{} (%)", self.measure), chart::range(MeasureKind::Rate, numbers), 6),
        ];
        let names: Vec<&str> = self.series.iter().map(|series| series.name.as_str()).collect();
        draw_alone(&self.about, [&axes[0], &axes[1]], &names, |chart| {
            for (place, series) in self.series.iter().enumerate() {
                self.draw_series(chart.plotting_area(), place, series)?;
            }
            Ok(())
        })
    }

    fn draw_series<C: CoordTranslate<From = (f64, f64)>>(
        &self,
        area: &DrawingArea<SVGBackend<'_>, C>,
        place: usize,
        series: &Series,
    ) -> Drawn {
        let offset = offset(place, self.series.len(), self.joined);
        let colour = palette::series(place).rgb();
        let points: Vec<(f64, [f64; 3])> =
            series.points().map(|(category, shares)| (category as f64 + offset, shares)).collect();
        if self.joined {
            let values = points.iter().map(|&(x, [value, ..])| (x, value));
            area.draw(&chart::line(values, colour.mix(0.6), 1.75))?;
        }
        for (x, [value, low, high]) in points {
            area.draw(&chart::line([(x, low), (x, high)], colour, 1.5))?;
            draw_mark(area, (x, value), place, 1.0)?;
        }
        Ok(())
    }
}

/// How far to the right of its category a series stands, so that intervals do not hide each other.
fn offset(place: usize, count: usize, joined: bool) -> f64 {
    let width = if joined { JOINED_WIDTH } else { WIDTH };
    let steps = count.saturating_sub(1).max(1) as f64;
    if count < 2 { 0.0 } else { width * (place as f64 / steps - 0.5) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(joined: bool) -> ByCategory {
        let series = |name: &str, values: [Option<f64>; 3]| Series {
            name: name.to_owned(),
            measures: values
                .map(|value| value.map(|v| Measure::rate(v, v - 0.1, v + 0.1, 3)))
                .to_vec(),
        };
        ByCategory {
            about: "Harmless replies by labels".to_owned(),
            label: "Labels".to_owned(),
            categories: ["soft", "hard", "clamped"].map(str::to_owned).to_vec(),
            measure: "Replies".to_owned(),
            series: vec![
                series("harmless", [Some(0.9), Some(0.8), Some(0.7)]),
                series("helpful", [Some(0.5), None, Some(0.6)]),
            ],
            joined,
        }
    }

    #[test]
    fn marks_stand_apart_and_gaps_stay() {
        assert!(offset(0, 1, false).abs() < 1e-12);
        let offsets = [0, 1, 2].map(|place| offset(place, 3, false));
        assert!((offsets[0] + 0.3).abs() < 1e-12 && offsets[1].abs() < 1e-12);
        assert!(offsets[0] < offsets[1] && offsets[1] < offsets[2]);
        let gaps: Vec<usize> = picture(false).series[1].points().map(|(place, _)| place).collect();
        assert_eq!(gaps, [0, 2]);
    }

    #[test]
    fn shows_every_category_and_series() {
        let apart = picture(false).draw().unwrap();
        for name in ["soft", "hard", "clamped", "Labels", "Replies (%)", "harmless", "helpful"] {
            assert!(apart.contains(name), "{name}");
        }
        // Three marks of the first series and one in the key.
        assert_eq!(apart.matches("<circle").count(), 4);
        // Three whiskers, and where marks are joined a line.
        let lines = |svg: &str| {
            let colour = palette::series(0).hex();
            svg.lines().filter(|line| line.contains("<polyline") && line.contains(&colour)).count()
        };
        assert_eq!((lines(&apart), lines(&picture(true).draw().unwrap())), (3, 4));
    }

    #[test]
    fn nothing_measured_is_drawn_empty() {
        let empty = ByCategory { categories: Vec::new(), series: Vec::new(), ..picture(true) };
        assert!(empty.draw().unwrap().contains("</svg>"));
    }
}
