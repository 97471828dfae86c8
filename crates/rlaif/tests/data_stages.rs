//! `revise`, `label` and `merge` against a server, from the command line.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../openai/tests/server/instant.rs"]
mod instant;

use instant::Instant as Server;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const PROMPTS: usize = 40;

fn rlaif(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rlaif"));
    command.current_dir(folder).args(arguments).stdin(Stdio::null());
    command
}

/// What was said on both outputs.
#[track_caller]
fn says(folder: &Path, arguments: &[&str]) -> (String, String) {
    let output = rlaif(folder, arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (said, errors) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(0), "{errors}");
    (said, errors)
}

#[track_caller]
fn refused(folder: &Path, arguments: &[&str], expected: &[&str]) {
    let output = rlaif(folder, arguments).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    for part in expected {
        assert!(errors.contains(part), "`{part}` is missing in: {errors}");
    }
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let prompts: Vec<String> = (0..PROMPTS).map(|n| format!("\"question {n}\"\n")).collect();
    fs::write(folder.path().join("prompts.jsonl"), prompts.concat()).unwrap();
    let pairs: Vec<String> = (0..PROMPTS)
        .map(|n| {
            format!("{{\"prompt\": \"question {n}\", \"chosen\": \"a\", \"rejected\": \"b\"}}\n")
        })
        .collect();
    fs::write(folder.path().join("pairs.jsonl"), pairs.concat()).unwrap();
    folder
}

