//! Axes to draw on, and the marks that several pictures share.

use crate::{
    Error, format,
    palette::{self, Colour},
    results::{Measure, MeasureKind},
};
use plotters::{
    coord::{Shift, types::RangedCoordf64},
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};
use serde::Serialize;
use std::ops::Range;

/// A picture and its description for those who cannot see it.
#[derive(Debug, Serialize)]
pub(crate) struct Plot {
    pub(crate) svg: String,
    pub(crate) alt: String,
}

pub(crate) type Chart<'a, 'b> =
    ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

pub(crate) type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// One axis: what it shows, in which unit, from where to where, with about how many numbers.
pub(crate) struct Axis {
    pub(crate) label: String,
    pub(crate) range: Range<f64>,
    pub(crate) ticks: usize,
    /// What stands in the place of the numbers 0, 1, …, if anything does.
    names: Vec<String>,
}

impl Axis {
    pub(crate) fn new(label: impl Into<String>, range: Range<f64>, ticks: usize) -> Self {
        Self { label: label.into(), range, ticks, names: Vec::new() }
    }

    /// An axis of categories, which stand at 0, 1, … with half a unit of room on both sides.
    pub(crate) fn categories(label: impl Into<String>, names: &[String]) -> Self {
        let count = names.len().max(1);
        // One number more than there are names leaves no room for numbers between them.
        let (range, ticks) = (-0.5..count as f64 - 0.5, count + 1);
        Self { label: label.into(), range, ticks, names: names.to_vec() }
    }

    /// What stands at a place.
    fn tick(&self, value: f64) -> String {
        if self.names.is_empty() {
            return format::tick(value);
        }
        let is_near = |place: usize| (value - place as f64).abs() < 1e-6;
        let name = (0..).zip(&self.names).find(|&(place, _)| is_near(place));
        name.map(|(_, name)| name.clone()).unwrap_or_default()
    }
}

/// Units of the picture in one pixel of the page: plotters rounds to whole units, which would show in curves.
pub(crate) const UNITS: u32 = 4;

/// Pixels of the page in units of the picture.
pub(crate) fn px(pixels: f64) -> i32 {
    // Pictures are a few hundred pixels wide.
    #[expect(clippy::cast_possible_truncation, reason = "far below the limits of i32")]
    let units = (pixels * f64::from(UNITS)).round() as i32;
    units
}

pub(crate) fn upx(pixels: f64) -> u32 {
    px(pixels).unsigned_abs()
}

/// Text of `size` pixels; the SVG backend divides by 1.24, to turn the height of a line into that of its letters.
pub(crate) fn text(colour: Colour, size: f64, anchor: Pos) -> TextStyle<'static> {
    let size = size * 1.24 * f64::from(UNITS);
    FontDesc::new(FontFamily::SansSerif, size, FontStyle::Normal).color(&colour.rgb()).pos(anchor)
}

/// Draws axes of `size` pixels and lets `paint` fill them.
pub(crate) fn draw(
    alt: String,
    (width, height): (u32, u32),
    [x, y]: [&Axis; 2],
    paint: impl FnOnce(&mut Chart<'_, '_>) -> Drawn,
) -> Result<Plot, Error> {
    let mut svg = String::new();
    let area =
        SVGBackend::with_string(&mut svg, (width * UNITS, height * UNITS)).into_drawing_area();
    draw_on(&area, x, y, paint)
        .and_then(|()| area.present())
        .map_err(|fault| Error::Plot { plot: alt.clone(), message: fault.to_string() })?;
    drop(area);
    Ok(Plot { svg: responsive(&svg, width, height), alt })
}

/// Draws axes that fill an area and lets `paint` fill them.
pub(crate) fn draw_on<'b>(
    area: &DrawingArea<SVGBackend<'b>, Shift>,
    x: &Axis,
    y: &Axis,
    paint: impl FnOnce(&mut Chart<'_, 'b>) -> Drawn,
) -> Drawn {
    let room = |axis: &Axis, numbers: f64| {
        if axis.label.is_empty() { upx(numbers) } else { upx(numbers + 20.0) }
    };
    let mut chart = ChartBuilder::on(area)
        .margin_top(upx(12.0))
        .margin_right(upx(16.0))
        .margin_left(upx(2.0))
        .margin_bottom(upx(2.0))
        .x_label_area_size(room(x, 22.0))
        .y_label_area_size(room(y, number_width(&y.range)))
        .build_cartesian_2d(x.range.clone(), y.range.clone())?;
    let anchor = Pos::new(HPos::Center, VPos::Center);
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(palette::GRID.rgb().stroke_width(upx(1.0)))
        .axis_style(palette::MUTED.rgb().stroke_width(upx(1.0)))
        .label_style(text(palette::MUTED, 12.0, anchor))
        .axis_desc_style(text(palette::INK, 12.5, anchor))
        .set_all_tick_mark_size(px(3.0))
        .x_labels(x.ticks)
        .y_labels(y.ticks)
        .x_label_formatter(&|value| x.tick(*value))
        .y_label_formatter(&|value| y.tick(*value))
        .x_desc(x.label.clone())
        .y_desc(y.label.clone())
        .draw()?;
    paint(&mut chart)
}

