//! What each operation of `kernels` takes on the processor, beside burn's own operations, in shares of what the machine can
//! do.
//!
//! ```text
//! cargo bench -p rlaif --bench operations
//! cargo bench -p rlaif --bench operations -- --only rms_norm project/16 --arm ours --json
//! ```
//!
//! Shapes are those of a Llama of 7 million weights on 16 rows of 128 tokens. What counts is the median of at least five
//! runs and half a second, after one run that does not. Before that, both arms must give the same numbers. Ceilings are a
//! product of large matrices by `kernels::project`, and additions of arrays far larger than the caches.
//! `benches/peers/run.py --operations` puts `PyTorch` beside them.
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

mod program;
mod operations {
    pub(crate) mod activations;
    pub(crate) mod agreement;
    pub(crate) mod attention;
    pub(crate) mod cached_attention;
    pub(crate) mod case;
    pub(crate) mod catalogue;
    pub(crate) mod ceilings;
    pub(crate) mod log_probs;
    pub(crate) mod norms;
    pub(crate) mod optimiser;
    pub(crate) mod products;
    pub(crate) mod rotation;
    pub(crate) mod rows;
    pub(crate) mod sampling;
    pub(crate) mod shapes;
    pub(crate) mod timing;
    pub(crate) mod work;
}

use clap::{Parser, ValueEnum};
use operations::agreement::arms_agree;
use operations::case::{Case, Run};
use operations::catalogue::{Entry, OPERATIONS};
use operations::ceilings::Ceilings;
use operations::timing::{median, seconds};
use operations::work::Work;
use program::{Outcome, compute_here};
use serde_json::{Value, json};

#[derive(Parser)]
struct Arguments {
    /// These operations alone, such as `rms_norm` or `rms_norm/forward`.
    #[arg(long, num_args = 1..)]
    only: Vec<String>,
    /// One arm alone.
    #[arg(long)]
    arm: Option<Arm>,
    /// One JSON object an operation and arm instead of the table.
    #[arg(long)]
    json: bool,
    /// What cargo gives to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Arm {
    /// By `kernels` and `transformer`.
    Ours,
    /// By burn's own operations.
    Primitives,
}

impl Arm {
    fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Primitives => "primitives",
        }
    }

    fn run(self, case: &mut Case) -> Option<&mut Run> {
        match self {
            Self::Ours => Some(&mut case.ours),
            Self::Primitives => case.primitives.as_mut(),
        }
    }
}

/// An operation by an arm, or a ceiling.
struct Measured {
    operation: &'static str,
    arm: Arm,
    work: Work,
    seconds: f64,
    share: f64,
}

fn main() -> Outcome<()> {
    compute_here()?;
    let arguments = Arguments::parse();
    let chosen = chosen(&arguments.only)?;
    let arms = arguments.arm.map_or(vec![Arm::Ours, Arm::Primitives], |arm| vec![arm]);
    let ceilings = Ceilings::measure();
    let mut measured: Vec<Measured> = Vec::new();
    let mut report = |line: Measured| {
        if arguments.json {
            println!("{}", line.json());
        }
        measured.push(line);
    };
    for ceiling in [ceilings.products, ceilings.memory] {
        let (operation, work, seconds) = (ceiling.name, ceiling.work, ceiling.seconds);
        report(Measured { operation, arm: arms[0], work, seconds, share: 1.0 });
    }
    for (operation, make) in chosen {
        let mut case = make();
        arms_agree(operation, &mut case)?;
        for &arm in &arms {
            if let Some(seconds) = time(arm, &mut case) {
                let share = case.work.rate(seconds) / ceilings.rate(case.work);
                report(Measured { operation, arm, work: case.work, seconds, share });
            }
        }
    }
    if !arguments.json {
        table(&measured);
    }
    Ok(())
}

/// Those that are asked for by their names or by what those begin with; all if none is.
fn chosen(only: &[String]) -> Outcome<Vec<Entry>> {
    let is = |name: &str, wanted: &str| {
        name.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if let Some(unknown) = only.iter().find(|wanted| !OPERATIONS.iter().any(|o| is(o.0, wanted))) {
        let names = OPERATIONS.map(|(name, _)| name).join(", ");
        return Err(format!("there is no operation {unknown:?}, only {names}").into());
    }
    let wanted = |name| only.is_empty() || only.iter().any(|wanted| is(name, wanted));
    Ok(OPERATIONS.into_iter().filter(|&(name, _)| wanted(name)).collect())
}

/// Seconds of a run; nothing if the arm cannot do it.
fn time(arm: Arm, case: &mut Case) -> Option<f64> {
    let run = arm.run(case)?;
    Some(median(&seconds(|| run().0)))
}

impl Measured {
    fn json(&self) -> Value {
        json!({
            "operation": self.operation,
            "arm": self.arm.name(),
            "seconds": self.seconds,
            "rate": self.work.rate(self.seconds),
            "unit": self.work.unit(),
            "share": self.share,
        })
    }
}

/// A Markdown table of a row an operation.
fn table(measured: &[Measured]) {
    println!("| operation | ours ms | primitives ms | rate | share of ceiling | to primitives |");
    println!("|---|---|---|---|---|---|");
    for lines in measured.chunk_by(|a, b| a.operation == b.operation) {
        let of = |arm| lines.iter().find(|line| line.arm == arm);
        let [ours, primitives] = [of(Arm::Ours), of(Arm::Primitives)];
        let milliseconds = |line: &Measured| format!("{:.3}", line.seconds * 1e3);
        let [ours_ms, primitives_ms] =
            [ours, primitives].map(|line| line.map(milliseconds).unwrap_or_default());
        let first = &lines[0];
        let rate = format!("{:.1} {}", first.work.rate(first.seconds), first.work.unit());
        let ratio = ours.zip(primitives).map(|(ours, other)| other.seconds / ours.seconds);
        let ratio = ratio.map(|ratio| format!("{ratio:.2}x")).unwrap_or_default();
        let share = format!("{:.0}%", first.share * 100.0);
        let operation = first.operation;
        println!("| `{operation}` | {ours_ms} | {primitives_ms} | {rate} | {share} | {ratio} |");
    }
}
