//! Numbers that a stage adds to the records of a crate.

use training::{Error, Observe};

/// Adds the same numbers to every record.
pub(super) struct WithCounts<'a> {
    pub(super) observe: &'a mut dyn Observe,
    /// Names and values.
    pub(super) counts: Vec<(&'static str, f64)>,
}

impl Observe for WithCounts<'_> {
    fn start(&mut self, stage: &str, steps: u64, done: u64) -> Result<(), Error> {
        self.observe.start(stage, steps, done)
    }

    fn record(&mut self, step: u64, metrics: &[(&str, f64)]) -> Result<(), Error> {
        let mut all = metrics.to_vec();
        all.extend(self.counts.iter().copied());
        self.observe.record(step, &all)
    }

    fn text(&mut self, step: u64, name: &str, text: &str) -> Result<(), Error> {
        self.observe.text(step, name, text)
    }

    fn note(&mut self, message: &str) {
        self.observe.note(message);
    }

    fn notes(&mut self) -> Vec<String> {
        self.observe.notes()
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.observe.sync()
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.observe.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use training::JsonLines;

    #[test]
    fn every_record_holds_the_counts_behind_its_own_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut lines = JsonLines::create(&path).unwrap();
        let counts = vec![("ptx_overlong", 3.0)];
        let mut observe = WithCounts { observe: &mut lines, counts };
        observe.start("ppo", 2, 0).unwrap();
        for step in [1, 2] {
            observe.record(step, &[("score_mean", 0.5)]).unwrap();
        }
        observe.finish().unwrap();
        let written = fs::read_to_string(&path).unwrap();
        let records: Vec<serde_json::Value> =
            written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(records.len(), 2);
        for record in records {
            assert_eq!(record["score_mean"].as_f64(), Some(0.5));
            assert_eq!(record["ptx_overlong"].as_f64(), Some(3.0));
        }
    }
}
