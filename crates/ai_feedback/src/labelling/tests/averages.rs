//! Several principles and several rationales.

use super::*;
use constitution::Drawing;
use language_model::stream;

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
