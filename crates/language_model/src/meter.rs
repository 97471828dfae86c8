//! How much a model is asked, and how fast it answers.

use crate::{Answer, Choose, Completion, Error, Generate, Prompt, Sampling};
use dialogue::Dialogue;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts what models are asked, over all that it watches and all threads.
///
/// ```
/// # use language_model::{Completion, Error, Generate, Meter, Prompt, Sampling, StopReason};
/// # struct Model;
/// # impl Generate for Model {
/// #     fn generate(&self, prompts: &[Prompt], _: &Sampling) -> Result<Vec<Completion>, Error> {
/// #         let reply = Completion { text: "yes".to_owned(), tokens: 1, stopped: StopReason::Stop };
/// #         Ok(vec![reply; prompts.len()])
/// #     }
/// # }
/// let (model, meter) = (Model, Meter::default());
/// let prompt = Prompt { dialogue: dialogue::Dialogue::from_user("Well?"), seed: 1 };
/// meter.watch(&model).generate(&[prompt], &Sampling::default())?;
/// assert_eq!((meter.calls(), meter.tokens()), (1, 1));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Meter {
    calls: AtomicU64,
    tokens: AtomicU64,
    prompt_tokens: AtomicU64,
}

impl Meter {
    /// Prompts that were answered, be it by a reply or by a choice.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Tokens of the replies that were drawn.
    pub fn tokens(&self) -> u64 {
        self.tokens.load(Ordering::Relaxed)
    }

    /// Tokens of the prompts that were answered, as far as whoever answers tells.
    pub fn prompt_tokens(&self) -> u64 {
        self.prompt_tokens.load(Ordering::Relaxed)
    }

    /// Counts an answer that was given now, with the tokens of its prompt if they are known: for models that know better than
    /// [`Meter::watch`] which of their answers are new.
    pub fn count(&self, answer: &Answer, prompt_tokens: Option<u64>) {
        let tokens = match answer {
            Answer::Completion(completion) => completion.tokens as u64,
            Answer::Probabilities(_) => 0,
        };
        self.add(1, tokens);
        self.prompt_tokens.fetch_add(prompt_tokens.unwrap_or(0), Ordering::Relaxed);
    }

    fn add(&self, calls: u64, tokens: u64) {
        self.calls.fetch_add(calls, Ordering::Relaxed);
        self.tokens.fetch_add(tokens, Ordering::Relaxed);
    }

    /// The model, with its calls counted.
    pub fn watch<'a, M: ?Sized>(&'a self, model: &'a M) -> Metered<'a, M> {
        Metered { model, meter: self }
    }

    /// What a line of progress shows of the time since they were first counted, what a person looks at first in front:
    /// `calls_per_second`; `tokens` and `tokens_per_second` if any were drawn; `prompt_tokens` and
    /// `prompt_tokens_per_second` if any are known of; `calls`.
    pub fn rates(&self, elapsed: Duration) -> Vec<(&'static str, f64)> {
        // A clock may not have moved.
        let seconds = elapsed.as_secs_f64().max(1e-9);
        let calls = self.calls() as f64;
        let mut rates = vec![("calls_per_second", calls / seconds)];
        for (count, total, rate) in [
            (self.tokens(), "tokens", "tokens_per_second"),
            (self.prompt_tokens(), "prompt_tokens", "prompt_tokens_per_second"),
        ] {
            if count > 0 {
                rates.extend([(total, count as f64), (rate, count as f64 / seconds)]);
            }
        }
        rates.push(("calls", calls));
        rates
    }
}

/// A model whose calls are counted, see [`Meter::watch`]. Calls that fail are not.
#[derive(Debug)]
pub struct Metered<'a, M: ?Sized> {
    model: &'a M,
    meter: &'a Meter,
}

