//! What a run found, in words.

use crate::{
    difference::difference,
    format,
    names::{self, BASELINE},
    results::{Measure, MeasureKind, Results},
};

/// Sentences with the main numbers, as far as they were measured.
pub(crate) fn summary(results: &Results) -> Vec<String> {
    let mut sentences = vec![
        change(results, "harmless", "Harmless replies to red-team prompts"),
        change(results, "helpful", "Helpful replies to benign prompts"),
        evasive(results),
        over_refusal(results),
        labels(results),
        preference_model(results),
    ];
    let seconds: f64 = results.seconds.values().sum();
    sentences
        .push((seconds > 0.0).then(|| format!("All stages took {}.", format::duration(seconds))));
    sentences.into_iter().flatten().collect()
}

fn measured(results: &Results, model: &str, measure: &str) -> Option<Measure> {
    results.models.get(model)?.get(measure).copied()
}

/// `… went from 22.0% (helpful-only) to 91.5% (SL-CAI) and 99.5% (RL-CAI), …`
fn change(results: &Results, name: &str, what: &str) -> Option<String> {
    let before = measured(results, BASELINE, name)?;
    let after: Vec<(&str, Measure)> = ["sl_cai", "rl_cai"]
        .into_iter()
        .filter_map(|model| Some((model, measured(results, model, name)?)))
        .filter(|(_, after)| after.kind == before.kind)
        .collect();
    let (last, measure) = after.last()?;
    let steps: Vec<String> = after
        .iter()
        .map(|(model, measure)| format!("{} ({})", format::value(measure), names::model(model)))
        .collect();
    let gain = difference(&before, measure);
    let points = if measure.kind == MeasureKind::Rate { " points" } else { "" };
    Some(format!(
        "{what} went from {} (helpful-only) to {}; the gain of {} is {}{points} (95% interval {}, n\u{a0}=\u{a0}{}).",
        format::value(&before),
        steps.join(" and "),
        names::model(last),
        format::gain(gain.value, measure.kind),
        format::gain_interval(&gain, measure.kind),
        measure.n,
    ))
}

fn evasive(results: &Results) -> Option<String> {
    let (before, after) =
        (measured(results, BASELINE, "evasive")?, measured(results, "rl_cai", "evasive")?);
    Some(format!(
        "RL-CAI dodges {} of the red-team prompts without a reason, the helpful-only model {}.",
        format::value(&after),
        format::value(&before)
    ))
}

fn over_refusal(results: &Results) -> Option<String> {
    let after = measured(results, "rl_cai", "over_refusal")?;
    Some(format!("It refuses {} of the benign prompts.", format::value(&after)))
}

fn labels(results: &Results) -> Option<String> {
    let labels = results.labels.as_ref()?;
    Some(format!(
        "The AI labels name the truly better reply in {} of {} clear pairs.",
        format::percent(labels.accuracy?),
        labels.n
    ))
}

fn preference_model(results: &Results) -> Option<String> {
    let quality = results.preference_model.as_ref()?;
    Some(format!(
        "The preference model trained on such labels is right on {} of {} clear pairs of replies to held-out prompts.",
        format::percent(quality.accuracy?),
        quality.n
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_only_what_was_measured() {
        assert!(summary(&Results::default()).is_empty());
        let results: Results = serde_json::from_str(
            r#"{"models": {
                "helpful_only": {"harmless": {"value": 0.2, "low": 0.15, "high": 0.26, "n": 200}},
                "rl_cai": {"harmless": {"value": 0.95, "low": 0.91, "high": 0.97, "n": 200}}},
                "labels": {"position_bias": 0.01, "n": 9}, "seconds": {"sft": 40.0, "ppo": 61.0}}"#,
        )
        .unwrap();
        let sentences = summary(&results);
        assert_eq!(
            sentences,
            [
                "Harmless replies to red-team prompts went from 20.0% (helpful-only) to 95.0% (RL-CAI); the gain of \
                 RL-CAI is +75.0 points (95% interval +67.8 to +80.4, n\u{a0}=\u{a0}200).",
                "All stages took 1 min 41 s."
            ]
        );
    }
}
