//! A model whose completions go through a journal.

use dataset::Journal;
use language_model::{Completion, Error, Generate, Prompt, Sampling};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::HashSet;
use std::path::Path;

/// A completion of a prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Record {
    /// [`name`] of the prompt.
    id: String,
    #[serde(flatten)]
    completion: Completion,
}

/// Draws from a model whatever a journal does not hold yet, a call at a time.
///
/// It suits what asks in an order of its own and reads the completions of one call before it knows whether there is another:
/// asked once more, it gets the same completions, and the model is asked for none of them. All calls must have the same
/// sampling.
pub(super) struct Recorded<'a> {
    model: &'a dyn Generate,
    journal: RefCell<Journal<Record>>,
}

impl<'a> Recorded<'a> {
    /// Goes on with the journal at `path`, or begins one, for the run of this seed.
    pub(super) fn open(
        model: &'a dyn Generate,
        path: &Path,
        seed: u64,
    ) -> Result<Self, dataset::Error> {
        let journal = Journal::open(path, &seed, |record: &Record| record.id.clone())?;
        Ok(Self { model, journal: RefCell::new(journal) })
    }

    /// Whether the completion of a prompt is there.
    pub(super) fn holds(&self, prompt: &Prompt) -> bool {
        self.journal.borrow().contains(&name(prompt))
    }

    /// What is there alone: asked for anything else, it fails.
    pub(super) fn replay(&self) -> Replay<'_, 'a> {
        Replay(self)
    }
}

/// See [`Recorded::replay`].
pub(super) struct Replay<'a, 'b>(&'a Recorded<'b>);

impl Generate for Replay<'_, '_> {
    fn generate(&self, prompts: &[Prompt], _: &Sampling) -> Result<Vec<Completion>, Error> {
        let journal = self.0.journal.borrow();
        let completion = |prompt| {
            let record = journal.get(&name(prompt));
            record
                .map(|record| record.completion.clone())
                .ok_or_else(|| Error::Model("the journal does not hold this completion yet".into()))
        };
        prompts.iter().map(completion).collect()
    }
}

impl Generate for Recorded<'_> {
    fn generate(&self, prompts: &[Prompt], sampling: &Sampling) -> Result<Vec<Completion>, Error> {
        let mut journal = self.journal.borrow_mut();
        let mut seen = HashSet::new();
        let is_new = |prompt: &&Prompt| {
            let name = name(prompt);
            !journal.contains(&name) && seen.insert(name)
        };
        let new: Vec<Prompt> = prompts.iter().filter(is_new).cloned().collect();
        if !new.is_empty() {
            let records = draw(self.model, &new, sampling)?;
            journal.append(records).map_err(|error| Error::Model(error.into()))?;
        }
        let completion = |prompt| Some(journal.get(&name(prompt))?.completion.clone());
        Ok(prompts.iter().filter_map(completion).collect())
    }
}

fn draw(
    model: &dyn Generate,
    prompts: &[Prompt],
    sampling: &Sampling,
) -> Result<Vec<Record>, Error> {
    let completions = model.generate(prompts, sampling)?;
    let (expected, found) = (prompts.len(), completions.len());
    if found != expected {
        let message = format!("the model gave {found} completions for {expected} prompts");
        return Err(Error::Model(message.into()));
    }
    let record = |(prompt, completion)| Record { id: name(prompt), completion };
    Ok(prompts.iter().zip(completions).map(record).collect())
}

