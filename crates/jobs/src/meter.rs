//! What a job asks of its model.

use ai_feedback::Judge;
use dialogue::Dialogue;
use language_model::{Choose, Completion, Error, Generate, Prompt, Sampling};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counts calls and tokens over all chunks, and ends the asking once something has failed.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    calls: AtomicU64,
    tokens: AtomicU64,
    stopping: AtomicBool,
}

impl Meter {
    /// Prompts that were answered.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Tokens of the replies that were drawn.
    pub(crate) fn tokens(&self) -> u64 {
        self.tokens.load(Ordering::Relaxed)
    }

    /// Lets no chunk ask any more; what is on its way is finished.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    fn go_on(&self) -> Result<(), Error> {
        if self.stopping.load(Ordering::Relaxed) {
            return Err(Error::Model(Box::new(crate::Error::Stopping)));
        }
        Ok(())
    }
}

/// A model whose calls are counted.
pub(crate) struct Metered<'a> {
    pub(crate) model: &'a dyn Judge,
    pub(crate) meter: &'a Meter,
}

impl Generate for Metered<'_> {
    fn generate(&self, prompts: &[Prompt], sampling: &Sampling) -> Result<Vec<Completion>, Error> {
        self.meter.go_on()?;
        let completions = self.model.generate(prompts, sampling)?;
        let tokens: u64 = completions.iter().map(|completion| completion.tokens as u64).sum();
        self.meter.calls.fetch_add(prompts.len() as u64, Ordering::Relaxed);
        self.meter.tokens.fetch_add(tokens, Ordering::Relaxed);
        Ok(completions)
    }
}

impl Choose for Metered<'_> {
    fn choose(&self, prompts: &[Dialogue], options: &[&str]) -> Result<Vec<Vec<f64>>, Error> {
        self.meter.go_on()?;
        let rows = self.model.choose(prompts, options)?;
        self.meter.calls.fetch_add(prompts.len() as u64, Ordering::Relaxed);
        Ok(rows)
    }
}