impl<M: Generate + ?Sized> Generate for Metered<'_, M> {
    fn generate(&self, prompts: &[Prompt], sampling: &Sampling) -> Result<Vec<Completion>, Error> {
        let completions = self.model.generate(prompts, sampling)?;
        let tokens: u64 = completions.iter().map(|completion| completion.tokens as u64).sum();
        self.meter.add(prompts.len() as u64, tokens);
        Ok(completions)
    }
}

impl<M: Choose + ?Sized> Choose for Metered<'_, M> {
    fn choose(&self, prompts: &[Dialogue], options: &[&str]) -> Result<Vec<Vec<f64>>, Error> {
        let rows = self.model.choose(prompts, options)?;
        self.meter.add(prompts.len() as u64, 0);
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StopReason;

    /// Says two tokens, chooses the first, and refuses the empty request.
    struct Curt;

    impl Generate for Curt {
        fn generate(&self, prompts: &[Prompt], _: &Sampling) -> Result<Vec<Completion>, Error> {
            if prompts.iter().any(|prompt| prompt.dialogue.last_request() == Some("")) {
                return Err(Error::Refused("nothing is asked".into()));
            }
            let reply =
                Completion { text: "So what?".into(), tokens: 2, stopped: StopReason::Stop };
            Ok(vec![reply; prompts.len()])
        }
    }

    impl Choose for Curt {
        fn choose(&self, prompts: &[Dialogue], _: &[&str]) -> Result<Vec<Vec<f64>>, Error> {
            Ok(vec![vec![1.0, 0.0]; prompts.len()])
        }
    }

    fn prompt(text: &str) -> Prompt {
        Prompt { dialogue: Dialogue::from_user(text), seed: 1 }
    }

    #[test]
    fn counts_what_is_answered_and_shows_tokens_once_there_are_any() {
        let meter = Meter::default();
        let curt = meter.watch(&Curt);
        assert_eq!(curt.choose(&[Dialogue::from_user("q")], &["A", "B"]).unwrap(), [[1.0, 0.0]]);
        let names =
            |rates: Vec<(&'static str, f64)>| rates.iter().map(|rate| rate.0).collect::<Vec<_>>();
        assert_eq!(names(meter.rates(Duration::ZERO)), ["calls_per_second", "calls"]);

        curt.generate(&[prompt("a"), prompt("b"), prompt("c")], &Sampling::default()).unwrap();
        curt.generate(&[prompt("a"), prompt("")], &Sampling::default()).unwrap_err();
        assert_eq!((meter.calls(), meter.tokens()), (4, 6));
        let expected = [
            ("calls_per_second", 2.0),
            ("tokens", 6.0),
            ("tokens_per_second", 3.0),
            ("calls", 4.0),
        ];
        assert_eq!(meter.rates(Duration::from_secs(2)), expected);
    }

    #[test]
    fn counts_prompts_where_their_tokens_are_known() {
        let meter = Meter::default();
        let row = Answer::Probabilities(vec![1.0, 0.0]);
        meter.count(&row, Some(10));
        meter.count(&row, None);
        let expected = [
            ("calls_per_second", 1.0),
            ("prompt_tokens", 10.0),
            ("prompt_tokens_per_second", 5.0),
            ("calls", 2.0),
        ];
        assert_eq!(meter.rates(Duration::from_secs(2)), expected);
        let reply = Completion { text: "yes".into(), tokens: 2, stopped: StopReason::Stop };
        meter.count(&Answer::Completion(reply), Some(3));
        assert_eq!((meter.calls(), meter.tokens(), meter.prompt_tokens()), (3, 2, 13));
    }

    #[test]
    fn watches_behind_an_interface() {
        let meter = Meter::default();
        let model: &dyn Generate = &Curt;
        // The same meter may watch several models.
        meter.watch(model).generate(&[prompt("a")], &Sampling::default()).unwrap();
        meter.watch(&Curt).generate(&[prompt("a")], &Sampling::default()).unwrap();
        assert_eq!(meter.calls(), 2);
    }
}
