//! The table of an experiment.

use super::{Aggregate, Experiment};
use crate::{
    format, names,
    results::Measure,
    text::{aligned, markdown},
};

impl Experiment {
    /// The table as plain text for a terminal: every measure with its 95% interval over the seeds.
    pub fn table(&self) -> String {
        format!("{}\n\n{}{}\n", self.title, aligned(&self.lines()), self.about_intervals())
    }

    /// The table as Markdown, with the command that makes it.
    pub fn markdown(&self) -> String {
        format!(
            "# {}\n\n```sh\n{}\n```\n\n{}\n{}\n",
            self.title,
            self.command,
            markdown(&self.lines()),
            self.about_intervals()
        )
    }

    fn about_intervals(&self) -> String {
        let mut seeds: Vec<u64> = self.observations.iter().map(|found| found.seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
        format!(
            "Means over the seeds {}, in parentheses their 95% intervals (Student's t).",
            seeds.join(", ")
        )
    }

    /// A line a row behind the head, of as many cells as this.
    fn lines(&self) -> Vec<Vec<String>> {
        let mut measures: Vec<&str> = Vec::new();
        for name in self.rows.iter().flat_map(|row| row.measures.keys()) {
            if !measures.contains(&name.as_str()) {
                measures.push(name);
            }
        }
        let along = self.along.as_deref();
        let mut head = vec![String::new()];
        head.extend(along.map(names::plain));
        head.extend(measures.iter().map(|name| names::measure_title(name)));
        let line = |row: &Aggregate| {
            let mut line = vec![row.arm.clone()];
            line.extend(along.map(|_| row.at.map_or_else(dash, |at| at.to_string())));
            let cell = |name: &&str| row.measures.get(*name).map_or_else(dash, cell);
            line.extend(measures.iter().map(cell));
            line
        };
        std::iter::once(head).chain(self.rows.iter().map(line)).collect()
    }
}

fn cell(measure: &Measure) -> String {
    format!("{} ({})", format::value(measure), format::interval(measure))
}

fn dash() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::Observation;
    use super::*;
    use crate::results::Measures;

    fn row(arm: &str, at: Option<u64>, measures: &[(&str, f64)]) -> Aggregate {
        let measure = |&(name, value): &(&str, f64)| {
            (name.to_owned(), Measure::rate(value, value - 0.1, value + 0.1, 3))
        };
        let measures: Measures = measures.iter().map(measure).collect();
        Aggregate { arm: arm.to_owned(), at, measures }
    }

    fn experiment() -> Experiment {
        let observation = |seed| Observation {
            arm: "RL-CAI".to_owned(),
            run: String::new(),
            seed,
            at: None,
            values: [].into_iter().collect(),
        };
        Experiment {
            name: "trade-off".to_owned(),
            title: "Help and harm".to_owned(),
            command: "rlaif experiment trade-off".to_owned(),
            along: Some("iterations".to_owned()),
            rows: vec![
                row("Helpful-only", None, &[("harmless", 0.25)]),
                row("RL-CAI", Some(28), &[("harmless", 0.5), ("label_accuracy", 0.75)]),
            ],
            way: Vec::new(),
            observations: [3, 1, 3, 2].map(observation).to_vec(),
        }
    }

    #[test]
    fn is_aligned_and_shows_gaps() {
        let expected = [
            "Help and harm",
            "",
            "              Iterations  Harmless              Label accuracy",
            "Helpful-only  -           25.0% (15.0 to 35.0)  -",
            "RL-CAI        28          50.0% (40.0 to 60.0)  75.0% (65.0 to 85.0)",
            "Means over the seeds 1, 2, 3, in parentheses their 95% intervals (Student's t).",
        ];
        assert_eq!(experiment().table().lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn markdown_brings_its_command() {
        let text = experiment().markdown();
        assert!(text.contains("```sh\nrlaif experiment trade-off\n```"), "{text}");
        assert!(text.contains("| Helpful-only | - | 25.0% (15.0 to 35.0) | - |"), "{text}");
        let unmeasured = Experiment { along: None, rows: Vec::new(), ..experiment() };
        assert!(unmeasured.table().contains("Means over"));
    }
}
