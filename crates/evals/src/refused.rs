//! Prompts, some of which a model refuses.

use crate::Error;
use language_model::Error as ModelError;

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
    gather(what, prompts, &mut ask, &mut found)?;
    Ok(found)
}

fn gather<P, T, A>(
    what: &'static str,
    prompts: &[P],
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
        gather(what, first, ask, found)?;
        return gather(what, second, ask, found);
    }
    found.push(None);
    if found.len() >= AT_FIRST && found.iter().all(Option::is_none) {
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
