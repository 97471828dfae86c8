//! Progress of a stage on standard error.

use crate::{Error, Observe};
use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};
use std::fmt;
use std::io::{IsTerminal, Stderr, Write, stderr};
use std::time::Instant;

const TEMPLATE: &str =
    "{prefix} [{bar:24}] {human_pos}/{human_len}, {per_sec}, {eta} left {wide_msg}";

/// Shows stage, bar, rate, time left and the newest metrics on standard error.
///
/// Where standard error is not a terminal, it prints plain lines instead: at the start, at every fifth of the steps
/// and at the end of each stage. A line that cannot be printed is dropped: that is no reason to stop training.
#[derive(Debug)]
pub struct Progress(Display);

#[derive(Debug)]
enum Display {
    Bar(Option<ProgressBar>),
    Lines(Lines<Stderr>),
}

impl Progress {
    /// A bar on a terminal, lines elsewhere.
    pub fn new() -> Self {
        if stderr().is_terminal() {
            Self(Display::Bar(None))
        } else {
            Self(Display::Lines(Lines::new(stderr())))
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Observe for Progress {
    fn start(&mut self, stage: &str, steps: u64, _done: u64) -> Result<(), Error> {
        match &mut self.0 {
            Display::Bar(shown) => *shown = Some(bar(stage, steps, ProgressDrawTarget::stderr())),
            Display::Lines(lines) => lines.start(stage, steps),
        }
        Ok(())
    }

    fn record(&mut self, step: u64, metrics: &[(&str, f64)]) -> Result<(), Error> {
        match &mut self.0 {
            Display::Bar(Some(bar)) => advance(bar, step, metrics),
            Display::Bar(None) => {}
            Display::Lines(lines) => lines.record(step, metrics),
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Error> {
        match &mut self.0 {
            // Dropped, the bar stays on the screen as it stands.
            Display::Bar(shown) => drop(shown.take()),
            Display::Lines(lines) => lines.finish(),
        }
        Ok(())
    }
}

fn bar(stage: &str, steps: u64, target: ProgressDrawTarget) -> ProgressBar {
    let style = ProgressStyle::with_template(TEMPLATE).expect("the template is well formed");
    ProgressBar::with_draw_target(Some(steps), target)
        .with_style(style.progress_chars("=> "))
        .with_prefix(stage.to_owned())
        .with_finish(ProgressFinish::Abandon)
}

fn advance(bar: &ProgressBar, step: u64, metrics: &[(&str, f64)]) {
    bar.set_message(Metrics(metrics).to_string());
    bar.set_position(step);
}

/// Progress as lines of text.
#[derive(Debug)]
struct Lines<W> {
    out: W,
    stage: String,
    steps: u64,
    started: Instant,
    last: String,
    fifths: u64,
}

impl<W: Write> Lines<W> {
    fn new(out: W) -> Self {
        let (stage, last) = (String::new(), String::new());
        Self { out, stage, steps: 0, started: Instant::now(), last, fifths: 0 }
    }

    fn start(&mut self, stage: &str, steps: u64) {
        stage.clone_into(&mut self.stage);
        self.steps = steps;
        self.started = Instant::now();
        self.last.clear();
        self.fifths = 0;
        self.print(format_args!("{steps} steps"));
    }

    fn record(&mut self, step: u64, metrics: &[(&str, f64)]) {
        self.last = Metrics(metrics).to_string();
        let fifths = (step.saturating_mul(5)).checked_div(self.steps).unwrap_or(0);
        // The last fifth is reported by `finish`.
        if fifths > self.fifths && step < self.steps {
            self.fifths = fifths;
            let left = self.started.elapsed().mul_f64((self.steps - step) as f64 / step as f64);
            let (steps, last) = (self.steps, self.last.clone());
            self.print(format_args!("{step}/{steps}, {} left{last}", HumanDuration(left)));
        }
    }

    fn finish(&mut self) {
        let (took, last) = (HumanDuration(self.started.elapsed()), std::mem::take(&mut self.last));
        self.print(format_args!("done in {took}{last}"));
    }

    fn print(&mut self, line: fmt::Arguments<'_>) {
        let _ = writeln!(self.out, "{}: {line}", self.stage);
    }
}

/// `, loss 0.6931, accuracy 0.5000`.
struct Metrics<'a>(&'a [(&'a str, f64)]);

impl fmt::Display for Metrics<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &(name, value) in self.0 {
            let size = value.abs();
            if size == 0.0 || (1e-3..1e5).contains(&size) {
                write!(f, ", {name} {value:.4}")?;
            } else {
                write!(f, ", {name} {value:.2e}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(steps: u64) -> Vec<String> {
        let mut lines = Lines::new(Vec::new());
        lines.start("sft", steps);
        for step in 1..=steps {
            lines.record(step, &[("loss", 1.0 / step as f64), ("rate", 3e-5)]);
        }
        lines.finish();
        let text = String::from_utf8(lines.out).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn prints_the_start_each_fifth_and_the_end() {
        let lines = lines(100);
        assert_eq!(lines.len(), 6, "{lines:?}");
        assert_eq!(lines[0], "sft: 100 steps");
        for (line, step) in lines[1..5].iter().zip([20, 40, 60, 80]) {
            assert!(line.starts_with(&format!("sft: {step}/100, ")), "{line}");
        }
        assert!(lines[1].ends_with(" left, loss 0.0500, rate 3.00e-5"), "{}", lines[1]);
        assert!(lines[5].starts_with("sft: done in "), "{}", lines[5]);
        assert!(lines[5].ends_with(", loss 0.0100, rate 3.00e-5"), "{}", lines[5]);
    }

    #[test]
    fn prints_few_lines_for_few_steps() {
        assert_eq!(lines(0).len(), 2);
        assert_eq!(lines(1).len(), 2);
        assert_eq!(lines(3).len(), 4);
    }

    #[test]
    fn the_bar_stands_at_the_newest_step() {
        let bar = bar("ppo", 10, ProgressDrawTarget::hidden());
        advance(&bar, 3, &[("loss", 0.5)]);
        assert_eq!((bar.prefix(), bar.position()), ("ppo".to_owned(), 3));
        assert_eq!(bar.message(), ", loss 0.5000");
    }

    #[test]
    fn a_stage_may_follow_another_and_the_first_may_be_missing() {
        let mut progress = Progress(Display::Bar(None));
        progress.record(1, &[]).unwrap();
        progress.start("sft", 1, 0).unwrap();
        progress.start("ppo", 2, 0).unwrap();
        progress.finish().unwrap();
        assert!(matches!(progress.0, Display::Bar(None)));
    }
}
