//! The text that every single token adds.

use crate::Tokenizer;

/// Decodes a text token by token.
///
/// The text of a token may depend on its neighbours: a character can span several tokens, and some tokenizers write a
/// space only between tokens. So a few tokens are decoded together, as few as possible.
#[derive(Debug, Clone, Default)]
pub struct TextStream {
    window: Vec<u32>,
    /// How many tokens at the front of the window have been written, and the bytes they alone decode to.
    written: (usize, usize),
}

impl TextStream {
    /// The text that `token` adds, special tokens left out; empty until a character is complete.
    pub fn push(&mut self, token: u32, tokenizer: &Tokenizer) -> String {
        self.window.push(token);
        let mut decoded = tokenizer.decode(&self.window);
        // The mark of an incomplete character.
        if decoded.ends_with('\u{fffd}') {
            return String::new();
        }
        let (tokens, bytes) = self.written;
        if !decoded.is_char_boundary(bytes) || decoded.len() <= bytes {
            return String::new();
        }
        self.window.drain(..tokens);
        self.written = (self.window.len(), tokenizer.decode(&self.window).len());
        decoded.split_off(bytes)
    }

    /// What is left of an incomplete character at the end of the text.
    pub fn finish(self, tokenizer: &Tokenizer) -> String {
        let decoded = tokenizer.decode(&self.window);
        decoded.get(self.written.1..).unwrap_or_default().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use proptest::prelude::*;

    #[test]
    fn a_character_comes_with_its_last_byte() {
        let tokenizer = fixture::tokenizer();
        let tokens = tokenizer.encode("é").unwrap();
        assert_eq!(tokens.len(), 2);
        let mut stream = TextStream::default();
        assert_eq!(stream.push(tokens[0], &tokenizer), "");
        assert_eq!(stream.clone().finish(&tokenizer), "\u{fffd}");
        assert_eq!(stream.push(tokens[1], &tokenizer), "é");
        assert_eq!(stream.finish(&tokenizer), "");
    }

    proptest! {
        #[test]
        fn pieces_make_up_the_whole(tokens in prop::collection::vec(0..400_u32, 0..40)) {
            let tokenizer = fixture::tokenizer();
            let mut stream = TextStream::default();
            let mut text: String =
                tokens.iter().map(|&token| stream.push(token, &tokenizer)).collect();
            text.push_str(&stream.finish(&tokenizer));
            prop_assert_eq!(text, tokenizer.decode(&tokens));
        }
    }
}
