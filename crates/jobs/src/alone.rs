//! A model that answers one call at a time.

use crate::{Error, Lent, Model};
use ai_feedback::Judge;
use dataset::AnswerLog;
use dialogue::Dialogue;
use language_model::{
    Answer, Choose, Completion, Error as ModelError, Generate, Meter, Prompt, Sampling,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A model that answers one call at a time, such as one on this machine.
///
/// Its answers are kept in `OUT.answers` until the records made of them are durable, call by call, so that a killed process
/// loses those of the one call that was under way.
#[derive(Debug)]
pub struct Alone<M> {
    model: Mutex<M>,
    about: Value,
    /// Where answers are kept; nowhere until [`Model::keep_answers`].
    kept: Mutex<Option<AnswerLog<Answer>>>,
}

impl<M> Alone<M> {
    /// `about` is told at [`Model::about`].
    pub fn new(model: M, about: Value) -> Self {
        Self { model: Mutex::new(model), about, kept: Mutex::new(None) }
    }

    /// The name of a question: all that decides its answer.
    fn name(&self, question: Value) -> String {
        let whole = json!([self.about, question]);
        format!("{:.32x}", Sha256::digest(whole.to_string()))
    }

    /// The kept ones among the answers of these names.
    fn found(&self, names: &[String]) -> HashMap<String, Answer> {
        let kept = lock(&self.kept);
        let Some(kept) = kept.as_ref() else { return HashMap::new() };
        names.iter().filter_map(|name| Some((name.clone(), kept.get(name)?.clone()))).collect()
    }

    fn keep(&self, answers: Vec<(String, Answer)>) -> Result<(), ModelError> {
        let kept = lock(&self.kept).as_mut().map_or(Ok(()), |kept| kept.keep(answers));
        kept.map_err(|error| ModelError::Model(error.into()))
    }
}

impl<M: Judge + Send> Model for Alone<M> {
    fn about(&self) -> Value {
        self.about.clone()
    }

    fn keep_answers(&self, path: &Path) -> Result<(), Error> {
        *lock(&self.kept) = Some(AnswerLog::open(path)?);
        Ok(())
    }

    fn lend<'a>(&'a self, meter: &'a Meter) -> Box<dyn Lent + 'a> {
        Box::new(Turn { alone: self, meter, asked: RefCell::default() })
    }
}

/// Waits for its turn at every call.
struct Turn<'a, M> {
    alone: &'a Alone<M>,
    meter: &'a Meter,
    /// The names of all questions.
    asked: RefCell<Vec<String>>,
}

impl<M> Turn<'_, M> {
    /// The answers to questions by their names: those that are kept, and those that `ask` gets for the numbers of the others.
    fn answers(
        &self,
        names: &[String],
        ask: impl FnOnce(&M, &[usize]) -> Result<Vec<Answer>, ModelError>,
    ) -> Result<Vec<Answer>, ModelError> {
        self.asked.borrow_mut().extend_from_slice(names);
        let mut found = self.alone.found(names);
        let mut seen = HashSet::new();
        let is_new =
            |&number: &usize| !found.contains_key(&names[number]) && seen.insert(&names[number]);
        let new: Vec<usize> = (0..names.len()).filter(is_new).collect();
        if !new.is_empty() {
            // Held until the answers are kept, so that no more than one call can be lost.
            let model = lock(&self.alone.model);
            let answers = ask(&model, &new)?;
            if answers.len() != new.len() {
                return Err(miscounted(new.len(), answers.len()));
            }
            for answer in &answers {
                self.meter.count(answer, None);
            }
            let named = new.iter().map(|&number| names[number].clone()).zip(answers);
            let named: Vec<(String, Answer)> = named.collect();
            found.extend(named.iter().cloned());
            self.alone.keep(named)?;
        }
        Ok(names.iter().filter_map(|name| found.get(name).cloned()).collect())
    }
}

impl<M: Judge + Send> Lent for Turn<'_, M> {
    fn settle(self: Box<Self>) -> Result<(), Error> {
        let asked = self.asked.into_inner();
        Ok(lock(&self.alone.kept).as_mut().map_or(Ok(()), |kept| kept.settle(asked))?)
    }
}

impl<M: Judge> Generate for Turn<'_, M> {
    fn generate(
        &self,
        prompts: &[Prompt],
        sampling: &Sampling,
    ) -> Result<Vec<Completion>, ModelError> {
        let name = |prompt: &Prompt| {
            self.alone.name(json!(["reply", prompt.dialogue, prompt.seed, sampling]))
        };
        let names: Vec<String> = prompts.iter().map(name).collect();
        let answers = self.answers(&names, |model, new| {
            let prompts: Vec<Prompt> = new.iter().map(|&number| prompts[number].clone()).collect();
            let completions = model.generate(&prompts, sampling)?;
            Ok(completions.into_iter().map(Answer::Completion).collect())
        })?;
        let completion = |answer| match answer {
            Answer::Completion(completion) => Ok(completion),
            Answer::Probabilities(_) => Err(of_another_kind()),
        };
        answers.into_iter().map(completion).collect()
    }
}

