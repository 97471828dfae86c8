//! How far an evaluation is, and what its models have said.

use super::kept::{Answer, Kept};
use crate::cli::Failure;
use rlaif::ai_feedback::Judge;
use rlaif::dialogue::Dialogue;
use rlaif::language_model::{Choose, Completion, Error, Generate, Meter, Prompt, Sampling};
use rlaif::training::{Observe, Progress};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::time::Instant;

/// Shows how many prompts of an evaluation are done, and keeps the answers to them.
pub(super) struct Watch {
    progress: RefCell<Progress>,
    meter: Meter,
    began: Instant,
    /// Prompts that were answered or refused.
    done: Cell<u64>,
    kept: RefCell<Kept>,
    /// What the models said to the prompts that they refused, by the names of those.
    refused: RefCell<HashMap<String, String>>,
    /// Whether the user knows that a prompt is refused.
    told: Cell<bool>,
}

impl Watch {
    /// Begins an evaluation of about so many prompts; the answers that `kept` holds are not asked for again.
    pub(super) fn start(name: &str, prompts: usize, kept: Kept) -> Result<Self, Failure> {
        let (mut progress, before) = (Progress::new(), kept.len() as u64);
        progress.start(name, (prompts as u64).max(before), before)?;
        Ok(Self {
            progress: RefCell::new(progress),
            meter: Meter::default(),
            began: Instant::now(),
            done: Cell::new(before),
            kept: RefCell::new(kept),
            refused: RefCell::default(),
            told: Cell::default(),
        })
    }

    /// The model, which is asked so many prompts at a time; `role` tells its answers from those of others.
    pub(super) fn model<'a>(
        &'a self,
        role: &'static str,
        model: &'a dyn Judge,
        at_a_time: usize,
    ) -> Watched<'a> {
        Watched { watch: self, role, model, at_a_time }
    }

    /// The evaluation has all that it asks for.
    pub(super) fn finish(self) -> Result<(), Failure> {
        Ok(self.progress.into_inner().finish()?)
    }

    fn advance(&self, prompts: usize) -> Result<(), Error> {
        let done = self.done.get() + prompts as u64;
        self.done.set(done);
        let rates = self.meter.rates(self.began.elapsed());
        self.progress.borrow_mut().record(done, &rates).map_err(|error| Error::Model(error.into()))
    }

    /// The first time that a prompt is refused the user learns why.
    fn tell(&self, error: &Error) {
        if !self.told.replace(true) {
            let message = format!("a prompt is refused, and counted as such: {error}");
            self.progress.borrow_mut().note(&message);
        }
    }

    /// This prompt is refused.
    fn refuse(&self, name: &str, error: &Error) -> Result<(), Error> {
        self.refused.borrow_mut().insert(name.to_owned(), error.to_string());
        self.advance(1)
    }

    /// What was said to the first of these prompts that is known to be refused.
    fn refusal(&self, names: &[String]) -> Result<(), Error> {
        let refused = self.refused.borrow();
        match names.iter().find_map(|name| refused.get(name)) {
            Some(said) => Err(Error::Refused(said.clone().into())),
            None => Ok(()),
        }
    }
}

/// A model of an evaluation.
pub(super) struct Watched<'a> {
    watch: &'a Watch,
    role: &'static str,
    model: &'a dyn Judge,
    at_a_time: usize,
}

