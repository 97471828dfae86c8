//! Labels by a judge on a server that goes away and comes back elsewhere.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../openai/tests/server/mod.rs"]
mod server;

use server::{Fault, Server};
use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

const KEY: &str = "sk-never-to-be-seen";

/// Every stage up to the labels does its real work, on a handful of prompts.
const SMALL: [&str; 11] = [
    "prompts.red_team_count=4",
    "prompts.helpful_count=4",
    "prompts.held_out=4",
    "critique_revision.revisions=1",
    "sft.epochs=1",
    "red_team.requests=2",
    "ai_feedback.probe=0",
    "judge_server.concurrency=2",
    "judge_server.circuit_failures=4",
    "judge_server.backoff_seconds=0.001",
    "judge_server.backoff_limit_seconds=0.01",
];

/// Runs a command and gives its exit code and what it wrote to standard error.
fn rlaif(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_rlaif"))
        .current_dir(folder)
        .args(arguments)
        .env("OPENAI_API_KEY", KEY)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!message.contains(KEY) && !message.contains("panicked"), "{message}");
    (output.status.code(), message)
}

/// The questions that were asked, as they came in; not those that see whether the server continues.
fn questions(server: &Server) -> Vec<String> {
    let asked = server.requests().into_iter().filter(|request| request.body["logprobs"] == true);
    asked.map(|request| request.body.to_string()).collect()
}

fn files(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            found.push((path.display().to_string(), text));
        }
    }
    found
}

#[test]
fn labels_outlive_their_server() {
    let folder = tempfile::tempdir().unwrap();
    let stage = |stage: &str, arguments: &[&str]| {
        let mut all = vec![stage, "--name", "served"];
        all.extend_from_slice(arguments);
        rlaif(folder.path(), &all)
    };
    let first = Server::start();
    let (code, message) = {
        let url = first.url();
        let mut arguments = vec!["--judge", &url];
        for setting in SMALL {
            arguments.extend(["--set", setting]);
        }
        stage("critique-revision", &arguments)
    };
    assert_eq!(code, Some(0), "{message}");
    for name in ["sft", "red-team"] {
        let (code, message) = stage(name, &[]);
        assert_eq!(code, Some(0), "{message}");
    }
    assert!(questions(&first).is_empty());

    // A refusal that repeats the key is shown without it.
    let refusal = format!("{{\"error\": {{\"message\": \"no such key: {KEY}\"}}}}");
    first.faults([Fault::Status(401, "", refusal)]);
    let (code, message) = stage("ai-feedback", &[]);
    assert_eq!(code, Some(2), "{message}");
    assert!(message.contains("401") && message.contains("[key]"), "{message}");

    // Two requests see whether the server continues; three questions are answered.
    first.go_away_after(2 + 3);
    let (code, message) = stage("ai-feedback", &[]);
    assert_eq!(code, Some(2), "{message}");
    for word in ["counts as gone", "3 of ", "judge.journal"] {
        assert!(message.contains(word), "`{word}` is missing in: {message}");
    }
    let answered: HashSet<String> = questions(&first).into_iter().take(3).collect();
    drop(first);
    let (code, message) = stage("ai-feedback", &[]);
    assert_eq!(code, Some(2), "{message}");
    assert!(message.contains("connection failed"), "{message}");

    // It comes back elsewhere, and is asked only for the rest.
    let second = Server::start();
    let (code, message) = stage("ai-feedback", &["--judge", &second.url()]);
    assert_eq!(code, Some(0), "{message}");
    let rest = questions(&second);
    assert!(!rest.is_empty() && rest.iter().all(|question| !answered.contains(question)));

    let run = folder.path().join("runs/served");
    let recorded = fs::read_to_string(run.join("run.toml")).unwrap();
    assert!(recorded.contains(&second.url()) && recorded.contains("judge_model = \"parrot\""));
    let labels = fs::read_to_string(run.join("ai_feedback/labels.jsonl")).unwrap();
    // Every label has two orders, every order is one question; the judge leans to (A), whatever it is.
    assert_eq!(labels.lines().count() * 2, answered.len() + rest.len());
    assert!(labels.lines().all(|line| line.contains("\"probability_a\":0.5")), "{labels}");
    for (path, text) in files(&run) {
        assert!(!text.contains(KEY), "the key is in {path}");
    }
}

#[test]
fn a_served_judge_is_looked_at_before_a_run_begins() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    let url = server.url();
    for (arguments, expected) in [
        (vec!["--judge", &url, "--judge-model", "owl"], "parrot"),
        (vec!["--judge", "http://me:secret@127.0.0.1/v1"], "user name or a password"),
        (vec!["--judge", &url, "--set", "judge_server.key_variable=sk-secret"], "key_variable"),
        (vec!["--judge", &url, "--set", "judge_server.top_logprobs=0"], "top_logprobs"),
        (vec!["--judge-model", "parrot"], "judge_model"),
    ] {
        let (code, message) = rlaif(folder.path(), &[&["run"], arguments.as_slice()].concat());
        assert_eq!(code, Some(2), "{message}");
        assert!(message.contains(expected) && !message.contains("secret"), "{message}");
    }
    drop(server);
    let (code, message) =
        rlaif(folder.path(), &["run", "--judge", &url, "--set", "judge_server.attempts=1"]);
    assert_eq!(code, Some(2), "{message}");
    assert!(message.contains("connection failed"), "{message}");
    assert!(!folder.path().join("runs").exists(), "a refused run has left a folder");
}
