//! Items that a model refuses, bad rows, and what the records are said to be.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ai_feedback::FeedbackConfig;
use constitution::Constitution;
use critique_revision::CritiqueRevisionConfig;
use dialogue::Dialogue;
use jobs::{Alone, Done, Error, Figures, Flow, Job, Report, Shard, merge};
use language_model::{Choose, Completion, Generate, Prompt, Sampling, StopReason};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use training::{Observe, Silent};

/// Repeats what it was asked, leans to the first reply, and refuses whatever holds a word of its list.
#[derive(Default)]
struct Parrot {
    refused: Vec<&'static str>,
    gone: bool,
    /// Whether it notices what it refuses only when it criticises.
    late: bool,
    /// What it says one thing to alone.
    stubborn: &'static str,
    /// Whether what it says to it alone has more and more space behind it.
    spaced: bool,
    asked: AtomicUsize,
}

impl Parrot {
    fn refusing(refused: &[&'static str]) -> Self {
        Self { refused: refused.to_vec(), ..Self::default() }
    }

    fn listen(&self, prompt: &Dialogue) -> Result<(), language_model::Error> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let text = prompt.messages.iter().map(|message| message.content.as_str());
        let text = text.collect::<Vec<_>>().join("\n");
        let hears = |word: &&&str| text.contains(&format!("question {word}"));
        match self.refused.iter().find(hears) {
            _ if self.gone => Err(language_model::Error::Model("the parrot has flown".into())),
            Some(_) if self.late && prompt.messages.len() == 1 => Ok(()),
            Some(word) => Err(language_model::Error::Refused(format!("not {word}").into())),
            None => Ok(()),
        }
    }
}

impl Generate for Parrot {
    fn generate(
        &self,
        prompts: &[Prompt],
        _: &Sampling,
    ) -> Result<Vec<Completion>, language_model::Error> {
        let reply = |prompt: &Prompt| {
            self.listen(&prompt.dialogue)?;
            let request = prompt.dialogue.last_request().unwrap();
            let stubborn =
                !self.stubborn.is_empty() && request.ends_with(&format!(" {}", self.stubborn));
            let mut text = format!("{request} {}", if stubborn { 0 } else { prompt.seed });
            if self.spaced {
                text.push_str(&"\n".repeat(self.asked.load(Ordering::SeqCst)));
            }
            Ok(Completion { text, tokens: 3, stopped: StopReason::Stop })
        };
        prompts.iter().map(reply).collect()
    }
}

impl Choose for Parrot {
    fn choose(
        &self,
        prompts: &[Dialogue],
        _: &[&str],
    ) -> Result<Vec<Vec<f64>>, language_model::Error> {
        let weigh = |prompt: &Dialogue| {
            self.listen(prompt)?;
            let first_is_good = prompt.messages[0].content.contains("(A) good");
            Ok(if first_is_good { vec![0.8, 0.2] } else { vec![0.4, 0.6] })
        };
        prompts.iter().map(weigh).collect()
    }
}

const ITEMS: usize = 20;

struct Case {
    folder: tempfile::TempDir,
    job: Job,
}

impl Case {
    fn new(rows: &[String]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("rows.jsonl");
        fs::write(&input, rows.concat()).unwrap();
        let flow = Flow { chunk: 4, in_flight: 2 };
        let job = Job { flow, failed_share: 0.25, ..Job::new(input, folder.path().join("out")) };
        Self { folder, job }
    }

    /// Prompts that end in a letter, so that none is a part of another.
    fn prompts() -> Self {
        Self::new(&(0..ITEMS).map(|n| format!("\"question {n}x\"\n")).collect::<Vec<_>>())
    }

