//! The plot of an experiment.

use super::Experiment;
use report::{Aggregate, ByCategory, Error, Measure, Series, Way, Ways, measure_title};

impl Experiment {
    /// Draws what was found, as an SVG file.
    ///
    /// # Errors
    /// [`Error::Plot`] if it cannot be drawn.
    pub fn picture(self, found: &report::Experiment) -> Result<String, Error> {
        match self {
            Self::Revisions | Self::Principles | Self::Labels | Self::ChainOfThought => {
                by_measure(self, found).draw()
            }
            Self::Critique => by_arm(self, found, "harmless").draw(),
            Self::TradeOff => ways(found).draw(),
        }
    }

    /// What the places along the arms, or the arms themselves, are called.
    fn label(self) -> &'static str {
        match self {
            Self::Revisions | Self::Critique => "Revisions",
            Self::Principles => "Principles",
            Self::Labels => "Labels of the preference model",
            Self::ChainOfThought => "Chain of thought",
            Self::TradeOff => "",
        }
    }
}

/// Every measure a series; the categories are places along the only arm, or the arms.
fn by_measure(experiment: Experiment, found: &report::Experiment) -> ByCategory {
    let along = experiment.along().is_some();
    let category = |row: &Aggregate| match row.at {
        Some(at) if along => at.to_string(),
        _ => row.arm.clone(),
    };
    let mut names: Vec<&String> = Vec::new();
    for name in found.rows.iter().flat_map(|row| row.measures.keys()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let series = |name: &String| Series {
        name: measure_title(name),
        measures: found.rows.iter().map(|row| row.measures.get(name).copied()).collect(),
    };
    ByCategory {
        about: found.title.clone(),
        label: experiment.label().to_owned(),
        categories: found.rows.iter().map(category).collect(),
        measure: "Share".to_owned(),
        series: names.into_iter().map(series).collect(),
        joined: along,
    }
}

/// Every arm a series of one measure; the categories are the places along them.
fn by_arm(experiment: Experiment, found: &report::Experiment, measure: &str) -> ByCategory {
    let mut places: Vec<u64> = found.rows.iter().filter_map(|row| row.at).collect();
    places.sort_unstable();
    places.dedup();
    let series = |name: &str| {
        let at = |place: &u64| -> Option<Measure> {
            let row = found.rows.iter().find(|row| row.arm == name && row.at == Some(*place));
            row?.measures.get(measure).copied()
        };
        Series { name: name.to_owned(), measures: places.iter().map(at).collect() }
    };
    ByCategory {
        about: found.title.clone(),
        label: experiment.label().to_owned(),
        categories: places.iter().map(u64::to_string).collect(),
        measure: format!("Replies that are {measure}"),
        series: arms(&found.rows).into_iter().map(series).collect(),
        joined: true,
    }
}

/// Every arm a way, from its first place to its last.
fn ways(found: &report::Experiment) -> Ways {
    let way = |name: &str| {
        let mut rows: Vec<&Aggregate> =
            found.rows.iter().chain(&found.way).filter(|row| row.arm == name).collect();
        rows.sort_by_key(|row| row.at);
        let point =
            |row: &Aggregate| Some([*row.measures.get("helpful")?, *row.measures.get("harmless")?]);
        Way { name: name.to_owned(), points: rows.into_iter().filter_map(point).collect() }
    };
    Ways {
        about: found.title.clone(),
        measures: ["Helpful replies to benign prompts", "Harmless replies to red-team prompts"]
            .map(str::to_owned),
        ways: arms(&found.rows).into_iter().map(way).collect(),
    }
}

/// The names of the arms, in the order of their rows.
fn arms(rows: &[Aggregate]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for row in rows {
        if !names.contains(&row.arm.as_str()) {
            names.push(&row.arm);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use report::Observation;

    /// The same share of every measure named, growing with the place, of three seeds.
    fn found(
        experiment: Experiment,
        arms: &[(&str, &[Option<u64>])],
        names: &[&str],
    ) -> report::Experiment {
        let mut observations = Vec::new();
        for (arm, places) in arms {
            for &at in *places {
                for seed in 1..=3 {
                    let share = 0.01 * (at.unwrap_or(0) + seed) as f64;
                    let values = names.iter().map(|&name| (name.to_owned(), share)).collect();
                    let arm = (*arm).to_owned();
                    observations.push(Observation { arm, run: String::new(), seed, at, values });
                }
            }
        }
        experiment.findings(observations, String::new())
    }

    #[test]
    fn measures_are_series_along_an_arm_or_over_arms() {
        let names = ["harmless", "label_accuracy"];
        let arms: [(&str, &[Option<u64>]); 1] = [("revised", &[Some(0), Some(1), Some(2)])];
        let picture =
            by_measure(Experiment::Revisions, &found(Experiment::Revisions, &arms, &names));
        assert_eq!(picture.categories, ["0", "1", "2"]);
        assert!(picture.joined);
        assert_eq!(picture.series[1].name, "Label accuracy");
        let value = picture.series[0].measures[2].unwrap().value;
        assert!((value - 0.04).abs() < 1e-12);

        let arms: [(&str, &[Option<u64>]); 2] = [("soft", &[None]), ("hard", &[None])];
        let picture = by_measure(Experiment::Labels, &found(Experiment::Labels, &arms, &names));
        assert_eq!(picture.categories, ["soft", "hard"]);
        assert!(!picture.joined);
    }

    #[test]
    fn arms_are_series_with_gaps_where_they_have_no_place() {
        let arms: [(&str, &[Option<u64>]); 2] =
            [("critique", &[Some(0), Some(1)]), ("direct", &[Some(0)])];
        let found = found(Experiment::Critique, &arms, &["harmless", "evasive"]);
        let picture = by_arm(Experiment::Critique, &found, "harmless");
        assert_eq!(picture.categories, ["0", "1"]);
        let gaps: Vec<bool> = picture.series[1].measures.iter().map(Option::is_none).collect();
        assert_eq!(gaps, [false, true]);
    }

    #[test]
    fn ways_are_in_their_order() {
        let arms: [(&str, &[Option<u64>]); 2] =
            [("SL-CAI", &[None]), ("RL-CAI", &[Some(0), Some(4), Some(28)])];
        let found = found(Experiment::TradeOff, &arms, &["harmless", "helpful"]);
        let picture = ways(&found);
        let lengths: Vec<usize> = picture.ways.iter().map(|way| way.points.len()).collect();
        assert_eq!(lengths, [1, 3]);
        for (point, expected) in picture.ways[1].points.iter().zip([0.02, 0.06, 0.30]) {
            assert!((point[0].value - expected).abs() < 1e-12, "{point:?}");
        }
    }

    #[test]
    fn every_experiment_has_a_picture() {
        for experiment in Experiment::ALL {
            let arms: [(&str, &[Option<u64>]); 1] = [("an arm", &[Some(1)])];
            let found = found(experiment, &arms, &["harmless", "helpful"]);
            let svg = experiment.picture(&found).unwrap();
            assert!(svg.contains(experiment.title()), "{experiment}");
        }
    }
}
