//! The experiments.

use crate::run::Stage;
use report::{Aggregate, Observation, aggregate};
use std::fmt;
use std::str::FromStr;

/// A question of the paper that the embedded world can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Experiment {
    /// Replies after 0, 1, … revisions (section 3.4, figure 5).
    Revisions,
    /// Critiques before revisions against direct revisions (section 3.5, figure 7).
    Critique,
    /// The number of principles that are drawn from (section 3.4, figure 6).
    Principles,
    /// Soft, hard and clamped labels of the preference model (section 4.1).
    Labels,
    /// Labels with and without a chain of thought (section 4.1).
    ChainOfThought,
    /// Helpfulness against harmlessness along reinforcement learning (figures 2 and 8).
    TradeOff,
}

/// The name of no experiment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no experiment {name:?}; there are {}", Experiment::ALL.map(Experiment::name).join(", "))]
pub struct UnknownExperiment {
    /// The name.
    pub name: String,
}

impl Experiment {
    /// Every experiment, in the order of the paper.
    pub const ALL: [Self; 6] = [
        Self::Revisions,
        Self::Critique,
        Self::Principles,
        Self::Labels,
        Self::ChainOfThought,
        Self::TradeOff,
    ];

    /// Its name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Revisions => "revisions",
            Self::Critique => "critique",
            Self::Principles => "principles",
            Self::Labels => "labels",
            Self::ChainOfThought => "chain-of-thought",
            Self::TradeOff => "trade-off",
        }
    }

    /// What it shows.
    pub fn title(self) -> &'static str {
        match self {
            Self::Revisions => "Replies to red-team prompts by number of revisions",
            Self::Critique => "Critique and revision against direct revision",
            Self::Principles => "Revised replies by number of principles to draw from",
            Self::Labels => "Soft, hard and clamped labels",
            Self::ChainOfThought => "Labels with and without a chain of thought",
            Self::TradeOff => "Helpfulness against harmlessness along reinforcement learning",
        }
    }

    /// What [`report::Observation::at`] counts.
    pub fn along(self) -> Option<&'static str> {
        match self {
            Self::Revisions | Self::Critique => Some("revisions"),
            Self::Principles => Some("principles"),
            Self::Labels | Self::ChainOfThought => None,
            Self::TradeOff => Some("iterations"),
        }
    }

    /// The last stage of its runs; what comes after it is not measured.
    pub fn last_stage(self) -> Stage {
        match self {
            Self::Revisions | Self::Critique | Self::Principles => Stage::CritiqueRevision,
            Self::Labels | Self::ChainOfThought | Self::TradeOff => Stage::Evals,
        }
    }

    /// Everything that was found, from what was measured of every run.
    pub fn findings(self, observations: Vec<Observation>, command: String) -> report::Experiment {
        let all = aggregate(&observations);
        let (rows, way) = if self == Self::TradeOff { ends(all) } else { (all, Vec::new()) };
        report::Experiment {
            name: self.name().to_owned(),
            title: self.title().to_owned(),
            command,
            along: self.along().map(str::to_owned),
            rows,
            way,
            observations,
        }
    }
}

/// The first and the last of the rows of each arm, and all between them.
fn ends(rows: Vec<Aggregate>) -> (Vec<Aggregate>, Vec<Aggregate>) {
    let is_end = |place: usize| {
        let other = |row: &Aggregate| row.arm != rows[place].arm;
        rows[..place].iter().all(other) || rows[place + 1..].iter().all(other)
    };
    let are_ends: Vec<bool> = (0..rows.len()).map(is_end).collect();
    let (ends, way): (Vec<_>, Vec<_>) =
        rows.into_iter().zip(are_ends).partition(|(_, is_end)| *is_end);
    let rows = |marked: Vec<(Aggregate, bool)>| -> Vec<Aggregate> {
        marked.into_iter().map(|(row, _)| row).collect()
    };
    (rows(ends), rows(way))
}

impl FromStr for Experiment {
    type Err = UnknownExperiment;

    fn from_str(name: &str) -> Result<Self, UnknownExperiment> {
        let known = Self::ALL.into_iter().find(|experiment| experiment.name() == name);
        known.ok_or_else(|| UnknownExperiment { name: name.to_owned() })
    }
}

impl fmt::Display for Experiment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_refused() {
        for experiment in Experiment::ALL {
            assert_eq!(experiment.to_string().parse::<Experiment>(), Ok(experiment));
        }
        let message = "labels2".parse::<Experiment>().unwrap_err().to_string();
        assert!(
            message.contains("\"labels2\"") && message.contains("chain-of-thought"),
            "{message}"
        );
    }

    #[test]
    fn the_table_of_a_way_shows_its_ends() {
        let observation = |arm: &str, seed, at, harmless| Observation {
            arm: arm.to_owned(),
            run: format!("{arm}-seed{seed}"),
            seed,
            at,
            values: [("harmless".to_owned(), harmless)].into_iter().collect(),
        };
        let mut observations = Vec::new();
        for seed in 1..=3 {
            observations.push(observation("SL-CAI", seed, None, 0.5));
            observations.push(observation("RL-CAI", seed, Some(0), 0.5));
            observations.push(observation("RL-CAI", seed, Some(4), 0.6));
            observations.push(observation("RL-CAI", seed, Some(8), 0.7));
            observations.push(observation("RL-CAI", seed, Some(28), 0.9));
        }
        let places = |rows: &[Aggregate]| -> Vec<(String, Option<u64>)> {
            rows.iter().map(|row| (row.arm.clone(), row.at)).collect()
        };
        let found = Experiment::TradeOff.findings(observations.clone(), String::new());
        let policy = |at| ("RL-CAI".to_owned(), Some(at));
        assert_eq!(places(&found.rows), [("SL-CAI".to_owned(), None), policy(0), policy(28)]);
        assert_eq!(places(&found.way), [policy(4), policy(8)]);
        let found = Experiment::Revisions.findings(observations, String::new());
        assert_eq!((found.rows.len(), found.way.len()), (5, 0));
    }
}
