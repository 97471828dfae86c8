//! Commands that read and write files, without a model.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod program;

use program::{refused, rlaif, says};
use rlaif::ai_feedback::Answer;
use rlaif::constitution::Constitution;
use rlaif::dataset::read_prompts;
use rlaif::run::Settings;
use serde_json::Value;
use std::fs;

#[test]
fn constitutions_are_checked_compared_and_traded() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let general = says(folder, &["constitution", "show", "general"]);
    fs::write(folder.join("mine.toml"), &general).unwrap();
    let said = says(folder, &["constitution", "lint", "mine.toml"]);
    assert!(said.contains("16 principles to critique") && said.contains("0 errors, 0 warnings"));
    assert!(says(folder, &["constitution", "diff", "general", "mine.toml"]).contains("the same"));

    // Two faults and a doubt at once.
    let bad = general
        .replacen("id = \"law\"", "id = \"violence\"", 1)
        .replacen("tags = [\"harm\"]", "tags = [\"harm\"]\nweight = -1.0", 1)
        .replacen("id = \"truth\"", "id = \"self-harm\"", 1);
    fs::write(folder.join("bad.toml"), bad).unwrap();
    let (status, said, errors) = rlaif(folder, &["constitution", "lint", "bad.toml"]);
    assert_eq!(status, 2);
    for part in ["bad.toml, line", "].id", "].weight", "hard to tell apart", "2 errors, 1 warning"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(errors.contains("bad.toml: 2 errors"), "{errors}");
    refused(folder, &["constitution", "diff", "general", "bad.toml"], &["bad.toml, line"]);

    for name in ["general", "world"] {
        let said = says(folder, &["constitution", "lint", name]);
        assert!(said.contains("16 to compare by; 0 errors, 0 warnings"), "{said}");
    }
    let renamed = general.replacen("name = \"", "name = \"our ", 1);
    fs::write(folder.join("renamed.toml"), renamed).unwrap();
    let said = says(folder, &["constitution", "diff", "general", "renamed.toml"]);
    let name = format!("name: {:?} to {:?}\n", "general", "our general");
    assert_eq!(said, name + "the principles are the same\n");

    let changed = general.replacen("Which of these replies would", "Which reply would", 1);
    fs::write(folder.join("changed.toml"), changed).unwrap();
    let said = says(folder, &["constitution", "diff", "mine.toml", "changed.toml"]);
    assert_eq!(said, "comparison \"overall_harm\": changed text\n");
    let mut moved = Constitution::from_toml(&general).unwrap();
    moved.comparison.swap(0, 1);
    fs::write(folder.join("moved.toml"), moved.to_toml().unwrap()).unwrap();
    let said = says(folder, &["constitution", "diff", "mine.toml", "moved.toml"]);
    assert!(said.starts_with("comparison: the order changed\ncomparison: drawn by"), "{said}");
    assert!(!said.contains("the same"), "{said}");

    let traded = ["--revisions", "r.json", "--comparisons", "c.json"];
    says(folder, &[&["constitution", "export", "general"][..], &traded].concat());
    let again = says(folder, &[&["constitution", "import"][..], &traded].concat());
    fs::write(folder.join("again.toml"), again).unwrap();
    let said = says(folder, &["constitution", "diff", "mine.toml", "again.toml"]);
    assert!(!said.contains("request") && !said.contains("changed text"), "{said}");
    refused(folder, &["constitution", "import", "--revisions", "c.json"], &["c.json", "object"]);
    refused(folder, &["constitution", "lint", "mine.toml", "--run", "runs"], &["runs"]);
}

