use super::*;
use language_model::{Sampling, StopReason};
use std::cell::RefCell;
use std::collections::HashSet;

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
    GenerationConfig {
        shots: 4,
        requests,
        batch: 3,
        max_calls: 5,
        drop_near_duplicates: false,
        ..Default::default()
    }
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
fn counts_what_is_near_and_how_near_the_seeds() {
    let text = "5. Seed number 4?\n6. My seed number 4?\n7. Where are we?\n8. Where are we now?\n9. Где мы сейчас находимся?";
    let model = Scripted::new(|_: &Prompt| (text.to_owned(), StopReason::Stop));
    let config = GenerationConfig {
        batch: 1,
        max_calls: 1,
        drop_near_duplicates: true,
        similarity: 0.6,
        languages: vec!["eng".to_owned()],
        ..config(9)
    };
    let generated = generate_requests(&model, &seeds(), &config, 0).unwrap();
    assert_eq!(generated.requests, ["Where are we?"]);
    let Generated { duplicates, near_seeds, near_requests, wrong_language, novelty, .. } =
        generated;
    assert_eq!((duplicates, near_seeds, near_requests, wrong_language), (1, 1, 1, 1));
    // Runs of two words: both of a seed; two of three; none, twice.
    assert_eq!((novelty.valid, novelty.novel), (4, 2));
    assert!((novelty.nearest_seed - (1.0 + 2.0 / 3.0)).abs() < 1e-12);
}

#[test]
fn tells_what_there_is_after_every_call_and_ends_when_that_fails() {
    let fresh = |prompt: &Prompt| {
        (format!("5. {:x}\n6. {:x} too\n", prompt.seed, prompt.seed), StopReason::Stop)
    };
    let model = Scripted::new(fresh);
    let mut told = Vec::new();
    let mut tell = |generated: &Generated| -> Result<(), Error> {
        told.push(generated.requests.len());
        Ok(())
    };
    let generated = generate_requests_and_tell(&model, &seeds(), &config(9), 0, &mut tell).unwrap();
    assert_eq!((told, generated.requests.len()), (vec![6, 9], 9));

    let mut fails = |_: &Generated| -> Result<(), Error> { Err(Error::EmptySeed { index: 7 }) };
    let error = generate_requests_and_tell(&model, &seeds(), &config(9), 0, &mut fails);
    assert!(error.unwrap_err().to_string().contains("seed request 7"));
    assert_eq!(model.calls.borrow().len(), 3);
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
        let shown: HashSet<&str> =
            text.lines().skip(1).filter_map(|line| line.split_once(". ")).map(|l| l.1).collect();
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
    let message =
        |seeds: &[String]| generate_requests(&model, seeds, &config(1), 0).unwrap_err().to_string();
    assert!(message(&seeds()[..3]).starts_with("3 seed requests are too few for 4 shots"));
    let mut seeds = seeds();
    seeds[5] = " … ".to_owned();
    assert!(message(&seeds).starts_with("seed request 5 "));
    assert!(model.calls.borrow().is_empty());
}
