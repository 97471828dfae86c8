//! What the data stages at scale do in a second against a server that answers at once, and how flat their memory stays.
//!
//! ```text
//! cargo bench -p jobs --bench data_stages
//! cargo bench -p jobs --bench data_stages -- --items 1000,20000 --only revise
//! ```
//!
//! The server is a process of its own on the same machine, and so is every job: its highest memory is its own. Prompts and
//! replies have the length of short questions; `revise` asks the model five times a prompt (two revisions), `reply-pairs` and
//! `label` twice. The paper has 182,831 prompts (section 3.2 of arXiv 2212.08073). An item of `requests` is a new request; a
//! call brings about three.
//!
//! A job of 1,000 items is over before all of its threads, connections and buffers have been used; one of 20,000 is not. So
//! what grows from the first to the second is start-up, and what grows from there on is memory an item.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for the terminal")]

#[path = "../crates/openai/tests/server/instant.rs"]
mod instant;

use ai_feedback::FeedbackConfig;
use constitution::Constitution;
use critique_revision::CritiqueRevisionConfig;
use instant::Instant as Server;
use jobs::{Done, Flow, Job, Served};
use language_model::Sampling;
use openai::{Client, Config};
use red_team::GenerationConfig;
use serde_json::{Value, json};
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use training::Silent;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Items of the runs that are compared.
const ITEMS: [u64; 3] = [1_000, 20_000, 182_831];

const JOBS: [&str; 4] = ["revise", "reply-pairs", "label", "requests"];

/// Prompts that `requests` draws its examples from, however many it writes.
const SEEDS: u64 = 1_000;

const CONCURRENCY: usize = 64;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve"] => serve(),
        ["job", what, items, input, out, url] => one(what, items.parse()?, input, out, url),
        ref options => {
            let items = match value(options, "--items") {
                Some(items) => items.split(',').map(str::parse).collect::<Result<Vec<u64>, _>>()?,
                None => ITEMS.to_vec(),
            };
            let only = value(options, "--only");
            let jobs: Vec<&str> =
                JOBS.into_iter().filter(|job| only.is_none_or(|only| only == *job)).collect();
            if jobs.is_empty() {
                return Err(format!("--only takes one of {}", JOBS.join(", ")).into());
            }
            table(&jobs, &items)
        }
    }
}

/// What stands behind an option.
fn value<'a>(options: &[&'a str], name: &str) -> Option<&'a str> {
    let at = options.iter().position(|option| *option == name)?;
    options.get(at + 1).copied()
}

/// Serves until it is killed; the first line tells where.
fn serve() -> Outcome<()> {
    let server = Server::start();
    println!("{}", server.url());
    loop {
        std::thread::park();
    }
}

/// Does one job and prints what it took.
fn one(what: &str, items: usize, input: &str, out: &str, url: &str) -> Outcome<()> {
    let mut job = Job::new(input, out);
    job.flow = Flow { chunk: 8, in_flight: 2 * CONCURRENCY / 8 };
    let config = Config { concurrency: CONCURRENCY, ..Config::default() };
    let client = Client::with_config(url, "parrot", config.clone())?;
    let model = Served::new(client, &config);
    let constitution = Constitution::general();
    let start = Instant::now();
    let prepared = match what {
        "revise" => {
            let config = CritiqueRevisionConfig { revisions: 2, ..Default::default() };
            jobs::revise(job, constitution, config)?
        }
        "reply-pairs" => jobs::reply_pairs(job, Sampling::default())?,
        "requests" => {
            // A list in a call, and calls enough for one request each.
            let config = GenerationConfig {
                requests: items,
                batch: 1,
                max_calls: items,
                ..GenerationConfig::default()
            };
            jobs::requests(job, config)?
        }
        // Without a probe, so that the calls are two a pair however few there are.
        _ => jobs::label(job, constitution, FeedbackConfig { probe: 0, ..Default::default() })?,
    };
    let prepared_memory = memory("VmHWM:");
    let done: Done = prepared.run(&model, &mut Silent)?;
    let seconds = start.elapsed().as_secs_f64();
    let found = json!({
        "records": done.report.records, "calls": done.calls, "seconds": seconds,
        "read": prepared_memory, "peak": memory("VmHWM:"), "end": memory("VmRSS:"),
    });
    println!("{found}");
    Ok(())
}

/// Memory of the machine that this process holds (`VmRSS:`) or has held at the most (`VmHWM:`), in bytes, where the system says
/// so.
fn memory(kind: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(kind))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Prints a line a job: beside the highest memory that up to where the input was read, and that at the end.
fn table(jobs: &[&str], items: &[u64]) -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let (_server, url) = ServerProcess::start()?;
    println!(
        "{:<12}{:>10}{:>10}{:>12}{:>12}{:>10}{:>10}{:>10}{:>14}",
        "job",
        "items",
        "seconds",
        "records/s",
        "calls/s",
        "read MiB",
        "peak MiB",
        "end MiB",
        "to the first"
    );
    for &what in jobs {
        let mut first = None;
        for &items in items {
            let found = run(folder.path(), what, items, &url)?;
            let number = |key: &str| found[key].as_f64().unwrap_or(f64::NAN);
            let seconds = number("seconds");
            let [read, peak, end] =
                ["read", "peak", "end"].map(|key| number(key) / f64::from(1 << 20));
            let first = *first.get_or_insert(peak);
            println!(
                "{what:<12}{items:>10}{seconds:>10.1}{:>12.0}{:>12.0}{read:>10.1}{peak:>10.1}{end:>10.1}{:>13.2}x",
                number("records") / seconds,
                number("calls") / seconds,
                peak / first,
            );
        }
    }
    Ok(())
}

/// Runs this program once more, for one job.
fn run(folder: &Path, what: &str, items: u64, url: &str) -> Outcome<Value> {
    let [input, out] = ["jsonl", "out"].map(|end| folder.join(format!("{what}-{items}.{end}")));
    write_input(&input, what, items)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["job", what, &items.to_string()]).args([&input, &out]).arg(url);
    command.stderr(Stdio::inherit());
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("{what} with {items} items failed").into());
    }
    // What is measured next should not share the memory of files with it.
    std::fs::remove_file(&input)?;
    std::fs::remove_file(&out)?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn write_input(path: &Path, what: &str, items: u64) -> Outcome<()> {
    let mut out = BufWriter::new(File::create(path)?);
    let rows = if what == "requests" { SEEDS } else { items };
    for item in 0..rows {
        let prompt =
            format!("Question {item}: how do I get rid of the weeds in park {}?", item % 97);
        let row = if what == "label" {
            let replies = ["Use some salt.", "Pull them out after the rain, roots and all."];
            json!({ "prompt": prompt, "replies": replies })
        } else {
            json!({ "prompt": prompt })
        };
        writeln!(out, "{row}")?;
    }
    Ok(out.flush()?)
}

/// The server in a process of its own, which ends with the value.
struct ServerProcess(Child);

impl ServerProcess {
    fn start() -> Outcome<(Self, String)> {
        let mut child =
            Command::new(std::env::current_exe()?).arg("serve").stdout(Stdio::piped()).spawn()?;
        let mut url = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut url)?;
        }
        Ok((Self(child), url.trim().to_owned()))
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
