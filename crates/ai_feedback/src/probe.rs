//! What labels alone do not show of their judge.

use crate::labelling::{Judged, label_by};
use crate::{Error, FeedbackConfig, Judge, Label, PrincipleLabel};
use constitution::Constitution;
use dialogue::Comparison;

/// Labels some of the labelled pairs once more, in both orders and by at least two different principles if there are, so that
/// [`crate::summarise`] can tell how often a verdict changes with either.
///
/// The pairs, [`FeedbackConfig::probe`] of them, are spread evenly over `labels`. Nothing is trained on the answers. `None`
/// if no pair is to be asked about, or if the labels show all that there is to see.
///
/// # Errors
/// Those of [`crate::label()`].
pub fn probe(
    judge: &dyn Judge,
    constitution: &Constitution,
    labels: &[Label],
    config: &FeedbackConfig,
    seed: u64,
) -> Result<Option<Vec<Label>>, Error> {
    let count = config.probe.min(labels.len());
    let Some(config) = probing(constitution, config)?.filter(|_| count > 0) else {
        return Ok(None);
    };
    let pairs: Vec<Comparison> =
        (0..count).map(|number| labels[number * labels.len() / count].pair.clone()).collect();
    Ok(Some(label_by(judge, constitution, &pairs, &config, Judged::Distinct, seed)?))
}

/// Asks about every one of `labels` as [`probe`] does, and puts the judgements behind those that it is made of, marked as
/// [`PrincipleLabel::probe`]: for labels that are not all in memory, so that each keeps what belongs to it. The labels
/// themselves stay as they are.
///
/// With the `seed` of the labels, what is asked of one depends on no other. Nothing is asked if they show all that there is
/// to see.
///
/// # Errors
/// Those of [`crate::label()`]. Then no label is changed.
pub fn probe_beside(
    judge: &dyn Judge,
    constitution: &Constitution,
    labels: &mut [&mut Label],
    config: &FeedbackConfig,
    seed: u64,
) -> Result<(), Error> {
    let Some(probing) = probing(constitution, config)? else { return Ok(()) };
    let pairs: Vec<Comparison> = labels.iter().map(|label| label.pair.clone()).collect();
    let probes = label_by(judge, constitution, &pairs, &probing, Judged::Distinct, seed)?;
    // In both orders the first judgement is the one that is there.
    let known = usize::from(config.both_orders);
    for (label, probe) in labels.iter_mut().zip(probes) {
        let judged = probe.principles.into_iter().skip(known);
        label.principles.extend(judged.map(|judged| PrincipleLabel { probe: true, ..judged }));
    }
    Ok(())
}

