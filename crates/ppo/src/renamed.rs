//! A stage within a stage.

use training::{Error, Observe};

/// Hands everything on under another name of the stage.
pub(crate) struct Renamed<'a> {
    pub(crate) observe: &'a mut dyn Observe,
    pub(crate) stage: &'static str,
}

impl Observe for Renamed<'_> {
    fn start(&mut self, _stage: &str, steps: u64, done: u64) -> Result<(), Error> {
        self.observe.start(self.stage, steps, done)
    }

    fn record(&mut self, step: u64, metrics: &[(&str, f64)]) -> Result<(), Error> {
        self.observe.record(step, metrics)
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
