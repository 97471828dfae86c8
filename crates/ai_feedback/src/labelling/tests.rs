mod averages;
mod properties;
mod refusals;

use super::*;
use crate::{AnswerLabel, FewShot, OrderLabel, question};
use dialogue::Dialogue;
use language_model::{Completion, Generate, Sampling, StopReason};
use std::cell::RefCell;

/// Chooses by a function of the question, thinks aloud by its seed, and counts its calls.
struct Scripted<F> {
    choose: F,
    calls: RefCell<Vec<(&'static str, usize)>>,
}

impl<F: Fn(&Dialogue) -> Vec<f64>> Scripted<F> {
    fn new(choose: F) -> Self {
        Self { choose, calls: RefCell::default() }
    }
}

impl<F: Fn(&Dialogue) -> Vec<f64>> Choose for Scripted<F> {
    fn choose(
        &self,
        prompts: &[Dialogue],
        options: &[&str],
    ) -> Result<Vec<Vec<f64>>, language_model::Error> {
        assert_eq!(options, ["A", "B"]);
        self.calls.borrow_mut().push(("choose", prompts.len()));
        Ok(prompts.iter().map(&self.choose).collect())
    }
}

impl<F> Generate for Scripted<F> {
    fn generate(
        &self,
        prompts: &[Prompt],
        sampling: &Sampling,
    ) -> Result<Vec<Completion>, language_model::Error> {
        assert_eq!(sampling.stop, ["The answer is"]);
        self.calls.borrow_mut().push(("generate", prompts.len()));
        let complete = |prompt: &Prompt| Completion {
            text: format!(" because {:x}\n\n", prompt.seed),
            tokens: 2,
            stopped: StopReason::Stop,
        };
        Ok(prompts.iter().map(complete).collect())
    }
}

/// The two replies that the last question shows.
fn shown(question: &Dialogue) -> [&str; 2] {
    let (_, replies) = question.last_request().unwrap().rsplit_once("\n\n(A) ").unwrap();
    replies.split_once("\n(B) ").unwrap().into()
}

/// Prefers the longer reply.
fn longer(question: &Dialogue) -> Vec<f64> {
    let [a, b] = shown(question).map(|reply| reply.len() as f64 + 1.0);
    vec![a / (a + b), b / (a + b)]
}

fn pair(a: &str, b: &str) -> Comparison {
    Comparison { prompt: Dialogue::from_user("q"), replies: [a.to_owned(), b.to_owned()] }
}

fn pairs() -> Vec<Comparison> {
    (0..10).map(|n| pair(&"x".repeat(n), &"y".repeat((n * 7) % 10))).collect()
}

fn reasoning() -> FeedbackConfig {
    let chain_of_thought = Some(ChainOfThought::default());
    FeedbackConfig { chain_of_thought, ..Default::default() }
}

fn labels(judge: &dyn Judge, pairs: &[Comparison], config: &FeedbackConfig) -> Vec<Label> {
    label(judge, &Constitution::general(), pairs, config, 3).unwrap()
}

/// The judgements in every order, by the first principle.
fn orders(label: &Label) -> &[OrderLabel] {
    &label.principles[0].orders
}

/// Every answer behind a label.
fn answers(label: &Label) -> impl Iterator<Item = &AnswerLabel> {
    label.principles.iter().flat_map(|principle| &principle.orders).flat_map(|order| &order.answers)
}

fn assert_close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
}

#[test]
fn a_label_holds_the_mean_of_both_orders_and_its_provenance() {
    let constitution = Constitution::general();
    let fixed = |question: &Dialogue| match shown(question) {
        ["good", "bad"] => vec![0.9, 0.1],
        _ => vec![0.4, 0.6],
    };
    let judge = Scripted::new(fixed);
    let found = &labels(&judge, &[pair("good", "bad")], &FeedbackConfig::default())[0];
    // (0.9 + 0.6) / 2
    assert_close(found.probability_a, 0.75);
    let firsts: Vec<f64> = orders(found).iter().map(|order| order.probability_of_first).collect();
    assert_eq!(firsts, [0.9, 0.4]);
    let [judged] = &found.principles[..] else { panic!("one principle is the default") };
    let principle = constitution.comparison.iter().find(|p| p.id == judged.id).unwrap();
    assert_eq!(judged.text, principle.text);
    let asked: Vec<&AnswerLabel> = answers(found).collect();
    assert_eq!(asked[0].question, question(&found.pair, &principle.text));
    assert_eq!(asked[1].question, question(&found.pair.swapped(), &principle.text));
    assert_eq!(asked[0].rationale, None);
    let preference = found.preference();
    assert_eq!((preference.chosen.as_str(), preference.probability), ("good", found.probability_a));

    let one = FeedbackConfig { both_orders: false, ..Default::default() };
    let found = &labels(&judge, &[pair("good", "bad")], &one)[0];
    assert_eq!((orders(found).len(), found.probability_a), (1, 0.9));
}

