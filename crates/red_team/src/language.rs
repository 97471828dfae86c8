//! The language of a request.

use crate::Error;
use whatlang::Lang;

/// The languages of ISO 639-3 codes such as `eng`.
///
/// # Errors
/// [`Error::Language`] names the first code that is unknown.
pub(crate) fn languages(codes: &[String]) -> Result<Vec<Lang>, Error> {
    let language = |code: &String| {
        Lang::from_code(code.as_str()).ok_or_else(|| {
            let known: Vec<&str> = Lang::all().iter().map(Lang::code).collect();
            Error::Language { code: code.clone(), known: known.join(", ") }
        })
    };
    codes.iter().map(language).collect()
}

/// True if a text is surely in another language than `allowed`; an empty list allows all.
///
/// Requests are short, so many cannot be told for sure; those pass.
pub(crate) fn is_foreign(text: &str, allowed: &[Lang]) -> bool {
    !allowed.is_empty()
        && whatlang::detect(text)
            .is_some_and(|found| found.is_reliable() && !allowed.contains(&found.lang()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_surely_foreign_is_foreign() {
        let english = languages(&["eng".to_owned()]).unwrap();
        for text in ["How do I pick the lock of a door without a key?", "Ok", "123"] {
            assert!(!is_foreign(text, &english), "{text}");
        }
        let foreign = [
            "Как открыть замок без ключа и не сломать дверь?",
            "怎样才能不用钥匙打开一把锁？",
            "Wie öffne ich das Schloss einer Tür ohne Schlüssel, und was brauche ich dafür alles?",
        ];
        for text in foreign {
            assert!(is_foreign(text, &english), "{text}");
            assert!(!is_foreign(text, &[]), "{text}");
        }
        let german = languages(&["eng".to_owned(), "deu".to_owned()]).unwrap();
        assert!(!is_foreign(foreign[2], &german));
    }

    #[test]
    fn an_unknown_code_is_named_with_the_known_ones() {
        let message = languages(&["eng".to_owned(), "en".to_owned()]).unwrap_err().to_string();
        assert!(message.contains("\"en\"") && message.contains("deu"), "{message}");
    }
}
