//! How far an evaluation is, and what its models have said.

use crate::cli::Failure;
use rlaif::ai_feedback::Judge;
use rlaif::dialogue::Dialogue;
use rlaif::jobs::Model;
use rlaif::language_model::{
    Answer, Choose, Completion, Error, Generate, Meter, Prompt, Reward, Sampling,
};
use rlaif::training::{Observe, Progress};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::time::Instant;

/// Shows how many prompts of an evaluation are done, and knows the answers to them while it lasts.
pub(super) struct Watch {
    name: String,
    /// About how many prompts there are.
    prompts: u64,
    progress: RefCell<Progress>,
    meter: Meter,
    began: Instant,
    /// Prompts that were answered or refused.
    done: Cell<u64>,
    /// Whether any of them was asked by this process.
    asked: Cell<bool>,
    /// The answers by the names of their prompts; none where all that is asked is one call.
    known: Option<RefCell<HashMap<String, Answer>>>,
    /// What the models said to the prompts that they refused, by the names of those.
    refused: RefCell<HashMap<String, String>>,
    /// What the user knows.
    told: RefCell<HashSet<&'static str>>,
}

impl Watch {
    /// Begins an evaluation of about so many prompts.
    pub(super) fn start(name: &str, prompts: usize) -> Result<Self, Failure> {
        let (mut progress, prompts) = (Progress::new(), prompts as u64);
        progress.start(name, prompts, 0)?;
        Ok(Self {
            name: name.to_owned(),
            prompts,
            progress: RefCell::new(progress),
            meter: Meter::default(),
            began: Instant::now(),
            done: Cell::default(),
            asked: Cell::default(),
            known: Some(RefCell::default()),
            refused: RefCell::default(),
            told: RefCell::default(),
        })
    }

    /// The same without a memory, for many replies to a prompt, which are one call.
    pub(super) fn without_memory(self) -> Self {
        Self { known: None, ..self }
    }

    /// The model, which is asked so many prompts at a time; `role` tells its answers from those of others.
    pub(super) fn model<'a>(
        &'a self,
        role: &'static str,
        model: &'a dyn Model,
        at_a_time: usize,
    ) -> Watched<'a> {
        self.lent(role, model.lend(&self.meter), at_a_time)
    }

    /// The same of a model that counts in the meter what it is asked.
    fn lent<'a>(
        &'a self,
        role: &'static str,
        model: Box<dyn Judge + 'a>,
        at_a_time: usize,
    ) -> Watched<'a> {
        Watched { watch: self, role, model, at_a_time }
    }

    /// The model that scores dialogues, each of which counts as a prompt.
    pub(super) fn head<'a>(&'a self, head: &'a dyn Reward) -> Scoring<'a> {
        Scoring { watch: self, head }
    }

    /// The evaluation has all that it asks for.
    pub(super) fn finish(self) -> Result<(), Failure> {
        Ok(self.progress.into_inner().finish()?)
    }

    /// So many prompts are done; whether they were `asked`, or their answers were kept from before.
    fn advance(&self, prompts: usize, asked: bool) -> Result<(), Error> {
        let before = self.done.get();
        let done = before + prompts as u64;
        self.done.set(done);
        if !asked && !self.asked.get() {
            return Ok(());
        }
        let mut progress = self.progress.borrow_mut();
        let shown = if !self.asked.replace(true) && before > 0 {
            // What another process has asked counts for no rate.
            progress.start(&self.name, self.prompts.max(done), before)
        } else {
            Ok(())
        };
        let rates = self.meter.rates(self.began.elapsed());
        let shown = shown.and_then(|()| progress.record(done, &rates));
        shown.map_err(|error| Error::Model(error.into()))
    }

    /// The first time that such a thing happens the user learns why.
    fn tell(&self, what: &'static str, error: &Error) {
        if self.told.borrow_mut().insert(what) {
            let message = format!("{what}, and counted as such: {error}");
            self.progress.borrow_mut().note(&message);
        }
    }

    /// This prompt is refused.
    fn refuse(&self, name: &str, error: &Error) -> Result<(), Error> {
        self.refused.borrow_mut().insert(name.to_owned(), error.to_string());
        self.advance(1, true)
    }

    /// What was said to the first of these prompts that is known to be refused.
    fn refusal(&self, names: &[String]) -> Result<(), Error> {
        let refused = self.refused.borrow();
        match names.iter().find_map(|name| refused.get(name)) {
            Some(said) => Err(Error::Refused(said.clone().into())),
            None => Ok(()),
        }
    }

    /// The known answers to the prompts of these names, by the names.
    fn known(&self, names: &[String]) -> HashMap<String, Answer> {
        let Some(known) = &self.known else { return HashMap::new() };
        let known = known.borrow();
        names.iter().filter_map(|name| Some((name.clone(), known.get(name)?.clone()))).collect()
    }
}