#[test]
fn exchanging_the_replies_turns_the_label_round() {
    // Leans to the first reply, besides reading.
    let judge = Scripted::new(|question: &Dialogue| {
        let weights = longer(question);
        vec![weights[0] * 3.0, weights[1]]
    });
    let swapped: Vec<Comparison> = pairs().iter().map(Comparison::swapped).collect();
    let found = labels(&judge, &pairs(), &FeedbackConfig::default());
    for (label, swapped) in found.iter().zip(labels(&judge, &swapped, &FeedbackConfig::default())) {
        assert_close(label.probability_a, 1.0 - swapped.probability_a);
    }
}

#[test]
fn a_judge_that_looks_at_the_letter_only_ends_even() {
    let judge = Scripted::new(|_: &Dialogue| vec![0.97, 0.03]);
    for label in labels(&judge, &pairs(), &FeedbackConfig::default()) {
        assert_close(label.probability_a, 0.5);
    }
    let summary = crate::summarise(&labels(&judge, &pairs(), &FeedbackConfig::default()));
    assert_close(summary.position_bias.unwrap(), 0.47);
    assert_close(summary.order_consistency.unwrap(), 0.0);
}

#[test]
fn a_chain_of_thought_is_read_and_its_label_clamped() {
    let certain = Scripted::new(|question: &Dialogue| match shown(question) {
        ["good", _] => vec![1.0, 0.0],
        _ => vec![0.0, 1.0],
    });
    let pairs = [pair("good", "bad"), pair("bad", "good")];
    let found = labels(&certain, &pairs, &reasoning());
    assert_close(found[0].probability_a, 0.6);
    assert_close(found[1].probability_a, 0.4);
    assert_close(orders(&found[0])[0].probability_of_first, 1.0);
    assert_eq!(*certain.calls.borrow(), [("generate", 4), ("choose", 4)]);
    let rationales: std::collections::HashSet<&str> =
        found.iter().flat_map(answers).map(|answer| answer.rationale.as_deref().unwrap()).collect();
    assert_eq!(rationales.len(), 4);
    for answer in found.iter().flat_map(answers) {
        let rationale = answer.rationale.as_deref().unwrap();
        assert!(rationale.starts_with("because ") && rationale.trim() == rationale);
        let expected = format!("Let's think step by step: {rationale}\n\nThe answer is: (");
        assert_eq!(answer.question.last_reply(), Some(expected.as_str()));
    }

    let chain_of_thought = ChainOfThought { clamp: [0.0, 1.0], ..Default::default() };
    let config = FeedbackConfig { chain_of_thought: Some(chain_of_thought), ..Default::default() };
    assert_close(labels(&certain, &pairs, &config)[1].probability_a, 0.0);
}

#[test]
fn examples_stand_in_front_each_with_its_principle() {
    let constitution = Constitution::general();
    let shot = |answer| FewShot {
        pair: pair("one", "two"),
        answer,
        rationale: Some("So it is.".to_owned()),
    };
    let few_shots = vec![shot(crate::Answer::A), shot(crate::Answer::B)];
    let judge = Scripted::new(longer);
    let direct = FeedbackConfig { few_shots, ..Default::default() };
    let reasoned = FeedbackConfig { few_shots: direct.few_shots.clone(), ..reasoning() };
    let mut principles = std::collections::HashSet::new();
    for (config, opening) in
        [(&direct, "The answer is: ("), (&reasoned, "Let's think step by step: So it is.")]
    {
        for label in labels(&judge, &pairs(), config) {
            for answer in answers(&label) {
                let turns = &answer.question.messages;
                assert_eq!(turns.len(), 6);
                assert!(turns[1].content.starts_with(opening) && turns[1].content.ends_with("(A)"));
                assert!(turns[3].content.starts_with(opening) && turns[3].content.ends_with("(B)"));
                assert!(turns[4].content.contains(&label.principles[0].text));
                let drawn = constitution.comparison.iter();
                let drawn = drawn.filter(|p| turns[0].content.contains(&p.text));
                principles.extend(drawn.map(|principle| principle.id.clone()));
            }
        }
    }
    assert!(principles.len() > 4, "{principles:?}");
}

#[test]
fn batches_and_order_do_not_change_a_label() {
    let judge = Scripted::new(longer);
    let together = labels(&judge, &pairs(), &reasoning());
    let mut apart: Vec<Label> =
        pairs().rchunks(3).flat_map(|chunk| labels(&judge, chunk, &reasoning())).collect();
    apart.sort_by_key(|label| together.iter().position(|other| other.id == label.id));
    assert_eq!(apart, together);
    let other = label(&judge, &Constitution::general(), &pairs(), &reasoning(), 4).unwrap();
    assert_ne!(other, together);
}

#[test]
fn a_label_survives_the_disk() {
    let judge = Scripted::new(longer);
    let config = FeedbackConfig { principles_per_comparison: 2, ..reasoning() };
    for label in labels(&judge, &pairs(), &config) {
        let line = serde_json::to_string(&label).unwrap();
        assert_eq!(serde_json::from_str::<Label>(&line).unwrap(), label);
    }
}
