//! Text to tokens and back.

use crate::{Error, files, guard::guarded};
use std::{path::Path, sync::Arc};

/// A `tokenizer.json`; cheap to clone.
///
/// Truncation and padding that the file may ask for are switched off: no text is ever cut or filled up in silence.
#[derive(Clone)]
pub struct Tokenizer {
    inner: Arc<tokenizers::Tokenizer>,
    json: Arc<[u8]>,
    leading: Arc<[u32]>,
}

/// A tokenised text with the place of every token in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokensAt {
    /// The tokens.
    pub tokens: Vec<u32>,
    /// For every token the bytes of the text that it stands for, as start and end. Tokens that share a character
    /// have the same place; white space at the edges of a token may be missing from it.
    pub offsets: Vec<(usize, usize)>,
}

impl Tokenizer {
    /// Reads the content of a `tokenizer.json`; `file` names it in errors.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if it is not a tokenizer that this version of `tokenizers` understands.
    pub fn from_bytes(json: &[u8], file: &str) -> Result<Self, Error> {
        let wrong = |source| Error::Tokenizer { file: file.to_owned(), source };
        let read = || {
            let mut inner = tokenizers::Tokenizer::from_bytes(json)?;
            inner.with_truncation(None)?;
            inner.with_padding(None);
            Ok((leading_special_tokens(&inner), inner))
        };
        let (leading, inner) = call(read).map_err(wrong)?;
        Ok(Self { inner: Arc::new(inner), json: json.into(), leading })
    }

    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::Read`], or [`Error::Tokenizer`] if it is not a tokenizer.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let json = files::read(path)?;
        Self::from_bytes(&json, &path.display().to_string())
    }

    /// The content of the `tokenizer.json`, byte for byte as it was read.
    pub fn json(&self) -> &[u8] {
        &self.json
    }

    /// The tokens of `text` alone. Special tokens that stand in the text as text are recognised.
    ///
    /// # Errors
    /// [`Error::Encode`] if the tokenizer has no token for a part of the text and none for unknown text either.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        let encoding = call(|| self.inner.encode_fast(text, false))
            .map_err(|source| Error::Encode { source })?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The tokens of `text` behind those that the tokenizer puts in front of every text (the begin-of-text token of
    /// many models), which are not doubled if the text brings them itself. An end-of-text token is not added, since
    /// the text is to be continued.
    ///
    /// # Errors
    /// As for [`Tokenizer::encode`].
    pub fn encode_with_special_tokens(&self, text: &str) -> Result<Vec<u32>, Error> {
        let mut tokens = self.encode(text)?;
        self.lead(&mut tokens);
        Ok(tokens)
    }

    /// The tokens of `text` alone, with their places in it.
    ///
    /// # Errors
    /// As for [`Tokenizer::encode`].
    pub fn encode_with_offsets(&self, text: &str) -> Result<TokensAt, Error> {
        let encoding =
            call(|| self.inner.encode(text, false)).map_err(|source| Error::Encode { source })?;
        Ok(TokensAt {
            tokens: encoding.get_ids().to_vec(),
            offsets: encoding.get_offsets().to_vec(),
        })
    }

    /// The text of `tokens`, special tokens left out. Tokens outside the vocabulary stand for nothing; bytes that do
    /// not form a character become U+FFFD.
    pub fn decode(&self, tokens: &[u32]) -> String {
        self.decoded(tokens, true)
    }

    /// The text of `tokens`, special tokens written out.
    pub fn decode_with_special_tokens(&self, tokens: &[u32]) -> String {
        self.decoded(tokens, false)
    }

    /// The token that is written as `text`, if there is one.
    pub fn token_to_id(&self, text: &str) -> Option<u32> {
        self.inner.token_to_id(text)
    }

    /// How the vocabulary writes `token`.
    pub fn id_to_token(&self, token: u32) -> Option<String> {
        self.inner.id_to_token(token)
    }

    /// True if `token` steers the model instead of standing for text.
    pub fn is_special(&self, token: u32) -> bool {
        let vocabulary = self.inner.get_added_vocabulary();
        vocabulary.simple_id_to_token(token).is_some_and(|text| vocabulary.is_special_token(&text))
    }

    /// Number of tokens, special ones included.
    pub fn vocabulary(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Puts the leading special tokens in front, unless they stand there already; returns how many it added.
    pub(crate) fn lead(&self, tokens: &mut Vec<u32>) -> usize {
        if tokens.starts_with(&self.leading) {
            return 0;
        }
        tokens.splice(0..0, self.leading.iter().copied());
        self.leading.len()
    }

    fn decoded(&self, tokens: &[u32], skip_special: bool) -> String {
        // A decoder can only fail on a pattern it cannot apply; the raw tokens are the closest thing to a text then.
        call(|| self.inner.decode(tokens, skip_special)).unwrap_or_else(|_| {
            tokens.iter().filter_map(|&token| self.inner.id_to_token(token)).collect()
        })
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Tokenizer").field("vocabulary", &self.vocabulary()).finish()
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A call into the library of tokenizers, whose panics are failures.
fn call<T>(call: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    guarded(call).unwrap_or_else(|message| Err(message.into()))
}

/// What the post-processor puts in front of a text, found by watching it work on a letter.
fn leading_special_tokens(tokenizer: &tokenizers::Tokenizer) -> Arc<[u32]> {
    let Ok(encoding) = tokenizer.encode_fast("a", true) else { return Arc::default() };
    encoding
        .get_ids()
        .iter()
        .zip(encoding.get_special_tokens_mask())
        .take_while(|&(_, &special)| special == 1)
        .map(|(&token, _)| token)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{SPECIAL, tokenizer, tokenizer_that_begins};
    use proptest::prelude::*;

    #[test]
    fn special_tokens_are_one_token_and_no_text() {
        let tokenizer = tokenizer();
        let end = tokenizer.token_to_id("<|end|>").unwrap();
        let tokens = tokenizer.encode("a<|end|>").unwrap();
        assert_eq!((tokens.len(), tokens[1]), (2, end));
        assert_eq!(tokenizer.decode(&tokens), "a");
        assert_eq!(tokenizer.decode_with_special_tokens(&tokens), "a<|end|>");
        assert!(tokenizer.is_special(end) && !tokenizer.is_special(tokens[0]));
        assert_eq!(tokenizer.id_to_token(end).as_deref(), Some("<|end|>"));
        assert_eq!(tokenizer.token_to_id("<|nothing|>"), None);
        assert!(tokenizer.vocabulary() > 256 + SPECIAL.len());
        assert_eq!(tokenizer.decode(&[u32::MAX]), "");
    }

    #[test]
    fn leading_tokens_come_once() {
        let tokenizer = tokenizer_that_begins();
        let begin = tokenizer.token_to_id("<|begin|>").unwrap();
        let hi = tokenizer.encode("Hi").unwrap();
        assert!(!hi.contains(&begin));
        let led = [&[begin], hi.as_slice()].concat();
        assert_eq!(tokenizer.encode_with_special_tokens("Hi").unwrap(), led);
        assert_eq!(tokenizer.encode_with_special_tokens("<|begin|>Hi").unwrap(), led);
        assert_eq!(tokenizer.encode_with_special_tokens("").unwrap(), [begin]);
    }

    #[test]
    fn nothing_is_cut_or_filled_up() {
        let mut json: serde_json::Value = serde_json::from_slice(tokenizer().json()).unwrap();
        json["truncation"] = serde_json::json!({
            "direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0,
        });
        json["padding"] = serde_json::json!({
            "strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "<|pad|>",
        });
        let cutting = Tokenizer::from_bytes(json.to_string().as_bytes(), "file").unwrap();
        for text in ["1", "1234"] {
            assert_eq!(cutting.encode(text).unwrap(), tokenizer().encode(text).unwrap());
        }
    }

    #[test]
    fn errors_name_the_file() {
        let error = Tokenizer::from_bytes(b"{}", "some/tokenizer.json").unwrap_err().to_string();
        assert!(error.contains("some/tokenizer.json"), "{error}");
        let error = Tokenizer::from_file("no/such/tokenizer.json").unwrap_err().to_string();
        assert!(error.contains("no/such/tokenizer.json"), "{error}");
    }

    proptest! {
        #[test]
        fn any_text_comes_back(text in "\\PC{0,40}|[\u{0}-\u{1f}é🦀]{0,20}") {
            let tokenizer = tokenizer();
            let placed = tokenizer.encode_with_offsets(&text).unwrap();
            prop_assert_eq!(tokenizer.decode(&placed.tokens), text.as_str());
            prop_assert_eq!(&tokenizer.encode(&text).unwrap(), &placed.tokens);
            prop_assert_eq!(placed.offsets.len(), placed.tokens.len());
            prop_assert!(placed.offsets.iter().all(|&(start, end)| start <= end && end <= text.len()));
            prop_assert!(placed.offsets.is_sorted());
        }
    }
}
