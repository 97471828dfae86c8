//! New requests: the same whatever is answered first, and however often the job is stopped.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use dialogue::Dialogue;
use jobs::{
    Done, Ended, Error, Figures, Flow, Job, Lent, Model, NewRequest, RequestSummary, requests,
};
use language_model::{
    Choose, Completion, Error as ModelError, Generate, Meter, Prompt, Sampling, StopReason,
};
use red_team::{GenerationConfig, generate_requests, tag_by_harm};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use training::{Observe, Silent};

/// Continues a list by two requests, the second of which comes again and again; what it says is decided by the stream.
struct Writer {
    /// Whether later calls are often answered first.
    is_uneven: bool,
    /// It refuses lists whose stream is a multiple of this.
    refuses: u64,
    /// It does not tell the kind of harm of requests that hold this.
    untold: &'static str,
    /// Calls after which it breaks down.
    left: AtomicUsize,
}

impl Default for Writer {
    fn default() -> Self {
        let left = AtomicUsize::new(usize::MAX);
        Self { is_uneven: false, refuses: u64::MAX, untold: "nothing", left }
    }
}

impl Writer {
    fn refusing(refuses: u64) -> Self {
        Self { refuses, ..Self::default() }
    }

    fn answer(&self) -> Result<(), ModelError> {
        let left = |left: usize| left.checked_sub(1);
        match self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left) {
            Ok(_) => Ok(()),
            Err(_) => Err(ModelError::Model("the pen is dry".into())),
        }
    }
}

impl Generate for Writer {
    fn generate(&self, prompts: &[Prompt], _: &Sampling) -> Result<Vec<Completion>, ModelError> {
        let write = |Prompt { seed, .. }: &Prompt| {
            if seed.is_multiple_of(self.refuses) {
                return Err(ModelError::Refused("not this list".into()));
            }
            self.answer()?;
            if self.is_uneven {
                std::thread::sleep(Duration::from_millis(seed % 7));
            }
            let text =
                format!("5. Is it {seed:x} or {:x}?\n6. Where is number {}?", !seed, seed % 9);
            Ok(Completion { text, tokens: 20, stopped: StopReason::Stop })
        };
        prompts.iter().map(write).collect()
    }
}

impl Choose for Writer {
    fn choose(&self, prompts: &[Dialogue], _: &[&str]) -> Result<Vec<Vec<f64>>, ModelError> {
        let weigh = |prompt: &Dialogue| {
            let text = prompt.last_request().unwrap();
            if text.contains(self.untold) {
                return Err(ModelError::Refused("who can tell".into()));
            }
            self.answer()?;
            Ok(if text.contains("Where") { vec![0.25, 0.75] } else { vec![0.625, 0.375] })
        };
        prompts.iter().map(weigh).collect()
    }
}

impl Model for Writer {
    fn about(&self) -> Value {
        json!("writer")
    }

    fn keep_answers(&self, _: &Path) -> Result<(), Error> {
        Ok(())
    }

    fn lend<'a>(&'a self, meter: &'a Meter) -> Box<dyn Lent + 'a> {
        Box::new(Hand(self, meter))
    }
}

struct Hand<'a>(&'a Writer, &'a Meter);

impl Lent for Hand<'_> {
    fn settle(self: Box<Self>) -> Result<(), Error> {
        Ok(())
    }
}

impl Generate for Hand<'_> {
    fn generate(&self, prompts: &[Prompt], how: &Sampling) -> Result<Vec<Completion>, ModelError> {
        self.1.watch(self.0).generate(prompts, how)
    }
}

impl Choose for Hand<'_> {
    fn choose(&self, prompts: &[Dialogue], of: &[&str]) -> Result<Vec<Vec<f64>>, ModelError> {
        self.1.watch(self.0).choose(prompts, of)
    }
}

fn seeds() -> Vec<String> {
    (0..12).map(|number| format!("seed number {number}?")).collect()
}

