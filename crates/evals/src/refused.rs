//! Prompts, some of which a model refuses.

use crate::Error;
use dialogue::Dialogue;
use language_model::{Error as ModelError, Reward};

/// So many prompts may be refused before the first is answered: whatever they are refused for is not about them.
const AT_FIRST: usize = 32;

/// What a model gives to each of some prompts; none to one that it refuses, as a server's filter does
/// ([`ModelError::concerns_one_prompt`]).
///
/// If `ask` fails by a refusal, both halves of the prompts are tried apart, down to the prompt that it is about. `what` names
/// in errors what is asked for.
///
/// # Errors
/// Those of the model that are not about one prompt, the refusal if the first 32 prompts are refused, and [`Error::Count`] if
/// another number of answers comes.
pub fn ask_each<P, T>(
    what: &'static str,
    prompts: &[P],
    mut ask: impl FnMut(&[P]) -> Result<Vec<T>, ModelError>,
) -> Result<Vec<Option<T>>, Error> {
    let mut found = Vec::with_capacity(prompts.len());
    gather(what, prompts, AT_FIRST, &mut ask, &mut found)?;
    Ok(found)
}

/// A score for each of some dialogues; none for one that the model cannot score, such as one that is longer than its context.
///
/// # Errors
/// Those of the model that are not about one dialogue, [`Error::Count`] and [`Error::NotFinite`].
pub(crate) fn score_each(
    model: &dyn Reward,
    dialogues: &[Dialogue],
) -> Result<Vec<Option<f64>>, Error> {
    let mut scores = Vec::with_capacity(dialogues.len());
    let mut ask = |dialogues: &[Dialogue]| model.reward(dialogues);
    // However many are too long at first, others may not be.
    gather("scores", dialogues, usize::MAX, &mut ask, &mut scores)?;
    let finite = |(dialogue, score): (&Dialogue, Option<f32>)| match score {
        Some(score) if !score.is_finite() => Err(Error::NotFinite { id: dialogue.id() }),
        score => Ok(score.map(f64::from)),
    };
    dialogues.iter().zip(scores).map(finite).collect()
}

/// `at_first` prompts may be refused before one is answered.
fn gather<P, T, A>(
    what: &'static str,
    prompts: &[P],
    at_first: usize,
    ask: &mut A,
    found: &mut Vec<Option<T>>,
) -> Result<(), Error>
where
    A: FnMut(&[P]) -> Result<Vec<T>, ModelError>,
{
    if prompts.is_empty() {
        return Ok(());
    }
    let refusal = match ask(prompts) {
        Ok(given) if given.len() == prompts.len() => {
            found.extend(given.into_iter().map(Some));
            return Ok(());
        }
        Ok(given) => {
            return Err(Error::Count { what, expected: prompts.len(), found: given.len() });
        }
        Err(error) if error.concerns_one_prompt() => error,
        Err(error) => return Err(error.into()),
    };
    if prompts.len() > 1 {
        let (first, second) = prompts.split_at(prompts.len() / 2);
        gather(what, first, at_first, ask, found)?;
        return gather(what, second, at_first, ask, found);
    }
    found.push(None);
    if found.len() >= at_first && found.iter().all(Option::is_none) {
        return Err(refusal.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Doubles numbers, but not those of `refused`; 13 breaks it.
    fn double(refused: &[u32], numbers: &[u32]) -> Result<Vec<u32>, ModelError> {
        if numbers.contains(&13) {
            return Err(ModelError::Model("gone".into()));
        }
        if numbers.iter().any(|number| refused.contains(number)) {
            return Err(ModelError::Refused("a filter".into()));
        }
        Ok(numbers.iter().map(|number| 2 * number).collect())
    }

    fn asked(refused: &[u32], numbers: &[u32]) -> Result<Vec<Option<u32>>, Error> {
        ask_each("numbers", numbers, |numbers| double(refused, numbers))
    }

    #[test]
    fn a_refusal_is_of_one_prompt() {
        let numbers: Vec<u32> = (0..12).collect();
        for refused in [&[][..], &[0], &[11], &[3, 4, 9], &[0, 1, 2, 3]] {
            let expected: Vec<Option<u32>> = numbers
                .iter()
                .map(|number| (!refused.contains(number)).then_some(2 * number))
                .collect();
            assert_eq!(asked(refused, &numbers).unwrap(), expected, "{refused:?}");
        }
        assert_eq!(asked(&[1], &[1]).unwrap(), [None]);
        assert!(asked(&[], &[]).unwrap().is_empty());
    }

    /// Scores a reply by its length, but none of more than three letters.
    struct Short;

    impl Reward for Short {
        fn reward(&self, dialogues: &[Dialogue]) -> Result<Vec<f32>, ModelError> {
            let score = |dialogue: &Dialogue| match dialogue.last_reply().map_or(0, str::len) {
                tokens @ 4.. => {
                    let (id, context, reserved) = (dialogue.id(), 3, 0);
                    Err(ModelError::TooLong { id, tokens, context, reserved })
                }
                length => Ok(length as f32),
            };
            dialogues.iter().map(score).collect()
        }
    }

    #[test]
    fn what_is_too_long_alone_has_no_score() {
        let said = |reply: &str| Dialogue::from_user("q").with_assistant(reply);
        let dialogues = ["a", "abcd", "abc", "abcde"].map(said);
        assert_eq!(score_each(&Short, &dialogues).unwrap(), [Some(1.0), None, Some(3.0), None]);
        // However many they are.
        let long = vec![said("abcd"); 40];
        assert_eq!(score_each(&Short, &long).unwrap(), vec![None; 40]);
        let damaged = |_: &Dialogue| f32::NAN;
        let error = score_each(&damaged, &dialogues).unwrap_err();
        assert!(matches!(error, Error::NotFinite { .. }), "{error}");
    }

    #[test]
    fn what_is_not_about_a_prompt_is_an_error() {
        let error = asked(&[1], &[1, 2, 13, 4]).unwrap_err();
        assert_eq!(error.to_string(), "gone");
        let all: Vec<u32> = (100..200).collect();
        assert_eq!(asked(&all, &all).unwrap_err().to_string(), "a filter");
        assert_eq!(asked(&all[1..], &all).unwrap().iter().flatten().count(), 1);
        let short = ask_each("numbers", &[1, 2], |_| Ok(vec![1])).unwrap_err();
        assert!(matches!(short, Error::Count { expected: 2, found: 1, .. }), "{short}");
    }
}
