//! Drawing requests until enough are new.

use crate::parse::{Line, lines, normalised};
use crate::{Error, GenerationConfig, request_list};
use language_model::{Completion, Generate, Prompt, item_seed, stream};
use rand::seq::IndexedRandom;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// New requests, and what was thrown away on the way to them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generated {
    /// The new requests, in the order in which they were found; fewer than asked for if `max_calls` was reached.
    pub requests: Vec<String>,
    /// Completions read.
    pub drawn: usize,
    /// Lines that are no entry of a numbered list.
    pub unparsed: usize,
    /// Last lines of completions that hit their longest length.
    pub cut_off: usize,
    /// Entries that are too short, too long or without a letter or digit.
    pub wrong_length: usize,
    /// Entries that equal a seed or an earlier entry but for case, white space and punctuation.
    pub duplicates: usize,
}

/// Lets a model continue lists of seed requests until enough new ones are found (the few-shot generation of red-team
/// prompts in section 3.2 of arXiv 2212.08073; helpful prompts are generated alike, from other seeds).
///
/// Every prompt shows other seeds, drawn without replacement from a stream of its own; a batch of prompts is one call.
/// Completions are read in order up to the request that completes the number, so the outcome does not depend on the
/// size of a batch, unless `max_calls` is reached first. Requests that are merely similar are all kept.
///
/// # Errors
/// If a setting or a seed is not usable, or the model fails. Finding too few requests is no error.
pub fn generate_requests(
    model: &dyn Generate,
    seeds: &[String],
    config: &GenerationConfig,
    seed: u64,
) -> Result<Generated, Error> {
    config.validate()?;
    if seeds.len() < config.shots {
        return Err(Error::TooFewSeeds { found: seeds.len(), shots: config.shots });
    }
    let mut seen: HashSet<String> = seeds.iter().map(|text| normalised(text)).collect();
    if seen.contains("") {
        let index = seeds.iter().position(|text| normalised(text).is_empty()).unwrap_or_default();
        return Err(Error::EmptySeed { index });
    }
    let mut generated = Generated::default();
    for call in 0..config.max_calls {
        if generated.requests.len() >= config.requests {
            break;
        }
        let numbers = call * config.batch..(call + 1) * config.batch;
        let prompts: Vec<Prompt> =
            numbers.map(|number| draw_prompt(seeds, config.shots, number, seed)).collect();
        let completions = model.generate(&prompts, &config.sampling)?;
        if completions.len() != prompts.len() {
            return Err(Error::Count { expected: prompts.len(), found: completions.len() });
        }
        for completion in &completions {
            generated.read(completion, &mut seen, config);
        }
    }
    Ok(generated)
}

/// The prompt of the given number, with its own examples.
fn draw_prompt(seeds: &[String], shots: usize, number: usize, seed: u64) -> Prompt {
    let number = number.to_string();
    let mut stream = stream(item_seed(seed, &["red_team", &number, "examples"]));
    let examples: Vec<&String> = seeds.choose_multiple(&mut stream, shots).collect();
    Prompt {
        dialogue: request_list(&examples),
        seed: item_seed(seed, &["red_team", &number, "completion"]),
    }
}

impl Generated {
    /// Takes in the lines of a completion until there are enough requests.
    fn read(
        &mut self,
        completion: &Completion,
        seen: &mut HashSet<String>,
        config: &GenerationConfig,
    ) {
        if self.requests.len() >= config.requests {
            return;
        }
        self.drawn += 1;
        for line in lines(completion) {
            if self.requests.len() >= config.requests {
                return;
            }
            match line {
                Line::Other => self.unparsed += 1,
                Line::CutOff => self.cut_off += 1,
                Line::Entry(text) => self.take(text, seen, config),
            }
        }
    }

