//! The bar of a stage on a terminal.

use indicatif::{
    HumanDuration, ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressState, ProgressStyle,
};
use std::fmt;

/// Of 80 columns it leaves some twenty for metrics beside a long name and long counts.
const TEMPLATE: &str = "{prefix} [{bar:6}] {human_pos}/{human_len} {pace}{wide_msg}";

/// A bar that stands at the steps that are done.
pub(crate) fn bar(stage: &str, steps: u64, done: u64, target: ProgressDrawTarget) -> ProgressBar {
    let style = ProgressStyle::with_template(TEMPLATE).expect("the template is well formed");
    let tell = move |state: &ProgressState, out: &mut dyn fmt::Write| pace(state, done, out);
    let bar = ProgressBar::with_draw_target(Some(steps), target)
        .with_style(style.with_key("pace", tell).progress_chars("=> "))
        .with_prefix(stage.to_owned())
        .with_finish(ProgressFinish::Abandon);
    if done > 0 {
        bar.set_position(done);
        // The bar has taken the steps that are done for a leap; with that forgotten, the rate is that of those to come.
        bar.tick();
        bar.reset_eta();
    }
    bar
}

/// Moves a bar to a step, with the newest metrics beside it.
pub(crate) fn advance(bar: &ProgressBar, step: u64, metrics: &[(&str, f64)]) {
    bar.set_message(ShortMetrics(metrics).to_string());
    bar.set_position(step);
}

/// `2.5/s 3m left`; nothing of the kind is known until this process has taken a step beyond those that were `done` before.
fn pace(state: &ProgressState, done: u64, out: &mut dyn fmt::Write) {
    // A bar has nobody to tell.
    let _ = if state.pos() <= done {
        out.write_str("none done yet")
    } else {
        write!(out, "{}/s {:#} left", Brief(state.per_sec()), HumanDuration(state.eta()))
    };
}

/// Metrics that stand first, whatever the stage, and their short names.
const FIRST: [(&str, &str); 6] = [
    ("failed", "failed"),
    ("tokens", "tok"),
    ("tokens_per_second", "tok/s"),
    ("calls_per_second", "calls/s"),
    ("prompt_tokens", "prompt tok"),
    ("prompt_tokens_per_second", "prompt tok/s"),
];

/// `, failed 2, tok 1.23M, tok/s 4.56k`; what the columns have no room for is cut off at the end.
struct ShortMetrics<'a>(&'a [(&'a str, f64)]);

impl fmt::Display for ShortMetrics<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value_of = |name: &str| self.0.iter().find(|(metric, _)| *metric == name);
        let first = FIRST
            .iter()
            .filter_map(|&(name, short)| value_of(name).map(|&(_, value)| (short, value)));
        let is_first = |name: &str| FIRST.iter().any(|&(first, _)| first == name);
        let others = self.0.iter().copied().filter(|&(name, _)| !is_first(name));
        for (name, value) in first.chain(others) {
            write!(f, ", {name} {}", Brief(value))?;
        }
        Ok(())
    }
}

/// A number in three significant digits, such as `0.0693`, `12.3` and `4.56k`; a whole one below a thousand as it is.
struct Brief(f64);

/// Of every further thousand.
const SUFFIXES: [&str; 5] = ["", "k", "M", "G", "T"];

