//! Where metrics go.

use crate::Error;

/// Watches a stage: start, one record a step, finish; now and then a text or a note for a person.
///
/// One observer may watch several stages, one after the other. `Vec<O>`, `Box<O>` and `&mut O` observe too, so
/// `vec![Box::new(progress) as Box<dyn Observe>, Box::new(json_lines)]` fans out.
pub trait Observe {
    /// A stage of `steps` steps begins; `done` of them were taken by a process that has ended.
    ///
    /// What was recorded of later steps is forgotten: they are taken again.
    ///
    /// # Errors
    /// If what was recorded before cannot be read, or nothing can be written.
    fn start(&mut self, stage: &str, steps: u64, done: u64) -> Result<(), Error>;

    /// Step `step`, counted from 1, is done; `metrics` are its names and values.
    ///
    /// Advances a progress bar to `step`. Names are lower-case words joined by underscores, the same at every step but for
    /// what is measured now and then; `step` itself is not one of them.
    ///
    /// # Errors
    /// If the record cannot be written.
    fn record(&mut self, step: u64, metrics: &[(&str, f64)]) -> Result<(), Error>;

    /// A text of step `step`, such as a sample of what a model says; `name` as in a record.
    ///
    /// # Errors
    /// If it cannot be written.
    fn text(&mut self, step: u64, name: &str, text: &str) -> Result<(), Error> {
        let _ = (step, name, text);
        Ok(())
    }

    /// Something that a person should read: what was skipped, what looks wrong and what to do about it.
    fn note(&mut self, message: &str) {
        let _ = message;
    }

    /// What this observer has to tell a person itself, each thing once; [`start_stage`] hands it to [`Observe::note`] of all
    /// when a stage has begun.
    fn notes(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Brings everything recorded to the disk; called before the state of the stage is saved.
    ///
    /// # Errors
    /// If it cannot be written.
    fn sync(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// The stage has ended well.
    ///
    /// # Errors
    /// If what is left cannot be written.
    fn finish(&mut self) -> Result<(), Error>;
}

/// Tells all who watch that a stage begins or goes on, and then what one of them has to tell, see [`Observe::notes`].
///
/// # Errors
/// Those of [`Observe::start`].
pub fn start_stage(
    observe: &mut dyn Observe,
    stage: &str,
    steps: u64,
    done: u64,
) -> Result<(), Error> {
    observe.start(stage, steps, done)?;
    for note in observe.notes() {
        observe.note(&note);
    }
    Ok(())
}

/// Observes nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Silent;

impl Observe for Silent {
    fn start(&mut self, _stage: &str, _steps: u64, _done: u64) -> Result<(), Error> {
        Ok(())
    }

    fn record(&mut self, _step: u64, _metrics: &[(&str, f64)]) -> Result<(), Error> {
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

impl<O: Observe + ?Sized> Observe for &mut O {
    fn start(&mut self, stage: &str, steps: u64, done: u64) -> Result<(), Error> {
        (**self).start(stage, steps, done)
    }

    fn record(&mut self, step: u64, metrics: &[(&str, f64)]) -> Result<(), Error> {
        (**self).record(step, metrics)
    }

    fn text(&mut self, step: u64, name: &str, text: &str) -> Result<(), Error> {
        (**self).text(step, name, text)
    }

    fn note(&mut self, message: &str) {
        (**self).note(message);
    }

    fn notes(&mut self) -> Vec<String> {
        (**self).notes()
    }

    fn sync(&mut self) -> Result<(), Error> {
        (**self).sync()
    }

    fn finish(&mut self) -> Result<(), Error> {
        (**self).finish()
    }
}

impl<O: Observe + ?Sized> Observe for Box<O> {
    fn start(&mut self, stage: &str, steps: u64, done: u64) -> Result<(), Error> {
        (**self).start(stage, steps, done)
    }

    fn record(&mut self, step: u64, metrics: &[(&str, f64)]) -> Result<(), Error> {
        (**self).record(step, metrics)
    }

    fn text(&mut self, step: u64, name: &str, text: &str) -> Result<(), Error> {
        (**self).text(step, name, text)
    }

    fn note(&mut self, message: &str) {
        (**self).note(message);
    }

    fn notes(&mut self) -> Vec<String> {
        (**self).notes()
    }

    fn sync(&mut self) -> Result<(), Error> {
        (**self).sync()
    }

    fn finish(&mut self) -> Result<(), Error> {
        (**self).finish()
    }
}

/// Hands everything to each in turn; the first error ends the round.
impl<O: Observe> Observe for Vec<O> {
    fn start(&mut self, stage: &str, steps: u64, done: u64) -> Result<(), Error> {
        self.iter_mut().try_for_each(|observer| observer.start(stage, steps, done))
    }

    fn record(&mut self, step: u64, metrics: &[(&str, f64)]) -> Result<(), Error> {
        self.iter_mut().try_for_each(|observer| observer.record(step, metrics))
    }

    fn text(&mut self, step: u64, name: &str, text: &str) -> Result<(), Error> {
        self.iter_mut().try_for_each(|observer| observer.text(step, name, text))
    }

    fn note(&mut self, message: &str) {
        for observer in self {
            observer.note(message);
        }
    }

    fn notes(&mut self) -> Vec<String> {
        self.iter_mut().flat_map(Observe::notes).collect()
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.iter_mut().try_for_each(Observe::sync)
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
        fn start(&mut self, stage: &str, steps: u64, done: u64) -> Result<(), Error> {
            self.0.push(format!("start {stage} {done}/{steps}"));
            Ok(())
        }

        fn record(&mut self, step: u64, metrics: &[(&str, f64)]) -> Result<(), Error> {
            self.0.push(format!("{step} {metrics:?}"));
            Ok(())
        }

        fn text(&mut self, step: u64, name: &str, text: &str) -> Result<(), Error> {
            self.0.push(format!("{step} {name} {text}"));
            Ok(())
        }

        fn note(&mut self, message: &str) {
            self.0.push(message.to_owned());
        }

        fn notes(&mut self) -> Vec<String> {
            vec![format!("after {}", self.0.len())]
        }

        fn sync(&mut self) -> Result<(), Error> {
            self.0.push("sync".to_owned());
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
            all.start("sft", 3, 0).unwrap();
            all.record(1, &[("loss", 0.5)]).unwrap();
            all.text(1, "sample", "a reply").unwrap();
            all.note("look here");
            assert_eq!(all.notes(), ["after 4", "after 4"]);
            all.sync().unwrap();
            all.finish().unwrap();
        }
        let expected = [
            "start sft 0/3",
            "1 [(\"loss\", 0.5)]",
            "1 sample a reply",
            "look here",
            "sync",
            "finish",
        ];
        assert_eq!(first.0, expected);
        assert_eq!(first.0, second.0);
    }
}
