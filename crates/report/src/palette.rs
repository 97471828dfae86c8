//! The colours of the pictures, by what they stand for.
//!
//! The hues are those of Okabe and Ito, which people with any common form of colour blindness can tell apart; shape
//! and label repeat what colour says. A picture carries the light colours; the style sheet made here exchanges them
//! for the dark ones where the reader asks for a dark page.

use plotters::style::RGBColor;
use std::fmt::Write as _;

/// A colour on a light and on a dark page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Colour {
    /// Its name in the style sheet.
    pub(crate) name: &'static str,
    light: [u8; 3],
    dark: [u8; 3],
}

impl Colour {
    const fn new(name: &'static str, light: u32, dark: u32) -> Self {
        let [_, light @ ..] = light.to_be_bytes();
        let [_, dark @ ..] = dark.to_be_bytes();
        Self { name, light, dark }
    }

    /// The colour as it is drawn.
    pub(crate) fn rgb(self) -> RGBColor {
        let [red, green, blue] = self.light;
        RGBColor(red, green, blue)
    }

    /// The same as it stands in a picture.
    pub(crate) fn hex(self) -> String {
        hex(self.light)
    }
}

pub(crate) const PAPER: Colour = Colour::new("paper", 0x00FD_FCFA, 0x0015_1719);
pub(crate) const INK: Colour = Colour::new("ink", 0x0022_2222, 0x00E7_E5E0);
pub(crate) const MUTED: Colour = Colour::new("muted", 0x0066_6460, 0x00A3_A19C);
pub(crate) const GRID: Colour = Colour::new("grid", 0x00E4_E1DB, 0x0033_363A);
pub(crate) const HELPFUL_ONLY: Colour = Colour::new("helpful-only", 0x00BA_4A00, 0x00FF_8F45);
pub(crate) const SL_CAI: Colour = Colour::new("sl-cai", 0x0000_72B2, 0x0056_B4E9);
pub(crate) const RL_CAI: Colour = Colour::new("rl-cai", 0x0000_8060, 0x0034_CFA0);
pub(crate) const DURING_RL: Colour = Colour::new("during-rl", 0x009A_4F7C, 0x00DD_95BE);
pub(crate) const DOUBT: Colour = Colour::new("doubt", 0x008F_6A00, 0x00F0_C14A);

const ALL: [Colour; 9] = [PAPER, INK, MUTED, GRID, HELPFUL_ONLY, SL_CAI, RL_CAI, DURING_RL, DOUBT];

/// The colour of a model in every picture.
pub(crate) fn model(name: &str) -> Colour {
    match name {
        "helpful_only" => HELPFUL_ONLY,
        "sl_cai" => SL_CAI,
        "rl_cai" => RL_CAI,
        _ => MUTED,
    }
}

/// The colour of a series, by its place among those of a picture.
pub(crate) fn series(place: usize) -> Colour {
    const SERIES: [Colour; 6] = [SL_CAI, HELPFUL_ONLY, RL_CAI, DURING_RL, DOUBT, MUTED];
    SERIES[place % SERIES.len()]
}

/// The style sheet of the colours: one variable each, and rules that put the variables into the pictures.
///
/// Paper is always light.
pub(crate) fn style_sheet() -> String {
    let variables = |shade: fn(&Colour) -> [u8; 3]| -> String {
        ALL.map(|colour| format!("--{}:{};", colour.name, hex(shade(&colour)))).concat()
    };
    let mut css = format!(
        ":root{{color-scheme:light dark;{}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{}}}}}\n",
        variables(|colour| colour.light),
        variables(|colour| colour.dark),
    );
    for colour in &ALL {
        let (drawn, name) = (hex(colour.light), colour.name);
        // Writing to a string cannot fail.
        let _ = writeln!(
            css,
            "svg [fill=\"{drawn}\"]{{fill:var(--{name})}}svg [stroke=\"{drawn}\"]{{stroke:var(--{name})}}"
        );
    }
    css
}

/// As plotters writes it.
fn hex([red, green, blue]: [u8; 3]) -> String {
    format!("#{red:02X}{green:02X}{blue:02X}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance, WCAG 2.
    fn luminance(shade: [u8; 3]) -> f64 {
        let [red, green, blue] = shade.map(|level| {
            let level = f64::from(level) / 255.0;
            if level <= 0.040_45 { level / 12.92 } else { ((level + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }

    fn contrast(one: [u8; 3], other: [u8; 3]) -> f64 {
        let (one, other) = (luminance(one) + 0.05, luminance(other) + 0.05);
        one.max(other) / one.min(other)
    }

    #[test]
    fn everything_but_the_grid_can_be_read_on_both_pages() {
        for colour in ALL.into_iter().filter(|&colour| colour != PAPER && colour != GRID) {
            for (page, shade) in [(PAPER.light, colour.light), (PAPER.dark, colour.dark)] {
                assert!(contrast(page, shade) >= 4.5, "{} {}", colour.name, contrast(page, shade));
            }
        }
    }

    #[test]
    fn every_light_colour_is_told_apart_in_the_style_sheet() {
        let css = style_sheet();
        for colour in ALL {
            assert_eq!(css.matches(&format!("[fill=\"{}\"]", hex(colour.light))).count(), 1);
        }
        assert!(css.contains("--sl-cai:#0072B2;") && css.contains("--sl-cai:#56B4E9;"));
    }
}
