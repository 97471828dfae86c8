//! Progress of a stage on standard error.

use crate::progress_bar::{advance, bar};
use crate::{Error, Observe};
use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget};
use std::fmt;
use std::io::{IsTerminal, Stderr, Write, stderr};
use std::time::{Duration, Instant};

/// Shows stage, bar, rate, time left and the newest metrics on standard error; notes above the bar.
///
/// Where standard error is not a terminal, it prints plain lines instead: at the start, at every fifth of the steps, when a
/// minute has gone by without a line, and at the end of each stage. A stage that goes on begins where it stands, and only
/// the steps of this process count for rate and time left. A line that cannot be printed is dropped: that is no reason to stop training.
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
    fn start(&mut self, stage: &str, steps: u64, done: u64) -> Result<(), Error> {
        match &mut self.0 {
            Display::Bar(shown) => {
                *shown = Some(bar(stage, steps, done, ProgressDrawTarget::stderr()));
            }
            Display::Lines(lines) => lines.start(stage, steps, done),
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

    fn note(&mut self, message: &str) {
        match &mut self.0 {
            Display::Bar(Some(bar)) => bar.println(message),
            // There is no bar to print it above.
            Display::Bar(None) => note(&mut stderr(), message),
            Display::Lines(lines) => note(&mut lines.out, message),
        }
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

/// Prints a note, or drops it like any line that cannot be printed.
fn note(out: &mut impl Write, message: &str) {
    let _ = writeln!(out, "{message}");
}

/// The longest time without a line, as long as something is recorded.
const LINE_EVERY: Duration = Duration::from_mins(1);

/// Progress as lines of text.
#[derive(Debug)]
struct Lines<W> {
    out: W,
    stage: String,
    steps: u64,
    /// Steps taken by processes that have ended.
    done: u64,
    started: Instant,
    /// When the last line was printed.
    printed: Instant,
    last: String,
    fifths: u64,
}

impl<W: Write> Lines<W> {
    fn new(out: W) -> Self {
        let (stage, last) = (String::new(), String::new());
        let now = Instant::now();
        Self { out, stage, steps: 0, done: 0, started: now, printed: now, last, fifths: 0 }
    }

    fn start(&mut self, stage: &str, steps: u64, done: u64) {
        stage.clone_into(&mut self.stage);
        (self.steps, self.done) = (steps, done);
        self.started = Instant::now();
        self.last.clear();
        self.fifths = self.fifths(done);
        if done == 0 {
            self.print(format_args!("{steps} steps"));
        } else {
            self.print(format_args!("{steps} steps, goes on after step {done}"));
        }
    }

    fn record(&mut self, step: u64, metrics: &[(&str, f64)]) {
        self.last = Metrics(metrics).to_string();
        let fifths = self.fifths(step);
        let due = fifths > self.fifths || self.printed.elapsed() >= LINE_EVERY;
        // The last fifth is reported by `finish`.
        if due && step < self.steps {
            self.fifths = fifths;
            let (steps, last) = (self.steps, self.last.clone());
            let taken = step.saturating_sub(self.done);
            let pace = Pace { taken, left: steps - step, elapsed: self.started.elapsed() };
            self.print(format_args!("{step}/{steps}, {pace}{last}"));
        }
    }

    fn finish(&mut self) {
        let (took, last) = (HumanDuration(self.started.elapsed()), std::mem::take(&mut self.last));
        self.print(format_args!("done in {took}{last}"));
    }

    /// The fifths of all steps that have been taken after `step`.
    fn fifths(&self, step: u64) -> u64 {
        step.saturating_mul(5).checked_div(self.steps).unwrap_or(0)
    }

    fn print(&mut self, line: fmt::Arguments<'_>) {
        self.printed = Instant::now();
        let _ = writeln!(self.out, "{}: {line}", self.stage);
    }
}

/// `2.5/s, 3 minutes left`, or for slow steps `12.0 s a step, 3 minutes left`.
struct Pace {
    /// Steps that this process has taken.
    taken: u64,
    left: u64,
    elapsed: Duration,
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.taken == 0 {
            return f.write_str("none done yet");
        }
        let seconds = self.elapsed.as_secs_f64() / self.taken as f64;
        if seconds > 1.0 {
            write!(f, "{seconds:.1} s a step")?;
        } else {
            // A clock may not have moved.
            write!(f, "{:.1}/s", seconds.max(1e-9).recip())?;
        }
        let left = Duration::try_from_secs_f64(seconds * self.left as f64);
        write!(f, ", {} left", HumanDuration(left.unwrap_or(Duration::MAX)))
    }
}

/// Metrics that a line has room for: stages put first what a person looks at first.
const SHOWN: usize = 4;

/// `, loss 0.6931, accuracy 0.5000`; numbers of at least a thousand without decimals.
struct Metrics<'a>(&'a [(&'a str, f64)]);

impl fmt::Display for Metrics<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &(name, value) in self.0.iter().take(SHOWN) {
            let size = value.abs();
            if (1e3..1e15).contains(&size) {
                write!(f, ", {name} {value:.0}")?;
            } else if size == 0.0 || (1e-3..1e3).contains(&size) {
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

    fn lines(steps: u64, done: u64) -> Vec<String> {
        let mut lines = Lines::new(Vec::new());
        lines.start("sft", steps, done);
        for step in done + 1..=steps {
            lines.record(step, &[("loss", 1.0 / step as f64), ("rate", 3e-5)]);
        }
        lines.finish();
        let text = String::from_utf8(lines.out).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn prints_the_start_each_fifth_and_the_end() {
        let lines = lines(100, 0);
        assert_eq!(lines.len(), 6, "{lines:?}");
        assert_eq!(lines[0], "sft: 100 steps");
        for (line, step) in lines[1..5].iter().zip([20, 40, 60, 80]) {
            assert!(line.starts_with(&format!("sft: {step}/100, ")), "{line}");
            assert!(line.contains("/s, "), "{line}");
        }
        assert!(lines[1].ends_with(" left, loss 0.0500, rate 3.00e-5"), "{}", lines[1]);
        assert!(lines[5].starts_with("sft: done in "), "{}", lines[5]);
        assert!(lines[5].ends_with(", loss 0.0100, rate 3.00e-5"), "{}", lines[5]);
    }

    #[test]
    fn a_stage_that_goes_on_says_where() {
        let lines = lines(100, 60);
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert_eq!(lines[0], "sft: 100 steps, goes on after step 60");
        assert!(lines[1].starts_with("sft: 80/100, "), "{}", lines[1]);
    }

    #[test]
    fn rate_and_time_left_are_those_of_this_process() {
        let pace = |taken, left, seconds| {
            Pace { taken, left, elapsed: Duration::from_secs(seconds) }.to_string()
        };
        // 20 steps in 8 seconds: 2.5 a second, 300 more take 120 seconds.
        assert_eq!(pace(20, 300, 8), "2.5/s, 2 minutes left");
        assert_eq!(pace(5, 10, 60), "12.0 s a step, 2 minutes left");
        assert_eq!(pace(0, 1, 3), "none done yet");
        assert!(pace(1, 1, 0).ends_with("/s, 0 seconds left"), "{}", pace(1, 1, 0));
    }

    #[test]
    fn a_minute_without_a_line_ends_with_one() {
        let mut lines = Lines::new(Vec::new());
        lines.start("label", 1000, 0);
        lines.record(1, &[]);
        assert_eq!(lines.out, b"label: 1000 steps\n");
        // As if the last line had been printed a minute ago.
        lines.printed = Instant::now().checked_sub(LINE_EVERY).unwrap();
        lines.record(2, &[("tokens", 123_456.0), ("tokens_per_second", 61.728)]);
        lines.record(3, &[]);
        let text = String::from_utf8(lines.out).unwrap();
        let all: Vec<&str> = text.lines().collect();
        assert_eq!(all.len(), 2, "{text}");
        assert!(all[1].starts_with("label: 2/1000, ") && all[1].contains("/s, "), "{text}");
        assert!(all[1].ends_with(" left, tokens 123456, tokens_per_second 61.7280"), "{text}");
    }

    #[test]
    fn a_line_shows_the_first_metrics_alone() {
        let many = [("a", 1.0), ("b", 2.0), ("c", 3.0), ("d", 4.0), ("e", 5.0)];
        assert_eq!(Metrics(&many).to_string(), ", a 1.0000, b 2.0000, c 3.0000, d 4.0000");
    }

    #[test]
    fn prints_few_lines_for_few_steps() {
        assert_eq!(lines(0, 0).len(), 2);
        assert_eq!(lines(1, 0).len(), 2);
        assert_eq!(lines(3, 0).len(), 4);
    }

    #[test]
    fn prints_notes_as_they_are() {
        let mut lines = Lines::new(Vec::new());
        note(&mut lines.out, "step-000000009 is damaged");
        lines.start("sft", 1, 0);
        assert_eq!(lines.out, b"step-000000009 is damaged\nsft: 1 steps\n");
        let mut progress =
            Progress(Display::Bar(Some(bar("ppo", 10, 0, ProgressDrawTarget::hidden()))));
        progress.note("above the bar");
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