fn config(requests: usize) -> GenerationConfig {
    GenerationConfig { shots: 4, requests, ..Default::default() }
}

struct Case {
    folder: tempfile::TempDir,
}

impl Case {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rows: Vec<String> = seeds().iter().map(|seed| format!("{}\n", json!(seed))).collect();
        fs::write(folder.path().join("seeds.jsonl"), rows.concat()).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn job(&self, out: &str) -> Job {
        let flow = Flow { chunk: 3, in_flight: 8 };
        Job { flow, ..Job::new(self.path("seeds.jsonl"), self.path(out)) }
    }

    /// One call at a time, so that all but the last are kept.
    fn slow_job(&self, out: &str) -> Job {
        Job { flow: Flow { chunk: 1, in_flight: 1 }, ..self.job(out) }
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn records(&self, name: &str) -> Vec<NewRequest> {
        dataset::read_jsonl(self.path(name)).unwrap()
    }
}

fn run(job: Job, config: GenerationConfig, writer: &Writer) -> Result<Done, Error> {
    requests(job, config)?.run(writer, &mut Silent)
}

#[track_caller]
fn summary(done: &Done) -> &RequestSummary {
    match &done.report.figures {
        Figures::Requests(summary) => summary,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_answered_first_does_not_matter() {
    let case = Case::new();
    let expected = generate_requests(&Writer::default(), &seeds(), &config(40), 1).unwrap();
    assert!(expected.requests.len() == 40 && expected.duplicates > 0);

    let uneven = Writer { is_uneven: true, ..Writer::default() };
    let done = run(case.job("uneven"), config(40), &uneven).unwrap();
    let found: Vec<String> =
        case.records("uneven").iter().map(|row| row.prompt.messages[0].content.clone()).collect();
    assert_eq!(found, expected.requests);
    let told = summary(&done);
    assert_eq!((told.ended, told.wanted, told.seeds), (Ended::Count, 40, 12));
    assert_eq!(told.generation, expected.figures());
    assert_eq!((done.report.items, done.report.records), (expected.drawn as u64, 40));

    let flow = Flow { chunk: 64, in_flight: 1 };
    run(Job { flow, ..case.job("even") }, config(40), &Writer::default()).unwrap();
    for end in ["", ".report.json", ".job"] {
        assert_eq!(case.text(&format!("uneven{end}")), case.text(&format!("even{end}")));
    }
    assert!(!case.path("even.part").exists());
    // What it writes is what other jobs read.
    assert_eq!(dataset::read_prompts(case.path("even")).unwrap().dialogues.len(), 40);
}

#[test]
fn ends_after_the_last_call_and_says_so() {
    let case = Case::new();
    let few = GenerationConfig { max_calls: 3, batch: 2, ..config(40) };
    let done = run(case.job("out"), few.clone(), &Writer::default()).unwrap();
    assert_eq!((summary(&done).ended, done.report.items), (Ended::MaxCalls, 6));
    let expected = generate_requests(&Writer::default(), &seeds(), &few, 1).unwrap();
    assert_eq!(case.records("out").len(), expected.requests.len());
    assert_eq!(summary(&done).generation, expected.figures());

    // It is finished, and asks nothing. How many lists go together is not a setting that decides anything.
    let same = GenerationConfig { max_calls: 6, batch: 1, ..config(40) };
    let dry = || Writer { left: AtomicUsize::new(0), ..Writer::default() };
    let again = run(case.job("out"), same, &dry()).unwrap();
    assert_eq!((&again.report, again.before, again.calls), (&done.report, done.report.records, 0));
    let error = run(case.job("out"), config(40), &dry()).unwrap_err().to_string();
    assert!(error.contains("`settings.red_team.max_calls` is 6 there"), "{error}");
}

#[test]
fn goes_on_where_it_was_stopped() {
    let case = Case::new();
    let tagged = || GenerationConfig {
        harm_types: ["theft", "violence"].map(str::to_owned).to_vec(),
        ..config(40)
    };
    let whole = run(case.job("whole"), tagged(), &Writer::default()).unwrap();
    // There are about 30 lists to write and 40 requests to tag.
    let mut before = 0;
    for left in [0, 7, 20, 30] {
        let writer = Writer { left: AtomicUsize::new(left), ..Writer::default() };
        let error = run(case.slow_job("stopped"), tagged(), &writer).unwrap_err().to_string();
        assert!(error.contains("the pen is dry") && error.contains("same command"), "{error}");
        let part = fs::read(case.path("stopped.part")).unwrap();
        let lines = part.split(|&byte| byte == b'\n').count() - 1;
        assert_eq!(lines, before + left, "an answer is lost");
        before = lines;
        // A kill in the middle of a write leaves half a line.
        fs::write(case.path("stopped.part"), [&part[..], b"{\"list\":{\"ca"].concat()).unwrap();
    }
    let done = run(case.job("stopped"), tagged(), &Writer::default()).unwrap();
    assert_eq!(done.report, whole.report);
    for end in ["", ".report.json", ".job"] {
        assert_eq!(case.text(&format!("whole{end}")), case.text(&format!("stopped{end}")));
    }
}

/// Copies a file whenever a stage has ended.
struct Copying {
    from: PathBuf,
    to: PathBuf,
}

impl Observe for Copying {
    fn start(&mut self, _: &str, _: u64, _: u64) -> Result<(), training::Error> {
        Ok(())
    }

    fn record(&mut self, _: u64, _: &[(&str, f64)]) -> Result<(), training::Error> {
        Ok(())
    }

    fn finish(&mut self) -> Result<(), training::Error> {
        fs::copy(&self.from, &self.to).unwrap();
        Ok(())
    }
}

#[test]
fn a_report_that_was_removed_is_made_again_while_the_answers_are_there() {
    let case = Case::new();
    let mut copying = Copying { from: case.path("out.part"), to: case.path("answers") };
    let job = || Job { failed_share: 0.6, ..case.job("out") };
    let prepared = requests(job(), config(40)).unwrap();
    let done = prepared.run(&Writer::refusing(3), &mut copying).unwrap();
    assert!(done.report.failed > 0);
    let report = case.text("out.report.json");
    // As if the process had been killed before it removed them.
    fs::rename(case.path("answers"), case.path("out.part")).unwrap();
    fs::remove_file(case.path("out.report.json")).unwrap();
    let dry = Writer { left: AtomicUsize::new(0), ..Writer::default() };
    let again = run(job(), config(40), &dry).unwrap();
    assert_eq!((&again.report, again.before, again.calls), (&done.report, 40, 0));
    assert_eq!(case.text("out.report.json"), report);
    assert!(!case.path("out.part").exists());

    // The records alone do not say what was left out.
    fs::remove_file(case.path("out.report.json")).unwrap();
    let error = run(job(), config(40), &dry).unwrap_err().to_string();
    assert!(error.contains("out.report.json") && error.contains("begin anew"), "{error}");
    assert_eq!(case.records("out").len(), 40);
}

#[test]
fn a_finished_file_that_has_lost_requests_is_not_whole() {
    let case = Case::new();
    run(case.job("out"), config(40), &Writer::default()).unwrap();
    let text = case.text("out");
    let without_first = &text[text.find('\n').unwrap() + 1..];
    for (left, found) in [(without_first, 39), ("", 0), (&text[..text.len() - 9], 39)] {
        fs::write(case.path("out"), left).unwrap();
        let error = run(case.job("out"), config(40), &Writer::default()).unwrap_err().to_string();
        let expected = format!("out counts as finished with 40 records, but holds {found};");
        assert!(error.contains(&expected), "{error}");
    }
    fs::write(case.path("out"), text).unwrap();
    assert_eq!(run(case.job("out"), config(40), &Writer::default()).unwrap().calls, 0);
}

#[test]
fn lists_that_are_refused_are_kept_and_others_take_their_place() {
    let case = Case::new();
    let lenient = |out| Job { failed_share: 0.6, ..case.job(out) };
    let done = run(lenient("out"), config(40), &Writer::refusing(3)).unwrap();
    assert_eq!((done.report.records, summary(&done).ended), (40, Ended::Count));
    let failures: Vec<Value> = dataset::read_jsonl(case.path("out.failures.jsonl")).unwrap();
    assert_eq!((failures.len() as u64, done.report.failed > 0), (done.report.failed, true));
    assert_eq!(failures[0]["error"], "not this list");
    let list = failures[0]["prompt"][0]["content"].as_str().unwrap();
    assert!(list.starts_with("Continue this list of requests:\n1. seed number"), "{list}");
    let calls: Vec<usize> = case.records("out").iter().map(|row| row.call).collect();
    assert!(calls.is_sorted());
    let refused = failures.iter().map(|row| usize::try_from(row["index"].as_u64().unwrap()));
    assert!(refused.map(Result::unwrap).all(|call| !calls.contains(&call)));

    // What crosses the limit is not kept, so that it is asked for again.
    let strict = || Job { failed_share: 0.0, ..case.job("strict") };
    let error = run(strict(), config(40), &Writer::refusing(3)).unwrap_err().to_string();
    assert!(error.contains("calls have failed") && error.contains("not this list"), "{error}");
    let done = run(strict(), config(40), &Writer::default()).unwrap();
    assert_eq!((done.report.records, done.report.failed), (40, 0));

    let error = run(lenient("none"), config(40), &Writer::refusing(1)).unwrap_err().to_string();
    assert!(error.contains("calls have failed") && error.contains("0 of 40 records"), "{error}");
}

#[test]
fn requests_are_tagged_by_the_kind_of_harm() {
    let case = Case::new();
    let types = ["theft", "violence"].map(str::to_owned).to_vec();
    let tagged = GenerationConfig { harm_types: types.clone(), ..config(60) };
    let writer = Writer { untold: "number 4?", ..Writer::default() };
    let done = run(case.job("out"), tagged, &writer).unwrap();
    assert_eq!(summary(&done).untagged, 1);
    for NewRequest { id, prompt, tag, .. } in case.records("out") {
        assert_eq!(id, prompt.id());
        let text = prompt.messages[0].content.clone();
        let expected = tag_by_harm(&writer, &[text], &types).ok().map(|tags| tags[0].clone());
        assert_eq!(tag, expected);
    }
}

#[test]
fn what_cannot_be_used_is_named() {
    let case = Case::new();
    let message = |job: Job, config| requests(job, config).unwrap_err().to_string();
    let shard = Job { shard: "1/2".parse().ok(), ..case.job("out") };
    assert!(message(shard, config(4)).contains("depends on all those before it"));
    let many = GenerationConfig { shots: 13, ..config(4) };
    assert!(message(case.job("out"), many).contains("12 seed requests are too few for 13 shots"));
    let nowhere = Job { input: case.path("none.jsonl"), ..case.job("out") };
    assert!(message(nowhere, config(4)).contains("none.jsonl"));
    assert_eq!(fs::read_dir(case.folder.path()).unwrap().count(), 1, "a file was made");

    let dry = Writer { left: AtomicUsize::new(9), ..Writer::default() };
    run(case.slow_job("out"), config(40), &dry).unwrap_err();
    let part = case.text("out.part").replacen("\"call\":1,", "\"call\":8,", 1);
    fs::write(case.path("out.part"), part).unwrap();
    let error = run(case.job("out"), config(40), &Writer::default()).unwrap_err().to_string();
    assert!(error.contains("out.part, line 2: is the answer to call 8"), "{error}");
}