    fn pairs() -> Self {
        let row = |n| match n % 4 {
            0 => json!({"prompt": format!("question {n}x"), "replies": ["good", "bad"]}),
            1 => {
                json!({"prompt": format!("question {n}x"), "replies": ["bad", "good"], "probability": 0.0})
            }
            2 => json!({"prompt": format!("question {n}x"), "chosen": "bad", "rejected": "good"}),
            _ => json!({"prompt": format!("question {n}x"), "chosen": "good", "rejected": "bad"}),
        };
        Self::new(&(0..ITEMS).map(|n| format!("{}\n", row(n))).collect::<Vec<_>>())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn failures(&self, name: &str) -> Vec<Value> {
        let path = self.path(&format!("{name}.failures.jsonl"));
        dataset::read_jsonl(path).unwrap()
    }

    fn named(&self, name: &str) -> Job {
        Job { out: self.path(name), ..self.job.clone() }
    }
}

fn revise(job: &Job, parrot: Parrot) -> Result<Done, Error> {
    let config = CritiqueRevisionConfig { revisions: 1, ..Default::default() };
    let model = Alone::new(parrot, json!({"name": "parrot"}));
    jobs::revise(job.clone(), Constitution::general(), config)?.run(&model, &mut Silent)
}

fn label(job: &Job, parrot: Parrot) -> Result<Done, Error> {
    let model = Alone::new(parrot, json!({"name": "parrot"}));
    let prepared = jobs::label(job.clone(), Constitution::general(), FeedbackConfig::default())?;
    prepared.run(&model, &mut Silent)
}

fn ids(path: &Path) -> Vec<String> {
    let rows: Vec<Value> = dataset::read_jsonl(path).unwrap();
    rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_is_refused_is_written_apart_and_stops_nothing() {
    let case = Case::prompts();
    let done = revise(&case.job, Parrot::refusing(&["3x", "4x", "19x"])).unwrap();
    assert_eq!((done.report.records, done.report.failed, done.report.items), (17, 3, 20));
    assert_eq!((done.calls, done.tokens), (17 * 3, 17 * 9));
    let failures = case.failures("out");
    let found: Vec<_> = failures.iter().map(|row| (&row["index"], &row["error"])).collect();
    let expected = [(3, "not 3x"), (4, "not 4x"), (19, "not 19x")];
    for ((index, error), (at, said)) in found.into_iter().zip(expected) {
        assert_eq!((index, error), (&json!(at), &json!(said)));
    }
    // The others are as if nothing had been refused.
    revise(&case.named("whole"), Parrot::default()).unwrap();
    let whole = case.text("whole");
    let expected: Vec<&str> = whole
        .lines()
        .enumerate()
        .filter(|(at, _)| ![3, 4, 19].contains(at))
        .map(|(_, line)| line)
        .collect();
    assert_eq!(case.text("out").lines().collect::<Vec<_>>(), expected);
    // What has failed is an input.
    let job = Job { input: case.path("out.failures.jsonl"), ..case.named("again") };
    assert_eq!(revise(&job, Parrot::default()).unwrap().report.records, 3);
    assert_eq!(ids(&case.path("again"))[..2], ids(&case.path("whole"))[3..5]);
}

#[test]
fn what_was_answered_before_a_refusal_is_not_asked_again() {
    let case = Case::prompts();
    let late = Parrot { late: true, ..Parrot::refusing(&["3x", "4x"]) };
    let done = revise(&case.job, late).unwrap();
    assert_eq!((done.report.records, done.report.failed), (18, 2));
    // Of those that failed there is the reply.
    assert_eq!((done.calls, done.tokens), (18 * 3 + 2, (18 * 3 + 2) * 3));
}

/// The names of the last metrics of a job.
#[derive(Default)]
struct Shown(Vec<String>);

impl Observe for Shown {
    fn start(&mut self, _: &str, _: u64, _: u64) -> Result<(), training::Error> {
        Ok(())
    }

    fn record(&mut self, _: u64, metrics: &[(&str, f64)]) -> Result<(), training::Error> {
        self.0 = metrics.iter().map(|(name, _)| (*name).to_owned()).collect();
        Ok(())
    }

    fn finish(&mut self) -> Result<(), training::Error> {
        Ok(())
    }
}

#[test]
fn progress_shows_failures_in_front() {
    let case = Case::prompts();
    let shown = |job: &Job, parrot: Parrot| {
        let model = Alone::new(parrot, json!({"name": "parrot"}));
        let mut shown = Shown::default();
        let prepared = jobs::reply_pairs(job.clone(), Sampling::default()).unwrap();
        prepared.run(&model, &mut shown).unwrap();
        shown.0
    };
    let rates = ["calls_per_second", "tokens", "tokens_per_second", "calls"];
    assert_eq!(shown(&case.named("whole"), Parrot::default()), rates);
    let refused = shown(&case.job, Parrot::refusing(&["3x"]));
    assert_eq!((refused[0].as_str(), &refused[1..]), ("failed", &rates.map(str::to_owned)[..]));
}

#[test]
fn a_finished_job_and_one_that_goes_on_do_not_ask_for_failures_again() {
    let case = Case::prompts();
    revise(&case.job, Parrot::refusing(&["3x"])).unwrap();
    let done = revise(&case.job, Parrot::default()).unwrap();
    assert_eq!((done.before, done.calls, done.report.failed), (20, 0, 1));

    let job = Job { failed_share: 0.0, ..case.named("strict") };
    let error = revise(&job, Parrot::refusing(&["9x"])).unwrap_err().to_string();
    for part in ["1 of 20 items", "`failed_share`", "not 9x", "strict.part", "`--retry-failed`"] {
        assert!(error.contains(part), "`{part}` is missing in: {error}");
    }
    let again = revise(&job, Parrot::default()).unwrap_err().to_string();
    assert!(again.contains("not 9x"), "{again}");
    let job = Job { failed_share: 0.1, ..job };
    let done = revise(&job, Parrot::default()).unwrap();
    assert_eq!((done.report.records, done.report.failed), (19, 1));
    assert!(done.before >= 8, "{done:?}");
}

#[test]
fn failures_are_asked_for_again_when_it_is_said() {
    let case = Case::prompts();
    revise(&case.named("whole"), Parrot::default()).unwrap();
    revise(&case.job, Parrot::refusing(&["3x", "11x"])).unwrap();
    let retry = Job { retry_failed: true, ..case.job.clone() };
    // Killed on the way: what had been made is still there.
    let gone = Parrot { gone: true, ..Parrot::default() };
    let error = revise(&retry, gone).unwrap_err().to_string();
    assert!(error.contains("flown"), "{error}");
    let done = revise(&retry, Parrot::refusing(&["11x"])).unwrap();
    assert_eq!((done.report.failed, done.before), (1, 18));
    // Three calls a prompt, and the one that is refused.
    assert!(done.calls <= 4, "{}", done.calls);
    let done = revise(&retry, Parrot::default()).unwrap();
    assert_eq!((done.report.failed, done.before, done.calls), (0, 19, 3));
    for end in ["", ".report.json", ".job"] {
        assert_eq!(case.text(&format!("out{end}")), case.text(&format!("whole{end}")), "{end}");
    }
    for end in ["failures.jsonl", "before", "part", "whole"] {
        assert!(!case.path(&format!("out.{end}")).exists(), "{end}");
    }
    // There is nothing left to ask for.
    assert_eq!(revise(&retry, Parrot::default()).unwrap().calls, 0);

    // A job that was stopped by its failures.
    let job = Job { failed_share: 0.0, ..case.named("strict") };
    revise(&job, Parrot::refusing(&["9x", "17x"])).unwrap_err();
    let retry = Job { retry_failed: true, ..job };
    // So is the round that asks again, twice, and further on.
    for refused in [&["9x", "17x"][..], &["9x", "17x"], &["17x"]] {
        let error = revise(&retry, Parrot::refusing(refused)).unwrap_err().to_string();
        assert!(refused.iter().any(|item| error.contains(&format!("not {item}"))), "{error}");
    }
    let done = revise(&retry, Parrot::default()).unwrap();
    assert_eq!((done.report.failed, done.report.records), (0, 20));
    assert!(done.before >= 14, "{done:?}");
    assert_eq!(case.text("strict"), case.text("whole"));
}

#[test]
fn what_concerns_all_items_stops_the_job() {
    let case = Case::prompts();
    let gone = Parrot { gone: true, ..Parrot::default() };
    let error = revise(&case.job, gone).unwrap_err().to_string();
    assert!(error.contains("flown") && error.contains("0 of 20 records"), "{error}");
    assert!(!case.path("out.failures.jsonl").exists());

    let rows: Vec<String> = (0..200).map(|n| format!("\"question {n}x\"\n")).collect();
    let case = Case::new(&rows);
    let job = Job { failed_share: 0.9, ..case.job.clone() };
    let error = revise(&job, Parrot::refusing(&[""])).unwrap_err().to_string();
    assert!(error.contains("first 32 items have all failed"), "{error}");
}

#[test]
fn shards_merge_with_their_failures_to_the_whole() {
    type Run = fn(&Job, Parrot) -> Result<Done, Error>;
    let stages: [(Case, Run); 2] = [(Case::prompts(), revise), (Case::pairs(), label)];
    for (case, run) in stages {
        let parrot = || Parrot::refusing(&["2x", "3x", "17x"]);
        let whole = run(&case.named("whole"), parrot()).unwrap();
        let parts: Vec<PathBuf> = (1..=3)
            .map(|index| {
                let shard = Some(Shard::new(index, 3).unwrap());
                let job = Job { shard, failed_share: 0.9, ..case.named(&format!("part{index}")) };
                run(&job, parrot()).unwrap();
                job.out
            })
            .collect();
        let merged = merge(&parts, &case.path("merged")).unwrap();
        assert_eq!(merged.report, whole.report);
        for end in ["", ".job", ".failures.jsonl", ".report.json"] {
            let read = |name: &str| case.text(&format!("{name}{end}"));
            assert_eq!(read("merged"), read("whole"), "{end}");
        }
        assert_eq!(run(&case.named("merged"), parrot()).unwrap().calls, 0);

        // Without the failures of a part its items are missing.
        let lost = parts.iter().map(|part| Job::new("", part).failures());
        let lost = lost.into_iter().find(|failures| failures.exists()).unwrap();
        fs::remove_file(lost).unwrap();
        let error = merge(&parts, &case.path("other")).unwrap_err().to_string();
        assert!(error.contains("lack the record") && error.contains("failures.jsonl"), "{error}");
        assert!(!case.path("other").exists());
    }
}

#[test]
fn pairs_hold_two_different_replies_and_are_what_label_reads() {
    let case = Case::prompts();
    let draw = |job: &Job, parrot: Parrot| {
        let model = Alone::new(parrot, json!({"name": "parrot"}));
        jobs::reply_pairs(job.clone(), Sampling::default())?.run(&model, &mut Silent)
    };
    // Space around a reply makes it no other one.
    let stubborn = || Parrot { stubborn: "4x", spaced: true, ..Parrot::refusing(&["7x"]) };
    let done = draw(&case.job, stubborn()).unwrap();
    let Figures::Pairs(summary) = done.report.figures else { panic!() };
    assert_eq!((done.report.failed, summary.pairs, summary.tokens), (2, 18, 18 * 6));
    // Eight samples of the one, none of the other, and nothing twice on their account.
    assert_eq!(done.calls, 18 * 2 + 8);
    let errors: Vec<_> =
        case.failures("out").iter().map(|row| row["error"].as_str().unwrap().to_owned()).collect();
    assert!(errors[0].contains("all the same") && errors[1].contains("not 7x"), "{errors:?}");
    let rows: Vec<jobs::ReplyPair> = dataset::read_jsonl(case.path("out")).unwrap();
    assert!(rows.iter().all(|row| row.pair.replies[0] != row.pair.replies[1]));
    assert!(rows.iter().flat_map(|row| &row.pair.replies).all(|reply| reply.trim() == reply));
    // The same streams as the pairs of a run.
    let seed = language_model::item_seed(1, &["pairs", &rows[0].id, "1"]);
    assert_eq!(rows[0].pair.replies[1], format!("question 0x {seed}"));

    let parts: Vec<PathBuf> = (1..=2)
        .map(|index| {
            let job = Job {
                shard: Some(Shard::new(index, 2).unwrap()),
                ..case.named(&format!("part{index}"))
            };
            draw(&job, stubborn()).unwrap();
            job.out
        })
        .collect();
    merge(&parts, &case.path("merged")).unwrap();
    assert_eq!(case.text("merged"), case.text("out"));

    let job = Job { input: case.path("out"), ..case.named("labels") };
    assert_eq!(label(&job, Parrot::default()).unwrap().report.records, 18);
}

#[test]
fn a_report_says_what_the_records_say() {
    let case = Case::prompts();
    let done = revise(&case.job, Parrot::default()).unwrap();
    let traces: Vec<critique_revision::Trace> = dataset::read_jsonl(case.path("out")).unwrap();
    let expected = critique_revision::summarise(&traces);
    assert_eq!(done.report.figures, Figures::Revisions(expected));
    assert_eq!(expected.steps, ITEMS);

    let case = Case::pairs();
    let done = label(&case.job, Parrot::default()).unwrap();
    let labels: Vec<ai_feedback::Label> = dataset::read_jsonl(case.path("out")).unwrap();
    let Figures::Labels { labels: found, probed, truth, one_order } = done.report.figures.clone()
    else {
        panic!()
    };
    let expected = ai_feedback::summarise(&labels);
    assert_eq!((found.labels, found.order_consistency), (ITEMS, Some(1.0)));
    assert!((found.position_bias.unwrap() - 0.1).abs() < 1e-12, "{found:?}");
    assert!((found.entropy.unwrap() - expected.entropy.unwrap()).abs() < 1e-12);
    // There are fewer pairs than are probed by default; whatever the principle, the judge takes the good one.
    assert_eq!((probed, found.principle_consistency), (ITEMS as u64, Some(1.0)));
    // The judge always takes the good one, of which it is sure by (0.8 + 0.6) / 2; a third of the rows that know call the
    // other one better.
    let truth = truth.unwrap();
    assert_eq!((truth.accuracy.n, one_order), (15, 0));
    assert!((truth.accuracy.value - 10.0 / 15.0).abs() < 1e-12, "{truth:?}");
    assert!((truth.expected_calibration_error - (0.7 - 10.0 / 15.0)).abs() < 1e-12, "{truth:?}");
    let text = case.text("out.report.json");
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), done.report);
}

