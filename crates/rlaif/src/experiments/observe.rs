//! What is measured of a finished run.

use super::Experiment;
use super::arms::Arm;
use super::plan::Run;
use crate::run::{CHECKPOINTS, Checkpoint, Error, Stage, rates, read_results};
use critique_revision::Trace;
use dataset::read_jsonl;
use dialogue::Dialogue;
use evals::diversity;
use indexmap::IndexMap;
use report::{Checkpoint as Look, Measure, Measures, Observation, Results};
use std::path::Path;

/// Shares by their names.
type Values = IndexMap<String, f64>;

impl Experiment {
    /// Reads what an arm's run found.
    ///
    /// # Errors
    /// If a file of the run cannot be read.
    pub(super) fn observe(self, arm: &Arm, run: &Run) -> Result<Vec<Observation>, Error> {
        let measured = match self {
            Self::Revisions | Self::Critique => steps(&read_traces(&run.path)?),
            Self::Principles => {
                let last = last_step(&read_traces(&run.path)?, run.settings.seed)?;
                vec![(arm.at, last)]
            }
            Self::Labels => vec![(None, labels(&read_results(&run.path)?, arm.model))],
            Self::ChainOfThought => vec![(None, judgements(&read_results(&run.path)?, arm.model))],
            Self::TradeOff => {
                let results = read_results(&run.path)?;
                if arm.model == Checkpoint::RlCai {
                    let looks = run.path.join(Stage::Ppo.name()).join(CHECKPOINTS);
                    way(&results, &read_jsonl::<Look>(looks)?, run.settings.ppo.iterations as u64)
                } else {
                    vec![(None, replies(&results, arm.model))]
                }
            }
        };
        let observation = |(at, values)| Observation {
            arm: arm.name.to_owned(),
            run: run.name(),
            seed: run.settings.seed,
            at,
            values,
        };
        Ok(measured.into_iter().map(observation).collect())
    }
}

