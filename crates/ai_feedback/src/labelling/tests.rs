use super::*;
use crate::{AnswerLabel, FewShot, OrderLabel, pair_id, question};
use constitution::Drawing;
use dialogue::Dialogue;
use language_model::{Completion, Generate, Sampling, StopReason, stream};
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
fn several_principles_are_averaged_and_kept() {
    let constitution = Constitution::general();
    // What a principle makes of a pair, whichever reply is shown first.
    let by_principle = |question: &Dialogue| {
        let text = question.last_request().unwrap();
        let index = constitution.comparison.iter().position(|p| text.contains(&p.text)).unwrap();
        let good = (index + 1) as f64 / 20.0;
        if shown(question)[0] == "good" { vec![good, 1.0 - good] } else { vec![1.0 - good, good] }
    };
    let judge = Scripted::new(by_principle);
    let principles = Drawing { replacement: false, ..Default::default() };
    let few_shots =
        vec![FewShot { pair: pair("x", "y"), answer: crate::Answer::A, rationale: None }];
    let all = FeedbackConfig {
        principles,
        principles_per_comparison: 16,
        few_shots,
        ..Default::default()
    };
    let found = &labels(&judge, &[pair("good", "bad")], &all)[0];
    assert_eq!(*judge.calls.borrow(), [("choose", 32)]);
    let ids: std::collections::HashSet<&str> =
        found.principles.iter().map(|principle| principle.id.as_str()).collect();
    assert_eq!(ids.len(), 16, "without replacement every principle judges once");
    for judged in &found.principles {
        let index = constitution.comparison.iter().position(|p| p.id == judged.id).unwrap();
        assert_close(judged.probability_a, (index + 1) as f64 / 20.0);
        for order in &judged.orders {
            assert!(order.answers[0].question.messages[2].content.contains(&judged.text));
        }
    }
    // (1 + ... + 16) / 20 / 16
    assert_close(found.probability_a, 8.5 / 20.0);
    assert_close(found.unclamped(), found.probability_a);
}

#[test]
fn several_rationales_are_averaged_before_the_clamp() {
    let read = |question: &Dialogue| {
        // The seed that a rationale shows decides, the question does not.
        let certain = question
            .last_reply()
            .unwrap()
            .split_whitespace()
            .any(|word| u64::from_str_radix(word, 16).is_ok_and(|seed| seed % 4 == 0));
        if certain { vec![1.0, 0.0] } else { vec![0.45, 0.55] }
    };
    let chain_of_thought = Some(ChainOfThought { samples: 5, ..Default::default() });
    let config = FeedbackConfig { chain_of_thought, both_orders: false, ..Default::default() };
    let judge = Scripted::new(read);
    let found = labels(&judge, &pairs(), &config);
    assert_eq!(*judge.calls.borrow(), [("generate", 50), ("choose", 50)]);
    let mut kept = std::collections::HashSet::new();
    let mut clamped = 0;
    for label in &found {
        let [order] = orders(label) else { panic!() };
        assert_eq!(order.answers.len(), 5);
        kept.extend(order.answers.iter().map(|answer| answer.rationale.clone().unwrap()));
        let sum: f64 = order.answers.iter().map(|answer| answer.probability_of_first).sum();
        assert_close(order.probability_of_first, sum / 5.0);
        assert_close(label.unclamped(), sum / 5.0);
        assert_close(label.probability_a, (sum / 5.0).clamp(0.4, 0.6));
        clamped += usize::from(label.probability_a < label.unclamped());
    }
    assert_eq!(kept.len(), 50, "every rationale has a stream of its own");
    // Of five, one that is certain makes 0.56, two make 0.67.
    assert!(clamped > 0 && clamped < found.len(), "{clamped}");
}