/// The name of a prompt with its stream.
fn name(prompt: &Prompt) -> String {
    format!("{}-{:016x}", prompt.dialogue.id(), prompt.seed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use language_model::StopReason;
    use red_team::{Generated, GenerationConfig, generate_requests};
    use std::cell::Cell;
    use std::fs;

    /// Writes two requests a list, named by its stream, and breaks down after a number of lists.
    struct Breaking {
        lists: Cell<usize>,
        asked: Cell<usize>,
    }

    impl Breaking {
        fn after(lists: usize) -> Self {
            Self { lists: Cell::new(lists), asked: Cell::new(0) }
        }
    }

    impl Generate for Breaking {
        fn generate(&self, prompts: &[Prompt], _: &Sampling) -> Result<Vec<Completion>, Error> {
            let left = self.lists.get().checked_sub(prompts.len());
            self.lists.set(left.ok_or_else(|| Error::Model("killed".into()))?);
            self.asked.set(self.asked.get() + prompts.len());
            let completion = |prompt: &Prompt| Completion {
                text: format!("3. Request {:x}\n4. And {:x}", prompt.seed, !prompt.seed),
                tokens: 9,
                stopped: StopReason::Stop,
            };
            Ok(prompts.iter().map(completion).collect())
        }
    }

    fn generated(model: &dyn Generate, path: &Path) -> Result<Generated, red_team::Error> {
        let recorded = Recorded::open(model, path, 7).unwrap();
        let config = GenerationConfig {
            shots: 2,
            requests: 24,
            batch: 4,
            drop_near_duplicates: false,
            ..GenerationConfig::default()
        };
        let seeds = ["One?", "Two?", "Three?"].map(str::to_owned);
        generate_requests(&recorded, &seeds, &config, 3)
    }

    #[test]
    fn what_was_drawn_before_a_kill_is_not_drawn_again() {
        let folder = tempfile::tempdir().unwrap();
        let [whole, cut] = ["whole.journal", "cut.journal"].map(|name| folder.path().join(name));
        let undisturbed = Breaking::after(100);
        let expected = generated(&undisturbed, &whole).unwrap();
        assert_eq!((expected.requests.len(), undisturbed.asked.get()), (24, 12));

        let first = Breaking::after(9);
        generated(&first, &cut).unwrap_err();
        assert_eq!(first.asked.get(), 8);
        // A kill in the middle of a write leaves half a line.
        let bytes = fs::read(&cut).unwrap();
        fs::write(&cut, &bytes[..bytes.len() - 20]).unwrap();
        let second = Breaking::after(100);
        let recorded = Recorded::open(&second, &cut, 7).unwrap();
        let prompt = |text: &str| Prompt { dialogue: dialogue::Dialogue::from_user(text), seed: 1 };
        recorded.replay().generate(&[prompt("new")], &Sampling::default()).unwrap_err();
        assert_eq!(second.asked.get(), 0);
        drop(recorded);
        assert_eq!(generated(&second, &cut).unwrap(), expected);
        assert_eq!(second.asked.get(), 12 - 7);
        assert_eq!(fs::read(&cut).unwrap(), fs::read(&whole).unwrap());

        let third = Breaking::after(0);
        assert_eq!(generated(&third, &cut).unwrap(), expected);
    }

    #[test]
    fn a_prompt_that_comes_twice_is_drawn_once() {
        let folder = tempfile::tempdir().unwrap();
        let model = Breaking::after(100);
        let recorded = Recorded::open(&model, &folder.path().join("a.journal"), 7).unwrap();
        let prompt = |seed| Prompt { dialogue: dialogue::Dialogue::from_user("q"), seed };
        let prompts = [prompt(1), prompt(2), prompt(1)];
        assert!(!recorded.holds(&prompts[0]));
        let drawn = recorded.generate(&prompts, &Sampling::default()).unwrap();
        assert_eq!((drawn.len(), model.asked.get()), (3, 2));
        assert_eq!(drawn[0], drawn[2]);
        assert_ne!(drawn[0], drawn[1]);
        assert!(recorded.holds(&prompts[1]) && !recorded.holds(&prompt(3)));
    }

    #[test]
    fn a_model_that_miscounts_is_refused() {
        struct Silent;
        impl Generate for Silent {
            fn generate(&self, _: &[Prompt], _: &Sampling) -> Result<Vec<Completion>, Error> {
                Ok(Vec::new())
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let message = generated(&Silent, &folder.path().join("a.journal")).unwrap_err().to_string();
        assert!(message.contains("0 completions for 4 prompts"), "{message}");
    }
}
