//! A reply whose text is handed out while it is drawn.

use crate::{
    Codec, Reply, TextStream, Tokenizer, Transformer, first_stop, stop::beginning_of_stop,
};
use burn::tensor::backend::Backend;
use dialogue::Dialogue;
use language_model::{Error as ModelError, Prompt, Sampling, StopReason};
use std::ops::ControlFlow;

impl<B: Backend> Transformer<B> {
    /// Draws one reply as [`Transformer::draw`] does, from the same stream, and hands out its text on the way.
    ///
    /// `on_piece` is called once a token with the text that this token settles. That text is empty where a character is
    /// not complete yet and where the end of the text may turn out to be the beginning of a stop string. Behind the
    /// last token it is called once more if text was held back until then. All pieces together are the text of the
    /// reply, which is the text that [`Transformer::draw`] gives, but for tokenizers whose decoder lets bytes that form no
    /// character spoil a character before them.
    ///
    /// [`ControlFlow::Break`] ends the reply with [`StopReason::Cancelled`] behind the token just drawn; its text is
    /// what has been handed out. Reading the prompt cannot be interrupted.
    ///
    /// # Errors
    /// As for [`Transformer::draw`].
    pub fn stream(
        &self,
        prompt: &Prompt,
        sampling: &Sampling,
        on_piece: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Reply, ModelError> {
        self.check_sampling(sampling)?;
        let tokens = self.codec.encode_prompt(&prompt.dialogue)?;
        let stops = self.stops(sampling);
        let mut text = ReplyText::new(&self.codec, &prompt.dialogue, &stops);
        let mut handed_out = String::new();
        let mut drawn = self.continue_tokens(
            std::slice::from_ref(&tokens),
            &[prompt.seed],
            sampling,
            &stops,
            &|_| prompt.dialogue.id(),
            &mut |drawing| {
                let piece = drawing.newest().map(|token| text.push(token)).unwrap_or_default();
                handed_out.push_str(&piece);
                on_piece(&piece)
            },
        )?;
        let drawing = drawn.swap_remove(0);
        let mut reply = drawing.into_reply(tokens, |_| handed_out);
        if reply.completion.stopped != StopReason::Cancelled {
            let rest = text.finish();
            if !rest.is_empty() {
                reply.completion.text.push_str(&rest);
                // The reply is whole; there is nothing left to cancel.
                let _ = on_piece(&rest);
            }
        }
        Ok(reply)
    }
}

/// The text of a reply that arrives token by token, as [`Codec::reply`] writes the whole.
struct ReplyText<'a> {
    tokenizer: &'a Tokenizer,
    stops: &'a [&'a str],
    decoded: TextStream,
    /// Text that may be the beginning of a stop string.
    held: String,
    /// White space is left out until something else comes.
    trims: bool,
    /// A stop string has come.
    ended: bool,
}

