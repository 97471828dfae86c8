//! Items on which a server breaks down, while it answers all others.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../openai/tests/server/instant.rs"]
mod instant;

use constitution::Constitution;
use critique_revision::CritiqueRevisionConfig;
use instant::Instant as Server;
use jobs::{Done, Error, Flow, Job, Served};
use openai::{Client, Config};
use serde_json::Value;
use std::fs;
use training::Silent;

const ITEMS: usize = 40;
const ATTEMPTS: u32 = 3;

/// A folder with prompts, and a job on them.
fn case() -> (tempfile::TempDir, Job) {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("prompts.jsonl");
    let prompts: Vec<String> = (0..ITEMS).map(|n| format!("\"question {n}x\"\n")).collect();
    fs::write(&input, prompts.concat()).unwrap();
    let flow = Flow { chunk: 8, in_flight: 2 };
    let job = Job { flow, ..Job::new(input, folder.path().join("out")) };
    (folder, job)
}

fn revise(job: &Job, server: &Server) -> Result<Done, Error> {
    let config = Config {
        attempts: ATTEMPTS,
        backoff_seconds: 0.001,
        circuit_failures: 4,
        ..Config::default()
    };
    let client = Client::with_config(&server.url(), "parrot", config.clone()).unwrap();
    let revision = CritiqueRevisionConfig { revisions: 1, ..Default::default() };
    let prepared = jobs::revise(job.clone(), Constitution::general(), revision)?;
    prepared.run(&Served::new(client, &config), &mut Silent)
}

fn server() -> Server {
    let server = Server::start();
    server.break_down("question 3x", "500 Internal Server Error", r#"{"error":"assertion"}"#);
    server.break_down("question 39x", "200 OK", r#"{"choices":[]}"#);
    server
}

#[test]
fn is_counted_as_failed_and_stops_nothing() {
    let (_folder, job) = case();
    let server = server();
    let done = revise(&job, &server).unwrap();
    assert_eq!((done.report.records, done.report.failed), (ITEMS as u64 - 2, 2));
    let failures: Vec<Value> = dataset::read_jsonl(job.failures()).unwrap();
    let said = |at: usize| failures[at]["error"].as_str().unwrap();
    assert_eq!((&failures[0]["index"], &failures[1]["index"]), (&3.into(), &39.into()));
    assert!(said(0).contains("500") && said(0).contains("3 attempts"), "{}", said(0));
    assert!(said(1).contains("choices") && said(1).contains("answers other"), "{}", said(1));
    // Of the items that are worked on together none makes it be sent anew.
    assert_eq!(server.breakdowns(), [u64::from(ATTEMPTS); 2]);
}

#[test]
fn does_not_keep_a_job_from_its_end_though_nothing_else_is_left() {
    let (_folder, job) = case();
    let server = server();
    let strict = Job { failed_share: 0.0, ..job.clone() };
    let error = revise(&strict, &server).unwrap_err().to_string();
    assert!(error.contains("`failed_share`"), "{error}");
    revise(&job, &server).unwrap();
    let retry = Job { retry_failed: true, ..job };
    let done = revise(&retry, &server).unwrap();
    assert_eq!((done.report.failed, done.before), (2, ITEMS as u64 - 2));
}

#[test]
fn a_server_that_fails_for_all_stops_the_job() {
    let (folder, job) = case();
    let server = Server::start();
    server.break_down("messages", "500 Internal Server Error", "{}");
    let error = revise(&job, &server).unwrap_err().to_string();
    assert!(error.contains("500") && error.contains("0 of 40 records"), "{error}");
    assert!(!folder.path().join("out.failures.jsonl").exists());
}