#[test]
fn worked_examples_of_the_papers_form_become_settings() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let text = "\n\nHuman: Hello\n\nAssistant: Go away.\n\nCritiqueRequest: Is it rude?\n\nCritique: The reply is.\n\n\
        RevisionRequest: Mend it.\n\nRevision: Hello to \"you\".\n\nAnd welcome.\n\nHuman:";
    let revisions = serde_json::json!([text]);
    let comparisons = serde_json::json!([{
        "prompt": "\n\nHuman: Weeds?\n\nAssistant:", "corrects": ["Pull\nthem."], "incorrects": ["Salt them."],
    }]);
    fs::write(folder.join("r.json"), revisions.to_string()).unwrap();
    fs::write(folder.join("c.json"), comparisons.to_string()).unwrap();
    let files = ["--revisions", "r.json", "--comparisons", "c.json"];
    let said = says(folder, &[&["constitution", "few-shots"][..], &files].concat());
    let layer = ("few_shots.toml".to_owned(), said.parse::<toml::Table>().unwrap());
    let settings = Settings::resolve(&[layer]).unwrap();
    assert_eq!(settings.critique_revision.few_shots[0].messages.len(), 6);
    let last = settings.critique_revision.few_shots[0].last_reply();
    assert_eq!(last, Some("Hello to \"you\".\n\nAnd welcome."));
    let shot = &settings.ai_feedback.few_shots[0];
    assert_eq!(shot.answer, Answer::A);
    assert_eq!(shot.pair.replies, ["Pull\nthem.", "Salt them."]);
    assert_eq!(shot.pair.prompt.last_request(), Some("Weeds?"));

    let one = says(folder, &["constitution", "few-shots", "--comparisons", "c.json"]);
    assert!(one.contains("ai_feedback") && !one.contains("critique_revision"), "{one}");
    let wrong = ["constitution", "few-shots", "--comparisons", "r.json"];
    refused(folder, &wrong, &["r.json: not a list of objects"]);
    // Who takes one kind of file for the other is told.
    for (flag, file) in [("--revisions", "r.json"), ("--comparisons", "c.json")] {
        let wrong = ["constitution", "import", flag, file];
        refused(folder, &wrong, &[file, "`rlaif constitution few-shots`"]);
    }
}

#[test]
fn the_worked_examples_of_the_manual_are_settings() {
    let resolved = |page: &str, opening: &str| {
        let (_, block) = page.split_once(&format!("```toml\n{opening}")).unwrap();
        let (block, _) = block.split_once("```").unwrap();
        let table: toml::Table = format!("{opening}{block}").parse().unwrap();
        Settings::resolve(&[("the manual".to_owned(), table)]).unwrap()
    };
    let page = include_str!("../../../docs/src/ai_feedback.md");
    let few_shots = resolved(page, "[[ai_feedback.few_shots]]").ai_feedback.few_shots;
    assert_eq!([few_shots[0].answer, few_shots[1].answer], [Answer::B, Answer::A]);
    assert!(few_shots.iter().all(|shot| shot.rationale.is_some()));
    assert_eq!(few_shots[1].pair.prompt.messages.len(), 3);
    let page = include_str!("../../../docs/src/critique_revision.md");
    let settings = resolved(page, "[critique_revision]\nfew_shots");
    assert_eq!(settings.critique_revision.few_shots[0].messages.len(), 6);
}

