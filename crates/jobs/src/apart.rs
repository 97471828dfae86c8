//! Questions of which the model refuses some.

use crate::Error;

/// An answer, or what the model said in its place.
pub(crate) type Answered<A> = Result<A, String>;

/// An answer to each of some questions, or what the model said to it.
///
/// If the model refuses something, both halves are tried apart, down to the question that it is about.
pub(crate) fn answers<Q, A>(
    questions: &[Q],
    ask: &impl Fn(&[Q]) -> Result<Vec<A>, Error>,
) -> Result<Vec<Answered<A>>, Error> {
    if questions.is_empty() {
        return Ok(Vec::new());
    }
    let expected = questions.len();
    let error = match ask(questions) {
        Ok(found) if found.len() == expected => return Ok(found.into_iter().map(Ok).collect()),
        Ok(found) => return Err(Error::Count { expected, found: found.len() }),
        Err(error) => error,
    };
    let Some(said) = error.refusal() else { return Err(error) };
    if expected == 1 {
        return Ok(vec![Err(said)]);
    }
    let (first, second) = questions.split_at(expected / 2);
    let mut found = answers(first, ask)?;
    found.extend(answers(second, ask)?);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_are_refused_are_found() {
        let ask = |questions: &[u32]| {
            if questions.iter().any(|number| number % 4 == 3) {
                return Err(Error::Model(language_model::Error::Refused("three".into())));
            }
            Ok(questions.to_vec())
        };
        let questions: Vec<u32> = (0..10).collect();
        let found = answers(&questions, &ask).unwrap();
        for (number, found) in questions.iter().zip(found) {
            let expected = if number % 4 == 3 { Err("three".to_owned()) } else { Ok(*number) };
            assert_eq!(found, expected);
        }
        assert!(answers(&questions[..0], &ask).unwrap().is_empty());
    }

    #[test]
    fn a_model_that_fails_or_miscounts_ends_it() {
        let fails = |_: &[u32]| -> Result<Vec<u32>, Error> {
            Err(Error::Model(language_model::Error::Model("gone".into())))
        };
        assert_eq!(answers(&[1, 2], &fails).unwrap_err().to_string(), "gone");
        let miscounts = |_: &[u32]| Ok(vec![1]);
        let error = answers(&[1, 2], &miscounts).unwrap_err();
        assert!(matches!(error, Error::Count { expected: 2, found: 1 }), "{error}");
    }
}
