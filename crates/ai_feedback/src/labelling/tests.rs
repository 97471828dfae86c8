use super::*;
use language_model::{Completion, Sampling, StopReason};
use proptest::prelude::*;
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
    let firsts: Vec<f64> = found.orders.iter().map(|order| order.probability_of_first).collect();
    assert_eq!(firsts, [0.9, 0.4]);
    let principle = constitution.comparison.iter().find(|p| p.id == found.principle).unwrap();
    assert_eq!(found.principle_text, principle.text);
    assert_eq!(found.orders[0].question, question(&found.pair, &principle.text));
    assert_eq!(found.orders[1].question, question(&found.pair.swapped(), &principle.text));
    assert_eq!(found.orders[0].rationale, None);
    let preference = found.preference();
    assert_eq!((preference.chosen.as_str(), preference.probability), ("good", found.probability_a));

    let one = FeedbackConfig { both_orders: false, ..Default::default() };
    let found = &labels(&judge, &[pair("good", "bad")], &one)[0];
    assert_eq!((found.orders.len(), found.probability_a), (1, 0.9));
}

#[test]
fn flipping_the_judge_flips_every_label() {
    let judge = Scripted::new(longer);
    let flipped = Scripted::new(|question: &Dialogue| longer(question).into_iter().rev().collect());
    for both_orders in [true, false] {
        let config = FeedbackConfig { both_orders, ..Default::default() };
        let labels_of = |judge: &dyn Judge| labels(judge, &pairs(), &config);
        for (label, flipped) in labels_of(&judge).iter().zip(labels_of(&flipped)) {
            assert_close(label.probability_a, 1.0 - flipped.probability_a);
            let decided = label.pair.replies[0].len() != label.pair.replies[1].len();
            assert_eq!(label.preference().chosen != flipped.preference().chosen, decided);
        }
    }
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
    assert_close(summary.consistency.unwrap(), 0.0);
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
    assert_close(found[0].orders[0].probability_of_first, 1.0);
    assert_eq!(*certain.calls.borrow(), [("generate", 4), ("choose", 4)]);
    let rationales: std::collections::HashSet<&str> = found
        .iter()
        .flat_map(|label| &label.orders)
        .map(|order| order.rationale.as_deref().unwrap())
        .collect();
    assert_eq!(rationales.len(), 4);
    for order in found.iter().flat_map(|label| &label.orders) {
        let rationale = order.rationale.as_deref().unwrap();
        assert!(rationale.starts_with("because ") && rationale.trim() == rationale);
        let expected = format!("Let's think step by step: {rationale}\n\nThe answer is: (");
        assert_eq!(order.question.last_reply(), Some(expected.as_str()));
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
            for order in &label.orders {
                let turns = &order.question.messages;
                assert_eq!(turns.len(), 6);
                assert!(turns[1].content.starts_with(opening) && turns[1].content.ends_with("(A)"));
                assert!(turns[3].content.starts_with(opening) && turns[3].content.ends_with("(B)"));
                assert!(turns[4].content.contains(&label.principle_text));
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
fn a_judge_that_only_chooses_labels_directly() {
    struct Even;
    impl Choose for Even {
        fn choose(
            &self,
            prompts: &[Dialogue],
            _: &[&str],
        ) -> Result<Vec<Vec<f64>>, language_model::Error> {
            Ok(vec![vec![2.0, 2.0]; prompts.len()])
        }
    }
    let run = |config| label_directly(&Even, &Constitution::general(), &pairs(), &config, 0);
    let labels = run(FeedbackConfig::default()).unwrap();
    assert!(labels.iter().all(|label| (label.probability_a - 0.5).abs() < 1e-12));
    assert!(matches!(run(reasoning()), Err(Error::CannotReason)));
}

#[test]
fn an_answer_that_is_no_probability_is_an_error() {
    let cases: [&[f64]; 7] = [
        &[f64::NAN, 0.5],
        &[0.5, f64::NAN],
        &[f64::INFINITY, 1.0],
        &[-0.1, 1.1],
        &[0.0, 0.0],
        &[1.0],
        &[0.2, 0.3, 0.5],
    ];
    let pairs = [pair("a", "b")];
    let constitution = Constitution::general();
    for case in cases {
        let judge = Scripted::new(|_: &Dialogue| case.to_vec());
        for config in [FeedbackConfig::default(), reasoning()] {
            let error = label(&judge, &constitution, &pairs, &config, 0).unwrap_err();
            assert!(error.to_string().contains(&pair_id(&pairs[0])), "{error}");
        }
    }
}

#[test]
fn nothing_to_judge_asks_nothing_and_no_principle_is_an_error() {
    let judge = Scripted::new(longer);
    for config in [FeedbackConfig::default(), reasoning()] {
        assert!(labels(&judge, &[], &config).is_empty());
    }
    let none = Constitution { comparison: Vec::new(), ..Constitution::general() };
    let error = label(&judge, &none, &pairs(), &FeedbackConfig::default(), 0).unwrap_err();
    assert!(error.to_string().contains("[[comparison]]"), "{error}");
    assert!(judge.calls.borrow().is_empty());
}

#[test]
fn a_judge_that_drops_a_question_is_found_out() {
    struct Short;
    impl Choose for Short {
        fn choose(
            &self,
            prompts: &[Dialogue],
            _: &[&str],
        ) -> Result<Vec<Vec<f64>>, language_model::Error> {
            Ok(vec![vec![0.5, 0.5]; prompts.len() - 1])
        }
    }
    let config = FeedbackConfig::default();
    let found = label_directly(&Short, &Constitution::general(), &[pair("a", "b")], &config, 0);
    assert!(matches!(found, Err(Error::Count { expected: 2, found: 1 })), "{found:?}");
}

#[test]
fn a_label_survives_the_disk() {
    let judge = Scripted::new(longer);
    for label in labels(&judge, &pairs(), &reasoning()) {
        let line = serde_json::to_string(&label).unwrap();
        assert_eq!(serde_json::from_str::<Label>(&line).unwrap(), label);
    }
}

proptest! {
    #[test]
    fn labels_are_probabilities_that_the_flipped_pair_turns_round(
        a in 0.0..=1e300,
        b in 1e-300..=1e300,
        replies in ["(?s).{0,20}", "(?s).{0,20}"],
        both_orders: bool,
        reason: bool,
    ) {
        let judge = Scripted::new(|_: &Dialogue| vec![a, b]);
        let chain_of_thought = reason.then(ChainOfThought::default);
        let config = FeedbackConfig { both_orders, chain_of_thought, ..Default::default() };
        let pair = Comparison { prompt: Dialogue::from_user("q"), replies };
        let label = labels(&judge, &[pair], &config).remove(0);
        let range = if reason { 0.4..=0.6 } else { 0.0..=1.0 };
        prop_assert!(range.contains(&label.probability_a), "{}", label.probability_a);
        prop_assert_eq!(label.orders.len(), 1 + usize::from(both_orders));
        for order in &label.orders {
            prop_assert!((0.0..=1.0).contains(&order.probability_of_first));
        }
    }
}