#[test]
fn shards_and_a_killed_job_are_the_same_as_one() {
    let folder = folder();
    let folder = folder.path();
    let server = Server::start();
    let url = server.url();
    let revise = ["revise", "--prompts", "prompts.jsonl", "--model", &url];
    let pairs = ["reply-pairs", "--prompts", "prompts.jsonl", "--model", &url];
    let label = ["label", "--pairs", "pairs.jsonl", "--judge", &url, "--judge-model", "parrot"];
    for stage in [&revise[..], &pairs[..], &label[..]] {
        let with = |more: &[&'static str]| [stage, more].concat();
        let (said, shown) = says(folder, &with(&["--out", "whole"]));
        assert!(said.contains("40 records in whole"), "{said}");
        // No bar, but lines: standard error is no terminal.
        assert!(shown.contains(": 40 steps") && shown.contains("calls_per_second"), "{shown}");
        // A choice draws no tokens, but the server tells those of its prompt.
        let tokens = if stage[0] == "label" { "prompt_tokens" } else { ", tokens" };
        assert!(shown.contains(tokens) && shown.contains("tokens_per_second"), "{shown}");

        let figure = match stage[0] {
            "revise" => "unchanged reply",
            "label" => "agreement with",
            _ => "drawn again",
        };
        assert!(said.contains(figure), "{said}");

        says(folder, &with(&["--out", "part1", "--shard", "1/2"]));
        says(folder, &with(&["--out", "part2", "--shard", "2/2", "--set", "flow.chunk=3"]));
        let (joined, _) = says(folder, &["merge", "part1", "part2", "--out", "merged"]);
        let (first, figures) = joined.split_once('\n').unwrap();
        assert_eq!(first, "40 records of 2 parts in merged");
        assert!(said.ends_with(figures), "{figures} is not the end of {said}");

        server.take(Duration::from_millis(5));
        let slow = with(&["--out", "killed", "--set", "server.concurrency=2"]);
        let before = server.answers();
        let mut child =
            rlaif(folder, &slow).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while server.answers() < before + 20 {
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        server.take(Duration::ZERO);
        says(folder, &slow);

        let read = |name: &str| fs::read(folder.join(name)).unwrap();
        assert!(read("whole") == read("merged") && read("whole") == read("killed"), "{}", stage[0]);
        let text = String::from_utf8(read("whole")).unwrap();
        let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(first["prompt"][0]["content"], "question 0");

        refused(folder, &with(&["--out", "whole", "--seed", "2"]), &["`seed` is 1 there"]);
        refused(folder, &["merge", "part1", "--out", "x"], &["one is not given: 2/2"]);
        for name in ["whole", "merged", "killed", "part1", "part2"] {
            fs::remove_file(folder.join(name)).unwrap();
            fs::remove_file(folder.join(format!("{name}.job"))).unwrap();
            fs::remove_file(folder.join(format!("{name}.report.json"))).unwrap();
        }
        assert_eq!(fs::read_dir(folder).unwrap().count(), 2, "something is left beside the input");
    }
}

#[test]
fn what_cannot_be_used_is_refused_before_a_file_is_made() {
    let folder = folder();
    let folder = folder.path();
    let server = Server::start();
    let url = server.url();
    let revise = ["revise", "--prompts", "prompts.jsonl", "--out", "out", "--model"];
    let with = |model: &'static str, more: &[&'static str]| {
        let mut all: Vec<&str> = revise.to_vec();
        all.push(if model.is_empty() { &url } else { model });
        all.extend(more);
        all.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    for (arguments, expected) in [
        (with("", &["--model-name", "owl"]), "parrot"),
        (with("", &["--set", "flow.chunk=0"]), "[flow] `chunk` is 0"),
        (with("", &["--set", "sead=1"]), "sead"),
        (with("", &["--max-bad", "1"]), "`rejected_share` is 1"),
        (with("", &["--max-failed", "-1"]), "`failed_share` is -1"),
        (with("", &["--columns", "prompt"]), "--columns"),
        (with("", &["--columns", "promt=q"]), "promt"),
        (with("", &["--config", "none.toml"]), "none.toml"),
        (with("", &["--shard", "3/2"]), "3/2"),
        (with("no/such/folder", &[]), "no/such/folder"),
        (with("no/such/folder", &["--model-name", "m"]), "no server"),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        refused(folder, &arguments, &[expected]);
    }
    fs::write(folder.join("prompts.jsonl"), "\"good\"\n3\n").unwrap();
    refused(folder, &[&revise[..], &[url.as_str()]].concat(), &["prompts.jsonl, line 2"]);
    assert_eq!(fs::read_dir(folder).unwrap().count(), 2, "a refused job has left a file");
}

#[test]
fn the_input_is_read_before_a_server_is_waited_for() {
    let folder = folder();
    let folder = folder.path();
    // Nobody listens there, and the first pause is longer than the test.
    let waits =
        ["--set", "server.backoff_seconds=600", "--set", "server.backoff_limit_seconds=600"];
    let dead = ["--model", "http://127.0.0.1:9/v1", "--out", "out"];
    let start = std::time::Instant::now();
    for (input, expected) in [("none.jsonl", "none.jsonl"), ("bad.jsonl", "bad.jsonl, line 2")] {
        fs::write(folder.join("bad.jsonl"), "\"good\"\n3\n").unwrap();
        refused(
            folder,
            &[&["revise", "--prompts", input], &dead[..], &waits].concat(),
            &[expected],
        );
    }
    assert!(start.elapsed() < Duration::from_mins(1), "a server was waited for");

    // One that does not answer is told of at once, and again at the end.
    let quick = ["--set", "server.attempts=2", "--set", "server.backoff_seconds=0.01"];
    let arguments = [&["revise", "--prompts", "prompts.jsonl"], &dead[..], &quick].concat();
    let expected =
        ["warning: http://127.0.0.1:9/v1 does not answer", "asked once more", "after 2 attempts"];
    refused(folder, &arguments, &expected);
}

#[test]
fn bad_rows_and_refused_items_stop_nothing_below_their_limits() {
    let folder = folder();
    let folder = folder.path();
    let server = Server::start();
    let url = server.url();
    let mut rows: Vec<String> = (0..PROMPTS).map(|n| format!("question {n} of 40\n")).collect();
    rows.insert(0, "question\n".to_owned());
    rows.push("\"\"\n".to_owned());
    fs::write(folder.join("prompts.csv"), rows.concat()).unwrap();
    server.refuse(&["question 3 of", "question 30 of"]);
    let revise = ["revise", "--prompts", "prompts.csv", "--model", &url, "--columns"];
    let with = |more: &[&'static str]| [&revise[..], &["prompt=question"], more].concat();
    refused(folder, &with(&["--out", "out"]), &["prompts.csv, line 42", "`question` is missing"]);
    refused(folder, &with(&["--out", "out", "--max-bad", "0.01"]), &["1 of 41 rows are bad"]);
    let bad = ["--out", "out", "--max-bad", "0.05"];
    let errors = ["of 40 items have failed", "too long", "`failed_share`"];
    refused(folder, &with(&[&bad[..], &["--max-failed", "0"]].concat()), &errors);
    let (said, _) = says(folder, &with(&bad));
    let (_, shown) = says(folder, &with(&["--out", "fresh", "--max-bad", "0.05"]));
    let last = shown.lines().find(|line| line.contains("done in")).unwrap();
    let shows = ["failed 2.0000", "calls_per_second", "tokens ", "tokens_per_second"];
    assert!(shows.iter().all(|part| last.contains(part)), "{last}");
    for part in [
        "38 records in out",
        "1 bad rows are in out.rejects.jsonl",
        "2 items failed and are in out.failures.jsonl",
    ] {
        assert!(said.contains(part), "`{part}` is missing in: {said}");
    }
    let report = fs::read_to_string(folder.join("out.report.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["items"], &report["failed"]), (&40.into(), &2.into()));
    let before = server.answers();
    let (again, _) = says(folder, &with(&bad));
    assert!(again.contains("38 records") && again.contains("2 items failed"), "{again}");
    assert_eq!(server.answers(), before);

    server.refuse(&[]);
    let (said, _) = says(folder, &with(&[&bad[..], &["--retry-failed"]].concat()));
    assert!(said.contains("40 records in out, 38 of them were there before"), "{said}");
    assert!(!folder.join("out.failures.jsonl").exists());
}

#[test]
fn labels_are_compared_with_what_their_input_knows() {
    let folder = folder();
    let folder = folder.path();
    let server = Server::start();
    let url = server.url();
    let label = ["label", "--pairs", "pairs.jsonl", "--judge", &url, "--judge-model", "parrot"];
    let (said, _) = says(folder, &[&label[..], &["--out", "labels"]].concat());
    assert!(said.contains("predicted"), "{said}");
    let calibration = |labels: &str, more: &[&str]| -> Value {
        let asked = ["eval", "calibration", "--json", "--labels", labels];
        serde_json::from_str(&says(folder, &[&asked[..], more].concat()).0).unwrap()
    };
    let report = calibration("labels.report.json", &[]);
    assert_eq!(report["n"].as_u64(), Some(PROMPTS as u64));
    let mut compared = calibration("labels", &["--truth", "pairs.jsonl"]);
    assert_eq!(compared["unknown"].as_u64(), Some(0));
    compared.as_object_mut().unwrap().remove("unknown");
    assert_eq!(compared, report);

    // Of half of the pairs nothing is known, under names of their own.
    let pair =
        |n| format!("{{\"q\": \"question {n}\", \"a\": \"a\", \"b\": \"b\", \"p\": 0.25}}\n");
    let pairs: Vec<String> = (0..PROMPTS / 2).map(pair).collect();
    fs::write(folder.join("half.jsonl"), pairs.concat() + "{\"q\": 1}\n").unwrap();
    let half = ["--truth", "half.jsonl", "--columns", "prompt=q", "reply_a=a", "reply_b=b"];
    let half = [&half[..], &["probability=p"]].concat();
    let found = calibration("labels", &half);
    let count = |key: &str| found[key].as_u64();
    assert_eq!((count("n"), count("unknown")), (Some(20), Some(20)));
    let asked = [&["eval", "calibration", "--labels", "labels"][..], &half].concat();
    let (said, errors) = says(folder, &asked);
    assert!(said.contains("20 labels are of pairs of which nothing is known"), "{said}");
    assert!(errors.contains("1 bad rows are left out"), "{errors}");

    let one = [&label[..], &["--out", "one", "--set", "ai_feedback.both_orders=false"]].concat();
    says(folder, &one);
    let asked = ["eval", "calibration", "--labels", "one", "--truth", "pairs.jsonl"];
    refused(folder, &asked, &["one:", "40 labels are not compared", "both orders"]);
    let asked = ["eval", "calibration", "--labels", "one.report.json"];
    refused(folder, &asked, &["one.report.json:", "both orders"]);
    refused(folder, &asked[..3], &["--labels"]);
    let asked = ["eval", "calibration", "--labels", "labels"];
    refused(folder, &asked, &["labels, line 1", "`--truth`", "OUT.report.json"]);
}

#[test]
fn a_shard_is_compared_as_it_is_or_said_to_be_one() {
    let folder = folder();
    let folder = folder.path();
    let server = Server::start();
    let url = server.url();
    let label = ["label", "--pairs", "pairs.jsonl", "--judge", &url, "--judge-model", "parrot"];
    let n = |labels: &str| -> u64 {
        let asked = ["eval", "calibration", "--json", "--labels", labels];
        let (said, _) = says(folder, &[&asked[..], &["--truth", "pairs.jsonl"]].concat());
        serde_json::from_str::<Value>(&said).unwrap()["n"].as_u64().unwrap()
    };
    let compared = ["1/2", "2/2"].map(|shard| {
        let out = &shard[..1];
        says(folder, &[&label[..], &["--out", out, "--shard", shard]].concat());
        n(out)
    });
    assert!(compared.iter().all(|n| *n > 0), "{compared:?}");
    assert_eq!(compared.iter().sum::<u64>(), PROMPTS as u64);
    let convert = ["convert", "1", "rows.jsonl", "--as", "preference"];
    refused(folder, &convert, &["1, line 1", "one shard of a job", "`rlaif merge`"]);
    let asked = ["eval", "calibration", "--labels", "1"];
    refused(folder, &asked, &["1, line 1", "`--truth`"]);
}
