//! Stopping early: the weights of the lowest loss on what is held out.

use crate::Error;
use burn::tensor::backend::AutodiffBackend;
use training::{OptimizerConfig, State};
use transformer::{Decoder, Optimizer};

/// Values of a state.
const BEST_LOSS: &str = "best_loss";
const BEST_STEP: &str = "best_step";
const WITHOUT: &str = "measurements_without_lower_loss";

/// What the names of the files of the best weights begin with.
const BEST: &str = "best.";

/// The best weights so far, and how long nothing was better.
#[derive(Debug)]
pub(crate) struct Stopping<B: AutodiffBackend> {
    /// Measurements without a lower loss that end the training; nothing is remembered without it.
    patience: Option<u64>,
    best: Option<Best<B>>,
    without: u64,
}

#[derive(Debug)]
struct Best<B: AutodiffBackend> {
    decoder: Decoder<B>,
    loss: f64,
    step: u64,
}

impl<B: AutodiffBackend> Stopping<B> {
    pub(crate) fn new(patience: Option<u64>) -> Self {
        Self { patience, best: None, without: 0 }
    }

    /// Takes note of a loss.
    pub(crate) fn measured(&mut self, step: u64, loss: f64, decoder: &Decoder<B>) {
        if self.patience.is_none() {
            return;
        }
        if self.best.as_ref().is_some_and(|best| loss >= best.loss) {
            self.without += 1;
            return;
        }
        self.best = Some(Best { decoder: decoder.clone(), loss, step });
        self.without = 0;
    }

    pub(crate) fn is_over(&self) -> bool {
        self.patience.is_some_and(|patience| self.without >= patience)
    }

    /// The weights to give back, of `decoder` at the end of training or better ones, and a note if they are others.
    pub(crate) fn into_best(self, decoder: Decoder<B>) -> (Decoder<B>, Option<String>) {
        match self.best {
            Some(Best { decoder, loss, step }) if self.without > 0 => {
                let note = format!(
                    "the weights after step {step} are the result: their loss on what is held out is the lowest, \
                     {loss:.4}"
                );
                (decoder, Some(note))
            }
            _ => (decoder, None),
        }
    }

    /// Adds what is remembered to a state.
    pub(crate) fn save(&self, state: &mut State) -> Result<(), Error> {
        let Some(best) = &self.best else { return Ok(()) };
        // An optimiser that has taken no step writes the weights alone.
        let weights = Optimizer::new(&OptimizerConfig::default()).save(&best.decoder)?;
        let renamed =
            weights.files.into_iter().map(|(name, bytes)| (format!("{BEST}{name}"), bytes));
        state.files.extend(renamed);
        state.values.insert(BEST_LOSS.to_owned(), best.loss.into());
        state.values.insert(BEST_STEP.to_owned(), best.step.into());
        state.values.insert(WITHOUT.to_owned(), self.without.into());
        Ok(())
    }

    /// Takes what is remembered from a state; `decoder` says where its weights go.
    pub(crate) fn restore(&mut self, decoder: &Decoder<B>, state: &mut State) -> Result<(), Error> {
        let is_best = |(name, _): &mut (String, Vec<u8>)| name.starts_with(BEST);
        let files: Vec<(String, Vec<u8>)> = state.files.extract_if(.., is_best).collect();
        if files.is_empty() {
            return Ok(());
        }
        let renamed = files.into_iter().map(|(name, bytes)| (name[BEST.len()..].to_owned(), bytes));
        let mut weights = state.part(renamed.collect());
        let mut optimizer = Optimizer::new(&OptimizerConfig::default());
        let decoder = optimizer.restore(decoder.clone(), &mut weights)?;
        let (loss, step) = (state.value(BEST_LOSS)?, state.value(BEST_STEP)?);
        self.best = Some(Best { decoder, loss, step });
        self.without = state.value(WITHOUT)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{B, decoder, numbers};

    fn seen(patience: Option<u64>, losses: &[f64]) -> Stopping<B> {
        let mut stopping = Stopping::new(patience);
        for (step, &loss) in (1..).zip(losses) {
            assert!(!stopping.is_over());
            stopping.measured(step, loss, &decoder(step));
        }
        stopping
    }

    #[test]
    fn ends_after_so_many_measurements_without_a_lower_loss() {
        assert!(!seen(Some(2), &[1.0, 0.5, 0.7]).is_over());
        assert!(!seen(Some(2), &[1.0, 0.5, 0.7, 0.4, 0.9]).is_over());
        // An equal loss is not a lower one.
        assert!(seen(Some(2), &[1.0, 0.5, 0.7, 0.5]).is_over());
        assert!(!seen(None, &[1.0, 2.0, 3.0, 4.0]).is_over());
    }

    #[test]
    fn gives_the_best_weights_back() {
        let (best, note) = seen(Some(2), &[1.0, 0.5, 0.7]).into_best(decoder(9));
        assert_eq!(numbers(&best), numbers(&decoder(2)));
        assert!(note.unwrap().contains("step 2"));
        let (last, note) = seen(Some(2), &[1.0, 0.5]).into_best(decoder(2));
        assert_eq!((numbers(&last), note), (numbers(&decoder(2)), None));
        let (last, note) = seen(None, &[1.0, 2.0]).into_best(decoder(9));
        assert_eq!((numbers(&last), note), (numbers(&decoder(9)), None));
    }

    #[test]
    fn a_state_remembers_the_best_weights() {
        let mut state = State::default();
        seen(Some(2), &[1.0, 0.1 + 0.2, 0.7]).save(&mut state).unwrap();
        let mut restored = Stopping::new(Some(2));
        restored.restore(&decoder(9), &mut state).unwrap();
        restored.measured(4, 0.1 + 0.2, &decoder(4));
        assert!(restored.is_over());
        let (best, _) = restored.into_best(decoder(9));
        assert_eq!(numbers(&best), numbers(&decoder(2)));

        let mut nothing = State::default();
        seen(Some(2), &[]).save(&mut nothing).unwrap();
        assert_eq!(nothing, State::default());
        Stopping::<B>::new(Some(2)).restore(&decoder(9), &mut nothing).unwrap();
    }
}