impl<M: Judge> Choose for Turn<'_, M> {
    fn choose(&self, prompts: &[Dialogue], options: &[&str]) -> Result<Vec<Vec<f64>>, ModelError> {
        let name = |prompt: &Dialogue| self.alone.name(json!(["choice", prompt, options]));
        let names: Vec<String> = prompts.iter().map(name).collect();
        let answers = self.answers(&names, |model, new| {
            let prompts: Vec<Dialogue> =
                new.iter().map(|&number| prompts[number].clone()).collect();
            let rows = model.choose(&prompts, options)?;
            Ok(rows.into_iter().map(Answer::Probabilities).collect())
        })?;
        let row = |answer| match answer {
            Answer::Probabilities(row) => Ok(row),
            Answer::Completion(_) => Err(of_another_kind()),
        };
        answers.into_iter().map(row).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn miscounted(expected: usize, found: usize) -> ModelError {
    ModelError::Model(format!("the model gave {found} answers to {expected} questions").into())
}

/// Names of replies and of choices are never the same, so that a file was tampered with.
fn of_another_kind() -> ModelError {
    let message =
        "a kept answer is of another kind than what was asked; remove the file of answers";
    ModelError::Model(message.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use language_model::StopReason;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Says the seed, chooses the first, and counts its calls.
    #[derive(Debug, Default)]
    struct Parrot {
        calls: AtomicUsize,
        silent: bool,
    }

    impl Generate for Parrot {
        fn generate(
            &self,
            prompts: &[Prompt],
            _: &Sampling,
        ) -> Result<Vec<Completion>, ModelError> {
            self.calls.fetch_add(1, Ordering::SeqCst);
            let reply = |prompt: &Prompt| Completion {
                text: prompt.seed.to_string(),
                tokens: 2,
                stopped: StopReason::Stop,
            };
            let most = if self.silent { 0 } else { usize::MAX };
            Ok(prompts.iter().map(reply).take(most).collect())
        }
    }

    impl Choose for Parrot {
        fn choose(&self, prompts: &[Dialogue], _: &[&str]) -> Result<Vec<Vec<f64>>, ModelError> {
            self.calls.fetch_add(1, Ordering::SeqCst);
            Ok(vec![vec![1.0, 0.0]; prompts.len()])
        }
    }

    fn prompts(seeds: &[u64]) -> Vec<Prompt> {
        let prompt = |&seed: &u64| Prompt { dialogue: Dialogue::from_user("q"), seed };
        seeds.iter().map(prompt).collect()
    }

    fn texts(lent: &dyn Lent, seeds: &[u64]) -> Vec<String> {
        let replies = lent.generate(&prompts(seeds), &Sampling::default()).unwrap();
        replies.into_iter().map(|reply| reply.text).collect()
    }

    #[test]
    fn what_is_kept_is_neither_asked_nor_counted_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answers");
        let (model, meter) = (Alone::new(Parrot::default(), json!("parrot")), Meter::default());
        model.keep_answers(&path).unwrap();
        let lent = model.lend(&meter);
        assert_eq!(texts(&*lent, &[1, 2, 1]), ["1", "2", "1"]);
        assert_eq!((meter.calls(), meter.tokens()), (2, 4));
        let question = [Dialogue::from_user("q")];
        assert_eq!(lent.choose(&question, &["A", "B"]).unwrap(), [[1.0, 0.0]]);
        // The process is killed.
        drop(lent);
        drop(model);

        let (model, meter) = (Alone::new(Parrot::default(), json!("parrot")), Meter::default());
        model.keep_answers(&path).unwrap();
        let lent = model.lend(&meter);
        assert_eq!(texts(&*lent, &[2, 1]), ["2", "1"]);
        assert_eq!(lent.choose(&question, &["A", "B"]).unwrap(), [[1.0, 0.0]]);
        assert_eq!((meter.calls(), lock(&model.model).calls.load(Ordering::SeqCst)), (0, 0));
        // Whatever decides an answer makes it another one.
        assert_eq!(texts(&*lent, &[3, 2]), ["3", "2"]);
        let cold = Sampling::default().with_temperature(0.0);
        lent.generate(&prompts(&[1]), &cold).unwrap();
        lent.choose(&question, &["A", "C"]).unwrap();
        assert_eq!(meter.calls(), 3);
        lent.settle().unwrap();
        assert_eq!(texts(&*model.lend(&meter), &[1]), ["1"]);
        assert_eq!(meter.calls(), 4);
        drop(model);

        let other = Alone::new(Parrot::default(), json!("owl"));
        other.keep_answers(&path).unwrap();
        assert_eq!(texts(&*other.lend(&meter), &[1]), ["1"]);
        assert_eq!(meter.calls(), 5);
    }

    #[test]
    fn a_model_that_miscounts_is_refused() {
        let parrot = Parrot { silent: true, ..Parrot::default() };
        let (model, meter) = (Alone::new(parrot, Value::Null), Meter::default());
        let lent = model.lend(&meter);
        let error = lent.generate(&prompts(&[1, 2]), &Sampling::default()).unwrap_err();
        assert_eq!(error.to_string(), "the model gave 0 answers to 2 questions");
        assert_eq!(meter.calls(), 0);
    }
}
