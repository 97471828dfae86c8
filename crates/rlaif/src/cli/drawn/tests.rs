use super::*;
use std::fs;

fn counts(drawn: &Drawn) -> [Vec<(&str, usize)>; 2] {
    [&drawn.revisions, &drawn.comparisons]
        .map(|counts| counts.iter().map(|(id, count)| (id.as_str(), *count)).collect())
}

fn label(id: &str, principle: &str) -> String {
    format!(
        r#"{{"id": "{id}", "principles": [{{"id": "{principle}"}}, {{"id": "truth", "probe": true}}]}}"#
    )
}

fn trace(id: &str, principle: &str) -> String {
    let step = format!(r#"{{"principle": "{principle}"}}"#);
    format!(r#"{{"id": "{id}", "steps": [{step}, {step}]}}"#)
}

#[test]
fn records_of_jobs_are_counted_as_far_as_they_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    write("labels", &format!("{}\n{}\n", label("1", "law"), label("2", "law")));
    write("labels.job", r#"{"job": "label", "seed": 1}"#);
    // One of a shard that was killed on the way.
    let failed = r#"{"failed": {"index": 1, "id": "3"}}"#;
    let kind = trace("2", "kind");
    write("traces.part", &format!("{{\"index\": 0, \"record\": {kind}}}\n{failed}\n{{\"ind"));
    write("traces.job", r#"{"job": "revise"}"#);
    write("pairs", "{\"id\": \"4\"}\n");
    write("pairs.job", r#"{"job": "reply-pairs"}"#);
    write("claimed.job", "");

    let both = Drawn::of(folder).unwrap();
    assert_eq!(counts(&both), [vec![("kind", 2)], vec![("law", 2)]]);
    let labels = Drawn::of(&folder.join("labels")).unwrap();
    assert_eq!(counts(&labels), [vec![], vec![("law", 2)]]);
    let traces = Drawn::of(&folder.join("traces")).unwrap();
    assert_eq!(counts(&traces), [vec![("kind", 2)], vec![]]);

    let error = Drawn::of(&folder.join("pairs")).unwrap_err().to_string();
    assert!(error.contains("pairs, line 1") && error.contains("`principles`"), "{error}");
    write("labels", &format!("{}\n{{\"prin", label("1", "law")));
    let error = Drawn::of(&folder.join("labels")).unwrap_err().to_string();
    assert!(error.contains("labels, line 2"), "{error}");
    let error = Drawn::of(&folder.join("none")).unwrap_err().to_string();
    assert!(error.contains("none: there are neither"), "{error}");
}

#[test]
fn a_round_that_retries_counts_with_the_one_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    let lines = |labels: &[(&str, &str)]| -> String {
        labels.iter().map(|(id, principle)| label(id, principle) + "\n").collect()
    };
    write("labels.before", &(lines(&[("1", "law"), ("3", "law"), ("4", "kind")]) + "{\"id"));
    // The first is copied, the second was asked for again.
    write("labels.part", &lines(&[("1", "law"), ("2", "truth")]));
    write("labels.job", r#"{"job": "label"}"#);
    for path in [folder.join("labels"), folder.to_owned()] {
        let drawn = Drawn::of(&path).unwrap();
        assert_eq!(counts(&drawn)[1], [("kind", 1), ("law", 2), ("truth", 1)]);
    }
    // What stands beside a finished file is no more than a leftover.
    write("labels", &lines(&[("1", "law")]));
    assert_eq!(counts(&Drawn::of(folder).unwrap())[1], [("law", 1)]);
}

#[test]
fn shards_and_what_they_were_merged_into_count_once() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    let placed =
        |index: u32, record: &str| format!("{{\"index\": {index}, \"record\": {record}}}\n");
    let (one, two) = (label("1", "law"), label("2", "truth"));
    write("one", &placed(0, &one));
    write("one.job", r#"{"job": "label", "seed": 1, "shard": "1/2"}"#);
    write("two", &placed(1, &two));
    write("two.job", r#"{"job": "label", "seed": 1, "shard": "2/2"}"#);
    let shards = [vec![], vec![("law", 1), ("truth", 1)]];
    assert_eq!(counts(&Drawn::of(folder).unwrap()), shards);
    write("whole", &format!("{one}\n{two}\n"));
    write("whole.job", r#"{"job": "label", "seed": 1}"#);
    assert_eq!(counts(&Drawn::of(folder).unwrap()), shards);
    // Another job draws for the same pairs once more.
    write("other", &format!("{one}\n"));
    write("other.job", r#"{"job": "label", "seed": 2}"#);
    assert_eq!(counts(&Drawn::of(folder).unwrap())[1], [("law", 2), ("truth", 1)]);
}

#[test]
fn a_stage_that_is_under_way_has_a_journal() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let stages = ["critique_revision", "ai_feedback"].map(|stage| folder.join(stage));
    for stage in &stages {
        fs::create_dir(stage).unwrap();
    }
    fs::write(stages[0].join("revisions.jsonl"), trace("1", "kind") + "\n").unwrap();
    let journal = format!("{{\"journal\":1}}\n{}\n{{\"id\": \"2", label("1", "law"));
    fs::write(stages[1].join("labels.journal"), journal).unwrap();
    // What has finished is not counted twice.
    fs::write(stages[0].join("revisions.journal"), trace("1", "kind") + "\n").unwrap();
    let drawn = Drawn::of(folder).unwrap();
    assert_eq!(counts(&drawn), [vec![("kind", 2)], vec![("law", 1)]]);
}
