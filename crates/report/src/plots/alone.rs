//! Pictures that stand alone, with the key to their marks beside the axes.

use super::chart::{Axis, Chart, Drawn, UNITS, draw_on, px, text, upx};
use crate::{
    Error,
    palette::{self, style_sheet},
};
use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

/// The axes with their numbers.
const AXES: (u32, u32) = (520, 380);

/// The key, whose names have about thirty letters at most.
const KEY_WIDTH: u32 = 210;

/// From one name of the key to the next.
const KEY_STEP: f64 = 22.0;

/// Draws axes with a key of `names`, the marks of the series 0, 1, …, and lets `paint` fill the axes; an SVG file.
pub(crate) fn draw_alone(
    about: &str,
    [x, y]: [&Axis; 2],
    names: &[&str],
    paint: impl FnOnce(&mut Chart<'_, '_>) -> Drawn,
) -> Result<String, Error> {
    let (width, height) = (AXES.0 + KEY_WIDTH, AXES.1);
    let mut svg = String::new();
    let area =
        SVGBackend::with_string(&mut svg, (width * UNITS, height * UNITS)).into_drawing_area();
    let (axes, key) = area.split_horizontally(AXES.0 * UNITS);
    draw_on(&axes, x, y, paint)
        .and_then(|()| draw_key(&key, names))
        .and_then(|()| area.present())
        .map_err(|fault| Error::Plot { plot: about.to_owned(), message: fault.to_string() })?;
    drop((axes, key, area));
    Ok(file(&svg, about, (width, height)))
}

fn draw_key(area: &DrawingArea<SVGBackend<'_>, Shift>, names: &[&str]) -> Drawn {
    let style = text(palette::INK, 12.0, Pos::new(HPos::Left, VPos::Center));
    for (place, name) in names.iter().enumerate() {
        let y = px(24.0 + KEY_STEP * place as f64);
        draw_mark(area, (px(12.0), y), place, 1.0)?;
        let name = Text::new((*name).to_owned(), (px(24.0), y), style.clone());
        area.draw(&name)?;
    }
    Ok(())
}

/// The mark of a series by its place: colour and shape say the same. At `size` 1 it is about ten pixels wide.
pub(crate) fn draw_mark<'b, C: CoordTranslate>(
    area: &DrawingArea<SVGBackend<'b>, C>,
    at: C::From,
    place: usize,
    size: f64,
) -> Drawn {
    let style = palette::series(place).rgb().filled();
    let at = EmptyElement::<C::From, SVGBackend<'b>>::at(at);
    match place % 4 {
        0 => area.draw(&(at + Circle::new((0, 0), px(4.5 * size), style))),
        1 => {
            let corner = px(4.0 * size);
            area.draw(&(at + Rectangle::new([(-corner, -corner), (corner, corner)], style)))
        }
        2 => area.draw(&(at + TriangleMarker::new((0, 0), px(5.5 * size), style))),
        _ => {
            let style = style.stroke_width(upx(2.0));
            area.draw(&(at + Cross::new((0, 0), px(4.0 * size), style)))
        }
    }
}

/// The picture as a file, on paper of its own and in the colours of a light or a dark page.
fn file(svg: &str, about: &str, (width, height): (u32, u32)) -> String {
    let body = svg.split_once('>').map_or(svg, |(_, body)| body);
    let (units_x, units_y) = (width * UNITS, height * UNITS);
    let about = about.replace('&', "&amp;").replace('<', "&lt;");
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {units_x} {units_y}\" width=\"{width}\" height=\"{height}\" \
         role=\"img\">\n<title>{about}</title>\n<style>\n{}</style>\n<rect width=\"{units_x}\" height=\"{units_y}\" \
         fill=\"{}\"/>\n{}\n",
        style_sheet(),
        palette::PAPER.hex(),
        body.trim()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_paper_a_title_and_every_mark() {
        let axis = Axis::new("Rate (%)", 0.0..100.0, 3);
        let names = ["one", "two", "three", "four", "five"];
        let svg = draw_alone("soft & <hard>", [&axis, &axis], &names, |_| Ok(())).unwrap();
        assert!(
            svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 2920 1520\"")
        );
        assert!(svg.trim_end().ends_with("</svg>") && svg.matches("<svg").count() == 1);
        assert!(svg.contains("<title>soft &amp; &lt;hard></title>"));
        assert!(svg.contains("fill=\"#FDFCFA\"/>"));
        for name in names {
            assert!(svg.contains(name), "{name}");
        }
        // The first and the fifth are circles of other colours.
        assert_eq!(svg.matches("<circle").count(), 2);
    }
}
