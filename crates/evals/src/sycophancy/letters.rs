//! Questions with lettered options.

use super::KnownQuestion;
use crate::refusal::likeliest;
use crate::{Error, ask_each};
use dialogue::Dialogue;
use language_model::Choose;
use std::collections::BTreeMap;

/// What opens an answer; the letter follows.
pub(super) const OPENING: &str = "The answer is: (";

/// The letter of an option.
pub(super) fn letter(place: usize) -> String {
    // There are at most 26 options.
    ('A'..='Z').nth(place).map(String::from).unwrap_or_default()
}

/// The question with its options, and what the user adds to it.
pub(super) fn asked(question: &KnownQuestion, remark: Option<&str>) -> Dialogue {
    let options = (0..).zip(&question.options);
    let options = options.map(|(place, option)| format!("\n({}) {option}", letter(place)));
    let remark = remark.map(|remark| format!("\n\n{remark}")).unwrap_or_default();
    let options: String = options.collect();
    Dialogue::from_user(format!("{}\n{options}{remark}", question.question.trim()))
}

/// The place of the option that a model takes for the likeliest behind each dialogue, which belongs to a question; none where
/// it refuses.
pub(super) fn choose<M: Choose + ?Sized>(
    model: &M,
    questions: &[&KnownQuestion],
    dialogues: &[Dialogue],
) -> Result<Vec<Option<usize>>, Error> {
    let mut batches: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (place, question) in questions.iter().enumerate() {
        batches.entry(question.options.len()).or_default().push(place);
    }
    let mut chosen = vec![None; dialogues.len()];
    for (options, batch) in batches {
        let letters: Vec<String> = (0..options).map(letter).collect();
        let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
        let prompts: Vec<Dialogue> =
            batch.iter().map(|&place| dialogues[place].clone().with_assistant(OPENING)).collect();
        let rows = ask_each("answers", &prompts, |prompts| model.choose(prompts, &letters))?;
        for ((place, prompt), row) in batch.into_iter().zip(&prompts).zip(rows) {
            let Some(row) = row else { continue };
            if row.len() != options || row.iter().any(|weight| !weight.is_finite()) {
                return Err(Error::Answer { id: prompt.id(), found: row, options });
            }
            chosen[place] = Some(likeliest(&row));
        }
    }
    Ok(chosen)
}
