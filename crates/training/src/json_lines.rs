//! Metrics as one JSON object a step.

use crate::{Error, Observe};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Writes `{"step":1,"loss":2.5,…}` lines, one a step, each complete in the file before [`Observe::record`] returns.
///
/// A value that is not finite is written as `null`, since JSON has no word for it.
#[derive(Debug)]
pub struct JsonLines {
    path: PathBuf,
    file: File,
}

impl JsonLines {
    /// Creates `path`, or empties it.
    ///
    /// # Errors
    /// [`Error::Write`] if the file cannot be created.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref().to_owned();
        match File::create(&path) {
            Ok(file) => Ok(Self { path, file }),
            Err(source) => Err(Error::Write { path, source }),
        }
    }
}

impl Observe for JsonLines {
    fn start(&mut self, _stage: &str, _steps: u64, _done: u64) -> Result<(), Error> {
        Ok(())
    }

    fn record(&mut self, step: u64, metrics: &[(&str, f64)]) -> Result<(), Error> {
        let mut object = Map::with_capacity(metrics.len() + 1);
        object.insert("step".to_owned(), step.into());
        for &(name, value) in metrics {
            object.insert(name.to_owned(), value.into());
        }
        let line = format!("{}\n", Value::Object(object));
        // One write a line and no buffer: whoever reads along never sees half a step.
        self.file
            .write_all(line.as_bytes())
            .map_err(|source| Error::Write { path: self.path.clone(), source })
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.file.sync_data().map_err(|source| Error::Write { path: self.path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_one_object_a_step_in_the_order_given() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut lines = JsonLines::create(&path).unwrap();
        lines.start("sft", 2, 0).unwrap();
        lines.record(1, &[("loss", 2.5), ("accuracy", 0.0)]).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "{\"step\":1,\"loss\":2.5,\"accuracy\":0.0}\n"
        );
        lines.record(2, &[("loss", f64::NAN)]).unwrap();
        lines.finish().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().nth(1), Some("{\"step\":2,\"loss\":null}"));
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn names_the_file_that_cannot_be_created() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing").join("metrics.jsonl");
        let message = JsonLines::create(&path).unwrap_err().to_string();
        assert!(message.contains(&path.display().to_string()), "{message}");
    }
}