#[test]
fn labels_that_flip_and_principles_never_drawn_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let label = |id: &str, principle: &str, probability: f64| {
        let (chosen, rejected, letter) =
            if probability >= 0.5 { ("a", "b", "A") } else { ("b", "a", "B") };
        let reply = |text| serde_json::json!([{"role": "assistant", "content": text}]);
        serde_json::json!({
            "id": id, "prompt": [], "chosen": reply(chosen), "rejected": reply(rejected),
            "probability": probability.max(1.0 - probability), "probability_a": probability,
            "chosen_as": letter,
            "principles": [{"id": principle, "text": "", "probability_a": probability, "orders": []}],
        })
        .to_string()
    };
    let placed =
        |(index, label): (u32, &String)| format!("{{\"index\":{index},\"record\":{label}}}\n");
    let stage = folder.join("run/ai_feedback");
    fs::create_dir_all(&stage).unwrap();
    let before = [label("1", "law", 0.9), label("2", "truth", 0.3), label("3", "law", 0.6)];
    fs::write(stage.join("labels.jsonl"), before.join("\n")).unwrap();
    let after = [label("1", "law", 0.2), label("2", "law", 0.7), label("4", "law", 0.1)];
    fs::write(folder.join("after.jsonl"), after.join("\n")).unwrap();
    let labels = ["--labels", "run/ai_feedback/labels.jsonl", "after.jsonl"];
    let said =
        says(folder, &[&["constitution", "diff", "general", "general"][..], &labels].concat());
    assert!(said.contains(r#"1: P(A) 0.900 to 0.200, both by "law""#), "{said}");
    assert!(said.contains(r#"2: P(A) 0.300 to 0.700, by "truth" to "law""#), "{said}");
    let counts = "2 of 2 labels flip: 1 of 1 by the same principles, 1 of 1 by others";
    assert!(said.lines().last().unwrap().starts_with(counts), "{said}");
    // Of shards as they are.
    let shard: Vec<String> = (1..).step_by(2).zip(&after).map(placed).collect();
    fs::write(folder.join("shard"), shard.concat()).unwrap();
    let labels = ["--labels", "run/ai_feedback/labels.jsonl", "shard"];
    let again =
        says(folder, &[&["constitution", "diff", "general", "general"][..], &labels].concat());
    assert_eq!(again, said);
    fs::write(folder.join("bad.jsonl"), label("1", "law", 0.9).replace("0.9", "1.9")).unwrap();
    let bad = ["constitution", "diff", "general", "general", "--labels", "after.jsonl"];
    refused(folder, &[&bad[..], &["bad.jsonl"]].concat(), &["bad.jsonl, line 1", "is 1.9"]);

    fs::write(folder.join("c.toml"), says(folder, &["constitution", "show"])).unwrap();
    let said = says(folder, &["constitution", "lint", "c.toml", "--run", "run"]);
    assert!(said.contains("comparison \"violence\" was never drawn in 3 draws"), "{said}");
    assert!(!said.contains("\"law\"") && said.contains("0 errors, 14 warnings"), "{said}");
    let said = says(folder, &["constitution", "lint", "c.toml", "--run", "after.jsonl"]);
    assert!(said.contains("comparison \"truth\" was never drawn in 3 draws"), "{said}");
    refused(folder, &["constitution", "lint", "c.toml", "--run", "c.toml"], &["c.toml, line 1"]);
    let foreign = label("5", "our own", 0.9);
    fs::write(folder.join("after.jsonl"), foreign).unwrap();
    let said = says(folder, &["constitution", "lint", "general", "--run", "after.jsonl"]);
    assert!(said.contains(r#"comparison "our own" was drawn in 1 of 1 draws"#), "{said}");
}

#[test]
fn red_team_attempts_are_converted() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let rows = r#"{"transcript": "\n\nHuman: q\n\nAssistant: a", "rating": "3", "tags": ["theft"], "more": 1}
        {"transcript": "\n\nHuman: q", "rating": 9}"#;
    fs::write(folder.join("r.jsonl"), rows).unwrap();
    let convert = ["convert", "r.jsonl", "red.jsonl", "--as", "red-team"];
    refused(folder, &convert, &["r.jsonl, line 2", "`rating` is 9"]);
    says(folder, &[&convert[..], &["--max-bad", "0.5"]].concat());
    let text = fs::read_to_string(folder.join("red.jsonl")).unwrap();
    let row: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(row["transcript"][1], serde_json::json!({"role": "assistant", "content": "a"}));
    assert_eq!((row["rating"].as_f64(), row["tags"][0].as_str()), (Some(3.0), Some("theft")));
    assert!(row["num_params"].is_null() && row.get("more").is_none(), "{row}");
    // What was written is such a row, too.
    says(folder, &["convert", "red.jsonl", "again.jsonl", "--as", "red-team"]);
    assert_eq!(fs::read_to_string(folder.join("again.jsonl")).unwrap(), text);
}

#[test]
fn every_turn_of_a_conversation_makes_a_prompt() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let rows = r#"{"transcript": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d", "rating": 3}
        {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "e"}]}
        {"prompt": "f"}"#;
    fs::write(folder.join("r.jsonl"), rows).unwrap();
    let convert = ["convert", "r.jsonl", "p.jsonl", "--as", "prompt"];
    let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    assert!(says(folder, &convert).contains("3 rows"));
    let whole = text("p.jsonl");
    let said = says(folder, &[&convert[..], &["--every-turn"]].concat());
    assert!(said.contains("4 rows are in p.jsonl"), "{said}");
    let first = "{\"prompt\":[{\"role\":\"user\",\"content\":\"a\"}]}\n";
    assert_eq!(text("p.jsonl"), format!("{first}{whole}"));
    let prompts = read_prompts(folder.join("p.jsonl")).unwrap();
    assert_eq!((prompts.dialogues.len(), prompts.duplicates), (4, 0));
    for kind in [&["--as", "messages"][..], &["--as", "red-team"], &[]] {
        let asked = [&["convert", "r.jsonl", "x.jsonl", "--every-turn"][..], kind].concat();
        refused(folder, &asked, &["`--every-turn`", "`--as prompt`"]);
    }

    // The prompts of a conversation are all in one part.
    let row = |number: usize| {
        format!("{{\"transcript\": \"\\n\\nHuman: {number}\\n\\nAssistant: b\\n\\nHuman: c\"}}\n")
    };
    fs::write(folder.join("r.jsonl"), (0..40).map(row).collect::<String>()).unwrap();
    let mut all = 0;
    for part in ["train", "test"] {
        let split = ["--every-turn", "--split", part, "--shares", "train=0.5", "test=0.5"];
        says(folder, &[&convert[..], &split].concat());
        let found = read_prompts(folder.join("p.jsonl")).unwrap().dialogues;
        for pair in found.chunks(2) {
            assert_eq!(pair[0].messages[..], pair[1].messages[..1]);
        }
        assert!(!found.is_empty(), "{part}");
        all += found.len();
    }
    assert_eq!(all, 80);
}

#[test]
fn rows_are_converted_mixed_and_split() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let rows = "question,good,worse\nq,yes,no\n,yes,no\n\"r\ns\",yes,no\n";
    fs::write(folder.join("a.csv"), rows).unwrap();
    let columns = ["--columns", "prompt=question", "chosen=good", "rejected=worse"];
    let convert = |files: &[&str], more: &[&str]| {
        rlaif(folder, &[&["convert"][..], files, &["--as", "preference"], more].concat())
    };

    let (status, _, errors) = convert(&["a.csv", "b.jsonl"], &columns);
    assert_eq!(status, 2);
    assert!(errors.contains("a.csv, line 3: `question` is missing"), "{errors}");
    let few = [&columns[..], &["--max-bad", "0.1"]].concat();
    let (status, _, errors) = convert(&["a.csv", "b.jsonl"], &few);
    assert_eq!(status, 2);
    assert!(errors.contains("1 of 3 rows") && errors.contains("b.jsonl.rejects.jsonl"), "{errors}");
    assert!(!folder.join("b.jsonl").exists());
    let some = [&columns[..], &["--max-bad", "0.4", "--rejects", "bad.jsonl"]].concat();
    let (status, said, errors) = convert(&["a.csv", "b.jsonl"], &some);
    assert_eq!(status, 0, "{errors}");
    assert!(
        said.contains("2 rows are in b.jsonl") && errors.contains("bad.jsonl"),
        "{said}{errors}"
    );
    let bad: Value =
        serde_json::from_str(&fs::read_to_string(folder.join("bad.jsonl")).unwrap()).unwrap();
    assert_eq!(bad["line"], 3);
    assert_eq!(bad["field"], "`question`");
    assert_eq!(bad["row"], serde_json::json!({"good": "yes", "worse": "no"}));

    let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    if cfg!(feature = "parquet") {
        says(folder, &["convert", "b.jsonl", "b.parquet"]);
        says(folder, &["convert", "b.parquet", "c.jsonl"]);
        assert_eq!(text("b.jsonl"), text("c.jsonl"));
    }
    let prompts: Vec<String> = (0..40).map(|row| format!("{{\"prompt\": \"{row}\"}}")).collect();
    fs::write(folder.join("p.jsonl"), prompts.join("\n")).unwrap();
    let mix = ["convert", "p.jsonl", "b.jsonl", "m.jsonl", "--as", "prompt", "--weights", "3", "1"];
    says(folder, &[&mix[..], &["--exhausted", "stop"]].concat());
    assert_eq!(text("m.jsonl").lines().count(), 10);
    let part = |part: &str| {
        let flags = ["--split", part, "--shares", "train=0.5", "test=0.5"];
        says(folder, &[&["convert", "p.jsonl", part][..], &flags].concat());
        text(part)
    };
    let mut both: Vec<String> =
        (part("train") + &part("test")).lines().map(str::to_owned).collect();
    both.sort();
    let mut all: Vec<String> = prompts.iter().map(|row| row.replace(": ", ":")).collect();
    all.sort();
    assert_eq!(both, all);
    refused(folder, &["convert", "p.jsonl", "x.csv"], &["x.csv", "CSV is only read"]);
    refused(folder, &["convert", "p.jsonl", "x", "--columns", "promt=a"], &["promt"]);
    refused(folder, &["convert", "p.jsonl", "x", "--split", "dev"], &["no part", "validation"]);
}

