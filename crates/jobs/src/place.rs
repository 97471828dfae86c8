//! Where a result goes that is written at once, after many answers.

use crate::header::{Header, beside};
use crate::output::{check_place, claim, remove};
use crate::{Error, Model};
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};

/// All that decides a result.
#[derive(Debug, Clone, PartialEq)]
pub struct Basis {
    /// What is done with the items.
    pub job: String,
    /// Of every random stream.
    pub seed: u64,
    /// What decides the answers of the models, such as [`Model::about`].
    pub model: Value,
    /// What else is set.
    pub settings: Value,
    /// How many items there are.
    pub items: u64,
    /// A hash of them.
    pub input: String,
}

/// `OUT`, a result that is written at once when all answers are there.
///
/// Until then, as for the jobs that write records one by one, `OUT.job` says what it belongs to, so that answers of other
/// models or settings never come beside each other, and the answers that are there outlive the process: those of a server
/// one by one, those of a model on this machine call by call.
#[derive(Debug)]
pub struct Place {
    out: PathBuf,
    /// `OUT.job`; its lock keeps other processes away.
    job: File,
    answers: Vec<PathBuf>,
}

impl Place {
    /// Refuses a place in which nothing can be written, before anybody is asked.
    ///
    /// # Errors
    /// [`Error::Exists`] if a file stands there that nothing under way has made, [`Error::Format`] if its name asks for
    /// another format than plain JSON lines.
    pub fn check(out: &Path) -> Result<(), Error> {
        check_place(out)
    }

    /// Begins a result, or goes on with it.
    ///
    /// # Errors
    /// Those of [`Place::check`]; [`Error::OtherSettings`] names every setting in which a result that was begun there differs;
    /// if `OUT.job` cannot be read or written, or is in use.
    pub fn claim(out: &Path, basis: Basis) -> Result<Self, Error> {
        check_place(out)?;
        let Basis { job, seed, model, settings, items, input } = basis;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let header = Header { job, version, seed, model, settings, items, input, shard: None };
        let job = claim(out, &header)?;
        Ok(Self { out: out.to_owned(), job, answers: Vec::new() })
    }

    /// Keeps the answers of a model until the result is there; `role` tells it from the other models.
    ///
    /// # Errors
    /// Those of [`Model::keep_answers`].
    pub fn keep_answers(&mut self, model: &dyn Model, role: &str) -> Result<(), Error> {
        let path = beside(&self.out, &format!("{role}.answers"));
        model.keep_answers(&path)?;
        self.answers.push(path);
        Ok(())
    }

    /// The result is written: removes what stands beside it.
    ///
    /// # Errors
    /// If `OUT.job` cannot be removed.
    pub fn finish(self) -> Result<(), Error> {
        let Self { out, job, answers } = self;
        for path in &answers {
            // That it may still lie there is no failure.
            let _ = std::fs::remove_file(path);
        }
        drop(job);
        remove(&beside(&out, "job"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Alone;
    use dialogue::Dialogue;
    use language_model::{Choose, Completion, Error as ModelError, Generate, Meter};
    use language_model::{Prompt, Sampling, StopReason};
    use serde_json::json;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Says yes, and counts what it is asked.
    #[derive(Debug, Default)]
    struct Yes(Arc<AtomicUsize>);

    impl Generate for Yes {
        fn generate(
            &self,
            prompts: &[Prompt],
            _: &Sampling,
        ) -> Result<Vec<Completion>, ModelError> {
            self.0.fetch_add(prompts.len(), Ordering::SeqCst);
            let yes = Completion { text: "yes".into(), tokens: 1, stopped: StopReason::Stop };
            Ok(vec![yes; prompts.len()])
        }
    }

    impl Choose for Yes {
        fn choose(&self, prompts: &[Dialogue], _: &[&str]) -> Result<Vec<Vec<f64>>, ModelError> {
            Ok(vec![vec![1.0, 0.0]; prompts.len()])
        }
    }

    fn basis(model: &str) -> Basis {
        let (job, input) = ("test".to_owned(), "abc".to_owned());
        let settings = json!({ "margin": 0.5 });
        Basis { job, seed: 1, model: json!({ "judge": model }), settings, items: 2, input }
    }

    #[test]
    fn a_result_that_was_begun_goes_on_for_the_same_model_alone() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let asked = Arc::new(AtomicUsize::new(0));
        let prompt = [Prompt { dialogue: Dialogue::from_user("q"), seed: 1 }];
        for _ in 0..2 {
            let mut place = Place::claim(&out, basis("a")).unwrap();
            let model = Alone::new(Yes(Arc::clone(&asked)), json!("yes"));
            place.keep_answers(&model, "judge").unwrap();
            let meter = Meter::default();
            model.lend(&meter).generate(&prompt, &Sampling::default()).unwrap();
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        let message = Place::claim(&out, basis("b")).unwrap_err().to_string();
        assert!(message.contains("`model.judge` is \"a\" there and \"b\" here"), "{message}");

        // What is written before the end may be written again.
        std::fs::write(&out, "a part").unwrap();
        let mut place = Place::claim(&out, basis("a")).unwrap();
        assert!(matches!(Place::claim(&out, basis("a")), Err(Error::Dataset(_))));
        let model = Alone::new(Yes::default(), json!("yes"));
        place.keep_answers(&model, "judge").unwrap();
        place.finish().unwrap();
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap).collect();
        assert_eq!(left.len(), 1);
        for refused in [Place::check(&out), Place::claim(&out, basis("a")).map(drop)] {
            assert!(matches!(refused, Err(Error::Exists { .. })), "{refused:?}");
        }
        let table = folder.path().join("out.parquet");
        assert!(matches!(Place::check(&table), Err(Error::Format { .. })));
    }
}
