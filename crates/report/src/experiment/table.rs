//! The table of an experiment.

use super::{Aggregate, Experiment};
use crate::{
    format, names,
    results::Measure,
    text::{aligned, markdown},
};

/// What stands over the table of [`Experiment::way`].
const WAY: &str = "Along reinforcement learning";

impl Experiment {
    /// The table as plain text for a terminal: every measure with its 95% interval over the seeds. Behind it comes that of the
    /// points between its rows, if there are any.
    pub fn table(&self) -> String {
        let way = if self.way.is_empty() {
            String::new()
        } else {
            format!("\n{WAY}:\n\n{}\n", aligned(&self.lines(&self.way)))
        };
        let rows = aligned(&self.lines(&self.rows));
        format!("{}\n\n{rows}{way}{}\n", self.title, self.about_intervals())
    }

    /// The same as Markdown, with the command that makes it.
    pub fn markdown(&self) -> String {
        let way = if self.way.is_empty() {
            String::new()
        } else {
            format!("## {WAY}\n\n{}\n", markdown(&self.lines(&self.way)))
        };
        format!(
            "# {}\n\n```sh\n{}\n```\n\n{}\n{way}{}\n",
            self.title,
            self.command,
            markdown(&self.lines(&self.rows)),
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
    fn lines(&self, rows: &[Aggregate]) -> Vec<Vec<String>> {
        let mut measures: Vec<&str> = Vec::new();
        for name in rows.iter().flat_map(|row| row.measures.keys()) {
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
        std::iter::once(head).chain(rows.iter().map(line)).collect()
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
    fn points_between_the_rows_have_a_table_of_their_own() {
        let way = vec![row("RL-CAI", Some(4), &[("harmless", 0.25)])];
        let found = Experiment { way, ..experiment() };
        let table = found.table();
        let expected = [
            "RL-CAI        28          50.0% (40.0 to 60.0)  75.0% (65.0 to 85.0)",
            "",
            "Along reinforcement learning:",
            "",
            "        Iterations  Harmless",
            "RL-CAI  4           25.0% (15.0 to 35.0)",
            "",
            "Means over the seeds 1, 2, 3, in parentheses their 95% intervals (Student's t).",
        ];
        assert_eq!(table.lines().skip(4).collect::<Vec<_>>(), expected);
        let text = found.markdown();
        let way = "\n\n## Along reinforcement learning\n\n|  | Iterations | Harmless |\n|---|---|---|\n| RL-CAI | 4 | 25.0%";
        assert!(text.contains(way) && text.contains("\n\nMeans over"), "{text}");
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
