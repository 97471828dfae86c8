//! Judges that are no models: they show what a measure gives at its ends.

use rlaif::dialogue::Dialogue;
use rlaif::evals::Question;
use rlaif::language_model::{
    Choose, Completion, Error, Generate, Prompt, Reward, Sampling, StopReason,
};
use std::collections::HashMap;

/// Answers with the same letter, whatever is asked; that every question has it is seen when they are read.
pub(super) struct Constant(pub(super) String);

impl Choose for Constant {
    fn choose(&self, prompts: &[Dialogue], options: &[&str]) -> Result<Vec<Vec<f64>>, Error> {
        let weigh = |option: &&str| if *option == self.0 { 1.0 } else { 0.0 };
        let answer: Vec<f64> = options.iter().map(weigh).collect();
        Ok(vec![answer; prompts.len()])
    }
}

impl Generate for Constant {
    fn generate(&self, prompts: &[Prompt], _: &Sampling) -> Result<Vec<Completion>, Error> {
        Ok(silence(prompts))
    }
}

/// Knows the answers: the right option of every question by what the user asks, and which dialogues are better than which.
pub(super) struct Oracle {
    answers: HashMap<String, usize>,
    ranks: HashMap<Dialogue, f32>,
}

impl Oracle {
    pub(super) fn new(questions: &[Question]) -> Self {
        let request = |question: &Question| question.dialogue.last_request().map(str::to_owned);
        let answers =
            questions.iter().filter_map(|one| Some((request(one)?, one.correct))).collect();
        Self { answers, ranks: ranks(questions) }
    }
}

/// A rank for every dialogue, above those of all that are worse.
///
/// The right dialogue of one question may be the wrong one of another. Each pass lifts right dialogues above their wrong ones,
/// and as many passes as there are questions are enough unless the questions contradict each other.
fn ranks(questions: &[Question]) -> HashMap<Dialogue, f32> {
    let mut ranks: HashMap<Dialogue, f32> = HashMap::new();
    for _ in 0..=questions.len() {
        let mut settled = true;
        for [right, wrong] in questions.iter().filter_map(|question| question.whole.as_ref()) {
            let least = ranks.get(wrong).copied().unwrap_or_default() + 1.0;
            let rank = ranks.entry(right.clone()).or_default();
            settled &= *rank >= least;
            *rank = rank.max(least);
        }
        if settled {
            break;
        }
    }
    ranks
}

impl Choose for Oracle {
    fn choose(&self, prompts: &[Dialogue], options: &[&str]) -> Result<Vec<Vec<f64>>, Error> {
        let correct = |prompt: &Dialogue| {
            let asked = prompt.last_request().unwrap_or_default();
            self.answers.get(asked).copied().unwrap_or_default()
        };
        Ok(prompts.iter().map(|prompt| certain(correct(prompt), options.len())).collect())
    }
}

impl Generate for Oracle {
    fn generate(&self, prompts: &[Prompt], _: &Sampling) -> Result<Vec<Completion>, Error> {
        Ok(silence(prompts))
    }
}

impl Reward for Oracle {
    fn reward(&self, dialogues: &[Dialogue]) -> Result<Vec<f32>, Error> {
        let rank = |dialogue| self.ranks.get(dialogue).copied().unwrap_or_default();
        Ok(dialogues.iter().map(rank).collect())
    }
}

fn certain(chosen: usize, options: usize) -> Vec<f64> {
    (0..options).map(|option| if option == chosen { 1.0 } else { 0.0 }).collect()
}

/// An empty reply each: who knows the answer has no need to reason.
fn silence(prompts: &[Prompt]) -> Vec<Completion> {
    let empty = |_| Completion { text: String::new(), tokens: 0, stopped: StopReason::Stop };
    prompts.iter().map(empty).collect()
}
