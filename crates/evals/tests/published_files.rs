//! Evaluates the files published with the paper, where `RLAIF_DATA_DIR` names a folder that holds them. The same formats are
//! evaluated in rows of our own beside the code.

#[path = "../../dataset/tests/elsewhere/mod.rs"]
mod elsewhere;

use dataset::Reading;
use dialogue::Dialogue;
use evals::{
    Refusal, by_preference_model, is_evasive, multiple_choice, over_refusal, rate, rate_by_prompt,
    read_questions, read_replies, read_safety_prompts, refusal,
};
use language_model::{Choose, Error};
use std::collections::HashMap;
use std::path::PathBuf;

/// A file published with the paper.
fn published(file: &str) -> Option<PathBuf> {
    elsewhere::published(&format!("constitutional_ai/{file}"))
}

/// Answers by a rule from the question to the index of an option.
struct Rule<F>(F);

impl<F: Fn(&Dialogue) -> usize> Choose for Rule<F> {
    fn choose(&self, prompts: &[Dialogue], options: &[&str]) -> Result<Vec<Vec<f64>>, Error> {
        let certain = |chosen| {
            (0..options.len()).map(|option| if option == chosen { 1.0 } else { 0.0 }).collect()
        };
        Ok(prompts.iter().map(|prompt| certain((self.0)(prompt))).collect())
    }
}

#[test]
fn an_oracle_is_always_right_and_a_constant_as_often_as_its_letter() {
    for (file, count, first) in [
        ("evals/438HHHEvaluations.jsonl", 438, 228),
        ("evals/HarmfulVsEthical.jsonl", 254, 127),
        ("evals/HarmfulnessClassification.jsonl", 287, 31),
    ] {
        let Some(path) = published(file) else { return };
        let questions = read_questions(path).unwrap();
        assert_eq!(questions.len(), count);
        let key: HashMap<String, usize> =
            questions.iter().map(|question| (question.dialogue.id(), question.correct)).collect();
        let oracle = multiple_choice(&Rule(|prompt: &Dialogue| key[&prompt.id()]), &questions);
        let oracle = oracle.unwrap();
        assert!((oracle.accuracy.value - 1.0).abs() < 1e-12, "{file}: {}", oracle.accuracy);
        let constant = multiple_choice(&Rule(|_: &Dialogue| 0), &questions).unwrap();
        let expected = f64::from(first) / count as f64;
        assert!(
            (constant.accuracy.value - expected).abs() < 1e-12,
            "{file}: {}",
            constant.accuracy
        );
    }
}

#[test]
fn only_the_model_of_human_feedback_on_both_is_evasive() {
    for (system, evasive) in [("HHRLHF", 213), ("HRLHF", 0), ("RLMADISON", 0), ("RLMADISON_COT", 0)]
    {
        let Some(path) = published(&format!("samples/PALMS_{system}.jsonl")) else { return };
        let replies = read_replies(path, &Reading::default()).unwrap().prompts;
        assert!(replies.len() == 40 && replies.iter().all(|prompt| prompt.len() == 17), "{system}");
        let evasive_of = |prompt: &Vec<String>| -> Vec<bool> {
            prompt.iter().map(|reply| is_evasive(reply)).collect()
        };
        let found = rate_by_prompt(replies.iter().map(evasive_of)).unwrap();
        assert_eq!(found.n, 680);
        assert!((found.value - f64::from(evasive) / 680.0).abs() < 1e-12, "{system}: {found}");
        // Some prompts are dodged by nearly all replies and others by none.
        let alone = rate(replies.iter().flat_map(evasive_of)).unwrap();
        assert!(found.high - found.low > 2.0 * (alone.high - alone.low), "{found} {alone}");
    }
}

#[test]
fn chains_of_revisions_are_read() {
    let Some(path) = published("samples/PALMS_SLMADISON.jsonl") else { return };
    assert_eq!(read_replies(path, &Reading::default()).unwrap().prompts.len(), 40);
}

#[test]
fn the_questions_on_replies_have_both_dialogues() {
    let Some(path) = published("evals/438HHHEvaluations.jsonl") else { return };
    let questions = read_questions(path).unwrap();
    let length = |dialogue: &Dialogue| dialogue.last_reply().map_or(0, str::len) as f32;
    let found = by_preference_model(&length, &questions).unwrap();
    assert_eq!(found.accuracy.n, 438);
    // The better reply is neither always the longer one nor always the shorter one.
    assert!((0.2..0.8).contains(&found.accuracy.value), "{}", found.accuracy);
}

#[test]
fn prompts_to_refuse_and_to_answer_are_read() {
    let Some(path) = elsewhere::published("xstest/xstest_prompts.csv") else { return };
    let prompts = read_safety_prompts(path, &Reading::default()).unwrap();
    let safe = prompts.iter().filter(|prompt| prompt.safe).count();
    assert_eq!((prompts.len(), safe), (450, 250));
    let classes = vec![Some(Refusal::Compliance); 450];
    let found = over_refusal(&prompts, &classes).unwrap();
    assert_eq!(found.kinds.len(), 18);
    assert!(found.kinds.iter().all(|kind| kind.compliance.n == 25));
    // A request is not a refusal, whatever it is about.
    assert!(prompts.iter().all(|prompt| refusal(&prompt.prompt) == Refusal::Compliance));
}

#[test]
fn only_the_model_of_human_feedback_on_both_refuses() {
    // The one of RL-CAI says of a question that it "absolutely cannot condone it".
    for (system, refused) in [("HHRLHF", 209), ("HRLHF", 0), ("RLMADISON", 1), ("RLMADISON_COT", 0)]
    {
        let Some(path) = published(&format!("samples/PALMS_{system}.jsonl")) else { return };
        let replies = read_replies(path, &Reading::default()).unwrap().prompts;
        let replies: Vec<String> = replies.into_iter().flatten().collect();
        let found = replies.iter().filter(|reply| refusal(reply) != Refusal::Compliance).count();
        assert_eq!((replies.len(), found), (680, refused), "{system}");
    }
}