#[test]
fn margins_are_converted_where_rows_have_them() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let row = |more: &str| format!(r#"{{"prompt": "q", "chosen": "yes", "rejected": "no"{more}}}"#);
    let rows = [row(r#", "margin": 1.5"#), row(""), row(r#", "margin": 2, "probability": 0.25"#)];
    fs::write(folder.join("p.jsonl"), rows.join("\n")).unwrap();
    let margins = |name: &str| -> Vec<Option<f64>> {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        rows.map(|row| row["margin"].as_f64()).collect()
    };
    says(folder, &["convert", "p.jsonl", "out.jsonl", "--as", "preference"]);
    assert_eq!(margins("out.jsonl"), [Some(1.5), None, Some(2.0)]);
    let text = fs::read_to_string(folder.join("out.jsonl")).unwrap();
    assert!(!text.lines().nth(1).unwrap().contains("margin"), "{text}");
    if cfg!(feature = "parquet") {
        says(folder, &["convert", "p.jsonl", "out.parquet", "--as", "preference"]);
        says(folder, &["convert", "out.parquet", "again.jsonl", "--as", "preference"]);
        assert_eq!(fs::read_to_string(folder.join("again.jsonl")).unwrap(), text);
    }

    fs::write(folder.join("g.jsonl"), row(r#", "gap": 3"#)).unwrap();
    let named = ["--columns", "margin=gap"];
    let convert =
        |input, kind| [&["convert", input, "named.jsonl", "--as", kind][..], &named].concat();
    says(folder, &convert("g.jsonl", "preference"));
    assert_eq!(margins("named.jsonl"), [Some(3.0)]);
    refused(folder, &convert("p.jsonl", "preference"), &["p.jsonl, line 1: `gap` is missing"]);
    refused(folder, &convert("g.jsonl", "prompt"), &["`margin`", "leave the setting out"]);
    let label = ["label", "--pairs", "g.jsonl", "--judge", "http://127.0.0.1:1/v1", "--out", "l"];
    refused(folder, &[&label[..], &named].concat(), &["`margin`"]);
}
