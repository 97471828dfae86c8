//! The end of all asking once something has failed.

use ai_feedback::Judge;
use dialogue::Dialogue;
use language_model::{Choose, Completion, Error, Generate, Prompt, Sampling};
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether chunks may ask.
#[derive(Debug, Default)]
pub(crate) struct Stop(AtomicBool);

impl Stop {
    /// Lets no chunk ask any more; what is on its way is finished.
    pub(crate) fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn go_on(&self) -> Result<(), Error> {
        if self.0.load(Ordering::Relaxed) {
            return Err(Error::Model(Box::new(crate::Error::Stopping)));
        }
        Ok(())
    }
}

/// A model that is asked only until then.
pub(crate) struct Stoppable<'a> {
    pub(crate) model: &'a dyn Judge,
    pub(crate) stop: &'a Stop,
}

impl Generate for Stoppable<'_> {
    fn generate(&self, prompts: &[Prompt], sampling: &Sampling) -> Result<Vec<Completion>, Error> {
        self.stop.go_on()?;
        self.model.generate(prompts, sampling)
    }
}

impl Choose for Stoppable<'_> {
    fn choose(&self, prompts: &[Dialogue], options: &[&str]) -> Result<Vec<Vec<f64>>, Error> {
        self.stop.go_on()?;
        self.model.choose(prompts, options)
    }
}
