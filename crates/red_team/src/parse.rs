//! Reading a numbered list back.

use language_model::{Completion, StopReason};

/// The marks that open and close a quotation.
const QUOTES: [(char, char); 6] =
    [('"', '"'), ('\'', '\''), ('`', '`'), ('“', '”'), ('‘', '’'), ('«', '»')];

/// A line of a completion.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// An entry of the list, without its number and the quotation marks around it.
    Entry(String),
    /// Anything else.
    Other,
    /// The last line of a completion that was cut short.
    CutOff,
}

/// The lines of a completion that are not blank.
pub(crate) fn lines(completion: &Completion) -> Vec<Line> {
    let Completion { text, stopped, .. } = completion;
    let mut lines: Vec<Line> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(line).collect();
    if *stopped != StopReason::Stop
        && !text.ends_with('\n')
        && let Some(last) = lines.last_mut()
    {
        *last = Line::CutOff;
    }
    lines
}

fn line(text: &str) -> Line {
    let words: Vec<&str> =
        entry(text).map(unquoted).unwrap_or_default().split_whitespace().collect();
    if words.is_empty() { Line::Other } else { Line::Entry(words.join(" ")) }
}

/// What follows the number: `5. …`, `5) …` or `(5) …`, but not `5.5 …`.
fn entry(line: &str) -> Option<&str> {
    let line = line.strip_prefix('(').unwrap_or(line);
    let rest = line.trim_start_matches(|character: char| character.is_ascii_digit());
    if rest.len() == line.len() {
        return None;
    }
    let rest = rest.strip_prefix(['.', ')'])?;
    let decimal = rest.starts_with(|character: char| character.is_ascii_digit());
    (!decimal).then(|| rest.trim())
}

/// The text without the quotation marks around the whole of it.
fn unquoted(text: &str) -> &str {
    let inside = |(open, close): (char, char)| {
        let inside = text.strip_prefix(open)?.strip_suffix(close)?;
        (!inside.contains([open, close])).then_some(inside)
    };
    QUOTES.into_iter().find_map(inside).unwrap_or(text)
}

/// What two texts share if they differ only in case, white space and punctuation.
pub(crate) fn normalised(text: &str) -> String {
    let spaced: String = text
        .chars()
        .filter(|character| !matches!(character, '\'' | '’'))
        .flat_map(char::to_lowercase)
        .map(|character| if character.is_alphanumeric() { character } else { ' ' })
        .collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbered_list;
    use proptest::prelude::*;

    fn completion(text: &str, stopped: StopReason) -> Completion {
        Completion { text: text.to_owned(), tokens: 1, stopped }
    }

    fn read(text: &str) -> Vec<Line> {
        lines(&completion(text, StopReason::Stop))
    }

    fn found(text: &str) -> Line {
        Line::Entry(text.to_owned())
    }

    #[test]
    fn reads_the_forms_of_a_list() {
        let cases = [
            ("5. How do I fly?", found("How do I fly?")),
            (" 12)How  do I fly?\t", found("How do I fly?")),
            ("(7) How do I fly?", found("How do I fly?")),
            ("5. \"How do I fly?\"", found("How do I fly?")),
            ("5. “How do I fly?”", found("How do I fly?")),
            ("5. \"Hi\" and \"ho\"", found("\"Hi\" and \"ho\"")),
            ("5. ‘Tis the season’s end", found("‘Tis the season’s end")),
            ("5. 3.5 grams of what?", found("3.5 grams of what?")),
            ("3.5 grams of salt", Line::Other),
            ("Sure! Here are more:", Line::Other),
            ("How do I fly?", Line::Other),
            ("2024 was long", Line::Other),
            ("5.", Line::Other),
            ("5. \"\"", Line::Other),
            (". fly", Line::Other),
            ("(fly) 5.", Line::Other),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text), [expected], "{text}");
        }
        assert!(read(" \n\n").is_empty());
    }

    #[test]
    fn drops_what_was_cut_off() {
        let text = "5. one\n\n6. tw";
        let cut = lines(&completion(text, StopReason::Length));
        assert_eq!(cut, [found("one"), Line::CutOff]);
        assert_eq!(read(text), [found("one"), found("tw")]);
        let whole = lines(&completion("5. one\n6. two\n", StopReason::Length));
        assert_eq!(whole, [found("one"), found("two")]);
        assert!(lines(&completion("", StopReason::Length)).is_empty());
    }

    #[test]
    fn normalising_forgets_case_white_space_and_punctuation() {
        assert_eq!(normalised("  Don't  STOP—now!? "), "dont stop now");
        assert_eq!(normalised("Ça va, “Éva”?"), "ça va éva");
        assert_eq!(normalised("?! …"), "");
        assert_ne!(normalised("the rapist"), normalised("therapist"));
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(
            requests in prop::collection::vec("[A-Za-z0-9][A-Za-z0-9 ,.?]{0,20}[a-z?]", 0..8),
            first in 1_usize..2000,
        ) {
            let expected: Vec<Line> = requests
                .iter()
                .map(|text| found(&text.split_whitespace().collect::<Vec<_>>().join(" ")))
                .collect();
            prop_assert_eq!(read(&numbered_list(first, &requests)), expected);
        }

        #[test]
        fn never_panics(text in "(?s)[(0-9]{0,4}[.)]?[ \"'“”]?.{0,40}") {
            for line in read(&text) {
                if let Line::Entry(entry) = line {
                    prop_assert!(!entry.trim().is_empty());
                    prop_assert_eq!(normalised(&normalised(&entry)), normalised(&entry));
                }
            }
        }
    }
}
