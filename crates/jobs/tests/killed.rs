//! A job that is killed again and again ends at the same bytes as one that nobody disturbs, and asks nothing twice that
//! was answered, by a server or by a model of its own; nor does a full disk lose anything.
//!
//! The test is its own victim: with `job` as its first argument it does a job instead. `RLAIF_KILLS` says how often each
//! job is killed, 8 without it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it has no harness that would")]

#[path = "../../openai/tests/server/instant.rs"]
mod instant;

use ai_feedback::FeedbackConfig;
use constitution::Constitution;
use critique_revision::CritiqueRevisionConfig;
use dialogue::Dialogue;
use instant::Instant as Server;
use jobs::{Alone, Figures, Flow, Job, Report, Served, merge};
use language_model::{
    Choose, Completion, Error as ModelError, Generate, Prompt, Sampling, StopReason,
};
use openai::{Client, Config};
use red_team::GenerationConfig;
use serde_json::json;
use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use training::Silent;

const ITEMS: usize = 300;
const REQUESTS: usize = 600;
const CONCURRENCY: usize = 8;
const CHUNK: usize = 3;

/// What the address of a model begins with that the victim has itself.
const ALONE: &str = "alone:";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mark, what, input, out, url, shard @ ..] = arguments.as_slice()
        && mark == "job"
    {
        return match work(what, input, out, url, shard.first()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::from(2)
            }
        };
    }
    let tests: [(&str, fn()); 7] = [
        ("every_job_survives_being_killed", every_job_survives_being_killed),
        (
            "a_model_on_this_machine_survives_being_killed",
            a_model_on_this_machine_survives_being_killed,
        ),
        ("new_requests_survive_being_killed", new_requests_survive_being_killed),
        ("failed_items_survive_being_killed", failed_items_survive_being_killed),
        ("shards_that_are_killed_merge_to_the_whole", shards_that_are_killed_merge_to_the_whole),
        ("a_full_disk_loses_nothing", a_full_disk_loses_nothing),
        ("a_job_belongs_to_one_process", a_job_belongs_to_one_process),
    ];
    for (name, test) in tests {
        test();
        println!("test {name} ... ok");
    }
    ExitCode::SUCCESS
}

/// The victim.
fn work(
    what: &str,
    input: &str,
    out: &str,
    url: &str,
    shard: Option<&String>,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut job = Job::new(input, out);
    job.shard = shard.map(|shard| shard.parse()).transpose()?;
    job.flow = Flow { chunk: CHUNK, in_flight: 6 };
    job.retry_failed = std::env::var_os("RETRY_FAILED").is_some();
    let constitution = Constitution::general();
    let prepared = match what {
        "revise" => {
            let config = CritiqueRevisionConfig { revisions: 2, ..Default::default() };
            jobs::revise(job, constitution, config)?
        }
        "requests" => jobs::requests(job, generation())?,
        _ => jobs::label(job, constitution, FeedbackConfig::default())?,
    };
    if let Some(asked) = url.strip_prefix(ALONE) {
        let model = Alone::new(Slow { asked: asked.into() }, json!("slow"));
        prepared.run(&model, &mut Silent)?;
        return Ok(());
    }
    let config = Config { concurrency: CONCURRENCY, ..Config::default() };
    let client = Client::with_config(url, "parrot", config.clone())?;
    prepared.run(&Served::new(client, &config), &mut Silent)?;
    Ok(())
}

/// A model of the victim's own. It takes its time, and writes a line for everything that it is asked as soon as it is.
struct Slow {
    asked: PathBuf,
}

