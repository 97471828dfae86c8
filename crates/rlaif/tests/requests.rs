//! `rlaif requests` against a server, from the command line.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../openai/tests/server/instant.rs"]
mod instant;

use instant::Instant as Server;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

fn rlaif(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rlaif"));
    command.current_dir(folder).args(arguments).stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[track_caller]
fn ends(folder: &Path, arguments: &[&str], code: i32) -> Output {
    let output = rlaif(folder, arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
    output
}

/// A folder with thirty seeds.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let rows: Vec<String> = (0..30).map(|n| format!("how would one ask {n}\n")).collect();
    fs::write(folder.path().join("seeds.csv"), format!("question\n{}", rows.concat())).unwrap();
    folder
}

#[test]
fn requests_come_from_a_few_and_survive_a_kill() {
    let folder = folder();
    let folder = folder.path();
    let server = Server::start();
    let url = server.url();
    let with = |out: &'static str, more: &[&'static str]| {
        let all = ["requests", "seeds.csv", out, "--model", &url, "--columns", "prompt=question"];
        all.into_iter().chain(more.iter().copied()).map(str::to_owned).collect::<Vec<_>>()
    };
    let says = |arguments: Vec<String>| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = ends(folder, &arguments, 0);
        (text(&output.stdout), text(&output.stderr))
    };
    let tags = ["--count", "120", "--set", "red_team.harm_types=[\"theft\", \"violence\"]"];
    let (said, shown) = says(with("whole", &tags));
    for part in ["120 records in whole", "as many as asked for, after", "on 30 seeds", "novelty"] {
        assert!(said.contains(part), "`{part}` is missing in: {said}");
    }
    assert!(shown.contains("requests") && shown.contains("tags"), "{shown}");
    assert!(shown.contains("calls_per_second"), "{shown}");

    server.take(Duration::from_millis(5));
    let slow = with("killed", &[&tags[..], &["--set", "server.concurrency=2"]].concat());
    let before = server.answers();
    let arguments: Vec<&str> = slow.iter().map(String::as_str).collect();
    let mut child =
        rlaif(folder, &arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while server.answers() < before + 20 {
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    server.take(Duration::ZERO);
    says(slow);
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    assert!(read("whole") == read("killed"));
    let report: Value = serde_json::from_str(&read("killed.report.json")).unwrap();
    let summary = &report["figures"]["requests"];
    assert_eq!((&summary["ended"], &report["records"]), (&"count".into(), &120.into()));
    assert!(summary["generation"]["validity"].as_f64().unwrap() > 0.5);
    let first: Value = serde_json::from_str(read("whole").lines().next().unwrap()).unwrap();
    assert!(first["prompt"][0]["content"].as_str().unwrap().starts_with("Do "), "{first}");
    assert!(first["tag"]["probability"].as_f64().unwrap() >= 0.5, "{first}");

    // A job that is finished asks nothing.
    let asked = server.answers();
    let (again, _) = says(with("whole", &tags));
    assert!(again.contains("120 of them were there before"), "{again}");
    assert_eq!(server.answers(), asked);

    let (said, _) = says(with("few", &["--count", "120", "--max-calls", "2"]));
    assert!(said.contains("fewer than the 120 asked for") && said.contains("2 calls"), "{said}");
    let (said, _) = says(with("as_many", &["--count", "9", "--set", "red_team.min_words=99"]));
    assert!(said.contains("0 records") && said.contains("the 9 calls"), "{said}");
}

#[test]
fn what_cannot_be_used_is_refused_before_a_file_is_made() {
    let folder = folder();
    let folder = folder.path();
    let server = Server::start();
    let url = server.url();
    let job = ["requests", "seeds.csv", "out", "--model", &url, "--columns", "prompt=question"];
    for (more, expected) in [
        (&["--count", "9", "--shard", "1/2"][..], "depends on all those before it"),
        (&["--count", "9", "--retry-failed"][..], "`retry_failed` is true"),
        (&["--count", "9", "--set", "red_team.shots=31"][..], "30 seed requests are too few"),
        (&["--count", "9", "--set", "red_team.shots=0"][..], "[red_team] `shots` is 0"),
        (&["--count", "0"][..], "--count"),
        (&[][..], "--count"),
    ] {
        let output = ends(folder, &[&job[..], more].concat(), 2);
        let errors = text(&output.stderr);
        assert!(errors.contains(expected), "`{expected}` is missing in: {errors}");
    }
    assert_eq!(fs::read_dir(folder).unwrap().count(), 1, "a refused job has left a file");
}