/// A model of an evaluation.
pub(super) struct Watched<'a> {
    watch: &'a Watch,
    role: &'static str,
    model: Box<dyn Judge + 'a>,
    at_a_time: usize,
}

impl Watched<'_> {
    /// The answers to prompts of these names: those that are known, and then those that `ask` gives.
    fn answers<P: Clone>(
        &self,
        names: &[String],
        prompts: &[P],
        ask: impl Fn(&[P]) -> Result<Vec<Answer>, Error>,
    ) -> Result<Vec<Answer>, Error> {
        self.watch.refusal(names)?;
        let mut found = self.watch.known(names);
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
                    self.watch.tell("a prompt is refused", &error);
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
        if let Some(known) = &self.watch.known {
            known.borrow_mut().extend(named.iter().cloned());
        }
        // What came of a call that has failed was asked by this process, too.
        self.watch.advance(named.len(), self.watch.meter.calls() > 0)?;
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
        let answers = self.answers(&names, prompts, |prompts| {
            let replies = self.model.generate(prompts, sampling)?;
            Ok(replies.into_iter().map(Answer::Completion).collect())
        })?;
        let reply = |answer| match answer {
            Answer::Completion(reply) => Some(reply),
            Answer::Probabilities(_) => None,
        };
        Ok(answers.into_iter().filter_map(reply).collect())
    }
}

impl Choose for Watched<'_> {
    fn choose(&self, prompts: &[Dialogue], options: &[&str]) -> Result<Vec<Vec<f64>>, Error> {
        let name = |prompt: &Dialogue| format!("{}-{}-{options:?}", self.role, prompt.id());
        let names: Vec<String> = prompts.iter().map(name).collect();
        let answers = self.answers(&names, prompts, |prompts| {
            let rows = self.model.choose(prompts, options)?;
            Ok(rows.into_iter().map(Answer::Probabilities).collect())
        })?;
        let row = |answer| match answer {
            Answer::Probabilities(row) => Some(row),
            Answer::Completion(_) => None,
        };
        Ok(answers.into_iter().filter_map(row).collect())
    }
}

/// A model of an evaluation that scores dialogues.
pub(super) struct Scoring<'a> {
    watch: &'a Watch,
    head: &'a dyn Reward,
}