#[test]
fn a_report_is_the_same_if_a_job_was_stopped() {
    let case = Case::pairs();
    label(&case.named("whole"), Parrot::refusing(&["6x"])).unwrap();
    let strict = Job { failed_share: 0.0, ..case.job.clone() };
    label(&strict, Parrot::refusing(&["6x"])).unwrap_err();
    label(&case.job, Parrot::default()).unwrap();
    assert_eq!(case.text("out.report.json"), case.text("whole.report.json"));
}

#[test]
fn bad_rows_are_left_out_up_to_a_share_and_columns_have_names() {
    let rows: Vec<String> = (0..ITEMS)
        .map(|n| match n {
            7 => "{\"q\": \" \"}\n".to_owned(),
            _ => format!("{{\"q\": \"question {n}x\", \"prompt\": \"no\"}}\n"),
        })
        .collect();
    let mut case = Case::new(&rows);
    case.job.columns.prompt = Some("q".to_owned());
    let error = revise(&case.job, Parrot::default()).unwrap_err().to_string();
    assert!(error.contains("rows.jsonl, line 8: `q` is blank"), "{error}");
    case.job.rejected_share = 0.04;
    let error = revise(&case.job, Parrot::default()).unwrap_err().to_string();
    assert!(error.contains("1 of 20 rows are bad"), "{error}");
    assert!(!case.path("out.job").exists());
    case.job.rejected_share = 0.05;
    let done = revise(&case.job, Parrot::default()).unwrap();
    assert_eq!((done.report.records, done.rejected), (19, 1));
    let rejected: Vec<dataset::Rejected> = dataset::read_jsonl(case.job.rejects()).unwrap();
    assert_eq!(rejected[0].place, dataset::Place::Line(8));

    // A shard cannot tell whose a bad row is, so each names all of them.
    let shard = Some(Shard::new(1, 2).unwrap());
    let job = Job { shard, ..case.named("part1") };
    revise(&job, Parrot::default()).unwrap();
    assert_eq!(case.text("part1.rejects.jsonl"), case.text("out.rejects.jsonl"));
}