impl fmt::Display for Brief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(value) = *self;
        // Rounded before its size is looked at: 999.9 is 1.00k.
        let scientific = format!("{value:.2e}");
        let exponent =
            scientific.split_once('e').and_then(|(_, digits)| digits.parse::<i32>().ok());
        match exponent {
            Some(exponent @ -3..15) if exponent >= 3 || value.fract() != 0.0 => {
                let thousands = exponent.max(0) / 3;
                let decimals = usize::try_from(2 - exponent + 3 * thousands).unwrap_or(0);
                let suffix = SUFFIXES[usize::try_from(thousands).unwrap_or(0)];
                write!(f, "{:.decimals$}{suffix}", value / 1000_f64.powi(thousands))
            }
            Some(0..3) | None => write!(f, "{value}"),
            Some(_) => f.write_str(&scientific),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::TermLike;
    use std::io;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    /// A terminal that keeps what is written.
    #[derive(Debug, Clone)]
    struct Screen {
        columns: u16,
        text: Arc<Mutex<String>>,
    }

    impl Screen {
        fn new(columns: u16) -> Self {
            Self { columns, text: Arc::default() }
        }

        fn target(&self) -> ProgressDrawTarget {
            ProgressDrawTarget::term_like(Box::new(self.clone()))
        }

        /// The line of a bar as it stands now.
        fn line(&self, bar: &ProgressBar) -> String {
            self.text.lock().unwrap().clear();
            bar.tick();
            self.text.lock().unwrap().clone()
        }
    }

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            self.columns
        }

        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.text.lock().unwrap().push_str(text);
            Ok(())
        }

        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn rate_time_left_failures_and_tokens_fit_eighty_columns() {
        let screen = Screen::new(80);
        let bar = bar("critique_revision", 100_000, 0, screen.target());
        let metrics = [
            ("calls_per_second", 12.3456),
            ("tokens", 1_234_567.0),
            ("tokens_per_second", 4561.2),
            ("failed", 2.0),
        ];
        advance(&bar, 12_345, &metrics);
        let line = screen.line(&bar);
        assert!(line.starts_with("critique_revision ["), "{line}");
        for part in ["] 12,345/100,000 ", "/s ", " left, failed 2, tok 1.23M"] {
            assert!(line.contains(part), "{part}: {line}");
        }
        // A job has a shorter name.
        assert_eq!(bar.message(), ", failed 2, tok 1.23M, tok/s 4.56k, calls/s 12.3");
    }

    #[test]
    fn a_wide_terminal_shows_every_metric() {
        let screen = Screen::new(240);
        let bar = bar("label", 100, 0, screen.target());
        let metrics = [
            ("failed", 2.0),
            ("calls_per_second", 12.3456),
            ("tokens", 1_234_567.0),
            ("tokens_per_second", 4561.2),
            ("prompt_tokens", 2_469_134.0),
            ("prompt_tokens_per_second", 9122.4),
            ("calls", 10.0),
        ];
        advance(&bar, 5, &metrics);
        let line = screen.line(&bar);
        let expected = " left, failed 2, tok 1.23M, tok/s 4.56k, calls/s 12.3, prompt tok 2.47M, prompt tok/s 9.12k, calls 10";
        assert!(line.contains(expected), "{line}");
    }

    #[test]
    fn no_rate_and_no_time_are_told_while_no_step_is_done() {
        for done in [0, 40] {
            let screen = Screen::new(80);
            let bar = bar("label", 100, done, screen.target());
            advance(&bar, done, &[("calls_per_second", 0.5)]);
            let line = screen.line(&bar);
            let expected = format!("] {done}/100 none done yet, calls/s 0.500");
            assert!(line.contains(&expected), "{line}");
            advance(&bar, done + 1, &[]);
            let line = screen.line(&bar);
            assert!(line.contains("/s ") && line.contains(" left"), "{line}");
        }
    }

    #[test]
    fn numbers_have_three_significant_digits() {
        for (value, expected) in [
            (0.0, "0"),
            (2.0, "2"),
            (999.0, "999"),
            (0.4567, "0.457"),
            (0.0693, "0.0693"),
            (3e-5, "3.00e-5"),
            (61.728, "61.7"),
            (999.9, "1.00k"),
            (1000.0, "1.00k"),
            (123_456.0, "123k"),
            (-1_234_567.0, "-1.23M"),
            (1e15, "1.00e15"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(Brief(value).to_string(), expected);
        }
    }

    #[test]
    fn the_bar_stands_at_the_newest_step() {
        let bar = bar("ppo", 10, 0, ProgressDrawTarget::hidden());
        advance(&bar, 3, &[("loss", 0.5)]);
        assert_eq!((bar.prefix(), bar.position()), ("ppo".to_owned(), 3));
        assert_eq!(bar.message(), ", loss 0.500");
    }

    #[test]
    fn the_bar_of_a_stage_that_goes_on_begins_where_it_stands() {
        let bar = bar("ppo", 2_000_000, 1_000_000, ProgressDrawTarget::hidden());
        assert_eq!(bar.position(), 1_000_000);
        std::thread::sleep(Duration::from_millis(20));
        advance(&bar, 1_000_001, &[]);
        // One step in at least 20 milliseconds: at most 50 a second.
        assert!((0.0..=50.0).contains(&bar.per_sec()), "{}", bar.per_sec());
    }
}
