//! A whole run folder, a folder with gaps and damaged ones, each made here.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use report::{Error, Measure, Results, write};
use serde_json::{Value, json};
use std::path::Path;
use tempfile::TempDir;

fn folder(files: &[(&str, String)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

fn page(folder: &TempDir) -> String {
    let path = write(folder.path()).unwrap();
    assert_eq!(path, folder.path().join("report.html"));
    std::fs::read_to_string(path).unwrap()
}

fn lines(rows: impl IntoIterator<Item = Value>) -> String {
    rows.into_iter().map(|row| row.to_string() + "\n").collect()
}

fn user(text: &str) -> Value {
    json!([{"role": "user", "content": text}])
}

fn rate(value: f64) -> Value {
    json!({"value": value, "low": value - 0.05, "high": value + 0.04, "n": 200})
}

fn results() -> Value {
    let model = |harmless, helpful| json!({"harmless": rate(harmless), "helpful": rate(helpful)});
    json!({
        "models": {
            "helpful_only": model(0.221, 0.934),
            "sl_cai": model(0.512, 0.872),
            "rl_cai": model(0.953, 0.911),
        },
        "revisions": [rate(0.213), rate(0.342), rate(0.487)],
        "labels": {"accuracy": 0.887, "ece": 0.043, "position_bias": -0.012, "n": 300,
            "order_consistency": 0.871, "principle_consistency": 0.762, "entropy": 0.417, "reliability": [
            {"low": 0.1, "high": 0.2, "count": 40, "predicted": 0.15, "outcome": 0.2},
        ]},
        "preference_model": {"log_loss": 0.345, "n": 90},
        "ppo_checkpoints": [
            {"iteration": 5, "score": 0.4, "kl": 2.0, "harmless": rate(0.7), "helpful": rate(0.88)},
            {"iteration": 10, "harmless": rate(0.9), "helpful": rate(0.9)},
        ],
        "seconds": {"sft": 61.0, "ppo": 122.0, "my_stage": 0.5},
        "notes": ["Judged by hand & eye."],
    })
}

fn transcript(kind: &str, request: &str) -> Value {
    json!({
        "prompt": user(request),
        "kind": kind,
        "helpful_only": {"text": "Sure. <script>alert('gone')</script>", "verdict": "compliance"},
        "rl_cai": {"text": "I will not.", "verdict": "refusal with alternative"},
    })
}

fn label(probability: f64) -> Value {
    let reply = |text: &str| json!([{"role": "assistant", "content": text}]);
    let (chosen, rejected, letter) =
        if probability >= 0.5 { ("x", "y", "A") } else { ("y", "x", "B") };
    let answer = json!({
        "probability_of_first": probability, "rationale": "It keeps to the law.",
        "question": user("Which is lawful? (A) x (B) y"),
    });
    let order = json!({"probability_of_first": probability, "answers": [answer]});
    json!({
        "id": "0123", "prompt": user("q"), "chosen": reply(chosen), "rejected": reply(rejected),
        "probability": probability.max(1.0 - probability), "probability_a": probability, "chosen_as": letter,
        "principles": [
            {"id": "law", "text": "Which is lawful?", "probability_a": probability, "orders": [order, order]},
            {"id": "kind", "text": "Which is kind?", "probability_a": 0.125, "orders": [order, order]},
        ],
    })
}

fn whole() -> TempDir {
    let step = json!({
        "principle": "law", "critique_request": "Is it lawful?", "critique": "It is not.",
        "critique_tokens": 4, "critique_stopped": "stop", "revision_request": "Make it lawful.",
        "revision": "Ask the <b>owner</b>.", "revision_tokens": 5, "revision_stopped": "stop", "kept": false,
        "failures": ["critique_is_revision", "truncated"],
    });
    let counts = |unchanged: usize| json!({"critique_is_revision": 1, "revision_is_critique": 0, "empty": 0, "truncated": 1, "unchanged": unchanged});
    let summary = json!({
        "traces": 1, "steps": 4321, "found": counts(765), "left": counts(2), "redrawn": 0, "dropped": 0, "tokens": 9,
    });
    let figures = json!({
        "requests": 7, "completions": 3, "lines": 1234, "validity": 0.5, "novelty": 0.123,
        "mean_nearest_seed": 0.4567, "yield_share": 0.1,
        "left_out": {"unparsed": 0.321, "cut_off": 0.0, "wrong_length": 0.0, "wrong_language": 0.0,
            "duplicate": 0.0, "near_seed": 0.0, "near_request": 0.0},
    });
    let trace = json!({
        "id": "0123", "prompt": user("How do I take it?"), "reply": "Just take it.",
        "reply_tokens": 3, "reply_stopped": "stop", "steps": [step],
    });
    let transcripts = (0..20)
        .map(|index| transcript("red_team", &format!("harm {index}")))
        .chain([transcript("benign", "What is in the garden?")]);
    let curve =
        (1..=3).map(|step| json!({"step": step, "loss": 2.0 / f64::from(step), "odd_one": step}));
    folder(&[
        ("run.toml", "seed = 7\nname = \"<i>\"\n".to_owned()),
        (
            "constitution.toml",
            "name = \"tiny\"\n[[comparison]]\nid = \"law\"\ntext = \"Which is lawful?\"\n"
                .to_owned(),
        ),
        ("evals/results.json", results().to_string()),
        ("evals/transcripts.jsonl", lines(transcripts)),
        ("sft/metrics.jsonl", lines(curve)),
        ("ppo/metrics.jsonl", lines([json!({"step": 1, "score": 0.1, "clip_fraction": null})])),
        ("critique_revision/revisions.jsonl", lines([json!({"journal": {"seed": 7}}), trace])),
        ("critique_revision/summary.json", summary.to_string()),
        ("red_team/figures.json", json!({"red_team": figures}).to_string()),
        ("ai_feedback/labels.jsonl", lines([label(0.93), label(0.2)])),
    ])
}

#[test]
fn shows_the_numbers_of_every_part() {
    let page = page(&whole());
    for expected in [
        "22.1%",
        "90.3 to 99.3",
        "+73.2",
        "34.2%",
        "88.7%",
        "−0.012",
        "0.345",
        "3 min 4 s",
        "My stage",
        "Judged by hand &amp; eye.",
        "Odd one",
        "Which is lawful?",
        "It is not.",
        "What is in the garden?",
        "12 more</summary>",
        "seed = 7",
        "tiny",
        "93.0% that the first reply",
        "(critique is revision, truncated)",
        "<dd>4321</dd>",
        "<dd>765</dd>",
        "Red-team requests",
        "<dd>1234</dd>",
        "<dd>12.3%</dd>",
        "<dd>0.457</dd>",
        "<dd>32.1%</dd>",
        "It keeps to the law.",
        "12.5% that the first reply is better",
        "87.1%",
        "76.2%",
        "0.417",
    ] {
        assert!(page.contains(expected), "{expected} is missing");
    }
    assert!(!page.contains("class=\"absent\">Not evaluated"));
}

#[test]
fn untrusted_text_stays_text() {
    let page = page(&whole());
    assert!(!page.contains("<script") && !page.contains("<b>owner") && !page.contains("<i>"));
    assert!(page.contains("&lt;script&gt;alert"));
}

#[test]
fn nothing_is_fetched() {
    let page = page(&whole());
    assert!(!page.contains("http:") && !page.contains("https:") && !page.contains("@import"));
    assert!(!page.contains("src=") && !page.contains("url(") && !page.contains("<link"));
    let links = page.matches("href=").count();
    assert_eq!(links, page.matches("href=\"#").count());
}

#[test]
fn every_section_says_when_it_is_empty() {
    let page = page(&folder(&[("run.toml", "seed = 1".to_owned())]));
    for file in [
        "evals/results.json",
        "critique_revision/revisions.jsonl",
        "sft/metrics.jsonl",
        "preference_model/metrics.jsonl",
        "ppo/metrics.jsonl",
        "evals/transcripts.jsonl",
        "constitution.toml",
        "ai_feedback/labels.jsonl",
    ] {
        assert!(page.contains(&format!("<code>{file}</code>")), "{file}");
    }
    assert!(!page.contains("<svg"));
}

#[test]
fn models_without_ground_truth_have_a_page_too() {
    let measures = |win: f64, score: f64| {
        [
            ("judge_win_rate".to_owned(), Measure::rate(win, win - 0.1, win + 0.1, 64)),
            ("preference_score".to_owned(), Measure::mean(score, score - 0.5, score + 0.5, 64)),
        ]
    };
    let mut results = Results::default();
    results.models.insert("helpful_only".to_owned(), measures(0.5, -1.25).into_iter().collect());
    results.models.insert("rl_cai".to_owned(), measures(0.75, 2.5).into_iter().collect());
    let row = json!({"prompt": user("hi"), "kind": "benign", "rl_cai": {"text": "hello"}});
    let page = page(&folder(&[
        ("evals/results.json", serde_json::to_string(&results).unwrap()),
        ("evals/transcripts.jsonl", lines([row])),
    ]));
    for expected in
        ["Judge win rate", "75.0%", "+25.0", "Preference score", "2.50", "+3.75", "hello"]
    {
        assert!(page.contains(expected), "{expected} is missing");
    }
    assert!(!page.contains("class=\"badge"));
}

#[test]
fn scores_are_shown_by_the_kl_that_they_cost() {
    let rounds = [
        json!({"step": 1, "score_mean": 0.1, "held_out_score_mean": 0.2, "sqrt_kl": 0.0}),
        json!({"step": 2, "score_mean": 0.4, "held_out_score_mean": 0.1, "sqrt_kl": 0.8}),
    ];
    let run = ("run.toml", "seed = 1".to_owned());
    let shown = page(&folder(&[run, ("ppo/metrics.jsonl", lines(rounds))]));
    for expected in
        ["Square root of the KL from the start", "● score that is learned from", "■ held-out score"]
    {
        assert_eq!(shown.matches(expected).count(), 1, "{expected}");
    }
    // A run that records neither has no such picture.
    assert!(!page(&whole()).contains("Square root of the KL"));
}

#[test]
fn a_damaged_file_is_named_with_its_line() {
    let cases = [
        ("evals/results.json", "{\n\"models\": {\n\"sl_cai\": 3}}", 3),
        ("evals/transcripts.jsonl", "\n{\"prompt\": [], \"kind\": \"odd\"}\n", 2),
        ("sft/metrics.jsonl", "{\"step\": 1}\n{\"loss\": 1}\n", 2),
        ("critique_revision/revisions.jsonl", "{\"journal\": {}}\n[]\n", 2),
        ("critique_revision/summary.json", "{\n\"traces\": -1}", 2),
        ("red_team/figures.json", "{\n\"red_team\": {\"linez\": 1}}", 2),
        ("ai_feedback/labels.jsonl", "x\n", 1),
        ("constitution.toml", "name = \"n\"\n[[comparison]]\ntext = \"t\"\nid = 3\n", 4),
    ];
    for (file, text, line) in cases {
        let folder = folder(&[("run.toml", String::new()), (file, text.to_owned())]);
        let message = write(folder.path()).unwrap_err().to_string();
        let place = format!("{}, line {line}", folder.path().join(file).display());
        assert!(message.contains(&place), "{message}");
        assert!(!folder.path().join("report.html").exists());
    }
}

#[test]
fn a_folder_without_a_run_is_refused() {
    let empty = tempfile::tempdir().unwrap();
    for path in [empty.path(), Path::new("/no/such/run")] {
        assert!(matches!(write(path), Err(Error::NoRun { .. })));
    }
}

#[test]
fn the_same_folder_gives_the_same_page() {
    let folder = whole();
    assert_eq!(page(&folder), page(&folder));
}
