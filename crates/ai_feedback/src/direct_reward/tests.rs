use super::*;
use proptest::prelude::*;
use std::cell::Cell;

/// Weighs the scores by a function of the question and of their number, and counts its calls.
struct Scripted<F> {
    weigh: F,
    calls: Cell<usize>,
}

impl<F: Fn(&Dialogue, usize) -> Vec<f64>> Scripted<F> {
    fn new(weigh: F) -> Self {
        Self { weigh, calls: Cell::new(0) }
    }
}

impl<F: Fn(&Dialogue, usize) -> Vec<f64>> Choose for Scripted<F> {
    fn choose(&self, prompts: &[Dialogue], options: &[&str]) -> Result<Vec<Vec<f64>>, ModelError> {
        self.calls.set(self.calls.get() + 1);
        Ok(prompts.iter().map(|prompt| (self.weigh)(prompt, options.len())).collect())
    }
}

fn said(request: &str, reply: &str) -> Dialogue {
    Dialogue::from_user(request).with_assistant(reply)
}

fn config(highest: u8, principles_per_reply: usize) -> DirectRewardConfig {
    DirectRewardConfig { highest, principles_per_reply, ..Default::default() }
}

fn scores(
    judge: &dyn Choose,
    config: &DirectRewardConfig,
    dialogues: &[Dialogue],
) -> Vec<DirectScore> {
    let constitution = Constitution::general();
    DirectReward::new(judge, &constitution, config, 5).unwrap().scores(dialogues).unwrap()
}

fn assert_close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
}