#[test]
fn another_input_leaves_the_bad_rows_of_a_job_alone() {
    let good: Vec<String> = (0..ITEMS).map(|n| format!("\"question {n}x\"\n")).collect();
    let mut case = Case::new(&[good.concat(), "3\n".to_owned()]);
    case.job.rejected_share = 0.1;
    revise(&case.job, Parrot::default()).unwrap();
    let before = case.text("out.rejects.jsonl");
    for (name, bad) in [("none bad", ""), ("others bad", "4\n")] {
        fs::write(case.path(name), format!("{}\"another\"\n{bad}", good.concat())).unwrap();
        let job = Job { input: case.path(name), ..case.job.clone() };
        let error = revise(&job, Parrot::default()).unwrap_err().to_string();
        assert!(error.contains("`items` is 20 there and 21 here"), "{error}");
        assert_eq!(case.text("out.rejects.jsonl"), before, "{name}");
        assert!(!case.path("out.rejects.new.jsonl").exists(), "{name}");
    }
    // The same job finds the same rows.
    let done = revise(&case.job, Parrot::default()).unwrap();
    assert_eq!((done.calls, done.rejected), (0, 1));
    assert_eq!(case.text("out.rejects.jsonl"), before);
    assert!(!case.path("out.rejects.new.jsonl").exists());
}

