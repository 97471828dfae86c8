//! What is told at the end of `rlaif revise`, `rlaif reply-pairs`, `rlaif label`, `rlaif requests` and `rlaif merge`.

use super::reliability::reliability;
use rlaif::ai_feedback::Summary;
use rlaif::critique_revision::RevisionSummary;
use rlaif::evals::Calibration;
use rlaif::jobs::{Done, Ended, Figures, Job, Merged, PairSummary, Report, RequestSummary};
use std::path::Path;

/// What came of a job.
pub(super) fn ending(done: &Done, job: &Job) -> String {
    let before = match done.before {
        0 => String::new(),
        before => format!(", {before} of them were there before"),
    };
    let repeated = match done.duplicates {
        0 => String::new(),
        rows => format!("{rows} rows repeat others and were left out\n"),
    };
    let equal = match done.equal {
        0 => String::new(),
        rows => format!("{rows} rows have the same reply twice and were left out\n"),
    };
    let rejected = match done.rejected {
        0 => String::new(),
        rows => format!("{rows} bad rows are in {}\n", job.rejects().display()),
    };
    let records = format!("{} records in {}{before}\n", done.report.records, job.out.display());
    records + &repeated + &equal + &rejected + &report(&done.report, &job.failures())
}

/// What came of a merge.
pub(super) fn merged(merged: &Merged, out: &Path) -> String {
    let Merged { report: found, parts } = merged;
    let failures = Job::new("", out).failures();
    format!("{} records of {parts} parts in {}\n", found.records, out.display())
        + &report(found, &failures)
}

fn report(report: &Report, failures: &Path) -> String {
    let failed = match report.failed {
        0 => String::new(),
        items => format!("{items} items failed and are in {}\n", failures.display()),
    };
    let figures = match &report.figures {
        Figures::Revisions(summary) => revisions(summary),
        Figures::Pairs(PairSummary { redrawn, truncated, .. }) => {
            format!("{redrawn} replies drawn again that were the same, {truncated} cut off\n")
        }
        Figures::Requests(summary) => requests(summary, report.items),
        Figures::Labels { labels, probed, truth, one_order } => {
            of_labels(labels)
                + &of_probes(*probed)
                + &of_truth(truth.as_ref())
                + &of_one_order(*one_order)
        }
    };
    failed + &figures
}

/// How often steps have gone wrong: in all that was drawn, and in what stands in the end.
fn revisions(summary: &RevisionSummary) -> String {
    let RevisionSummary { steps, found, left, redrawn, dropped, .. } = *summary;
    if steps == 0 {
        return String::new();
    }
    let rows = [
        ("critique is a revision", found.critique_is_revision, left.critique_is_revision),
        ("revision is a critique", found.revision_is_critique, left.revision_is_critique),
        ("empty revision", found.empty, left.empty),
        ("truncated revision", found.truncated, left.truncated),
        ("unchanged reply", found.unchanged, left.unchanged),
    ];
    let head = format!(
        "{steps} steps, {redrawn} texts drawn again, {dropped} steps dropped\n{:<26}{:>10}{:>10}{:>10}\n",
        "", "found", "left", "share"
    );
    let row = |(name, found, left): (&str, usize, usize)| {
        let share = 100.0 * left as f64 / steps as f64;
        format!("{name:<26}{found:>10}{left:>10}{share:>9.1}%\n")
    };
    head + &rows.map(row).concat()
}

/// Why it came to its end, and how good the continuations are.
fn requests(summary: &RequestSummary, calls: u64) -> String {
    let RequestSummary { ended, wanted, seeds, wordless_seeds, long_seeds, untagged, generation } =
        summary;
    let end = match ended {
        Ended::Count => format!("as many as asked for, after {calls} calls on {seeds} seeds\n"),
        Ended::MaxCalls => format!(
            "fewer than the {wanted} asked for: it ended after the {calls} calls that it may make (--max-calls), on {seeds} seeds\n"
        ),
    };
    let counted = |count: u64, what: &str| match count {
        0 => String::new(),
        count => format!("{count} {what}\n"),
    };
    let wordless = counted(*wordless_seeds, "seeds have no letter or digit and were left out");
    let long = counted(*long_seeds, "seeds are longer than a request may be and were left out");
    let untagged = counted(*untagged as u64, "requests have no tag, since the model refuses them");
    let left_out = &generation.left_out;
    let rows = [
        ("validity", generation.validity),
        ("novelty", generation.novelty),
        ("nearest seed, mean", generation.mean_nearest_seed),
        ("requests a line", generation.yield_share),
        ("duplicates", Some(left_out.duplicate)),
        ("near a seed", Some(left_out.near_seed)),
        ("near another request", Some(left_out.near_request)),
    ];
    let row = |(name, value): (&str, Option<f64>)| {
        value.map(|value| format!("{name:<26}{value:>10.4}\n")).unwrap_or_default()
    };
    end + &wordless + &long + &untagged + &rows.map(row).concat()
}

fn of_labels(summary: &Summary) -> String {
    let rows = [
        ("position bias", summary.position_bias),
        ("consistency, orders", summary.order_consistency),
        ("consistency, principles", summary.principle_consistency),
        ("entropy (nats)", summary.entropy),
        ("entropy before the clamp", summary.unclamped_entropy),
    ];
    let row = |(name, value): (&str, Option<f64>)| {
        value.map(|value| format!("{name:<26}{value:>10.4}\n")).unwrap_or_default()
    };
    rows.map(row).concat()
}

