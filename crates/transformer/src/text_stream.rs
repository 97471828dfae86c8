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
        if decoded.len() <= bytes {
            return String::new();
        }
        self.window.drain(..tokens);
        let alone = tokenizer.decode(&self.window);
        self.written = (self.window.len(), alone.len());
        // Bytes that form no character may spoil those before them, which have been written already.
        if decoded.is_char_boundary(bytes) { decoded.split_off(bytes) } else { alone }
    }

    /// What is left of an incomplete character at the end of the text.
    pub fn finish(self, tokenizer: &Tokenizer) -> String {
        let (tokens, bytes) = self.written;
        let decoded = tokenizer.decode(&self.window);
        match decoded.get(bytes..) {
            Some(rest) => rest.to_owned(),
            None => tokenizer.decode(&self.window[tokens..]),
        }
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

    /// In the style of `SentencePiece`: a mark for spaces, the first of which is left out, and tokens for bytes.
    fn sentence_piece() -> Tokenizer {
        let vocabulary = ["<unk>", "▁", "a", "▁a", "b", "▁▁", "<0xC3>", "<0xA9>", "é", "▁é"];
        let vocabulary: serde_json::Map<String, serde_json::Value> =
            vocabulary.iter().zip(0..).map(|(text, id)| ((*text).to_owned(), id.into())).collect();
        let json = serde_json::json!({
            "version": "1.0",
            "added_tokens": [{"id": 0, "content": "<unk>", "special": true, "single_word": false,
                "lstrip": false, "rstrip": false, "normalized": false}],
            "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"},
            "decoder": {"type": "Sequence", "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ]},
        });
        Tokenizer::from_bytes(json.to_string().as_bytes(), "fixture").unwrap()
    }

    #[test]
    fn bytes_that_form_no_character_do_not_silence_what_follows() {
        let tokenizer = sentence_piece();
        let mut stream = TextStream::default();
        // é, half a character, and a letter: the decoder calls all three bytes broken.
        let pieces = [6, 7, 6, 2, 4].map(|token| stream.push(token, &tokenizer));
        assert_eq!(pieces, ["", "é", "", "\u{fffd}a", "b"]);
        let mut stream = TextStream::default();
        let pieces = [6, 7, 6].map(|token| stream.push(token, &tokenizer));
        assert_eq!(pieces, ["", "é", ""]);
        assert_eq!(stream.finish(&tokenizer), "\u{fffd}");
    }

    proptest! {
        #[test]
        fn pieces_make_up_the_whole_of_sentence_pieces(
            tokens in prop::collection::vec(prop::sample::select(vec![0_u32, 1, 2, 3, 4, 5, 8, 9]), 0..20),
        ) {
            let tokenizer = sentence_piece();
            let mut stream = TextStream::default();
            let mut text: String =
                tokens.iter().map(|&token| stream.push(token, &tokenizer)).collect();
            text.push_str(&stream.finish(&tokenizer));
            prop_assert_eq!(text, tokenizer.decode(&tokens));
        }

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