#[test]
fn pairs_of_equal_replies_are_left_out_and_counted() {
    let rows = [
        json!({"prompt": "question 0x", "replies": ["good", "bad"]}),
        json!({"prompt": "question 1x", "replies": ["good", "good\n"]}),
        json!({"prompt": "question 2x", "chosen": [{"role": "assistant", "content": "bad "}], "rejected": "bad"}),
        json!({"prompt": "question 3x", "chosen": "bad", "rejected": "good"}),
    ];
    let case = Case::new(&rows.map(|row| format!("{row}\n")));
    let done = label(&case.job, Parrot::default()).unwrap();
    assert_eq!((done.report.records, done.equal, done.duplicates), (2, 2, 0));
    let labels: Vec<ai_feedback::Label> = dataset::read_jsonl(case.path("out")).unwrap();
    assert_eq!(labels[1].pair.replies, ["bad", "good"]);
}

#[test]
fn a_report_that_was_removed_is_made_again() {
    type Run = fn(&Job, Parrot) -> Result<Done, Error>;
    let stages: [(Case, Run); 2] = [(Case::prompts(), revise), (Case::pairs(), label)];
    for (case, run) in stages {
        for shard in [None, Some(Shard::new(1, 2).unwrap())] {
            let name = if shard.is_some() { "part" } else { "out" };
            let job = Job { shard, failed_share: 0.9, ..case.named(name) };
            let done = run(&job, Parrot::refusing(&["2x", "3x", "19x"])).unwrap();
            let report = fs::read_to_string(job.report()).unwrap();
            fs::remove_file(job.report()).unwrap();
            let again = run(&job, Parrot::default()).unwrap();
            assert_eq!(
                (again.calls, again.before, &again.report),
                (0, done.report.items, &done.report)
            );
            assert_eq!(fs::read_to_string(job.report()).unwrap(), report);
        }
        // Not of files that are not whole.
        let text = case.text("out");
        fs::write(case.path("out"), &text[text.find('\n').unwrap() + 1..]).unwrap();
        fs::remove_file(case.job.report()).unwrap();
        let error = run(&case.job, Parrot::default()).unwrap_err().to_string();
        assert!(error.contains("lacks the record of item"), "{error}");
        fs::write(case.path("out"), format!("{text}{}\n", text.lines().next().unwrap())).unwrap();
        let error = run(&case.job, Parrot::default()).unwrap_err().to_string();
        assert!(error.contains("comes out of its order"), "{error}");
    }
}

