use super::*;
use language_model::{Completion, Error as ModelError, StopReason};
use std::cell::RefCell;

/// Reasons with a number made of its seed, chooses the option that the last user turn ends in, and remembers what it was
/// asked.
#[derive(Default)]
struct Model {
    asked: RefCell<Vec<Dialogue>>,
}

impl Choose for Model {
    fn choose(&self, prompts: &[Dialogue], options: &[&str]) -> Result<Vec<Vec<f64>>, ModelError> {
        self.asked.borrow_mut().extend(prompts.iter().cloned());
        let row = |prompt: &Dialogue| {
            let right = prompt.last_request().unwrap();
            // Sure after an even number in its reasoning, undecided after an odd one.
            let sure = prompt.last_reply().unwrap().contains("even");
            let weigh = |option: &&str| match (right.ends_with(*option), sure) {
                (true, true) => 1.0,
                (false, true) => 0.0,
                (_, false) => 1.0 / options.len() as f64,
            };
            options.iter().map(weigh).collect()
        };
        Ok(prompts.iter().map(row).collect())
    }
}

impl Generate for Model {
    fn generate(
        &self,
        prompts: &[Prompt],
        sampling: &Sampling,
    ) -> Result<Vec<Completion>, ModelError> {
        assert_eq!(sampling.stop, ["The answer is"]);
        let text = |prompt: &Prompt| {
            let kind = if prompt.seed.is_multiple_of(2) { "even" } else { "odd" };
            Completion { text: format!(" {kind}\n"), tokens: 1, stopped: StopReason::Stop }
        };
        Ok(prompts.iter().map(text).collect())
    }
}

fn questions(count: usize) -> Vec<Question> {
    let question = |index: usize| {
        let correct = index % 2;
        let letter = ["A", "B"][correct];
        Question {
            dialogue: Dialogue::from_user(format!("{index} {letter}"))
                .with_assistant("The answer is: ("),
            options: vec!["A".to_owned(), "B".to_owned()],
            correct,
            whole: None,
            rationale: (index == 0).then(|| "Look at the end.".to_owned()),
        }
    };
    (0..count).map(question).collect()
}

fn config(shots: usize, samples: usize) -> AskConfig {
    AskConfig { shots, samples, ..AskConfig::default() }
}

#[test]
fn without_shots_a_choice_is_the_plain_one() {
    let (model, questions) = (Model::default(), questions(3));
    let plain = crate::multiple_choice(&model, &questions).unwrap();
    let found = by_choice(&model, &questions, &questions, &config(0, 5), 1).unwrap();
    assert_eq!(found, plain);
    assert_eq!(model.asked.borrow().len(), 6);
}

#[test]
fn shots_are_other_questions_with_their_answers() {
    let (model, questions) = (Model::default(), questions(6));
    by_choice(&model, &questions, &questions, &config(2, 3), 1).unwrap();
    let asked = model.asked.borrow();
    assert_eq!(asked.len(), 18);
    for (index, dialogue) in asked.iter().enumerate() {
        let messages = &dialogue.messages;
        assert_eq!(messages.len(), 6);
        assert_eq!(messages[4].content, questions[index / 3].request());
        assert_eq!(messages[5].content, "The answer is: (");
        let shown = [&messages[0].content, &messages[2].content];
        assert!(shown[0] != shown[1] && !shown.contains(&&messages[4].content));
        for shot in [0, 2] {
            let letter = messages[shot].content.chars().last().unwrap();
            assert_eq!(messages[shot + 1].content, format!("The answer is: ({letter})"));
        }
    }
}

#[test]
fn shots_depend_on_the_question_alone() {
    let of = |chosen: &[Question], seed| {
        let model = Model::default();
        by_choice(&model, chosen, &questions(9), &config(3, 1), seed).unwrap();
        model.asked.into_inner()
    };
    let mut reversed = questions(4);
    reversed.reverse();
    let mut found = of(&reversed, 1);
    found.reverse();
    assert_eq!(found, of(&questions(4), 1));
    assert_ne!(found, of(&questions(4), 2));
}

#[test]
fn all_examples_stand_in_their_order() {
    let (all, model) = (questions(5), Model::default());
    by_choice(&model, &all[4..], &all[..4], &config(4, 1), 1).unwrap();
    let asked = &model.asked.borrow()[0];
    let shown: Vec<&str> =
        asked.messages.iter().step_by(2).map(|message| message.content.as_str()).collect();
    assert_eq!(shown, ["0 A", "1 B", "2 A", "3 B", "4 A"]);
}

#[test]
fn reasons_before_it_answers_and_averages_over_samples() {
    let (model, questions) = (Model::default(), questions(4));
    let found = by_chain_of_thought(&model, &questions, &questions, &config(1, 6), 7).unwrap();
    let asked = model.asked.borrow();
    assert_eq!(asked.len(), 24);
    for (index, answer) in found.answers.iter().enumerate() {
        let samples = &asked[6 * index..6 * (index + 1)];
        let sure = samples.iter().filter(|one| one.last_reply().unwrap().contains("even")).count();
        let expected = (sure as f64 + 0.5 * (6 - sure) as f64) / 6.0;
        assert!((answer.probabilities[index % 2] - expected).abs() < 1e-12, "{answer:?}");
        for sample in samples {
            let reply = sample.last_reply().unwrap();
            assert!(reply.starts_with("Let's think step by step: "), "{reply}");
            assert!(reply.ends_with("\n\nThe answer is: ("), "{reply}");
            let expected = match sample.messages[0].content.as_str() {
                "0 A" => "Let's think step by step: Look at the end.\n\nThe answer is: (A)",
                shot if shot.ends_with('A') => "The answer is: (A)",
                _ => "The answer is: (B)",
            };
            assert_eq!(sample.messages[1].content, expected);
        }
    }
    assert!(found.accuracy.value > 0.9, "{}", found.accuracy);
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let (model, questions) = (Model::default(), questions(3));
    for (config, part) in [(config(0, 0), "`samples`"), (config(3, 1), "`shots`")] {
        for message in [
            by_choice(&model, &questions, &questions, &config, 1).unwrap_err(),
            by_chain_of_thought(&model, &questions, &questions, &config, 1).unwrap_err(),
        ] {
            assert!(message.to_string().contains(part), "{message}");
        }
    }
    let none = by_chain_of_thought(&model, &[], &[], &config(0, 1), 1);
    assert!(matches!(none, Err(Error::NoQuestions)));
    let json = r#"{"shots": 2, "samples": 5, "reasoning": {"max_tokens": 9}}"#;
    let read: AskConfig = serde_json::from_str(json).unwrap();
    assert_eq!((read.shots, read.samples, read.reasoning.max_tokens), (2, 5, 9));
    assert!(serde_json::from_str::<AskConfig>(r#"{"shot": 2}"#).is_err());
}