#[test]
fn more_principles_and_rationales_change_none_of_the_first() {
    let constitution = Constitution::general();
    let shot = FewShot {
        pair: pair("x", "y"),
        answer: crate::Answer::B,
        rationale: Some("So it is.".to_owned()),
    };
    let config = |principles_per_comparison, samples| FeedbackConfig {
        principles_per_comparison,
        chain_of_thought: Some(ChainOfThought { samples, ..Default::default() }),
        few_shots: vec![shot.clone()],
        ..Default::default()
    };
    let judge = Scripted::new(longer);
    let [one, more] = [config(1, 1), config(3, 2)].map(|config| labels(&judge, &pairs(), &config));
    for (one, more) in one.iter().zip(&more) {
        assert_eq!(one.principles[0].id, more.principles[0].id);
        for (one, more) in orders(one).iter().zip(orders(more)) {
            assert_eq!(one.answers[0], more.answers[0]);
        }
    }
    for label in &one {
        let mut principles = stream(item_seed(3, &["ai_feedback", &label.id, "principles"]));
        let mut draws = constitution.comparisons(&Drawing::default()).unwrap();
        assert_eq!(label.principles[0].id, draws.draw(&mut principles).id);
        for (order, judged) in ["0", "1"].iter().zip(orders(label)) {
            let seed = item_seed(3, &["ai_feedback", &label.id, "rationale", order]);
            let expected = format!("because {seed:x}");
            assert_eq!(judged.answers[0].rationale.as_deref(), Some(expected.as_str()));
        }
    }
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
    let config = FeedbackConfig { principles_per_comparison: 2, ..reasoning() };
    for label in labels(&judge, &pairs(), &config) {
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
        prop_assert_eq!(orders(&label).len(), 1 + usize::from(both_orders));
        for order in orders(&label) {
            prop_assert!((0.0..=1.0).contains(&order.probability_of_first));
        }
    }

    /// A verdict that does not reach the label makes a judge worthless without an error, so every mode is tried, down to
    /// the row that is trained on.
    #[test]
    fn a_flipped_verdict_flips_the_label_in_every_mode(
        both_orders: bool,
        principles_per_comparison in 1_usize..4,
        replacement: bool,
        samples in 0_usize..4,
        shots in 0_usize..3,
        low in 0.0..0.49_f64,
        weights in prop::collection::vec((0.0..1.0_f64, 0.001..1.0_f64), 7),
    ) {
        // Any answer at all, decided by the whole question.
        let weigh = |question: &Dialogue| {
            let (a, b) = weights[usize::from_str_radix(&question.id()[..4], 16).unwrap() % 7];
            vec![a, b]
        };
        let shot = |_| FewShot {
            pair: pair("x", "y"),
            answer: crate::Answer::A,
            rationale: Some("So it is.".to_owned()),
        };
        let clamp = [low, 1.0 - low];
        let config = FeedbackConfig {
            both_orders,
            principles: Drawing { replacement, ..Default::default() },
            principles_per_comparison,
            chain_of_thought: (samples > 0).then(|| ChainOfThought { samples, clamp, ..Default::default() }),
            few_shots: (0..shots).map(shot).collect(),
            ..Default::default()
        };
        let judge = Scripted::new(weigh);
        let flipped = Scripted::new(|question: &Dialogue| weigh(question).into_iter().rev().collect());
        let pairs = [pair("one", "two"), pair("three", "four")];
        let found = labels(&judge, &pairs, &config);
        for (label, flipped) in found.iter().zip(labels(&flipped, &pairs, &config)) {
            prop_assert!((label.probability_a + flipped.probability_a - 1.0).abs() < 1e-9);
            prop_assert_eq!(label.principles.len(), principles_per_comparison);
            prop_assert!(answers(label).count() == principles_per_comparison * orders(label).len() * samples.max(1));
            // So near to even rounding decides.
            if (label.probability_a - 0.5).abs() > 1e-9 {
                let [row, other] = [label, &flipped].map(|label| serde_json::to_value(label).unwrap());
                prop_assert_eq!(&row["chosen"], &other["rejected"]);
                prop_assert_eq!(&row["rejected"], &other["chosen"]);
                let chosen = usize::from(label.probability_a < 0.5);
                prop_assert_eq!(&row["chosen"][0]["content"], &label.pair.replies[chosen]);
            }
        }
    }
}
