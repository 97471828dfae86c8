//! Where metrics go.

use crate::Error;

/// Watches a stage: start, one record a step, finish.
///
/// One observer may watch several stages, one after the other. `Vec<O>`, `Box<O>` and `&mut O` observe too, so
/// `vec![Box::new(progress) as Box<dyn Observe>, Box::new(json_lines)]` fans out.
pub trait Observe {
    /// A stage of `steps` steps begins.
    fn start(&mut self, stage: &str, steps: u64);

    /// Step `step`, counted from 1, is done; `metrics` are its names and values.
    ///
    /// Advances a progress bar to `step`. Names are lower-case words joined by underscores, the same at every
    /// step; `step` itself is not one of them.
    ///
    /// # Errors
    /// If the record cannot be written.
    fn record(&mut self, step: u64, metrics: &[(&str, f64)]) -> Result<(), Error>;

    /// The stage has ended well.
    ///
    /// # Errors
    /// If what is left cannot be written.
    fn finish(&mut self) -> Result<(), Error>;
}

/// Observes nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Silent;

impl Observe for Silent {
    fn start(&mut self, _stage: &str, _steps: u64) {}

    fn record(&mut self, _step: u64, _metrics: &[(&str, f64)]) -> Result<(), Error> {
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

impl<O: Observe + ?Sized> Observe for &mut O {
    fn start(&mut self, stage: &str, steps: u64) {
        (**self).start(stage, steps);
    }

    fn record(&mut self, step: u64, metrics: &[(&str, f64)]) -> Result<(), Error> {
        (**self).record(step, metrics)
    }

    fn finish(&mut self) -> Result<(), Error> {
        (**self).finish()
    }
}

impl<O: Observe + ?Sized> Observe for Box<O> {
    fn start(&mut self, stage: &str, steps: u64) {
        (**self).start(stage, steps);
    }

    fn record(&mut self, step: u64, metrics: &[(&str, f64)]) -> Result<(), Error> {
        (**self).record(step, metrics)
    }

    fn finish(&mut self) -> Result<(), Error> {
        (**self).finish()
    }
}

/// Hands everything to each in turn; the first error ends the round.
impl<O: Observe> Observe for Vec<O> {
    fn start(&mut self, stage: &str, steps: u64) {
        for observer in self {
            observer.start(stage, steps);
        }
    }

    fn record(&mut self, step: u64, metrics: &[(&str, f64)]) -> Result<(), Error> {
        self.iter_mut().try_for_each(|observer| observer.record(step, metrics))
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.iter_mut().try_for_each(Observe::finish)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Log(Vec<String>);

    impl Observe for Log {
        fn start(&mut self, stage: &str, steps: u64) {
            self.0.push(format!("start {stage} {steps}"));
        }

        fn record(&mut self, step: u64, metrics: &[(&str, f64)]) -> Result<(), Error> {
            self.0.push(format!("{step} {metrics:?}"));
            Ok(())
        }

        fn finish(&mut self) -> Result<(), Error> {
            self.0.push("finish".to_owned());
            Ok(())
        }
    }

    #[test]
    fn fans_out_to_each() {
        let (mut first, mut second) = (Log::default(), Log::default());
        {
            let mut all: Vec<Box<dyn Observe + '_>> =
                vec![Box::new(&mut first), Box::new(Silent), Box::new(&mut second)];
            let all: &mut dyn Observe = &mut all;
            all.start("sft", 1);
            all.record(1, &[("loss", 0.5)]).unwrap();
            all.finish().unwrap();
        }
        assert_eq!(first.0, ["start sft 1", "1 [(\"loss\", 0.5)]", "finish"]);
        assert_eq!(first.0, second.0);
    }
}
