//! Judges and settings that cannot be worked with.

use super::*;
use crate::pair_id;

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