/// Room in pixels for the numbers beside an axis; the narrower its range, the more digits they have.
fn number_width(range: &Range<f64>) -> f64 {
    let step = (range.end - range.start) / 5.0;
    let decimals = if step < 1.0 { (-step.log10()).ceil().clamp(0.0, 4.0) + 1.0 } else { 0.0 };
    let largest = range.start.abs().max(range.end.abs()).max(1.0);
    let sign = if range.start < 0.0 { 1.0 } else { 0.0 };
    (largest.log10().floor() + 1.0 + decimals + sign).min(7.0) * 7.0 + 12.0
}

/// Lets the page choose the width, up to a little above that of the drawing.
fn responsive(svg: &str, width: u32, height: u32) -> String {
    let body = svg.split_once('>').map_or(svg, |(_, body)| body);
    let (units_x, units_y) = (width * UNITS, height * UNITS);
    format!(
        "<svg viewBox=\"0 0 {units_x} {units_y}\" style=\"max-width:{}px\" aria-hidden=\"true\">{body}",
        width + width / 8
    )
}

/// A line of `width` pixels.
pub(crate) fn line(
    points: impl IntoIterator<Item = (f64, f64)>,
    style: impl Into<ShapeStyle>,
    width: f64,
) -> PathElement<(f64, f64)> {
    let style: ShapeStyle = style.into();
    PathElement::new(points.into_iter().collect::<Vec<_>>(), style.stroke_width(upx(width)))
}

/// The unit in which a measure is drawn: percent for rates.
pub(crate) fn shown(measure: &Measure) -> [f64; 3] {
    let unit = match measure.kind {
        MeasureKind::Rate => 100.0,
        MeasureKind::Mean => 1.0,
    };
    [measure.value, measure.low, measure.high].map(|number| unit * number)
}

/// A range that holds all `numbers` with some room, ending at tens for percentages.
pub(crate) fn range(kind: MeasureKind, numbers: impl IntoIterator<Item = f64>) -> Range<f64> {
    let (low, high) = extremes(numbers);
    match kind {
        MeasureKind::Rate => {
            let low = ((low - 2.0) / 10.0).floor() * 10.0;
            let high = ((high + 2.0) / 10.0).ceil() * 10.0;
            low.max(0.0)..high.min(100.0)
        }
        MeasureKind::Mean => padded(low, high),
    }
}

/// The least and the greatest number; 0 and 1 if there is none.
pub(crate) fn extremes(numbers: impl IntoIterator<Item = f64>) -> (f64, f64) {
    let bounds = numbers.into_iter().fold(None, |bounds, number| {
        let (low, high) = bounds.unwrap_or((number, number));
        Some((number.min(low), number.max(high)))
    });
    bounds.unwrap_or((0.0, 1.0))
}

/// Larger numbers, of a run that has diverged, are drawn as if they were this large.
const LARGEST: f64 = 1e12;

/// The number, or the largest that is drawn.
pub(crate) fn bounded(number: f64) -> f64 {
    number.clamp(-LARGEST, LARGEST)
}

/// True if numbers are so close that they only differ by rounding; ticks between them would never end.
pub(crate) fn is_flat(low: f64, high: f64) -> bool {
    high - low <= (1e-6 * low.abs().max(high.abs())).max(1e-12)
}

/// A little room on both sides, also around a single number.
pub(crate) fn padded(low: f64, high: f64) -> Range<f64> {
    let room = if is_flat(low, high) { (0.1 * low.abs()).max(0.5) } else { 0.06 * (high - low) };
    low - room..high + room
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_the_numbers_and_are_never_empty() {
        assert_eq!(range(MeasureKind::Rate, [22.0, 97.5]), 20.0..100.0);
        assert_eq!(range(MeasureKind::Rate, [100.0]), 90.0..100.0);
        assert_eq!(range(MeasureKind::Rate, [0.0]), 0.0..10.0);
        assert_eq!(range(MeasureKind::Mean, [0.0, 100.0]), -6.0..106.0);
        assert_eq!(padded(7.0, 7.0), 6.3..7.7);
        assert_eq!(padded(0.0, 0.0), -0.5..0.5);
        assert_eq!(padded(1.0, 1.0 + f64::EPSILON), 0.5..1.5 + f64::EPSILON);
        assert_eq!(extremes([]), (0.0, 1.0));
    }

    #[test]
    fn categories_have_names_and_nothing_between_them() {
        let names = ["soft", "hard"].map(str::to_owned);
        let axis = Axis::categories("Labels", &names);
        assert_eq!(axis.range, -0.5..1.5);
        assert_eq!([0.0, 0.5, 1.0, 2.0].map(|value| axis.tick(value)), ["soft", "", "hard", ""]);
        let plot = draw("test".to_owned(), (200, 100), [&axis, &axis], |_| Ok(())).unwrap();
        assert_eq!(plot.svg.matches("soft").count(), 2);
        assert_eq!(Axis::categories("", &[]).range, -0.5..0.5);
    }

    #[test]
    fn the_page_decides_the_width() {
        let axis = Axis::new("x", 0.0..1.0, 3);
        let plot = draw("test".to_owned(), (100, 50), [&axis, &axis], |_| Ok(())).unwrap();
        assert!(plot.svg.starts_with("<svg viewBox=\"0 0 400 200\" style=\"max-width:112px\""));
        assert!(plot.svg.trim_end().ends_with("</svg>") && !plot.svg.contains("http"));
    }
}
