//! One reply while it is drawn.

use crate::{Codec, Error, Next, Reply, Sampled, SeenTokens, StopMatcher, sample};
use language_model::{Completion, Sampling, StopReason, stream};

/// A reply on its way.
pub(crate) struct Drawing<'a> {
    codec: &'a Codec,
    sampling: &'a Sampling,
    rng: rand_chacha::ChaCha8Rng,
    matcher: StopMatcher,
    /// Empty where no penalty asks for them.
    seen: SeenTokens,
    drawn: Vec<Sampled>,
    stopped: StopReason,
    /// The last token ended the reply and is no part of its text.
    has_stop_token: bool,
}

impl<'a> Drawing<'a> {
    /// A reply to `prompt` that also ends at the strings `stops`.
    pub(crate) fn new(
        codec: &'a Codec,
        sampling: &'a Sampling,
        stops: &[&str],
        prompt: &[u32],
        seed: u64,
    ) -> Self {
        let mut seen = SeenTokens::default();
        if sampling.repetition_penalty.is_some() {
            seen.extend(prompt.iter().copied());
        }
        Self {
            codec,
            sampling,
            rng: stream(seed),
            matcher: StopMatcher::new(stops.iter().copied()),
            seen,
            drawn: Vec::new(),
            stopped: StopReason::Length,
            has_stop_token: false,
        }
    }

    /// Draws the next token.
    pub(crate) fn next(&mut self, logits: &mut [f32]) -> Result<Next, Error> {
        let sampled = sample(logits, &self.seen, self.sampling, &mut self.rng)?;
        let token = sampled.token;
        self.drawn.push(sampled);
        if self.sampling.repetition_penalty.is_some() {
            self.seen.push(token);
        }
        self.has_stop_token =
            self.codec.is_stop(token) || self.sampling.stop_tokens.contains(&token);
        if self.has_stop_token || self.matcher.push_token(token, self.codec.tokenizer()) {
            self.stopped = StopReason::Stop;
            return Ok(Next::Last(token));
        }
        Ok(Next::Token(token))
    }

    /// Says that whoever asked for the reply ended it.
    pub(crate) fn cancel(&mut self) {
        self.stopped = StopReason::Cancelled;
    }

    /// The newest token, if its text is part of the reply.
    pub(crate) fn newest(&self) -> Option<u32> {
        self.drawn.last().filter(|_| !self.has_stop_token).map(|sampled| sampled.token)
    }

    /// The finished reply; `text` writes its tokens, a stop token at their end left out.
    pub(crate) fn into_reply(self, prompt: Vec<u32>, text: impl FnOnce(&[u32]) -> String) -> Reply {
        let tokens: Vec<u32> = self.drawn.iter().map(|sampled| sampled.token).collect();
        let written = tokens.len() - usize::from(self.has_stop_token);
        let text = text(&tokens[..written]);
        let completion = Completion { text, tokens: tokens.len(), stopped: self.stopped };
        Reply { prompt, drawn: self.drawn, completion }
    }
}