impl Watched<'_> {
    /// The answers to prompts of these names: those that are kept, and then those that `ask` gives.
    fn answers<P: Clone>(
        &self,
        names: &[String],
        prompts: &[P],
        ask: impl Fn(&[P]) -> Result<Vec<Answer>, Error>,
    ) -> Result<Vec<Answer>, Error> {
        self.watch.refusal(names)?;
        let mut found = self.watch.kept.borrow().of(names);
        let mut seen = HashSet::new();
        let new = names.iter().zip(prompts);
        let new = new.filter(|(name, _)| !found.contains_key(*name) && seen.insert(*name));
        let new: Vec<(String, P)> =
            new.map(|(name, prompt)| (name.clone(), prompt.clone())).collect();
        for chunk in new.chunks(self.at_a_time.max(1)) {
            let (names, prompts): (Vec<String>, Vec<P>) = chunk.iter().cloned().unzip();
            found.extend(self.ask(&names, &prompts, &ask)?);
        }
        Ok(names.iter().filter_map(|name| found.get(name).cloned()).collect())
    }

    /// Asks prompts none of which was answered before.
    fn ask<P>(
        &self,
        names: &[String],
        prompts: &[P],
        ask: &impl Fn(&[P]) -> Result<Vec<Answer>, Error>,
    ) -> Result<Vec<(String, Answer)>, Error> {
        let answers = match ask(prompts) {
            Ok(answers) => answers,
            Err(error) => {
                if error.concerns_one_prompt() {
                    self.watch.tell(&error);
                    if let [name] = names {
                        self.watch.refuse(name, &error)?;
                    }
                }
                return Err(error);
            }
        };
        if answers.len() != names.len() {
            let (found, asked) = (answers.len(), names.len());
            let message = format!("the model gave {found} answers to {asked} prompts");
            return Err(Error::Model(message.into()));
        }
        let named: Vec<(String, Answer)> = names.iter().cloned().zip(answers).collect();
        self.watch.kept.borrow_mut().keep(&named).map_err(|error| Error::Model(error.into()))?;
        self.watch.advance(named.len())?;
        Ok(named)
    }
}

impl Generate for Watched<'_> {
    fn generate(&self, prompts: &[Prompt], sampling: &Sampling) -> Result<Vec<Completion>, Error> {
        // The same stream may be drawn from at several temperatures.
        let name = |Prompt { dialogue, seed }: &Prompt| {
            format!("{}-{}-{seed:016x}-{}", self.role, dialogue.id(), sampling.temperature)
        };
        let names: Vec<String> = prompts.iter().map(name).collect();
        let model = self.watch.meter.watch(self.model);
        let answers = self.answers(&names, prompts, |prompts| {
            let replies = model.generate(prompts, sampling)?;
            Ok(replies.into_iter().map(Answer::Reply).collect())
        })?;
        let reply = |answer| match answer {
            Answer::Reply(reply) => Some(reply),
            Answer::Choice(_) => None,
        };
        Ok(answers.into_iter().filter_map(reply).collect())
    }
}