impl<'a> ReplyText<'a> {
    fn new(codec: &'a Codec, prompt: &Dialogue, stops: &'a [&'a str]) -> Self {
        Self {
            tokenizer: codec.tokenizer(),
            stops,
            decoded: TextStream::default(),
            held: String::new(),
            trims: codec.trims_reply(prompt),
            ended: false,
        }
    }

    /// The text that `token` settles.
    fn push(&mut self, token: u32) -> String {
        let piece = self.decoded.push(token, self.tokenizer);
        self.held.push_str(&piece);
        let settled = if let Some(end) = self.end() {
            end
        } else {
            beginning_of_stop(&self.held, self.stops)
        };
        self.settle(settled)
    }

    /// The text that was held back, once no more comes.
    fn finish(mut self) -> String {
        let rest = std::mem::take(&mut self.decoded).finish(self.tokenizer);
        self.held.push_str(&rest);
        let settled = self.end().unwrap_or(self.held.len());
        self.settle(settled)
    }

    /// Where the text ends, if it does: everything behind it is dropped.
    fn end(&mut self) -> Option<usize> {
        let end = if self.ended { 0 } else { first_stop(&self.held, self.stops)? };
        self.held.truncate(end);
        self.ended = true;
        Some(end)
    }

    fn settle(&mut self, bytes: usize) -> String {
        let mut settled: String = self.held.drain(..bytes).collect();
        if self.trims {
            settled.drain(..settled.len() - settled.trim_start().len());
            self.trims = settled.is_empty();
        }
        settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Decoder, ModelConfig, fixture};
    use burn_flex::{Flex, FlexDevice};
    use proptest::prelude::*;

    fn pieces(codec: &Codec, prompt: &Dialogue, tokens: &[u32], stops: &[&str]) -> Vec<String> {
        let mut text = ReplyText::new(codec, prompt, stops);
        let mut pieces: Vec<String> = tokens.iter().map(|&token| text.push(token)).collect();
        pieces.push(text.finish());
        pieces
    }

    #[test]
    fn holds_back_what_may_begin_a_stop_string() {
        let codec = &fixture::codecs()[0];
        let asked = Dialogue::from_user("Hi");
        let tokens = codec.encode_text("ab\nÜ\n\nHum").unwrap();
        let said = |stops: &[&str]| pieces(codec, &asked, &tokens, stops);
        assert_eq!(said(&["\n\nHuman:"]).concat(), "ab\nÜ\n\nHum");
        // Up to the end a line break may be the first of two.
        let held = said(&["\n\nHuman:"]);
        assert_eq!(held.last().unwrap(), "\n\nHum");
        assert!(held.contains(&"b".to_owned()) && held.contains(&"\nÜ".to_owned()), "{held:?}");
        assert_eq!(said(&["\n\n", "H"]).concat(), "ab\nÜ");
        assert_eq!(said(&["z"]).last().unwrap(), "");
    }

    #[test]
    fn the_transcript_leaves_out_the_space_before_a_reply() {
        let transcript = &fixture::codecs()[3];
        let asked = Dialogue::from_user("Hi");
        let tokens = transcript.tokenizer().encode(" \n Sure. ").unwrap();
        assert_eq!(pieces(transcript, &asked, &tokens, &[]).concat(), "Sure. ");
        let open = asked.with_assistant("Yes:");
        assert_eq!(pieces(transcript, &open, &tokens, &[]).concat(), " \n Sure. ");
    }

    type Model = Transformer<Flex>;

    fn models() -> Vec<Model> {
        let vocabulary = fixture::tokenizer().vocabulary();
        let text = format!(
            r#"{{"model_type": "llama", "vocab_size": {vocabulary}, "hidden_size": 16,
            "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2,
            "max_position_embeddings": 256, "initializer_range": 0.4, "tie_word_embeddings": true}}"#
        );
        let config = ModelConfig::from_json(&text, "config.json").unwrap();
        let codecs = fixture::codecs().into_iter();
        codecs.map(|codec| Model::new(Decoder::init(&config, 3, &FlexDevice), codec)).collect()
    }

    fn prompt(seed: u64) -> Prompt {
        Prompt { dialogue: Dialogue::from_user("How do I keep the weeds out?"), seed }
    }

    #[test]
    fn the_pieces_are_the_text_that_is_drawn_at_once() {
        for model in models() {
            for seed in 0..12 {
                // Letters end many of these replies, and begin stop strings that never come.
                let stop = vec!["e".to_owned(), "  ".to_owned(), "a\u{0}b".to_owned()];
                let (stop, repetition_penalty) =
                    if seed % 2 == 0 { (stop, None) } else { (Vec::new(), Some(1.3)) };
                let sampling = Sampling { stop, repetition_penalty, ..Sampling::default() };
                let sampling = sampling.with_max_tokens(24);
                let expected = model.draw(&[prompt(seed)], &sampling).unwrap().swap_remove(0);
                let mut text = String::new();
                let mut on_piece = |piece: &str| {
                    text.push_str(piece);
                    ControlFlow::Continue(())
                };
                let reply = model.stream(&prompt(seed), &sampling, &mut on_piece).unwrap();
                assert_eq!(reply, expected);
                assert_eq!(text, expected.completion.text);
            }
        }
    }

    #[test]
    fn a_cancelled_reply_is_what_was_handed_out() {
        let model = &models()[0];
        let sampling = Sampling::default().with_max_tokens(24);
        let whole = model.draw(&[prompt(1)], &sampling).unwrap().swap_remove(0);
        let (mut calls, mut text) = (0, String::new());
        let mut on_piece = |piece: &str| {
            calls += 1;
            text.push_str(piece);
            if calls == 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let reply = model.stream(&prompt(1), &sampling, &mut on_piece).unwrap();
        assert_eq!(calls, 5);
        assert_eq!(reply.completion.stopped, StopReason::Cancelled);
        assert_eq!(reply.completion.tokens, 5);
        assert_eq!(reply.tokens(), whole.tokens()[..5]);
        assert_eq!(reply.completion.text, text);
        assert!(whole.completion.text.starts_with(&text));
    }

    #[test]
    fn refuses_as_draw_does() {
        let model = &models()[0];
        let mut none = |_: &str| ControlFlow::Continue(());
        let hot = Sampling::default().with_temperature(-1.0);
        assert!(matches!(
            model.stream(&prompt(1), &hot, &mut none),
            Err(ModelError::Sampling { setting: "temperature", .. })
        ));
        let long = Prompt { dialogue: Dialogue::from_user("q".repeat(999)), seed: 1 };
        let error = model.stream(&long, &Sampling::default(), &mut none).unwrap_err();
        let id = long.dialogue.id();
        assert!(matches!(&error, ModelError::TooLong { id: named, .. } if *named == id), "{error}");
    }

    proptest! {
        #[test]
        fn pieces_make_up_the_reply(
            tokens in prop::collection::vec(0..420_u32, 0..30),
            text in "[ab\n é🦀]{0,30}",
            stops in prop::collection::vec("[ab\n é\u{fffd}]{1,4}", 0..3),
            open in any::<bool>(),
        ) {
            let asked = Dialogue::from_user("Hi");
            let prompt = if open { asked.with_assistant("Yes") } else { asked };
            for codec in fixture::codecs() {
                let written = codec.tokenizer().encode(&text).unwrap();
                for tokens in [&tokens, &written] {
                    // A reply ends with its first stop token.
                    let end = tokens.iter().position(|&token| codec.is_stop(token));
                    let tokens = &tokens[..end.unwrap_or(tokens.len())];
                    let mut all: Vec<&str> = codec.stop_strings().to_vec();
                    all.extend(stops.iter().map(String::as_str));
                    let expected = codec.reply(&prompt, tokens, &stops);
                    prop_assert_eq!(pieces(&codec, &prompt, tokens, &all).concat(), expected);
                }
            }
        }
    }
}