/// A model that writes its answer character by character, as if each were a token: the probability of a text is that of
/// its beginning.
struct Digits {
    /// What it answers, with which probability.
    answers: Vec<(&'static str, f64)>,
}

impl Choose for Digits {
    fn choose(&self, prompts: &[Dialogue], options: &[&str]) -> Result<Vec<Vec<f64>>, ModelError> {
        let weight = |option: &&str| {
            let begun = self.answers.iter().filter(|(text, _)| text.starts_with(option));
            begun.map(|(_, probability)| probability).sum()
        };
        let row: Vec<f64> = options.iter().map(weight).collect();
        Ok(vec![row; prompts.len()])
    }
}

#[test]
fn a_ten_is_not_taken_for_a_one() {
    let judge = Digits { answers: vec![("10).", 0.8), ("1).", 0.1), ("9).", 0.1)] };
    let found = &scores(&judge, &config(10, 1), &[said("q", "a")])[0];
    // 8 + 0.1 + 0.9; with bare numbers "1" would have weighed 0.9, and the score been 5.5.
    assert_close(found.score, 9.0);
    assert_close(found.reward, 2.0 * 8.0 / 9.0 - 1.0);
    assert_close(found.answers[0].probabilities[9], 0.8);
    let judge = Digits { answers: vec![("1).", 1.0)] };
    assert_close(scores(&judge, &config(10, 1), &[said("q", "a")])[0].reward, -1.0);
}

#[test]
fn no_option_begins_another() {
    for highest in 2..=10 {
        let options = options(highest);
        assert_eq!(options.len(), usize::from(highest));
        for (index, option) in options.iter().enumerate() {
            let mut others = options.iter().enumerate().filter(|(other, _)| *other != index);
            assert!(others.all(|(_, other)| !other.starts_with(option)), "{options:?}");
        }
    }
    assert_eq!(options(9)[8], "9");
}

#[test]
fn principles_are_averaged_and_kept() {
    let constitution = Constitution::general();
    let longest = |question: &Dialogue, highest| {
        let text = question.last_request().unwrap();
        let mut row = vec![0.0; highest];
        row[text.len() % highest] = 2.0;
        row
    };
    let judge = Scripted::new(longest);
    let drawing = constitution::Drawing { replacement: false, ..Default::default() };
    let config = DirectRewardConfig { principles: drawing, ..config(7, 16) };
    let dialogues = [said("q", "one"), said("q", "another"), said("p", "one")];
    let found = scores(&judge, &config, &dialogues);
    assert_eq!(judge.calls.get(), 1);
    for (score, dialogue) in found.iter().zip(&dialogues) {
        let names: std::collections::BTreeSet<&str> =
            score.answers.iter().map(|answer| answer.principle.as_str()).collect();
        assert_eq!(names.len(), 16);
        let mut sum = 0.0;
        for answer in &score.answers {
            let principle =
                constitution.comparison.iter().find(|p| p.id == answer.principle).unwrap();
            assert_eq!(answer.question, scoring_question(dialogue, &principle.text, 7));
            sum += (answer.question.last_request().unwrap().len() % 7 + 1) as f64;
        }
        assert_close(score.score, sum / 16.0);
    }
    // Replies to one prompt are scored by the same principles in the same order.
    let order = |index: usize| -> Vec<&str> {
        found[index].answers.iter().map(|answer| answer.principle.as_str()).collect()
    };
    assert_eq!(order(0), order(1));
    assert_ne!(order(0), order(2));
}

#[test]
fn what_is_no_probability_is_an_error() {
    let constitution = Constitution::general();
    let asked = said("q", "a");
    let cases: [&[f64]; 6] = [
        &[0.0; 3],
        &[1.0; 2],
        &[1.0; 4],
        &[f64::NAN, 0.5, 0.5],
        &[f64::INFINITY, 0.5, 0.5],
        &[-0.1, 0.6, 0.5],
    ];
    for case in cases {
        let judge = Scripted::new(|_: &Dialogue, _| case.to_vec());
        let reward = DirectReward::new(&judge, &constitution, &config(3, 1), 0).unwrap();
        let message = reward.reward(std::slice::from_ref(&asked)).unwrap_err().to_string();
        assert!(message.contains(&asked.id()) && message.contains("expected 3"), "{message}");
    }
}

#[test]
fn nothing_to_score_asks_nothing_and_bad_settings_are_refused() {
    let constitution = Constitution::general();
    let judge = Scripted::new(|_: &Dialogue, highest| vec![1.0; highest]);
    let reward = DirectReward::new(&judge, &constitution, &config(10, 2), 0).unwrap();
    assert!(reward.reward(&[]).unwrap().is_empty());
    assert_eq!(judge.calls.get(), 0);
    assert!(DirectReward::new(&judge, &constitution, &config(1, 1), 0).is_err());
    let none = Constitution { comparison: Vec::new(), ..Constitution::general() };
    let error = DirectReward::new(&judge, &none, &config(10, 1), 0).unwrap_err().to_string();
    assert!(error.contains("[[comparison]]"), "{error}");
}

#[test]
fn a_judge_that_drops_a_question_is_found_out_and_its_own_error_passed_on() {
    struct Bad {
        fails: bool,
    }
    impl Choose for Bad {
        fn choose(&self, _: &[Dialogue], _: &[&str]) -> Result<Vec<Vec<f64>>, ModelError> {
            if self.fails { Err(ModelError::Model("no answer".into())) } else { Ok(Vec::new()) }
        }
    }
    let constitution = Constitution::general();
    for (fails, expected) in [(true, "no answer"), (false, "0 answers to 1 questions")] {
        let judge = Bad { fails };
        let reward = DirectReward::new(&judge, &constitution, &config(10, 1), 0).unwrap();
        let message = reward.reward(&[said("q", "a")]).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

proptest! {
    #[test]
    fn a_flipped_judge_flips_the_reward(
        weights in prop::collection::vec(0.001..1.0_f64, 10),
        highest in 2_u8..=10,
        principles in 1_usize..4,
    ) {
        let weigh = |question: &Dialogue, highest: usize| -> Vec<f64> {
            let turn = question.last_request().unwrap().len() % weights.len();
            weights.iter().cycle().skip(turn).take(highest).copied().collect()
        };
        let flip = |question: &Dialogue, highest: usize| {
            weigh(question, highest).into_iter().rev().collect::<Vec<f64>>()
        };
        let config = config(highest, principles);
        let asked = [said("q", "a"), said("p", "b")];
        let found = scores(&Scripted::new(&weigh), &config, &asked);
        for (score, flipped) in found.iter().zip(scores(&Scripted::new(&flip), &config, &asked)) {
            prop_assert!((-1.0..=1.0).contains(&score.reward));
            prop_assert!((score.reward + flipped.reward).abs() < 1e-9);
        }
    }

    #[test]
    fn more_weight_on_better_scores_is_a_higher_reward(
        weights in prop::collection::vec(0.001..1.0_f64, 10),
        from in 0_usize..9,
        moved in 0.1..=1.0_f64,
    ) {
        let mut better = weights.clone();
        better[from + 1] += better[from] * moved;
        better[from] -= better[from] * moved;
        let score = |row: &[f64]| {
            let judge = Scripted::new(|_: &Dialogue, _| row.to_vec());
            scores(&judge, &config(10, 1), &[said("q", "a")])[0].reward
        };
        prop_assert!(score(&better) > score(&weights));
    }
}