impl Choose for Watched<'_> {
    fn choose(&self, prompts: &[Dialogue], options: &[&str]) -> Result<Vec<Vec<f64>>, Error> {
        let name = |prompt: &Dialogue| format!("{}-{}-{options:?}", self.role, prompt.id());
        let names: Vec<String> = prompts.iter().map(name).collect();
        let model = self.watch.meter.watch(self.model);
        let answers = self.answers(&names, prompts, |prompts| {
            let rows = model.choose(prompts, options)?;
            Ok(rows.into_iter().map(Answer::Choice).collect())
        })?;
        let row = |answer| match answer {
            Answer::Choice(row) => Some(row),
            Answer::Reply(_) => None,
        };
        Ok(answers.into_iter().filter_map(row).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlaif::evals::ask_each;
    use rlaif::language_model::StopReason;
    use std::path::Path;

    /// Repeats what it is told, refuses `bad` prompts, and is gone after a number of them.
    struct Parrot {
        left: Cell<usize>,
        asked: Cell<usize>,
    }

    impl Parrot {
        fn for_so_many(prompts: usize) -> Self {
            Self { left: Cell::new(prompts), asked: Cell::new(0) }
        }
    }

    impl Generate for Parrot {
        fn generate(&self, prompts: &[Prompt], _: &Sampling) -> Result<Vec<Completion>, Error> {
            self.asked.set(self.asked.get() + prompts.len());
            let text = |prompt: &Prompt| prompt.dialogue.last_request().unwrap().to_owned();
            if prompts.iter().any(|prompt| text(prompt).contains("bad")) {
                return Err(Error::Refused("a filter".into()));
            }
            let left = self.left.get().checked_sub(prompts.len());
            self.left.set(left.ok_or_else(|| Error::Model("gone".into()))?);
            let reply =
                |prompt| Completion { text: text(prompt), tokens: 1, stopped: StopReason::Stop };
            Ok(prompts.iter().map(reply).collect())
        }
    }

    impl Choose for Parrot {
        fn choose(&self, prompts: &[Dialogue], _: &[&str]) -> Result<Vec<Vec<f64>>, Error> {
            Ok(vec![vec![0.25, 0.75]; prompts.len()])
        }
    }

    fn prompts(texts: &[&str]) -> Vec<Prompt> {
        let prompt = |text: &&str| Prompt { dialogue: Dialogue::from_user(*text), seed: 1 };
        texts.iter().map(prompt).collect()
    }

    fn draw(model: &Parrot, kept: Kept, texts: &[&str]) -> Result<Vec<Option<String>>, Failure> {
        let watch = Watch::start("test", texts.len(), kept)?;
        let watched = watch.model("model", model, 2);
        let replies = ask_each("replies", &prompts(texts), |prompts| {
            watched.generate(prompts, &Sampling::default())
        })?;
        let answered: HashSet<&str> = replies.iter().flatten().map(|reply| &*reply.text).collect();
        let known = watch.refused.borrow().len();
        assert_eq!(watch.done.get(), (answered.len() + known) as u64);
        watch.finish()?;
        Ok(replies.into_iter().map(|reply| reply.map(|reply| reply.text)).collect())
    }

    fn journal(path: &Path) -> Kept {
        Kept::in_journal(path, &"settings").unwrap()
    }

    #[test]
    fn a_second_call_asks_for_the_rest_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept");
        let texts = ["a", "b", "c", "bad", "d"];
        let expected = texts.map(|text| (text != "bad").then(|| text.to_owned()));
        let gone = draw(&Parrot::for_so_many(3), journal(&path), &texts).unwrap_err();
        assert_eq!(gone.to_string(), "gone");
        let second = Parrot::for_so_many(4);
        assert_eq!(draw(&second, journal(&path), &texts).unwrap(), expected);
        // All but the last were kept.
        assert_eq!(second.left.get(), 3);
        let third = Parrot::for_so_many(0);
        assert_eq!(draw(&third, journal(&path), &texts).unwrap(), expected);
        // The refused one is tried once more.
        assert_eq!(third.asked.get(), 1);
    }

    #[test]
    fn nothing_is_asked_twice_while_a_refused_prompt_is_looked_for() {
        let texts = ["a", "b", "c", "d", "e", "f", "g", "bad", "h", "a"];
        let model = Parrot::for_so_many(8);
        let expected = texts.map(|text| (text != "bad").then(|| text.to_owned()));
        assert_eq!(draw(&model, Kept::in_memory(), &texts).unwrap(), expected);
        assert_eq!(model.left.get(), 0);
    }

    #[test]
    fn choices_and_temperatures_are_told_apart() {
        let model = Parrot::for_so_many(9);
        let watch = Watch::start("test", 4, Kept::in_memory()).unwrap();
        let watched = watch.model("model", &model, 8);
        let prompts = prompts(&["a"]);
        for temperature in [0.0, 1.0, 1.0] {
            let sampling = Sampling::default().with_temperature(temperature);
            assert_eq!(watched.generate(&prompts, &sampling).unwrap()[0].text, "a");
        }
        assert_eq!(model.asked.get(), 2);
        let asked = [prompts[0].dialogue.clone()];
        assert_eq!(watched.choose(&asked, &["A", "B"]).unwrap(), [[0.25, 0.75]]);
        assert_eq!(watch.done.get(), 3);
    }
}
