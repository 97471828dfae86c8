//! Strings that end a reply.

use crate::{TextStream, Tokenizer};

/// Finds the first stop string in a text that arrives token by token; a stop string may straddle tokens.
///
/// Every step decodes and searches only the end of the text, so that its cost does not grow with the reply.
#[derive(Debug, Clone)]
pub struct StopMatcher {
    stops: Vec<String>,
    longest: usize,
    stream: TextStream,
    /// The end of the text: all of it that can still be the beginning of a stop string.
    tail: String,
    found: bool,
}

impl StopMatcher {
    /// Looks for `stops`; empty strings among them match nothing.
    pub fn new<S: Into<String>>(stops: impl IntoIterator<Item = S>) -> Self {
        let stops = stops.into_iter().map(Into::into);
        let stops: Vec<String> = stops.filter(|stop: &String| !stop.is_empty()).collect();
        let longest = stops.iter().map(String::len).max().unwrap_or(0);
        let stream = TextStream::default();
        Self { stops, longest, stream, tail: String::new(), found: false }
    }

    /// Takes the next token; true once the text holds a stop string.
    pub fn push_token(&mut self, token: u32, tokenizer: &Tokenizer) -> bool {
        if !self.stops.is_empty() {
            let piece = self.stream.push(token, tokenizer);
            self.push_text(&piece);
        }
        self.found
    }

    /// Takes the next piece of text; true once the text holds a stop string.
    pub fn push_text(&mut self, piece: &str) -> bool {
        if !self.found {
            self.tail.push_str(piece);
            self.found = first_stop(&self.tail, &self.stops).is_some();
            let mut kept = self.tail.len().saturating_sub(self.longest);
            while !self.tail.is_char_boundary(kept) {
                kept -= 1;
            }
            self.tail.drain(..kept);
        }
        self.found
    }
}

/// Where the first of the stop strings begins in `text`, in bytes.
pub fn first_stop<S: AsRef<str>>(text: &str, stops: &[S]) -> Option<usize> {
    stops.iter().filter_map(|stop| text.find(stop.as_ref())).min()
}

/// Where the end of `text` that may be the beginning of a stop string starts, in bytes; the length of `text` if there is
/// no such end.
pub(crate) fn beginning_of_stop<S: AsRef<str>>(text: &str, stops: &[S]) -> usize {
    let longest = stops.iter().map(|stop| stop.as_ref().len()).max().unwrap_or(0);
    let first = text.len().saturating_sub(longest);
    let begins = |&start: &usize| {
        text.get(start..).is_some_and(|end| stops.iter().any(|stop| stop.as_ref().starts_with(end)))
    };
    (first..text.len()).find(begins).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use proptest::prelude::*;

    #[test]
    fn finds_a_stop_string_over_pieces() {
        let mut matcher = StopMatcher::new(["\n\nHuman:"]);
        for piece in ["Sure", ".\n", "\nHum", "an"] {
            assert!(!matcher.push_text(piece));
        }
        assert!(matcher.push_text(": hi"));
        assert!(matcher.push_text("more"));
    }

    #[test]
    fn takes_the_earliest_of_several() {
        assert_eq!(first_stop("a b c", &["c", "b"]), Some(2));
        assert_eq!(first_stop("a b c", &["d"]), None);
        assert!(!StopMatcher::new([""]).push_text("text"));
    }

    #[test]
    fn finds_what_may_begin_a_stop_string() {
        let beginning = |text: &str| beginning_of_stop(text, &["\n\nHuman:", "é!"]);
        assert_eq!(beginning("a\n\n\nHum"), 2);
        assert_eq!(beginning("a\n"), 1);
        assert_eq!(beginning("aé"), 1);
        assert_eq!(beginning("a\n\nHuge"), 7);
        assert_eq!(beginning(""), 0);
        assert_eq!(beginning_of_stop::<&str>("abc", &[]), 3);
    }

    proptest! {
        #[test]
        fn tokens_match_as_the_whole_text_does(
            text in "[ab\n é🦀]{0,40}",
            stop in "[ab\n é🦀]{1,4}",
        ) {
            let tokenizer = fixture::tokenizer();
            let tokens = tokenizer.encode(&text).unwrap();
            let mut matcher = StopMatcher::new([stop.as_str()]);
            let mut hits = tokens.iter().map(|&token| matcher.push_token(token, &tokenizer));
            let first = hits.position(|hit| hit);
            // The first number of tokens whose text holds the stop string.
            let expected =
                (1..=tokens.len()).position(|n| tokenizer.decode(&tokens[..n]).contains(&stop));
            prop_assert_eq!(first, expected);
        }
    }
}