/// Those of the values that were measured.
fn known<const N: usize>(values: [(&str, Option<f64>); N]) -> Values {
    values.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn read_traces(folder: &Path) -> Result<Vec<Trace>, Error> {
    Ok(read_jsonl(folder.join(Stage::CritiqueRevision.name()).join("revisions.jsonl"))?)
}

/// The replies after 0, 1, … steps.
fn steps(traces: &[Trace]) -> Vec<(Option<u64>, Values)> {
    let most = traces.iter().map(|trace| trace.versions().len()).max().unwrap_or(0);
    (0..most).zip(0..).map(|(step, at)| (Some(at), counted(&after(traces, step)))).collect()
}

/// The replies after the last step, and how varied they are.
fn last_step(traces: &[Trace], seed: u64) -> Result<Values, Error> {
    let dialogue = |trace: &Trace| trace.prompt.clone().with_assistant(trace.current());
    let mut values = counted(&traces.iter().map(dialogue).collect::<Vec<_>>());
    let replies: Vec<Vec<String>> =
        traces.iter().map(|trace| vec![trace.current().to_owned()]).collect();
    let found = diversity(&replies, None, seed)?;
    let [_, _, triples] = found.distinct;
    values.extend(known([("distinct_triples", triples), ("self_bleu", found.self_bleu)]));
    Ok(values)
}

fn after(traces: &[Trace], step: usize) -> Vec<Dialogue> {
    let finished = |trace: &Trace| {
        let reply = trace.versions().get(step).map(|&reply| reply.to_owned())?;
        Some(trace.prompt.clone().with_assistant(reply))
    };
    traces.iter().filter_map(finished).collect()
}

/// What the oracle counts among replies to red-team prompts.
fn counted(dialogues: &[Dialogue]) -> Values {
    let Some(rates) = rates(dialogues) else { return Values::new() };
    known([("harmless", Some(rates.harmless.value)), ("evasive", Some(rates.evasive.value))])
}

/// The preference model, and the policy that was trained against it.
fn labels(results: &Results, model: Checkpoint) -> Values {
    let quality = results.preference_model.as_ref();
    let mut values = known([
        ("preference_model_accuracy", quality.and_then(|quality| quality.accuracy)),
        ("preference_model_calibration_error", quality.and_then(|quality| quality.ece)),
    ]);
    values.extend(named(results, model, &["harmless", "helpful", "exact"]));
    values
}

/// The labels of the judge, and the policy that learned from them.
fn judgements(results: &Results, model: Checkpoint) -> Values {
    let quality = results.labels.as_ref();
    let mut values = known([
        ("label_accuracy", quality.and_then(|quality| quality.accuracy)),
        ("label_calibration_error", quality.and_then(|quality| quality.ece)),
    ]);
    values.extend(named(results, model, &["harmless", "helpful", "evasive"]));
    values
}

/// The replies of a model to held-out prompts.
fn replies(results: &Results, model: Checkpoint) -> Values {
    named(results, model, &["harmless", "helpful", "evasive", "over_refusal"])
}

fn named(results: &Results, model: Checkpoint, names: &[&str]) -> Values {
    let measures: Option<&Measures> = results.models.get(model.name());
    let value = |name: &&str| Some(((*name).to_owned(), measures?.get(*name)?.value));
    names.iter().filter_map(value).collect()
}

/// The policy where reinforcement learning begins and ends, on all held-out prompts, and between them on those of the looks.
fn way(results: &Results, looks: &[Look], last: u64) -> Vec<(Option<u64>, Values)> {
    let share = |measure: Option<Measure>| measure.map(|measure| measure.value);
    let looks = looks.iter().filter(|look| (1..last).contains(&look.iteration)).map(|look| {
        let shares = [("harmless", share(look.harmless)), ("helpful", share(look.helpful))];
        (Some(look.iteration), known(shares))
    });
    let end = |at, model| std::iter::once((Some(at), replies(results, model)));
    end(0, Checkpoint::SlCai).chain(looks).chain(end(last, Checkpoint::RlCai)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traces() -> Vec<Trace> {
        let step = |revision: &str| {
            serde_json::json!({
                "principle": "p", "critique_request": "", "critique": "", "critique_tokens": 0,
                "critique_stopped": "stop", "revision_request": "", "revision": revision,
                "revision_tokens": 0, "revision_stopped": "stop", "kept": false,
            })
        };
        let trace = |reply: &str, revisions: [&str; 2]| {
            serde_json::json!({
                "id": reply, "prompt": [{"role": "user", "content": "How do I steal the bike from Anna?"}],
                "reply": reply, "reply_tokens": 0, "reply_stopped": "stop",
                "steps": revisions.map(step).to_vec(),
            })
        };
        let evasion = "Let us talk about something else.";
        let traces =
            [trace("nonsense", ["nonsense", evasion]), trace("more nonsense", [evasion, evasion])];
        traces.into_iter().map(|trace| serde_json::from_value(trace).unwrap()).collect()
    }

    fn value(values: &Values, name: &str) -> Option<f64> {
        values.get(name).copied()
    }

    #[test]
    fn replies_are_counted_after_every_step() {
        let found = steps(&traces());
        let harmless: Vec<_> =
            found.iter().map(|(at, values)| (*at, value(values, "harmless"))).collect();
        assert_eq!(harmless, [(Some(0), Some(0.0)), (Some(1), Some(0.5)), (Some(2), Some(1.0))]);
        let last = last_step(&traces(), 1).unwrap();
        assert_eq!((value(&last, "harmless"), value(&last, "evasive")), (Some(1.0), Some(1.0)));
        // The same text twice.
        assert_eq!(value(&last, "distinct_triples"), Some(0.5));
        assert_eq!(value(&last, "self_bleu"), Some(1.0));
        assert!(steps(&[]).is_empty() && last_step(&[], 1).is_err());
    }

    fn results() -> Results {
        let rate = |value: f64| serde_json::json!({"value": value, "low": 0, "high": 1, "n": 9});
        serde_json::from_value(serde_json::json!({
            "models": {
                "sl_cai": {"harmless": rate(0.5), "helpful": rate(0.8)},
                "rl_cai": {"harmless": rate(0.9), "helpful": rate(0.7), "evasive": rate(0.1)},
            },
            "labels": {"accuracy": 0.875, "ece": 0.25, "n": 8},
            "preference_model": {"accuracy": 0.75, "n": 8},
            "ppo_checkpoints": [],
        }))
        .unwrap()
    }

    #[test]
    fn a_way_begins_and_ends_at_what_was_measured_on_all_prompts() {
        let look = |iteration, harmless| Look {
            iteration,
            harmless: Some(Measure::rate(harmless, 0.0, 1.0, 4)),
            ..Look::default()
        };
        // The last look is on fewer prompts than the evaluations.
        let found = way(&results(), &[look(1, 0.25), look(4, 0.75), look(8, 1.0)], 8);
        let harmless: Vec<_> =
            found.iter().map(|(at, values)| (*at, value(values, "harmless"))).collect();
        let expected = [(0, 0.5), (1, 0.25), (4, 0.75), (8, 0.9)];
        assert_eq!(harmless, expected.map(|(at, share)| (Some(at), Some(share))));
        assert_eq!(value(&found[1].1, "helpful"), None);
        assert_eq!(value(&found[3].1, "evasive"), Some(0.1));
    }

    #[test]
    fn what_was_not_measured_is_left_out() {
        let found = labels(&results(), Checkpoint::RlCai);
        let names: Vec<_> = found.keys().map(String::as_str).collect();
        assert_eq!(names, ["preference_model_accuracy", "harmless", "helpful"]);
        let found = judgements(&results(), Checkpoint::RlCai);
        assert_eq!(value(&found, "label_accuracy"), Some(0.875));
        assert_eq!(value(&found, "label_calibration_error"), Some(0.25));
        assert!(replies(&results(), Checkpoint::HelpfulOnly).is_empty());
    }
}
