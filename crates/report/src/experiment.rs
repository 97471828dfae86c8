//! What the runs of an experiment found, over several seeds.

mod table;

use crate::results::{Measure, Measures};
use evals::MeanOverRuns;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// An experiment with everything that was measured: `NAME.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Its name on the command line.
    pub name: String,
    /// What it asks.
    pub title: String,
    /// The command that repeats it.
    pub command: String,
    /// What [`Observation::at`] counts; none if nothing is counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub along: Option<String>,
    /// The rows of its table.
    pub rows: Vec<Aggregate>,
    /// Points along reinforcement learning, between the rows of an arm; they have a table of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub way: Vec<Aggregate>,
    /// What was measured of every run.
    pub observations: Vec<Observation>,
}

/// What was measured of one run, at its end or somewhere along it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observation {
    /// What was varied, as tables and plots call it.
    pub arm: String,
    /// The name of the run's folder.
    pub run: String,
    /// The seed of the run.
    pub seed: u64,
    /// How far along the arm: revisions made, principles drawn from, iterations done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
    /// Shares from 0 to 1 by their names, in the order in which they are shown.
    pub values: IndexMap<String, f64>,
}

/// The same of all seeds together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aggregate {
    /// What was varied.
    pub arm: String,
    /// How far along the arm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
    /// Means over the seeds; `n` counts seeds.
    pub measures: Measures,
}

/// An arm, and how far along it.
type Place<'a> = (&'a str, Option<u64>);

/// The shares of all seeds, by their names.
type Shares<'a> = IndexMap<&'a str, Vec<f64>>;

/// Means over the seeds with Student's intervals at 95%, of every arm and place in the order of their first observation.
///
/// Intervals are cut to the numbers from 0 to 1 that a share can be. A share that fewer than two seeds have has no interval and
/// is left out.
pub fn aggregate(observations: &[Observation]) -> Vec<Aggregate> {
    let mut gathered: IndexMap<Place<'_>, Shares<'_>> = IndexMap::new();
    for Observation { arm, at, values, .. } in observations {
        let place = gathered.entry((arm, *at)).or_default();
        for (name, &value) in values {
            place.entry(name).or_default().push(value);
        }
    }
    let measure = |(name, values): (&str, Vec<f64>)| {
        let MeanOverRuns { value, low, high, n } = MeanOverRuns::of(&values)?;
        let [value, low, high] = [value, low, high].map(|share| share.clamp(0.0, 1.0));
        Some((name.to_owned(), Measure::rate(value, low, high, n)))
    };
    let aggregate = |((arm, at), shares): (Place<'_>, Shares<'_>)| {
        let measures = shares.into_iter().filter_map(measure).collect();
        Aggregate { arm: arm.to_owned(), at, measures }
    };
    gathered.into_iter().map(aggregate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observation(arm: &str, seed: u64, at: Option<u64>, values: &[(&str, f64)]) -> Observation {
        let values = values.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
        Observation { arm: arm.to_owned(), run: format!("{arm}-seed{seed}"), seed, at, values }
    }

    #[test]
    fn seeds_are_averaged_and_arms_and_places_are_not() {
        let found = aggregate(&[
            observation("hard", 1, Some(0), &[("harmless", 0.3), ("helpful", 0.9)]),
            observation("hard", 1, Some(1), &[("harmless", 1.0)]),
            observation("soft", 1, Some(0), &[("harmless", 0.6)]),
            observation("hard", 2, Some(0), &[("harmless", 0.5)]),
            observation("hard", 3, Some(0), &[("harmless", 0.7)]),
            observation("hard", 2, Some(1), &[("harmless", 0.8)]),
        ]);
        let places: Vec<_> = found.iter().map(|row| (row.arm.as_str(), row.at)).collect();
        assert_eq!(places, [("hard", Some(0)), ("hard", Some(1)), ("soft", Some(0))]);
        // A single seed has no interval.
        assert!(found[2].measures.is_empty() && !found[0].measures.contains_key("helpful"));
        let harmless = found[0].measures["harmless"];
        assert_eq!(harmless.n, 3);
        assert!((harmless.value - 0.5).abs() < 1e-12);
        // 4.302653 * 0.2 / sqrt(3) to each side.
        assert!((harmless.low - 0.003_173).abs() < 1e-5, "{harmless:?}");
        // Of two seeds the interval is wider than the shares there are.
        let last = found[1].measures["harmless"];
        assert_eq!(
            (last.low.to_bits(), last.high.to_bits()),
            (0.0_f64.to_bits(), 1.0_f64.to_bits())
        );
    }

    #[test]
    fn survives_the_disk() {
        let observations = vec![
            observation("hard", 1, None, &[("harmless", 0.25)]),
            observation("hard", 2, None, &[("harmless", 0.5)]),
        ];
        let experiment = Experiment {
            name: "labels".to_owned(),
            title: "Soft, hard and clamped labels".to_owned(),
            command: "rlaif experiment labels".to_owned(),
            along: None,
            rows: aggregate(&observations),
            way: Vec::new(),
            observations,
        };
        let text = serde_json::to_string(&experiment).unwrap();
        assert!(!text.contains("along") && !text.contains("way"), "{text}");
        assert_eq!(serde_json::from_str::<Experiment>(&text).unwrap(), experiment);
    }
}
