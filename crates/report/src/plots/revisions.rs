//! Harmlessness against the number of revisions (section 3.5 of the paper).

use super::chart::{self, Axis, Plot, draw, px, shown, text};
use crate::{
    Error, format, palette,
    results::{Measure, MeasureKind},
};
use plotters::{
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

const SIZE: (u32, u32) = (500, 290);

/// One point for the reply and one for each revision; none without measures.
pub(crate) fn revisions(measures: &[Measure]) -> Result<Option<Plot>, Error> {
    let Some(kind) = measures.first().map(|measure| measure.kind) else { return Ok(None) };
    let last = (measures.len() - 1) as f64;
    let (label, range) = match kind {
        MeasureKind::Rate => ("Harmless replies (%)", 0.0..100.0),
        MeasureKind::Mean => {
            ("Harmlessness score", chart::range(kind, measures.iter().flat_map(shown)))
        }
    };
    let axes = [
        Axis::new("Revisions", -0.3..last + 0.5, measures.len().min(10)),
        Axis::new(label, range, 6),
    ];
    let alt = format!("{label} after 0 to {last} revisions");
    let colour = palette::SL_CAI.rgb();
    let value = text(palette::INK, 12.0, Pos::new(HPos::Left, VPos::Top));
    let points = || measures.iter().enumerate().map(|(index, measure)| (index as f64, measure));
    draw(alt, SIZE, [&axes[0], &axes[1]], |chart| {
        let area = chart.plotting_area();
        area.draw(&chart::line(points().map(|(x, measure)| (x, shown(measure)[0])), colour, 2.0))?;
        for (x, measure) in points() {
            let [y, low, high] = shown(measure);
            area.draw(&chart::line([(x, low), (x, high)], colour, 1.5))?;
            let label = Text::new(
                format::typographic(&format::value(measure)),
                (px(7.0), px(5.0)),
                value.clone(),
            );
            let mark = EmptyElement::at((x, y)) + Circle::new((0, 0), px(4.5), colour.filled());
            area.draw(&(mark + label))?;
        }
        Ok(())
    })
    .map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_is_a_labelled_point() {
        assert!(revisions(&[]).unwrap().is_none());
        let measures = [0.16, 0.31, 0.52].map(|value| Measure::rate(value, 0.1, 0.6, 200));
        let plot = revisions(&measures).unwrap().unwrap();
        assert_eq!(plot.svg.matches("<circle").count(), 3);
        assert!(plot.svg.contains("31.0%"));
        assert!(revisions(&[Measure::mean(2.0, 2.0, 2.0, 1)]).unwrap().is_some());
    }
}
