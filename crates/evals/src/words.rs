//! Texts as words.

/// The words of a text in lower case: runs of letters, digits and apostrophes, and every other visible character for itself.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    for character in text.chars().flat_map(char::to_lowercase) {
        let character = if character == '’' { '\'' } else { character };
        if character.is_alphanumeric() || character == '\'' {
            word.push(character);
            continue;
        }
        if !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if !character.is_whitespace() {
            words.push(character.to_string());
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_words_of_their_own() {
        assert_eq!(words("Don’t  go, B2!\n"), ["don't", "go", ",", "b2", "!"]);
        assert!(words(" \n").is_empty());
    }
}