#[test]
fn records_that_a_finished_job_has_lost_are_named_and_can_be_made_again() {
    type Run = fn(&Job, Parrot) -> Result<Done, Error>;
    let stages: [(Case, Run); 2] = [(Case::prompts(), revise), (Case::pairs(), label)];
    for (case, run) in stages {
        for (name, refused) in [("out", ["3x"]), ("whole", ["nothing"])] {
            let job = case.named(name);
            let done = run(&job, Parrot::refusing(&refused)).unwrap();
            let (text, ids) = (case.text(name), ids(&job.out));
            let lines: Vec<&str> = text.split_inclusive('\n').collect();
            let half = text[..text.len() - 9].to_owned();
            let without_second = [&lines[..1], &lines[2..]].concat().concat();
            for (left, lost) in [(String::new(), 0), (half, lines.len() - 1), (without_second, 1)] {
                fs::write(&job.out, left).unwrap();
                let error = run(&job, Parrot::default()).unwrap_err().to_string();
                let expected = format!(
                    "{name} counts as finished, but lacks the record of item {}",
                    ids[lost]
                );
                assert!(error.contains(&expected) && error.contains("`--retry-failed`"), "{error}");
            }
            let retry = Job { retry_failed: true, ..job.clone() };
            let again = run(&retry, Parrot::refusing(&refused)).unwrap();
            assert_eq!((again.report, again.before), (done.report.clone(), lines.len() as u64 - 1));
            assert!(again.calls > 0 && case.text(name) == text, "{name}");

            fs::write(&job.out, format!("{text}{}", lines[0])).unwrap();
            let error = run(&job, Parrot::default()).unwrap_err().to_string();
            assert!(error.contains(&format!("line {}", lines.len() + 1)), "{error}");
            assert!(error.contains("comes out of its order"), "{error}");

            // Nobody needs the failures of a job that is finished.
            fs::write(&job.out, &text).unwrap();
            let _ = fs::remove_file(job.failures());
            let again = run(&job, Parrot::default()).unwrap();
            assert_eq!((again.calls, again.report), (0, done.report));
        }
    }
}

#[test]
fn labels_in_one_order_do_not_count_as_right_or_wrong() {
    let case = Case::pairs();
    let config = FeedbackConfig { both_orders: false, ..FeedbackConfig::default() };
    let prepared = jobs::label(case.job.clone(), Constitution::general(), config).unwrap();
    let model = Alone::new(Parrot::default(), json!({"name": "parrot"}));
    let done = prepared.run(&model, &mut Silent).unwrap();
    let Figures::Labels { labels, truth, one_order, .. } = done.report.figures else { panic!() };
    assert_eq!((labels.labels, truth, one_order), (ITEMS, None, 15));
    // The probe tells what it is worth that they were asked in one order.
    assert!((labels.position_bias.unwrap() - 0.1).abs() < 1e-12, "{labels:?}");
}
