//! The files of an experiment.

use super::Plan;
use crate::run::Error;
use dataset::write_atomic;
use std::path::PathBuf;

impl Plan {
    /// Writes `NAME.json`, `NAME.md` and `NAME.svg`; returns the path of the plot.
    ///
    /// # Errors
    /// If the plot cannot be drawn or a file cannot be written.
    pub fn write(&self, found: &report::Experiment) -> Result<PathBuf, Error> {
        self.make_folder()?;
        let path = |ending: &str| self.folder.join(format!("{}.{ending}", self.experiment.name()));
        let json = path("json");
        let text = serde_json::to_string_pretty(found)
            .map_err(|reason| dataset::Error::Encode { path: json.clone(), reason })?;
        write_atomic(json, format!("{text}\n").as_bytes())?;
        write_atomic(path("md"), found.markdown().as_bytes())?;
        let plot = path("svg");
        write_atomic(&plot, self.experiment.picture(found)?.as_bytes())?;
        Ok(plot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiments::Experiment;
    use report::Observation;

    #[test]
    fn three_files_are_written_and_the_numbers_come_back() {
        let runs = tempfile::tempdir().unwrap();
        let plan = Plan::new(Experiment::Labels, runs.path(), &[1, 2, 3], &[]).unwrap();
        let observation = |seed| Observation {
            arm: "soft".to_owned(),
            run: format!("defaults-seed{seed}"),
            seed,
            at: None,
            values: [("harmless".to_owned(), 0.125 * seed as f64)].into_iter().collect(),
        };
        let observations = [1, 2, 3].map(observation).to_vec();
        let found = plan.experiment.findings(observations, "rlaif experiment labels".to_owned());
        let plot = plan.write(&found).unwrap();
        assert_eq!(plot, runs.path().join("experiments/labels.svg"));
        assert!(std::fs::read_to_string(plot).unwrap().contains("<svg"));
        let read = |name: &str| std::fs::read_to_string(plan.folder.join(name)).unwrap();
        assert_eq!(
            serde_json::from_str::<report::Experiment>(&read("labels.json")).unwrap(),
            found
        );
        assert!(read("labels.md").contains("| soft | 25.0%"));
    }
}