/// How a pair is asked about once more, by different principles; `None` if its label shows all that there is to see: where a
/// single principle can be drawn, there is no other to compare with.
fn probing(
    constitution: &Constitution,
    config: &FeedbackConfig,
) -> Result<Option<FeedbackConfig>, Error> {
    let principles = constitution.comparisons(&config.principles)?.count();
    if config.both_orders && (config.principles_per_comparison > 1 || principles == 1) {
        return Ok(None);
    }
    let principles_per_comparison = config.principles_per_comparison.max(2).min(principles);
    Ok(Some(FeedbackConfig { both_orders: true, principles_per_comparison, ..config.clone() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Answer, FewShot, label, summarise};
    use constitution::Drawing;
    use dialogue::Dialogue;
    use language_model::{Choose, Completion, Error as ModelError, Generate, Prompt, Sampling};
    use std::cell::RefCell;

    /// Leans to (A), and under one principle to the other reply.
    struct Leaning;

    impl Choose for Leaning {
        fn choose(&self, prompts: &[Dialogue], _: &[&str]) -> Result<Vec<Vec<f64>>, ModelError> {
            let weigh = |prompt: &Dialogue| {
                let text = &prompt.messages[0].content;
                let first_is_long = text.contains("(A) long");
                if first_is_long == text.contains("Be long.") {
                    vec![0.9, 0.1]
                } else {
                    vec![0.2, 0.8]
                }
            };
            Ok(prompts.iter().map(weigh).collect())
        }
    }

    impl Generate for Leaning {
        fn generate(&self, _: &[Prompt], _: &Sampling) -> Result<Vec<Completion>, ModelError> {
            unreachable!("no rationale is asked for")
        }
    }

    fn constitution() -> Constitution {
        Constitution::from_toml(
            "name = 'two'\n[[comparison]]\nid = 'long'\ntext = 'Be long.'\n\
             [[comparison]]\nid = 'short'\ntext = 'Be short.'\n",
        )
        .unwrap()
    }

    fn labels(config: &FeedbackConfig) -> Vec<Label> {
        let pair = |number: usize| Comparison {
            prompt: Dialogue::from_user(format!("q{number}")),
            replies: ["long".to_owned(), "brief".to_owned()],
        };
        let pairs: Vec<Comparison> = (0..10).map(pair).collect();
        label(&Leaning, &constitution(), &pairs, config, 1).unwrap()
    }

    #[test]
    fn shows_what_single_questions_do_not() {
        let config = FeedbackConfig { both_orders: false, probe: 4, ..Default::default() };
        let labels = labels(&config);
        let summary = summarise(&labels);
        assert_eq!((summary.order_consistency, summary.principle_consistency), (None, None));
        let probed = probe(&Leaning, &constitution(), &labels, &config, 1).unwrap().unwrap();
        let ids: Vec<&str> = probed.iter().map(|label| label.id.as_str()).collect();
        assert_eq!(ids, [0, 2, 5, 7].map(|index: usize| labels[index].id.as_str()));
        for (probed, index) in probed.iter().zip([0, 2, 5, 7]) {
            // The first question is the one that was asked before.
            let [before] = &labels[index].principles[..] else { panic!() };
            assert_eq!(probed.principles[0].orders[0], before.orders[0]);
        }
        let summary = summarise(&probed);
        // The verdict holds in both orders, and turns round with the principle. The lean is (0.9 + 0.2) / 2 - 1/2.
        assert_eq!(summary.order_consistency, Some(1.0));
        assert_eq!(summary.principle_consistency, Some(0.0));
        assert!((summary.position_bias.unwrap() - 0.05).abs() < 1e-12);
    }

    #[test]
    fn a_label_keeps_what_was_asked_beside_it() {
        for both_orders in [true, false] {
            let config = FeedbackConfig { both_orders, ..Default::default() };
            let before = labels(&config);
            let mut after = before.clone();
            let mut some: Vec<&mut Label> = after.iter_mut().step_by(3).collect();
            probe_beside(&Leaning, &constitution(), &mut some, &config, 1).unwrap();
            for (number, (before, after)) in before.iter().zip(&after).enumerate() {
                assert_eq!(after.preference(), before.preference());
                assert!(after.judgements().eq(&before.principles));
                let asked = &after.principles[1..];
                let expected = match (number % 3, both_orders) {
                    (0, true) => 1,
                    (0, false) => 2,
                    _ => 0,
                };
                assert_eq!(asked.len(), expected);
                assert!(asked.iter().all(|judged| judged.probe && judged.orders.len() == 2));
            }
            let summary = summarise(&after);
            assert_eq!(summary.principle_consistency, Some(0.0));
            assert_eq!(summary.order_consistency, Some(1.0));
        }
    }

    #[test]
    fn asks_nothing_that_is_known() {
        let known = FeedbackConfig { principles_per_comparison: 2, ..Default::default() };
        let silent = FeedbackConfig { probe: 0, ..Default::default() };
        for config in [known.clone(), silent] {
            let found = probe(&Leaning, &constitution(), &labels(&config), &config, 1).unwrap();
            assert_eq!(found, None);
        }
        let mut all = labels(&known);
        let before = all.clone();
        let mut asked: Vec<&mut Label> = all.iter_mut().collect();
        probe_beside(&Leaning, &constitution(), &mut asked, &known, 1).unwrap();
        assert_eq!(all, before);
        let config = FeedbackConfig::default();
        assert_eq!(probe(&Leaning, &constitution(), &[], &config, 1).unwrap(), None);
    }

    /// Remembers what it was asked.
    #[derive(Default)]
    struct Listening(RefCell<Vec<Dialogue>>);

    impl Choose for Listening {
        fn choose(&self, prompts: &[Dialogue], _: &[&str]) -> Result<Vec<Vec<f64>>, ModelError> {
            self.0.borrow_mut().extend_from_slice(prompts);
            Ok(vec![vec![0.5, 0.5]; prompts.len()])
        }
    }

    impl Generate for Listening {
        fn generate(&self, _: &[Prompt], _: &Sampling) -> Result<Vec<Completion>, ModelError> {
            unreachable!("no rationale is asked for")
        }
    }

    #[test]
    fn the_first_question_is_that_of_the_label_behind_the_same_examples() {
        let pair = |number: usize| Comparison {
            prompt: Dialogue::from_user(format!("q{number}")),
            replies: ["a".to_owned(), "b".to_owned()],
        };
        let shot = |number| FewShot { pair: pair(number), answer: Answer::A, rationale: None };
        let pairs: Vec<Comparison> = (0..10).map(pair).collect();
        let general = Constitution::general();
        for (both_orders, replacement) in
            [(true, true), (true, false), (false, true), (false, false)]
        {
            let config = FeedbackConfig {
                both_orders,
                principles: Drawing { replacement, ..Drawing::default() },
                few_shots: vec![shot(100), shot(101), shot(102)],
                probe: pairs.len(),
                ..FeedbackConfig::default()
            };
            let labels = label(&Listening::default(), &general, &pairs, &config, 1).unwrap();
            let judge = Listening::default();
            let probed = probe(&judge, &general, &labels, &config, 1).unwrap().unwrap();
            let asked = judge.0.into_inner();
            // Two principles in two orders a pair.
            assert_eq!(asked.len(), pairs.len() * 4);
            for ((label, probed), asked) in labels.iter().zip(&probed).zip(asked.chunks(4)) {
                for (order, known) in label.principles[0].orders.iter().enumerate() {
                    assert_eq!(known.answers[0].question, asked[order]);
                }
                assert_eq!(probed.principles[0].id, label.principles[0].id);
                assert_ne!(probed.principles[0].id, probed.principles[1].id);
            }
        }
    }

    #[test]
    fn a_single_principle_has_nothing_to_be_compared_with() {
        let mut constitution = constitution();
        constitution.comparison[0].tags = vec!["one".to_owned()];
        let principles = Drawing { tags: vec!["one".to_owned()], ..Drawing::default() };
        let config = FeedbackConfig { principles, ..FeedbackConfig::default() };
        let pair = |number: usize| Comparison {
            prompt: Dialogue::from_user(format!("q{number}")),
            replies: ["long".to_owned(), "brief".to_owned()],
        };
        let pairs: Vec<Comparison> = (0..10).map(pair).collect();
        let labels = label(&Leaning, &constitution, &pairs, &config, 1).unwrap();
        assert_eq!(probe(&Leaning, &constitution, &labels, &config, 1).unwrap(), None);
        let mut after = labels.clone();
        let mut all: Vec<&mut Label> = after.iter_mut().collect();
        probe_beside(&Leaning, &constitution, &mut all, &config, 1).unwrap();
        assert_eq!(after, labels);

        // In one order there is the other.
        let one = FeedbackConfig { both_orders: false, ..config };
        let labels = label(&Leaning, &constitution, &pairs, &one, 1).unwrap();
        let probed = probe(&Leaning, &constitution, &labels, &one, 1).unwrap().unwrap();
        assert!(probed.iter().all(|label| label.principles.len() == 1));
        let summary = summarise(&probed);
        assert_eq!(summary.principle_consistency, None);
        assert_eq!(summary.order_consistency, Some(1.0));
    }
}