impl Reward for Scoring<'_> {
    fn reward(&self, dialogues: &[Dialogue]) -> Result<Vec<f32>, Error> {
        let scores = self.head.reward(dialogues);
        match &scores {
            Ok(scores) => self.watch.advance(scores.len(), true)?,
            Err(error) if error.concerns_one_prompt() => {
                self.watch.tell("a dialogue has no score", error);
                if dialogues.len() == 1 {
                    self.watch.advance(1, true)?;
                }
            }
            Err(_) => {}
        }
        scores
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlaif::evals::ask_each;
    use rlaif::jobs::Alone;
    use rlaif::language_model::StopReason;
    use serde_json::json;
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Repeats what it is told, refuses `bad` prompts, and is gone after a number of them.
    #[derive(Clone)]
    struct Parrot {
        left: Arc<AtomicUsize>,
        asked: Arc<AtomicUsize>,
    }

    impl Parrot {
        fn for_so_many(prompts: usize) -> Self {
            Self { left: Arc::new(AtomicUsize::new(prompts)), asked: Arc::default() }
        }

        fn left(&self) -> usize {
            self.left.load(Ordering::SeqCst)
        }
    }

    impl Generate for Parrot {
        fn generate(&self, prompts: &[Prompt], _: &Sampling) -> Result<Vec<Completion>, Error> {
            self.asked.fetch_add(prompts.len(), Ordering::SeqCst);
            let text = |prompt: &Prompt| prompt.dialogue.last_request().unwrap().to_owned();
            if prompts.iter().any(|prompt| text(prompt).contains("bad")) {
                return Err(Error::Refused("a filter".into()));
            }
            let left = self.left().checked_sub(prompts.len());
            self.left.store(left.ok_or_else(|| Error::Model("gone".into()))?, Ordering::SeqCst);
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

    /// Draws a reply to each; answers are kept in a file, if one is given.
    fn draw(
        parrot: &Parrot,
        kept: Option<&Path>,
        texts: &[&str],
    ) -> Result<Vec<Option<String>>, Failure> {
        let model = Alone::new(parrot.clone(), json!("parrot"));
        if let Some(path) = kept {
            model.keep_answers(path)?;
        }
        let watch = Watch::start("test", texts.len())?;
        let watched = watch.model("model", &model, 2);
        let replies = ask_each("replies", &prompts(texts), |prompts| {
            watched.generate(prompts, &Sampling::default())
        })?;
        let answered: HashSet<&str> = replies.iter().flatten().map(|reply| &*reply.text).collect();
        let known = watch.refused.borrow().len();
        assert_eq!(watch.done.get(), (answered.len() + known) as u64);
        drop(watched);
        watch.finish()?;
        Ok(replies.into_iter().map(|reply| reply.map(|reply| reply.text)).collect())
    }

    #[test]
    fn a_second_call_asks_for_the_rest_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept");
        let texts = ["a", "b", "c", "bad", "d"];
        let expected = texts.map(|text| (text != "bad").then(|| text.to_owned()));
        let gone = draw(&Parrot::for_so_many(3), Some(&path), &texts).unwrap_err();
        assert_eq!(gone.to_string(), "gone");
        let second = Parrot::for_so_many(4);
        assert_eq!(draw(&second, Some(&path), &texts).unwrap(), expected);
        // All but the last were kept.
        assert_eq!(second.left(), 3);
        let third = Parrot::for_so_many(0);
        assert_eq!(draw(&third, Some(&path), &texts).unwrap(), expected);
        // The refused one is tried once more.
        assert!(third.asked.load(Ordering::SeqCst) > 0);
    }

    #[test]
    fn nothing_is_asked_twice_while_a_refused_prompt_is_looked_for() {
        let texts = ["a", "b", "c", "d", "e", "f", "g", "bad", "h", "a"];
        let parrot = Parrot::for_so_many(8);
        let expected = texts.map(|text| (text != "bad").then(|| text.to_owned()));
        assert_eq!(draw(&parrot, None, &texts).unwrap(), expected);
        assert_eq!(parrot.left(), 0);
    }

    #[test]
    fn choices_and_temperatures_are_told_apart() {
        let parrot = Parrot::for_so_many(9);
        let watch = Watch::start("test", 4).unwrap();
        let watched = watch.lent("model", Box::new(watch.meter.watch(&parrot)), 8);
        let prompts = prompts(&["a"]);
        for temperature in [0.0, 1.0, 1.0] {
            let sampling = Sampling::default().with_temperature(temperature);
            assert_eq!(watched.generate(&prompts, &sampling).unwrap()[0].text, "a");
        }
        assert_eq!(parrot.asked.load(Ordering::SeqCst), 2);
        let asked = [prompts[0].dialogue.clone()];
        assert_eq!(watched.choose(&asked, &["A", "B"]).unwrap(), [[0.25, 0.75]]);
        assert_eq!(watch.done.get(), 3);
    }
}