impl Slow {
    fn note(&self, names: impl Iterator<Item = String>) {
        let lines: String = names.map(|name| name + "\n").collect();
        let mut file = OpenOptions::new().append(true).create(true).open(&self.asked).unwrap();
        file.write_all(lines.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
}

impl Generate for Slow {
    fn generate(&self, prompts: &[Prompt], _: &Sampling) -> Result<Vec<Completion>, ModelError> {
        self.note(prompts.iter().map(|prompt| format!("{}-{}", prompt.dialogue.id(), prompt.seed)));
        let reply = |prompt: &Prompt| Completion {
            text: format!("reply {}", prompt.seed),
            tokens: 2,
            stopped: StopReason::Stop,
        };
        Ok(prompts.iter().map(reply).collect())
    }
}

impl Choose for Slow {
    fn choose(&self, prompts: &[Dialogue], _: &[&str]) -> Result<Vec<Vec<f64>>, ModelError> {
        self.note(prompts.iter().map(Dialogue::id));
        let weigh = |prompt: &Dialogue| {
            let share = prompt.id().bytes().map(f64::from).sum::<f64>() % 89.0 / 89.0;
            vec![share, 1.0 - share]
        };
        Ok(prompts.iter().map(weigh).collect())
    }
}

/// How many different things a model of the victim's own was asked, and how many came again; then none are remembered.
fn different_and_again(asked: &Path) -> (u64, u64) {
    let text = fs::read_to_string(asked).unwrap();
    fs::remove_file(asked).unwrap();
    let mut counts = HashMap::<&str, u64>::new();
    for line in text.lines() {
        *counts.entry(line).or_default() += 1;
    }
    let different = counts.len() as u64;
    (different, counts.values().sum::<u64>() - different)
}

/// How requests are generated, and tagged.
fn generation() -> GenerationConfig {
    GenerationConfig {
        requests: REQUESTS,
        harm_types: ["theft", "violence"].map(str::to_owned).to_vec(),
        ..Default::default()
    }
}

/// A folder with prompts, seeds and pairs, every tenth of them twice.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let numbers = || (0..ITEMS).chain((0..ITEMS).step_by(10));
    let prompts: Vec<String> =
        numbers().map(|n| format!("{{\"prompt\": \"question {n}\"}}\n")).collect();
    fs::write(folder.path().join("revise.jsonl"), prompts.concat()).unwrap();
    fs::write(folder.path().join("requests.jsonl"), prompts.concat()).unwrap();
    let pairs: Vec<String> = numbers()
        .map(|n| format!("{{\"prompt\": \"question {n}\", \"replies\": [\"yes {n}\", \"no\"]}}\n"))
        .collect();
    fs::write(folder.path().join("label.jsonl"), pairs.concat()).unwrap();
    folder
}

fn job(folder: &Path, what: &str, out: &str, server: &Server, shard: Option<&str>) -> Command {
    job_of(&server.url(), folder, what, out, shard)
}

/// A job of the model at an address.
fn job_of(url: &str, folder: &Path, what: &str, out: &str, shard: Option<&str>) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("job").arg(what).arg(folder.join(format!("{what}.jsonl"))).arg(folder.join(out));
    command.arg(url).args(shard).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn succeeds(mut command: Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn fails(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Moments that look random and are the same in every run of the test.
struct Moments(u64);

impl Moments {
    /// A number from 0 to 1.
    fn next(&mut self) -> f64 {
        // Knuth's linear congruential generator; its upper bits.
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from(u32::try_from(self.0 >> 32).unwrap()) / f64::from(u32::MAX)
    }
}

fn kills() -> usize {
    std::env::var("RLAIF_KILLS").map_or(8, |kills| kills.parse().unwrap())
}

/// Kills a process after a time, unless it has ended; tells whether it had to.
fn kill(mut child: Child, after: Duration) -> bool {
    std::thread::sleep(after);
    if let Some(status) = child.try_wait().unwrap() {
        assert!(status.success());
        return false;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    true
}

/// Does a job with kills on the way, each within a share of the time that it takes undisturbed; gives their number.
fn disturbed(command: &dyn Fn() -> Command, takes: Duration, moments: &mut Moments) -> u64 {
    let mut done = 0;
    for _ in 0..kills() {
        let child = command().stderr(Stdio::null()).spawn().unwrap();
        let share = 2.0 * moments.next() / kills() as f64;
        done += u64::from(kill(child, takes.mul_f64(share)));
    }
    succeeds(command());
    done
}

/// What is left beside a finished file.
fn names(folder: &Path, out: &str) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(out) || name.starts_with('.'))
        .collect();
    names.sort();
    names
}

/// The pairs that a job has asked about once more.
fn probed(report: &Path) -> u64 {
    let report: Report = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    let Figures::Labels { probed, .. } = report.figures else { panic!("no report of labels") };
    probed
}

fn every_job_survives_being_killed() {
    let folder = folder();
    let folder = folder.path();
    let server = Server::counting();
    server.take(Duration::from_millis(2));
    let mut moments = Moments(5);
    for what in ["revise", "label"] {
        let start = Instant::now();
        succeeds(job(folder, what, &format!("{what}.whole"), &server, None));
        let takes = start.elapsed();
        let (different, again) = server.different_and_again();
        let expected = if what == "revise" {
            ITEMS as u64 * 5
        } else {
            let probed = probed(&folder.join("label.whole.report.json"));
            assert!((1..ITEMS as u64).contains(&probed), "{probed} of {ITEMS}");
            // A probe asks in both orders by one more principle; two requests of an unfinished turn see whether the server
            // continues.
            (ITEMS as u64 + probed) * 2 + 2
        };
        assert_eq!((different, again), (expected, 0), "{what}");

        let out = format!("{what}.killed");
        let command = || job(folder, what, &out, &server, None);
        let killed = disturbed(&command, takes, &mut moments);
        assert!(killed > 0, "{what} was too fast to be killed");
        let (different, again) = server.different_and_again();
        assert_eq!(different, expected, "{what}");
        // At most what was on its way at each kill, and the questions whether the server continues.
        let most = killed * (CONCURRENCY as u64 + 2);
        assert!(again <= most, "{what}: {again} answers were asked for again after {killed} kills");
        let read = |name: &str| fs::read(folder.join(format!("{what}.{name}"))).unwrap();
        assert!(read("whole") == read("killed"), "{what} differs");
        assert_eq!(String::from_utf8(read("whole")).unwrap().lines().count(), ITEMS);
        for file in ["job", "report.json"] {
            assert!(read(&format!("whole.{file}")) == read(&format!("killed.{file}")), "{file}");
        }
        let beside = ["", ".job", ".report.json"].map(|end| format!("{out}{end}"));
        assert_eq!(names(folder, &out), beside);

        // A job that is finished asks nothing.
        succeeds(command());
        assert_eq!(server.different_and_again(), (0, 0));
    }
}

fn a_model_on_this_machine_survives_being_killed() {
    let folder = folder();
    let folder = folder.path();
    let asked = folder.join("asked");
    let url = format!("{ALONE}{}", asked.display());
    let mut moments = Moments(13);
    for what in ["revise", "label"] {
        let [whole, out] = ["whole", "killed"].map(|name| format!("{what}.{name}"));
        let start = Instant::now();
        succeeds(job_of(&url, folder, what, &whole, None));
        let takes = start.elapsed();
        // The most prompts of a call: a pair is asked about in both orders.
        let (expected, of_a_call) = if what == "revise" {
            (ITEMS as u64 * 5, CHUNK as u64)
        } else {
            let probed = probed(&folder.join("label.whole.report.json"));
            ((ITEMS as u64 + probed) * 2, CHUNK as u64 * 2)
        };
        assert_eq!(different_and_again(&asked), (expected, 0), "{what}");

        let command = || job_of(&url, folder, what, &out, None);
        let killed = disturbed(&command, takes, &mut moments);
        assert!(killed > 0, "{what} was too fast to be killed");
        let (different, again) = different_and_again(&asked);
        assert_eq!(different, expected, "{what}");
        let most = killed * of_a_call;
        assert!(again <= most, "{what}: {again} answers were lost by {killed} kills");
        for end in ["", ".job", ".report.json"] {
            let read = |name: &str| fs::read(folder.join(format!("{name}{end}"))).unwrap();
            assert!(read(&whole) == read(&out), "{what}{end} differs");
        }
        assert_eq!(
            names(folder, &out),
            ["", ".job", ".report.json"].map(|end| format!("{out}{end}"))
        );
    }
}

/// Which calls are under way when there are enough differs from run to run; what comes of them does not.
fn new_requests_survive_being_killed() {
    let folder = folder();
    let folder = folder.path();
    let server = Server::counting();
    // Some lists show it; they are refused.
    server.refuse(&["question 7\\n"]);
    server.take(Duration::from_millis(2));
    let mut moments = Moments(13);
    let start = Instant::now();
    succeeds(job(folder, "requests", "whole", &server, None));
    let takes = start.elapsed();
    let (_, again) = server.different_and_again();
    assert_eq!(again, 0);
    let command = || job(folder, "requests", "killed", &server, None);
    let killed = disturbed(&command, takes, &mut moments);
    assert!(killed > 0, "it was too fast to be killed");
    let (_, again) = server.different_and_again();
    let most = killed * (CONCURRENCY as u64 + 2);
    assert!(again <= most, "{again} answers were asked for again after {killed} kills");
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    for end in ["", ".job", ".report.json", ".failures.jsonl"] {
        assert!(read(&format!("whole{end}")) == read(&format!("killed{end}")), "{end} differs");
    }
    let rows = String::from_utf8(read("whole")).unwrap();
    assert_eq!(rows.lines().filter(|row| row.contains("\"harm_type\"")).count(), REQUESTS);
    let beside = ["", ".failures.jsonl", ".job", ".report.json"].map(|end| format!("killed{end}"));
    assert_eq!(names(folder, "killed"), beside);

    succeeds(command());
    assert_eq!(server.different_and_again(), (0, 0));
}

/// A server refuses a few prompts, and later one of them less.
fn failed_items_survive_being_killed() {
    let folder = folder();
    let folder = folder.path();
    let server = Server::counting();
    let refused = ["question 7\"", "question 150\"", "question 299\""];
    server.refuse(&refused);
    let mut moments = Moments(11);
    succeeds(job(folder, "revise", "whole", &server, None));
    let (different, _) = server.different_and_again();
    assert_eq!(different, (ITEMS as u64 - 3) * 5, "a record lacks, or a refused one was made");
    server.take(Duration::from_millis(2));
    let command = || job(folder, "revise", "killed", &server, None);
    disturbed(&command, Duration::from_millis(600), &mut moments);
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    let same = || {
        for end in ["", ".failures.jsonl", ".report.json"] {
            assert!(read(&format!("whole{end}")) == read(&format!("killed{end}")), "{end} differs");
        }
    };
    same();
    let failures = String::from_utf8(read("whole.failures.jsonl")).unwrap();
    assert_eq!(failures.lines().count(), 3);
    assert!(failures.contains("\"index\":150") && failures.contains("too long"), "{failures}");

    // What has failed is asked for again when it is said, and nothing else.
    server.refuse(&refused[..1]);
    server.different_and_again();
    let again = |out: &str| {
        let mut command = job(folder, "revise", out, &server, None);
        command.env("RETRY_FAILED", "1");
        command
    };
    succeeds(again("whole"));
    assert_eq!(server.different_and_again().0, 2 * 5);
    let rows = String::from_utf8(read("whole")).unwrap();
    assert_eq!(rows.lines().count(), ITEMS - 1);
    assert!(rows.lines().nth(149).unwrap().contains("question 150\""), "out of its place");
    disturbed(&|| again("killed"), Duration::from_millis(40), &mut moments);
    same();
    assert_eq!(String::from_utf8(read("whole.failures.jsonl")).unwrap().lines().count(), 1);
    server.refuse(&[]);
    succeeds(again("whole"));
    assert!(!folder.join("whole.failures.jsonl").exists());
    succeeds(job(folder, "revise", "undisturbed", &server, None));
    assert!(read("whole") == read("undisturbed"), "a record made later is another");
}

fn shards_that_are_killed_merge_to_the_whole() {
    let folder = folder();
    let folder = folder.path();
    let server = Server::counting();
    let mut moments = Moments(7);
    for what in ["revise", "label"] {
        succeeds(job(folder, what, "whole", &server, None));
        server.take(Duration::from_millis(2));
        let parts: Vec<PathBuf> = (1..=3)
            .map(|index| {
                let (out, shard) = (format!("part{index}"), format!("{index}/3"));
                let command = || job(folder, what, &out, &server, Some(&shard));
                disturbed(&command, Duration::from_millis(300), &mut moments);
                folder.join(out)
            })
            .collect();
        // In any order.
        let mixed = [parts[2].clone(), parts[0].clone(), parts[1].clone()];
        let merged = merge(&mixed, &folder.join("merged")).unwrap();
        assert_eq!((merged.report.records, merged.parts), (ITEMS as u64, 3));
        for name in ["", ".job", ".report.json"] {
            let read = |start: &str| fs::read(folder.join(format!("{start}{name}"))).unwrap();
            assert!(read("whole") == read("merged"), "{what}{name} differs");
        }
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.path().extension().is_none_or(|extension| extension != "jsonl") {
                fs::remove_file(entry.path()).unwrap();
            }
        }
    }
}

/// A limit on the size of files stands in for a full disk: a write comes through in part, the next fails.
fn a_full_disk_loses_nothing() {
    if !cfg!(unix) {
        return;
    }
    let folder = folder();
    let folder = folder.path();
    let server = Server::counting();
    succeeds(job(folder, "revise", "whole", &server, None));
    server.different_and_again();
    let limited = |blocks: u32| {
        let victim = job(folder, "revise", "full", &server, None);
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\""));
        command.arg(victim.get_program()).args(victim.get_args()).stdout(Stdio::null());
        command
    };
    for blocks in [200, 400, 800] {
        let message = fails(limited(blocks));
        assert!(message.contains("cannot write") && message.contains("same command"), "{message}");
        let part = fs::read(folder.join("full.part")).unwrap();
        assert!(part.is_empty() || part.ends_with(b"\n"), "half a line is left");
    }
    succeeds(job(folder, "revise", "full", &server, None));
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    assert!(read("whole") == read("full"));
    let (different, _) = server.different_and_again();
    assert_eq!(different, ITEMS as u64 * 5);
}

fn a_job_belongs_to_one_process() {
    let folder = folder();
    let folder = folder.path();
    let server = Server::start();
    server.take(Duration::from_millis(50));
    let mut first =
        job(folder, "revise", "out", &server, None).stderr(Stdio::null()).spawn().unwrap();
    while server.answers() == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let message = fails(job(folder, "revise", "out", &server, None));
    assert!(message.contains("in use by another process"), "{message}");
    first.kill().unwrap();
    first.wait().unwrap();
}