    /// Takes in an entry if it is new and of the right length.
    fn take(&mut self, text: String, seen: &mut HashSet<String>, config: &GenerationConfig) {
        let key = normalised(&text);
        let characters = config.min_characters..=config.max_characters;
        if key.is_empty() || !characters.contains(&text.chars().count()) {
            self.wrong_length += 1;
        } else if seen.insert(key) {
            self.requests.push(text);
        } else {
            self.duplicates += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use language_model::{Sampling, StopReason};
    use std::cell::RefCell;

    /// Answers by a function of the prompt, and remembers what it was asked.
    struct Scripted<F> {
        answer: F,
        calls: RefCell<Vec<Vec<Prompt>>>,
    }

    impl<F: Fn(&Prompt) -> (String, StopReason)> Scripted<F> {
        fn new(answer: F) -> Self {
            Self { answer, calls: RefCell::default() }
        }
    }

    impl<F: Fn(&Prompt) -> (String, StopReason)> Generate for Scripted<F> {
        fn generate(
            &self,
            prompts: &[Prompt],
            _: &Sampling,
        ) -> Result<Vec<Completion>, language_model::Error> {
            self.calls.borrow_mut().push(prompts.to_vec());
            let complete = |prompt| {
                let (text, stopped) = (self.answer)(prompt);
                Completion { text, tokens: 1, stopped }
            };
            Ok(prompts.iter().map(complete).collect())
        }
    }

    fn seeds() -> Vec<String> {
        (0..9).map(|n| format!("seed number {n}?")).collect()
    }

    fn config(requests: usize) -> GenerationConfig {
        GenerationConfig { requests, batch: 3, max_calls: 5, ..Default::default() }
    }

    #[test]
    fn counts_what_it_throws_away() {
        let text = "Here you are:\n5. New one\n6. SEED number 4!\n7. new, one.\n8. no\n9. ?????\n\
                    10. Another\n11. cut";
        let model = Scripted::new(|_: &Prompt| (text.to_owned(), StopReason::Length));
        let config = GenerationConfig { batch: 2, max_calls: 1, ..config(10) };
        let generated = generate_requests(&model, &seeds(), &config, 0).unwrap();
        assert_eq!(generated.requests, ["New one", "Another"]);
        let Generated { drawn, unparsed, cut_off, wrong_length, duplicates, .. } = generated;
        // The second completion brings nothing new.
        assert_eq!((drawn, unparsed, cut_off, wrong_length, duplicates), (2, 2, 2, 4, 6));
    }

    #[test]
    fn stops_at_the_number_asked_for_or_at_the_last_call() {
        let fresh = |prompt: &Prompt| {
            (format!("5. {:x}\n6. {:x} too\n", prompt.seed, prompt.seed), StopReason::Stop)
        };
        let model = Scripted::new(fresh);
        let generated = generate_requests(&model, &seeds(), &config(9), 0).unwrap();
        assert_eq!((generated.requests.len(), generated.drawn), (9, 5));
        assert_eq!(model.calls.borrow().len(), 2);

        let model = Scripted::new(|_: &Prompt| ("no list".to_owned(), StopReason::Stop));
        let generated = generate_requests(&model, &seeds(), &config(9), 0).unwrap();
        assert_eq!((generated.requests.len(), generated.unparsed), (0, 15));
        assert_eq!(model.calls.borrow().len(), 5);

        let generated = generate_requests(&model, &seeds(), &config(0), 0).unwrap();
        assert_eq!((generated, model.calls.borrow().len()), (Generated::default(), 5));
    }

    #[test]
    fn every_prompt_shows_its_own_seeds_once() {
        let model = Scripted::new(|_: &Prompt| (String::new(), StopReason::Stop));
        generate_requests(&model, &seeds(), &config(1), 0).unwrap();
        let calls = model.calls.borrow();
        let prompts: Vec<&Prompt> = calls.iter().flatten().collect();
        assert_eq!(prompts.len(), 15);
        let seeds: HashSet<u64> = prompts.iter().map(|prompt| prompt.seed).collect();
        let texts: HashSet<String> = prompts.iter().map(|prompt| prompt.dialogue.id()).collect();
        assert!(seeds.len() == 15 && texts.len() > 12);
        for prompt in prompts {
            let text = prompt.dialogue.last_request().unwrap();
            let shown: HashSet<&str> = text
                .lines()
                .skip(1)
                .filter_map(|line| line.split_once(". "))
                .map(|l| l.1)
                .collect();
            assert_eq!(shown.len(), 4, "{text}");
        }
    }

    #[test]
    fn the_size_of_a_batch_changes_nothing() {
        let answer = |prompt: &Prompt| {
            // Some requests come again.
            (format!("5. {}\n6. {:x}", prompt.seed % 7 + 1000, prompt.seed), StopReason::Stop)
        };
        let run = |batch, seed| {
            let config = GenerationConfig { batch, max_calls: 100, ..config(20) };
            generate_requests(&Scripted::new(answer), &seeds(), &config, seed).unwrap()
        };
        let expected = run(1, 4);
        assert_eq!(expected.requests.len(), 20);
        assert!(expected.duplicates > 0);
        assert_eq!(run(7, 4), expected);
        assert_eq!(run(64, 4), expected);
        assert_ne!(run(64, 5), expected);
    }

    #[test]
    fn bad_seeds_are_named() {
        let model = Scripted::new(|_: &Prompt| (String::new(), StopReason::Stop));
        let message = |seeds: &[String]| {
            generate_requests(&model, seeds, &config(1), 0).unwrap_err().to_string()
        };
        assert!(message(&seeds()[..3]).starts_with("3 seed requests are too few for 4 shots"));
        let mut seeds = seeds();
        seeds[5] = " … ".to_owned();
        assert!(message(&seeds).starts_with("seed request 5 "));
        assert!(model.calls.borrow().is_empty());
    }
}
