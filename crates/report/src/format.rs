//! Numbers as text.

use crate::{
    difference::Difference,
    results::{Measure, MeasureKind},
};

/// `97.5%`, or `1.25` for a mean.
pub(crate) fn value(measure: &Measure) -> String {
    match measure.kind {
        MeasureKind::Rate => percent(measure.value),
        MeasureKind::Mean => format!("{:.2}", measure.value),
    }
}

/// `94.2 to 99.0`, in the unit of [`value`].
pub(crate) fn interval(measure: &Measure) -> String {
    match measure.kind {
        MeasureKind::Rate => format!("{:.1} to {:.1}", 100.0 * measure.low, 100.0 * measure.high),
        MeasureKind::Mean => format!("{:.2} to {:.2}", measure.low, measure.high),
    }
}

/// `+75.5`, in percentage points for rates.
pub(crate) fn gain(difference: f64, kind: MeasureKind) -> String {
    match kind {
        MeasureKind::Rate => format!("{:+.1}", 100.0 * difference),
        MeasureKind::Mean => format!("{difference:+.2}"),
    }
}

/// `+70.1 to +79.8`, in the unit of [`gain`].
pub(crate) fn gain_interval(difference: &Difference, kind: MeasureKind) -> String {
    format!("{} to {}", gain(difference.low, kind), gain(difference.high, kind))
}

/// A share in percent with one decimal.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1}%", 100.0 * share)
}

/// `0.4 s`, `51 s`, `3 min 20 s`, `2 h 5 min`.
pub(crate) fn duration(seconds: f64) -> String {
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    // A run ends within centuries, so the whole part fits.
    let whole = seconds.round();
    let (hours, minutes, rest) =
        ((whole / 3600.0).floor(), (whole % 3600.0 / 60.0).floor(), whole % 60.0);
    if hours > 0.0 {
        format!("{hours:.0} h {minutes:.0} min")
    } else if minutes > 0.0 {
        format!("{minutes:.0} min {rest:.0} s")
    } else {
        format!("{whole:.0} s")
    }
}

/// A number at an axis: at most six decimals, none of them a closing zero, or a power of ten.
pub(crate) fn tick(value: f64) -> String {
    let size = value.abs();
    if size > 1e-12 && !(1e-4..1e6).contains(&size) {
        // Sums of steps end in noise such as 3.0000000000000004e-5.
        let text = format!("{value:.3e}");
        let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
        let digits = digits.trim_end_matches('0').trim_end_matches('.');
        return typographic(&format!("{digits}e{power}"));
    }
    let text = format!("{value:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { typographic(text) }
}

/// Minus signs instead of hyphens, where these stand before a digit and not behind a letter or digit.
pub(crate) fn typographic(text: &str) -> String {
    let mut signed = String::with_capacity(text.len());
    let mut before = ' ';
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let number = letters.peek().is_some_and(char::is_ascii_digit);
        // The `e` is that of a power of ten.
        let sign = letter == '-' && number && (!before.is_alphanumeric() || before == 'e');
        signed.push(if sign { '\u{2212}' } else { letter });
        before = letter;
    }
    signed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_round_before_they_split() {
        for (seconds, expected) in [
            (0.44, "0.4 s"),
            (9.96, "10 s"),
            (59.6, "1 min 0 s"),
            (200.2, "3 min 20 s"),
            (3599.9, "1 h 0 min"),
            (7500.0, "2 h 5 min"),
        ] {
            assert_eq!(duration(seconds), expected);
        }
    }

    #[test]
    fn ticks_are_short() {
        for (value, expected) in [
            (0.1 + 0.2, "0.3"),
            (-1e-17, "0"),
            (250.0, "250"),
            (0.000_3, "0.0003"),
            (3.000_000_000_000_000_4e-5, "3e−5"),
            (1_500_000.0, "1.5e6"),
            (-2.5, "−2.5"),
        ] {
            assert_eq!(tick(value), expected);
        }
    }

    #[test]
    fn hyphens_within_words_stay() {
        assert_eq!(typographic("a gain of -3 (-5.1 to -0.9)"), "a gain of −3 (−5.1 to −0.9)");
        assert_eq!(typographic("RL-CAI, GPT-4, 90-100"), "RL-CAI, GPT-4, 90-100");
    }

    #[test]
    fn rates_are_percentages_and_means_are_not() {
        let rate = Measure::rate(0.975, 0.9426, 0.9899, 200);
        assert_eq!((value(&rate), interval(&rate)), ("97.5%".into(), "94.3 to 99.0".into()));
        let mean = Measure::mean(-1.25, -1.5, -1.0, 200);
        assert_eq!((value(&mean), interval(&mean)), ("-1.25".into(), "-1.50 to -1.00".into()));
        assert_eq!(gain(0.755, MeasureKind::Rate), "+75.5");
        assert_eq!(gain(-0.5, MeasureKind::Mean), "-0.50");
    }
}