fn of_probes(labels: u64) -> String {
    match labels {
        0 => String::new(),
        labels => {
            format!("{labels} pairs were asked about once more, to compare orders and principles\n")
        }
    }
}

fn of_truth(truth: Option<&Calibration>) -> String {
    let Some(found) = truth else { return String::new() };
    format!(
        "{:<26}{}\n{:<26}{:>10.4}\n\n{}",
        "agreement with the input",
        found.accuracy,
        "calibration error (ECE)",
        found.expected_calibration_error,
        reliability(&found.bins)
    )
}

fn of_one_order(labels: u64) -> String {
    match labels {
        0 => String::new(),
        labels => format!(
            "{labels} labels are not compared with the input: asked in one order, a judge that always takes the reply shown \
             first would agree wherever that is the better one\n"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlaif::critique_revision::FailureCounts;
    use rlaif::evals::Forecast;

    fn done(figures: Figures, failed: u64) -> Done {
        let report = Report { items: 10 + failed, records: 10, failed, figures };
        Done { report, before: 4, duplicates: 2, rejected: 1, equal: 5, calls: 9, tokens: 9 }
    }

    #[test]
    fn a_job_ends_with_all_that_was_left_out_and_why() {
        let found = FailureCounts { empty: 5, ..FailureCounts::default() };
        let left = FailureCounts { empty: 1, ..FailureCounts::default() };
        let summary = RevisionSummary { steps: 20, found, left, ..RevisionSummary::default() };
        let text = ending(&done(Figures::Revisions(summary), 3), &Job::new("in", "out"));
        for part in [
            "10 records in out, 4 of them were there before",
            "2 rows repeat others",
            "5 rows have the same reply twice",
            "1 bad rows are in out.rejects.jsonl",
            "3 items failed and are in out.failures.jsonl",
            "20 steps",
        ] {
            assert!(text.contains(part), "`{part}` is missing in: {text}");
        }
        let row = text.lines().find(|line| line.starts_with("empty revision")).unwrap();
        assert_eq!(row.split_whitespace().collect::<Vec<_>>()[2..], ["5", "1", "5.0%"]);
    }

    #[test]
    fn new_requests_end_with_why_and_how_good_they_are() {
        let generation = red_team::Figures {
            requests: 10,
            lines: 40,
            validity: Some(0.5),
            novelty: Some(0.25),
            ..Default::default()
        };
        let summary = RequestSummary {
            ended: Ended::MaxCalls,
            wanted: 30,
            seeds: 12,
            wordless_seeds: 1,
            long_seeds: 3,
            untagged: 2,
            generation,
        };
        let text = |summary: &RequestSummary| {
            ending(&done(Figures::Requests(summary.clone()), 3), &Job::new("in", "out"))
        };
        let fewer = text(&summary);
        for part in [
            "10 records in out",
            "fewer than the 30 asked for: it ended after the 13 calls",
            "on 12 seeds",
            "1 seeds have no letter",
            "3 seeds are longer",
            "2 requests have no tag",
        ] {
            assert!(fewer.contains(part), "`{part}` is missing in: {fewer}");
        }
        let row = fewer.lines().find(|line| line.starts_with("novelty")).unwrap();
        assert!(row.ends_with(" 0.2500"), "{row}");
        let enough =
            RequestSummary { ended: Ended::Count, wordless_seeds: 0, long_seeds: 0, ..summary };
        let enough = text(&enough);
        assert!(enough.contains("as many as asked for, after 13 calls"), "{enough}");
        assert!(!enough.contains("no letter") && !enough.contains("longer"), "{enough}");
    }

    #[test]
    fn a_judge_is_told_by_what_is_known_of_it() {
        let labels = Summary { labels: 10, entropy: Some(0.5), ..Summary::default() };
        let text = ending(
            &done(Figures::Labels { labels, probed: 0, truth: None, one_order: 0 }, 0),
            &Job::new("in", "out"),
        );
        assert!(text.contains("entropy (nats)") && !text.contains("position bias"), "{text}");
        for part in ["failed", "agreement", "one order", "once more"] {
            assert!(!text.contains(part), "{text}");
        }
        let figures = Figures::Labels { labels, probed: 3, truth: None, one_order: 7 };
        let text = ending(&done(figures, 0), &Job::new("in", "out"));
        assert!(text.contains("7 labels are not compared") && text.contains("one order"), "{text}");
        assert!(text.contains("3 pairs were asked about once more"), "{text}");

        let forecasts = [Forecast::new(0.9, 1.0).unwrap(), Forecast::new(0.9, 0.0).unwrap()];
        let truth = Calibration::of(&forecasts);
        let figures = Figures::Labels { labels, probed: 0, truth, one_order: 0 };
        let text = ending(&done(figures, 0), &Job::new("in", "out"));
        assert!(text.contains("agreement with the input") && text.contains("predicted"), "{text}");
        assert!(text.ends_with("0.9 to 1.0           2       0.900       0.500\n"), "{text}");
    }
}
